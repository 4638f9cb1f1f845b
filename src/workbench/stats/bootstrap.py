"""Bootstrap of a mean and of a ratio of means, by prompt or by cluster: percentile, basic and BCa intervals.

G units (prompts or clusters), K kinds of unit. Only sums matter to a mean, so a resample is the counts of
the kinds: exactly multinomial where there are few kinds, as with 0/1 scores.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.clusters import codes_of
from workbench.stats.estimate import Estimate

Method = Literal["percentile", "basic", "BCa"]
Floats = NDArray[np.float64]

_MAX_KINDS = 256
_MAX_DRAWS = 8_000_000
"""Units times resamples that are drawn one by one, about 0.1 s; beyond it by strata."""
_CHUNK = 2_000_000
"""Numbers drawn at a time: 16 MB, so that memory does not grow with the table."""


def bootstrap_mean(
    values: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    alpha: float = 0.05,
    n_resamples: int = 2000,
    seed: int = 0,
    method: Method = "percentile",
) -> Estimate:
    """The mean of `values` [N] with a bootstrap interval; unit of the values. For pairs: their differences.

    Args and errors as in `bootstrap_ratio`.
    """
    return bootstrap_ratio(
        values,
        np.ones(len(values)),
        clusters,
        alpha=alpha,
        n_resamples=n_resamples,
        seed=seed,
        method=method,
    )


def bootstrap_ratio(
    numerator: np.ndarray,
    denominator: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    alpha: float = 0.05,
    n_resamples: int = 2000,
    seed: int = 0,
    method: Method = "percentile",
) -> Estimate:
    """mean(`numerator`) / mean(`denominator`), paired, with a bootstrap interval at level 1 - `alpha`.

    Whole clusters are resampled where they are given, else prompts. What is drawn: with at most 256
    different units, their exact multinomial counts; with at most 8 million units times resamples, each unit;
    else exact multinomial counts of 256 strata of units whose influence is alike, and for what varies within
    strata a normal with the mean and covariance it has given these counts. Of the variance of a mean that
    remainder is less than a thousandth (normal, exponential, t with 3 degrees of freedom, lognormal).

    >>> bootstrap_ratio(np.array([1.0, 2.0]), np.array([2.0, 4.0]))
    Estimate(value=0.5, low=0.5, high=0.5)

    Args:
        numerator, denominator: [N] of one prompt each, same order.
        clusters: [N] equal for prompts that are not independent.
        method: percentile: quantiles (linear, type 7) of the resamples; basic: these mirrored at the value;
            BCa: at levels corrected for bias and, by the jackknife, for skewness.
    Raises:
        DataError: not finite, of unequal length, or a denominator that is negative or adds up to 0.
        InsufficientDataError: fewer than two prompts or clusters.
    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 13 and 14; Davison & Hinkley
        (1997), sec. 3.8, for clusters.
    """
    _check(numerator, denominator)
    units = codes_of(clusters, len(numerator))
    above = np.bincount(units, weights=numerator).astype(np.float64)
    below = np.bincount(units, weights=denominator).astype(np.float64)
    if len(above) < 2:
        raise InsufficientDataError(f"a bootstrap needs 2 prompts or clusters; there is {len(above)}")
    ratios = _resampled_ratios(above, below, n_resamples=n_resamples, random=np.random.default_rng(seed))
    value = float(above.sum() / below.sum())
    levels = np.array([alpha / 2.0, 1.0 - alpha / 2.0])
    if method == "BCa":
        levels = _corrected_levels(levels, ratios, above, below)
    low, high = np.quantile(ratios, levels)
    if method == "basic":
        low, high = 2.0 * value - high, 2.0 * value - low
    return Estimate(value, float(low), float(high))


def _resampled_ratios(
    above: Floats, below: Floats, *, n_resamples: int, random: np.random.Generator
) -> Floats:
    """[G], [G] -> [at most n_resamples] ratios of sums; a resample that has nothing below is left out."""
    kinds, counts = np.unique(above + 1j * below, return_counts=True)
    if len(kinds) <= _MAX_KINDS:
        drawn = random.multinomial(len(above), counts / len(above), size=n_resamples)
        sums_above, sums_below = drawn @ kinds.real, drawn @ kinds.imag
    elif len(above) * n_resamples <= _MAX_DRAWS:
        sums_above, sums_below = _drawn_singly(above, below, n_resamples, random)
    else:
        sums_above, sums_below = _drawn_by_strata(above, below, n_resamples, random)
    is_defined = sums_below > 0.0
    ratios: Floats = sums_above[is_defined] / sums_below[is_defined]
    return ratios


def _drawn_singly(
    above: Floats, below: Floats, n_resamples: int, random: np.random.Generator
) -> tuple[Floats, Floats]:
    n_units = len(above)
    sums_above, sums_below = np.empty(n_resamples), np.empty(n_resamples)
    n_rows = max(1, _CHUNK // n_units)
    for start in range(0, n_resamples, n_rows):
        rows = slice(start, min(start + n_rows, n_resamples))
        drawn = random.integers(n_units, size=(rows.stop - start, n_units))
        sums_above[rows], sums_below[rows] = above[drawn].sum(axis=1), below[drawn].sum(axis=1)
    return sums_above, sums_below


def _drawn_by_strata(
    above: Floats, below: Floats, n_resamples: int, random: np.random.Generator
) -> tuple[Floats, Floats]:
    """Exact counts of strata, and a normal remainder for what is in them."""
    strata = _strata(above - above.sum() / below.sum() * below)
    sizes = np.bincount(strata)
    drawn = random.multinomial(len(above), sizes / len(above), size=n_resamples).astype(np.float64)
    mean_above = np.bincount(strata, weights=above) / sizes
    mean_below = np.bincount(strata, weights=below) / sizes
    rest_above, rest_below = above - mean_above[strata], below - mean_below[strata]
    var_above, var_below, covariance = (
        drawn @ (np.bincount(strata, weights=product) / sizes)
        for product in (rest_above**2, rest_below**2, rest_above * rest_below)
    )
    spread = np.sqrt(np.maximum(var_above, 0.0))
    slope = np.divide(covariance, spread, out=np.zeros_like(spread), where=spread > 0.0)
    first, second = random.standard_normal((2, n_resamples))
    sums_above = drawn @ mean_above + spread * first
    own = np.sqrt(np.maximum(var_below - slope**2, 0.0))
    return sums_above, drawn @ mean_below + slope * first + own * second


def _strata(influence: Floats) -> NDArray[np.int64]:
    """[G] at most 256 neighbourhoods in the order of influence: units far out share theirs with few."""
    order = np.argsort(influence, kind="stable")
    square = influence[order] ** 2
    weight = square + square.mean()
    share = (np.cumsum(weight) - weight / 2.0) / weight.sum()
    strata = np.empty(len(influence), dtype=np.int64)
    strata[order] = np.unique(np.floor(share * _MAX_KINDS), return_inverse=True)[1]
    return strata


def _corrected_levels(levels: Floats, ratios: Floats, above: Floats, below: Floats) -> Floats:
    """The levels at which BCa reads the resamples; those given where all resamples agree."""
    value = above.sum() / below.sum()
    n_below = np.sum(ratios < value) + np.sum(ratios <= value)
    bias = stats.norm.ppf(n_below / (2.0 * len(ratios)))
    rest = below.sum() - below
    without = np.divide(above.sum() - above, rest, out=np.full(len(above), value), where=rest > 0.0)
    pull = without.mean() - without
    spread = float(np.sum(pull**2)) ** 1.5
    if spread == 0.0 or not np.isfinite(bias):
        return levels
    skewness = float(np.sum(pull**3)) / (6.0 * spread)
    moved = bias + stats.norm.ppf(levels)
    corrected: Floats = stats.norm.cdf(bias + moved / (1.0 - skewness * moved))
    return corrected


def _check(numerator: np.ndarray, denominator: np.ndarray) -> None:
    if numerator.shape != denominator.shape:
        raise DataError(f"{len(numerator)} numerators do not pair with {len(denominator)} denominators")
    if len(numerator) < 2:
        raise InsufficientDataError(f"a bootstrap needs at least 2 prompts; there is {len(numerator)}")
    if not (np.isfinite(numerator).all() and np.isfinite(denominator).all()):
        raise DataError("a bootstrap needs finite numbers; leave out the pairs that have none")
    if denominator.min() < 0.0 or denominator.sum() == 0.0:
        raise DataError("the denominator of a ratio must be >= 0 and not all 0")
