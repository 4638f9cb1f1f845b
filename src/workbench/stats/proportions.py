"""Scores that are 0 or 1: intervals of a proportion and of two, and McNemar's tests of paired ones."""

import math
from dataclasses import dataclass

from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.estimate import Estimate


@dataclass(frozen=True, slots=True)
class ChiSquare:
    """A chi-square `statistic` with `df` degrees of freedom and its `p_value`, which is two-sided for one."""

    statistic: float
    df: int
    p_value: float


def wilson(n_successes: int, n: int, *, alpha: float = 0.05) -> Estimate:
    """A proportion and its score interval at level 1 - `alpha`; never empty, never outside [0, 1].

    >>> wilson(0, 10).high < 0.3
    True

    Raises:
        InsufficientDataError: `n` is 0.
        DataError: more successes than trials, or fewer than none.
    Source: Wilson (1927), Probable Inference, JASA 22; Brown, Cai & DasGupta (2001).
    """
    _check(n_successes, n)
    z2 = float(stats.norm.isf(alpha / 2.0)) ** 2
    share = n_successes / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    margin = math.sqrt(z2 * (share * (1 - share) + z2 / (4 * n)) / n) / (1 + z2 / n)
    low = 0.0 if n_successes == 0 else centre - margin
    high = 1.0 if n_successes == n else centre + margin
    return Estimate(share, low, high)


def clopper_pearson(n_successes: int, n: int, *, alpha: float = 0.05) -> Estimate:
    """A proportion and its exact interval: covers at least 1 - `alpha` whatever the proportion, often more.

    >>> round(clopper_pearson(0, 10).high, 4)
    0.3085

    Errors as in `wilson`.
    Source: Clopper & Pearson (1934), Biometrika 26; as quantiles of the beta distribution.
    """
    _check(n_successes, n)
    k, rest = n_successes, n - n_successes
    low = float(stats.beta.ppf(alpha / 2.0, k, rest + 1)) if k else 0.0
    high = float(stats.beta.isf(alpha / 2.0, k + 1, rest)) if rest else 1.0
    return Estimate(k / n, low, high)


def newcombe(
    n_successes_treatment: int,
    n_treatment: int,
    n_successes_control: int,
    n_control: int,
    *,
    alpha: float = 0.05,
) -> Estimate:
    """The difference of two independent proportions, treatment minus control, from two Wilson intervals.

    No continuity correction. It keeps a width where both proportions are 0 or 1, as Wald's does not.

    >>> round(newcombe(56, 70, 48, 80).low, 4)
    0.0524

    Errors as in `wilson`.
    Source: Newcombe (1998), Interval Estimation for the Difference between Independent Proportions,
        Statistics in Medicine 17, 873-890, method 10.
    """
    first = wilson(n_successes_treatment, n_treatment, alpha=alpha)
    second = wilson(n_successes_control, n_control, alpha=alpha)
    difference = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(difference, difference - below, difference + above)


def two_sample_proportions(
    n_successes_treatment: int, n_treatment: int, n_successes_control: int, n_control: int
) -> ChiSquare:
    """Pearson's test that two independent proportions are equal, variance pooled, no continuity correction.

    Where neither sample varies p is 1. Errors as in `wilson`.
    Source: Pearson (1900); Campbell (2007), Chi-squared and Fisher-Irwin tests, Statistics in Medicine 26.
    """
    _check(n_successes_treatment, n_treatment)
    _check(n_successes_control, n_control)
    pooled = (n_successes_treatment + n_successes_control) / (n_treatment + n_control)
    if pooled in (0.0, 1.0):
        return ChiSquare(0.0, 1, 1.0)
    difference = n_successes_treatment / n_treatment - n_successes_control / n_control
    statistic = difference**2 / (pooled * (1.0 - pooled) * (1.0 / n_treatment + 1.0 / n_control))
    return _chi_square(statistic)


def mcnemar(n_better: int, n_worse: int) -> float:
    """Exact two-sided p-value that `n_better` and `n_worse` discordant pairs are equally likely.

    Without a discordant pair it is 1.

    >>> mcnemar(5, 0)
    0.0625

    Source: McNemar (1947), Psychometrika 12; exact form: binomial(n_better + n_worse, 1/2).
    """
    n = _discordant(n_better, n_worse)
    return min(1.0, 2.0 * float(stats.binom.cdf(min(n_better, n_worse), n, 0.5)))


def mcnemar_midp(n_better: int, n_worse: int) -> float:
    """The same with half the probability of what was observed: less conservative, close to its level.

    Source: Fagerland, Lydersen & Laake (2013), BMC Medical Research Methodology 13:91.
    """
    n = _discordant(n_better, n_worse)
    observed = float(stats.binom.pmf(n_better, n, 0.5))
    return mcnemar(n_better, n_worse) - observed if n_better != n_worse else 1.0 - observed / 2.0


def mcnemar_asymptotic(n_better: int, n_worse: int, *, correction: bool = False) -> ChiSquare:
    """The chi-square form: (b - c)^2 / (b + c), or (|b - c| - 1)^2 / (b + c) with continuity `correction`.

    Without a discordant pair p is 1. The correction (Edwards 1948) makes it more conservative than the exact
    test needs; R's mcnemar.test applies it unless told otherwise.

    >>> mcnemar_asymptotic(10, 0).statistic
    10.0

    Source: McNemar (1947), Psychometrika 12; Edwards (1948), Psychometrika 13.
    """
    n = _discordant(n_better, n_worse)
    if n == 0:
        return ChiSquare(0.0, 1, 1.0)
    excess = abs(n_better - n_worse)
    return _chi_square(max(excess - int(correction), 0) ** 2 / n)


def _chi_square(statistic: float) -> ChiSquare:
    return ChiSquare(statistic, 1, float(stats.chi2.sf(statistic, 1)))


def _check(n_successes: int, n: int) -> None:
    if n < 1:
        raise InsufficientDataError("a proportion needs at least 1 trial; there is none")
    if not 0 <= n_successes <= n:
        raise DataError(f"{n_successes} successes in {n} trials is not a proportion")


def _discordant(n_better: int, n_worse: int) -> int:
    if n_better < 0 or n_worse < 0:
        raise DataError(f"counts of pairs cannot be negative: {n_better} better, {n_worse} worse")
    return n_better + n_worse
