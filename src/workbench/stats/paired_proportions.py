"""0/1 scores of two arms on the same prompts: how far the proportions differ, and the odds of it.

`n_better` pairs are 1 for the treatment alone, `n_worse` for the control alone, `n` counts all pairs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from scipy import optimize, stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.estimate import Estimate
from workbench.stats.proportions import clopper_pearson


@dataclass(frozen=True, slots=True)
class PairedProportions:
    """`estimate` is (n_better - n_worse) / n, the difference of the two arms' proportions.

    `z` is its score statistic against 0, the root of McNemar's chi-square; `p_value` is two-sided, by the
    normal distribution, without continuity correction.
    """

    estimate: float
    z: float
    p_value: float
    n_better: int
    n_worse: int
    n: int

    def interval(self, alpha: float = 0.05) -> Estimate:
        """Tango's score interval: the differences that the score test at level `alpha` does not reject."""
        z = float(stats.norm.isf(alpha / 2.0))
        low = _limit(lambda value: self.score(value) - z, -1.0, self.estimate)
        high = -_limit(lambda value: -self.score(-value) - z, -1.0, -self.estimate)
        return Estimate(self.estimate, low, high)

    def score(self, difference: float) -> float:
        """The statistic against a true `difference` in [-1, 1]: it falls as that rises."""
        b, c, n, delta = self.n_better, self.n_worse, self.n, difference
        slope = (2 * n - b + c) * delta - b - c
        root = math.sqrt(max(slope * slope + 8.0 * n * c * delta * (1.0 - delta), 0.0))
        share_worse = (root - slope) / (4.0 * n)
        variance = n * (2.0 * share_worse + delta * (1.0 - delta))
        excess = b - c - n * delta
        if variance <= 0.0:
            return 0.0 if excess == 0.0 else math.copysign(math.inf, excess)
        return excess / math.sqrt(variance)

    def p_at_most(self, value: float) -> float:
        """One-sided score p-value that the true difference is at most `value`: small where it is larger."""
        return float(stats.norm.sf(self.score(value)))

    def p_at_least(self, value: float) -> float:
        """One-sided score p-value that the true difference is at least `value`: small where it is smaller."""
        return float(stats.norm.cdf(self.score(value)))


def tango(n_better: int, n_worse: int, n: int) -> PairedProportions:
    """The difference of two paired proportions with its score test and, by `.interval(alpha)`, interval.

    >>> interval = tango(40, 20, 160).interval()
    >>> round(interval.low, 4), round(interval.high, 4)
    (0.0309, 0.2181)

    Raises:
        DataError: a negative count, or more discordant pairs than pairs.
        InsufficientDataError: no pairs.
    Source: Tango (1998), Equivalence Test and Confidence Interval for the Difference in Proportions for the
        Paired-Sample Design, Statistics in Medicine 17, 891-908.
    """
    if n < 1:
        raise InsufficientDataError("a paired difference needs at least 1 pair; there is none")
    if min(n_better, n_worse) < 0 or n_better + n_worse > n:
        raise DataError(f"{n_better} better and {n_worse} worse of {n} pairs is not possible")
    pairs = PairedProportions((n_better - n_worse) / n, 0.0, 1.0, n_better, n_worse, n)
    z = pairs.score(0.0)
    return PairedProportions(
        pairs.estimate, z, min(1.0, 2.0 * float(stats.norm.sf(abs(z)))), n_better, n_worse, n
    )


def paired_odds_ratio(n_better: int, n_worse: int, *, alpha: float = 0.05) -> Estimate:
    """n_better / n_worse, the conditional odds ratio, with its exact interval; infinite if none is worse.

    The interval excludes 1 where McNemar's exact test is significant at `alpha`.

    >>> paired_odds_ratio(10, 5).value
    2.0

    Raises:
        DataError: a negative count.
        InsufficientDataError: no discordant pair.
    Source: Clopper-Pearson interval of b / (b + c), as odds; Fleiss, Levin & Paik (2003), sec. 13.1; R's
        exact2x2::mcnemar.exact.
    """
    if min(n_better, n_worse) < 0:
        raise DataError(f"counts of pairs cannot be negative: {n_better} better, {n_worse} worse")
    if n_better + n_worse == 0:
        raise InsufficientDataError("an odds ratio needs a discordant pair; there is none")
    share = clopper_pearson(n_better, n_better + n_worse, alpha=alpha)
    return Estimate(n_better / n_worse if n_worse else math.inf, _odds(share.low), _odds(share.high))


def _odds(share: float) -> float:
    return share / (1.0 - share) if share < 1.0 else math.inf


def _limit(excess: Callable[[float], float], least: float, estimate: float) -> float:
    """Where `excess` falls through 0 between `least` and `estimate`; `least` where it does not."""
    if estimate <= least or excess(least) <= 0.0:
        return least
    return float(optimize.brentq(excess, least, estimate, xtol=1e-14, rtol=1e-14))
