"""Scores that are 0 or 1: the interval of a proportion, and the exact test of a paired difference."""

import math

from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.estimate import Estimate


def wilson(n_successes: int, n: int, *, alpha: float = 0.05) -> Estimate:
    """A proportion and its score interval at level 1 - `alpha`; never empty, never outside [0, 1].

    >>> wilson(0, 10).high < 0.3
    True

    Raises:
        InsufficientDataError: `n` is 0.
        DataError: more successes than trials, or fewer than none.
    Source: Wilson (1927), Probable Inference, JASA 22; Brown, Cai & DasGupta (2001).
    """
    if n < 1:
        raise InsufficientDataError("a proportion needs at least 1 trial; there is none")
    if not 0 <= n_successes <= n:
        raise DataError(f"{n_successes} successes in {n} trials is not a proportion")
    z2 = float(stats.norm.isf(alpha / 2.0)) ** 2
    share = n_successes / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    margin = math.sqrt(z2 * (share * (1 - share) + z2 / (4 * n)) / n) / (1 + z2 / n)
    low = 0.0 if n_successes == 0 else centre - margin
    high = 1.0 if n_successes == n else centre + margin
    return Estimate(share, low, high)


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


def _discordant(n_better: int, n_worse: int) -> int:
    if n_better < 0 or n_worse < 0:
        raise DataError(f"counts of pairs cannot be negative: {n_better} better, {n_worse} worse")
    return n_better + n_worse
