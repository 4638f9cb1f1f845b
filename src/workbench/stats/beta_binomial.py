"""A Bayesian second opinion on 0/1 scores: how probable it is that one arm is better, and by how much.

Nothing is sampled: closed forms where there are some, else quadrature, exact to six digits or more.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from workbench.errors import DataError
from workbench.stats.estimate import Estimate

Floats = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(400)
_TAIL = 1e-13
"""Probability left out at either end of an integral."""


@dataclass(frozen=True, slots=True)
class PosteriorDifference:
    """Treatment minus control, after the data: `mean`, and the equal-tailed credible interval `low`, `high`.

    `probability_better` is P(treatment > control).
    """

    mean: float
    low: float
    high: float
    probability_better: float

    @property
    def estimate(self) -> Estimate:
        """The mean with its credible interval."""
        return Estimate(self.mean, self.low, self.high)


def beta_binomial(
    n_successes_treatment: int,
    n_treatment: int,
    n_successes_control: int,
    n_control: int,
    *,
    prior: tuple[float, float] = (1.0, 1.0),
    alpha: float = 0.05,
) -> PosteriorDifference:
    """Two independent proportions, each with the same beta `prior`: uniform unless given.

    >>> round(beta_binomial(1, 1, 0, 1).probability_better, 6)
    0.833333

    Args:
        prior: its two parameters; (0.5, 0.5) is Jeffreys'.
        alpha: the credible interval holds 1 - alpha.
    Raises:
        DataError: more successes than trials, fewer than none, or a prior that is not above 0.
    Source: Gelman et al. (2013), Bayesian Data Analysis, sec. 2.4; Altham (1969), JRSS B 31.
    """
    for k, n in ((n_successes_treatment, n_treatment), (n_successes_control, n_control)):
        if not 0 <= k <= n:
            raise DataError(f"{k} successes in {n} trials is not a proportion")
    _check_prior(prior)
    treatment = _Beta(prior[0] + n_successes_treatment, prior[1] + n_treatment - n_successes_treatment)
    control = _Beta(prior[0] + n_successes_control, prior[1] + n_control - n_successes_control)

    def at_most(difference: float) -> float:
        """P(treatment - control <= difference), integrated over the one that is known better."""
        if treatment.spread < control.spread:
            return treatment.expect(lambda rate: 1.0 - control.cdf(rate - difference), splits=(difference,))
        return control.expect(lambda rate: treatment.cdf(rate + difference), splits=(-difference,))

    return PosteriorDifference(
        treatment.mean - control.mean,
        _root(at_most, alpha / 2.0),
        _root(at_most, 1.0 - alpha / 2.0),
        1.0 - at_most(0.0),
    )


def paired_beta_binomial(
    n_better: int,
    n_worse: int,
    n: int,
    *,
    prior: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
    alpha: float = 0.05,
) -> PosteriorDifference:
    """The paired difference of proportions, with a Dirichlet `prior` on the four kinds of pair.

    The share of discordant pairs and the share of better ones among these are then independent betas;
    P(treatment > control) is a value of the incomplete beta function.

    >>> round(paired_beta_binomial(1, 0, 1).probability_better, 6)
    0.75

    Args:
        n_better, n_worse, n: pairs that the treatment alone has right, that the control alone has, and all.
        prior: counts added to better, worse, both right, both wrong; uniform unless given.
        alpha: the credible interval holds 1 - alpha.
    Raises:
        DataError: counts that are not possible, or a prior that is not above 0.
    Source: Altham (1971), The Analysis of Matched Proportions, Biometrika 58.
    """
    if min(n_better, n_worse) < 0 or n_better + n_worse > n:
        raise DataError(f"{n_better} better and {n_worse} worse of {n} pairs is not possible")
    _check_prior(prior)
    better, worse = prior[0] + n_better, prior[1] + n_worse
    total = sum(prior) + n
    discordant, among = _Beta(better + worse, total - better - worse), _Beta(better, worse)

    def at_most(difference: float) -> float:
        return discordant.expect(
            lambda share: among.cdf((1.0 + difference / share) / 2.0), splits=(abs(difference),)
        )

    return PosteriorDifference(
        (better - worse) / total,
        _root(at_most, alpha / 2.0),
        _root(at_most, 1.0 - alpha / 2.0),
        float(special.betaincc(better, worse, 0.5)),
    )


@dataclass(frozen=True, slots=True)
class _Beta:
    a: float
    b: float

    @property
    def mean(self) -> float:
        return self.a / (self.a + self.b)

    @property
    def spread(self) -> float:
        total = self.a + self.b
        return math.sqrt(self.a * self.b / (total + 1.0)) / total

    def cdf(self, x: Floats) -> Floats:
        values: Floats = special.betainc(self.a, self.b, np.clip(x, 0.0, 1.0))
        return values

    def expect(self, of: Callable[[Floats], Floats], *, splits: tuple[float, ...]) -> float:
        """The mean of `of`, smooth but at `splits`: Gauss-Legendre in the angle, x = sin^2.

        In the angle a density with parameters from 1/2 up is finite at both ends.
        """
        ends = special.betaincinv(self.a, self.b, np.array([0.0, _TAIL, 1.0 - _TAIL, 1.0]))
        low, high = float(ends[1]), float(ends[2])
        inner = sorted(x for x in splits if low < x < high)
        total = 0.0
        for start, end in zip([low, *inner], [*inner, high], strict=True):
            first, last = math.asin(math.sqrt(start)), math.asin(math.sqrt(end))
            angle = first + (last - first) * (_NODES + 1.0) / 2.0
            density = self._angle_density(angle)
            total += (last - first) / 2.0 * float(_WEIGHTS @ (density * of(np.sin(angle) ** 2)))
        return total

    def _angle_density(self, angle: Floats) -> Floats:
        log_density = (
            math.log(2.0)
            + (2.0 * self.a - 1.0) * np.log(np.sin(angle))
            + (2.0 * self.b - 1.0) * np.log(np.cos(angle))
            - special.betaln(self.a, self.b)
        )
        density: Floats = np.exp(log_density)
        return density


def _root(at_most: Callable[[float], float], level: float) -> float:
    return float(optimize.brentq(lambda value: at_most(value) - level, -1.0, 1.0, xtol=1e-12))


def _check_prior(prior: tuple[float, ...]) -> None:
    if not all(value > 0.0 for value in prior):
        raise DataError(f"the parameters of a prior must be above 0; they are {prior}")
