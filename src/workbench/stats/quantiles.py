"""Quantiles, such as of latency, with intervals that assume no distribution."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.clusters import codes_of
from workbench.stats.estimate import Estimate

Floats = NDArray[np.float64]

_CHUNK = 4_000_000
"""Rows resampled at a time, so that memory does not grow with the table."""


@dataclass(frozen=True, slots=True)
class Quantile:
    """`value` is the sample quantile by linear interpolation (type 7); `low` and `high` are observations.

    `level` is the exact probability, at least the one asked for, that they enclose the true quantile of a
    continuous distribution. -inf or inf where too few observations lie on that side to say.
    """

    value: float
    low: float
    high: float
    level: float


def quantile(values: np.ndarray, q: float, *, alpha: float = 0.05) -> Quantile:
    """The `q` quantile of independent `values` [N] with its order-statistic interval; unit of the values.

    Each tail beyond the interval has at most `alpha` / 2: the lower limit is the largest X(l) with
    P(Bin(N, q) < l) <= alpha / 2, the upper the smallest X(u) with P(Bin(N, q) >= u) <= alpha / 2.

    >>> quantile(np.arange(1.0, 101.0), 0.5).low
    40.0

    Raises:
        DataError: a NaN, or `q` not in (0, 1).
        InsufficientDataError: no values.
    Source: Conover (1999), Practical Nonparametric Statistics, sec. 3.2; Hyndman & Fan (1996) for type 7.
    """
    _check(values, q)
    n, ordered = len(values), np.sort(values)
    n_below = int(stats.binom.ppf(alpha / 2.0, n, q))  # the least k with P(Bin <= k) >= alpha / 2
    low_rank = n_below if stats.binom.cdf(n_below - 1, n, q) <= alpha / 2.0 else n_below - 1
    high_rank = int(stats.binom.isf(alpha / 2.0, n, q)) + 1
    level = float(stats.binom.cdf(high_rank - 1, n, q) - stats.binom.cdf(low_rank - 1, n, q))
    return Quantile(
        float(np.quantile(ordered, q)),
        float(ordered[low_rank - 1]) if low_rank >= 1 else -math.inf,
        float(ordered[high_rank - 1]) if high_rank <= n else math.inf,
        level,
    )


def paired_quantile_difference(
    treatment: np.ndarray,
    control: np.ndarray,
    q: float,
    clusters: np.ndarray | None = None,
    *,
    alpha: float = 0.05,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """The `q` quantile of `treatment` less that of `control`, [N] of the same prompts.

    By percentile bootstrap: prompts, or whole clusters, are drawn with both their values. It is not the
    quantile of the differences. It needs some ten values beyond the quantile: 200 prompts for 95 %.

    Args:
        clusters: [N] equal for prompts that are not independent.
    Raises:
        DataError: a NaN, unequal lengths, or `q` not in (0, 1).
        InsufficientDataError: fewer than two prompts or clusters.
    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 13; Davison & Hinkley (1997),
        sec. 2.6 for quantiles.
    """
    _check(treatment, q)
    _check(control, q)
    if treatment.shape != control.shape:
        raise DataError(f"{len(treatment)} treatments do not pair with {len(control)} controls")
    codes = codes_of(clusters, len(treatment))
    if codes.max() < 1:
        raise InsufficientDataError("a bootstrap needs 2 prompts or clusters; there is 1")
    random = np.random.default_rng(seed)
    both = np.stack([treatment, control])
    if clusters is None:
        drawn = _resampled(both, q, n_resamples, random)
    else:
        drawn = _resampled_clusters(both, q, codes, n_resamples=n_resamples, random=random)
    low, high = np.quantile(drawn, [alpha / 2.0, 1.0 - alpha / 2.0])
    value = float(np.quantile(treatment, q) - np.quantile(control, q))
    return Estimate(value, float(low), float(high))


def _resampled(both: Floats, q: float, n_resamples: int, random: np.random.Generator) -> Floats:
    """[2, N] -> [n_resamples] differences of quantiles."""
    n = both.shape[1]
    n_rows = max(1, _CHUNK // n)
    parts = []
    for start in range(0, n_resamples, n_rows):
        rows = random.integers(n, size=(min(n_rows, n_resamples - start), n))
        first, second = (np.quantile(values[rows], q, axis=1) for values in both)
        parts.append(first - second)
    return np.concatenate(parts)


def _resampled_clusters(
    both: Floats, q: float, codes: NDArray[np.int64], *, n_resamples: int, random: np.random.Generator
) -> Floats:
    """The same with whole clusters drawn, which differ in size, so one resample at a time."""
    order = np.argsort(codes, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    drawn = np.empty(n_resamples)
    for row in range(n_resamples):
        rows = np.concatenate([members[code] for code in random.integers(len(members), size=len(members))])
        first, second = np.quantile(both[:, rows], q, axis=1)
        drawn[row] = first - second
    return drawn


def _check(values: np.ndarray, q: float) -> None:
    if not 0.0 < q < 1.0:
        raise DataError(f"a quantile lies between 0 and 1, such as 0.95; it is {q}")
    if len(values) == 0:
        raise InsufficientDataError("a quantile needs a value; there is none")
    if np.isnan(values).any():
        raise DataError("a value is NaN; leave out the calls without a latency")
