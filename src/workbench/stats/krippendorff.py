"""Krippendorff's alpha: agreement of any number of raters, on any scale, with ratings missing.

U units, C distinct ratings, B resamples. Alpha is 1 - observed / expected disagreement, each the mean squared
distance of two ratings: of the same unit, or of any.
Source: Krippendorff (2019), Content Analysis, ch. 12; Krippendorff (2011), Computing Krippendorff's
    Alpha-Reliability, repository.upenn.edu/asc_papers/43.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.sparse import csr_array

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.estimate import Estimate

Level = Literal["nominal", "ordinal", "interval", "ratio"]

_CHUNK = 2_000_000
"""Numbers held at a time for the resamples: 16 MB."""


@dataclass(frozen=True, slots=True)
class KrippendorffAlpha:
    """Alpha with its bootstrap interval over units; 1 is agreement, 0 what chance would give.

    Both disagreements are mean squared distances. `n_units` have two ratings or more, `n_ratings` in all.
    """

    estimate: Estimate
    observed_disagreement: float
    expected_disagreement: float
    n_units: int
    n_ratings: int


def krippendorff_alpha(
    ratings: np.ndarray,
    *,
    level_of_measurement: Level = "nominal",
    alpha: float = 0.05,
    n_resamples: int = 2000,
    seed: int = 0,
) -> KrippendorffAlpha:
    """Agreement of the ratings [raters, U] with a percentile interval at level 1 - `alpha`.

    Units are resampled whole, and both disagreements computed anew in each resample; one in which all ratings
    are the same is left out. Where no disagreement was seen, the lower limit is that of a share of
    1 - (alpha/2)^(1/U) of it, at the greatest distance seen.

    >>> ratings = np.array([[1, 2, 2, 1], [1, 2, np.nan, 1], [1, 2, 1, 1]])
    >>> round(krippendorff_alpha(ratings).estimate.value, 3)
    0.643

    Args:
        ratings: [raters, U] numbers, NaN where missing; units with fewer than two ratings say nothing.
        level_of_measurement: how far two ratings are apart: "nominal" 0 or 1; "ordinal" the ranks between;
            "interval" their difference; "ratio" that over their sum.
    Raises:
        DataError: not a table, an infinite rating, a negative one on a ratio scale, or all the same.
        InsufficientDataError: fewer than two units with two ratings.
    """
    units = _units(np.asarray(ratings, dtype=np.float64), level_of_measurement)
    value = _disagreements(units, np.ones((1, units.table.shape[0])))
    observed, expected = (float(part[0]) for part in value)
    if expected == 0.0:
        raise DataError("all ratings are the same: alpha is not defined, as chance would agree as well")
    if observed == 0.0:
        share = 1.0 - (alpha / 2.0) ** (1.0 / units.table.shape[0])
        low, high = 1.0 - share * _greatest_distance(units) / expected, 1.0
    else:
        alphas = _resampled(units, n_resamples=n_resamples, seed=seed)
        low, high = np.quantile(alphas, [alpha / 2.0, 1.0 - alpha / 2.0])
    return KrippendorffAlpha(
        estimate=Estimate(1.0 - observed / expected, float(low), float(high)),
        observed_disagreement=observed,
        expected_disagreement=expected,
        n_units=units.table.shape[0],
        n_ratings=round(float(units.sizes.sum())),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Units:
    """`table` [U, C] sparse counts, `sizes` [U] ratings of each unit, `values` [C] the distinct ratings."""

    table: csr_array
    sizes: np.ndarray
    values: np.ndarray
    level: Level


def _units(ratings: np.ndarray, level: Level) -> _Units:
    if ratings.ndim != 2 or np.isinf(ratings).any():
        raise DataError(f"ratings must be a finite table of raters by units; its shape is {ratings.shape}")
    if level not in get_args(Level):
        raise DataError(f"level_of_measurement must be one of {', '.join(get_args(Level))}; got {level!r}")
    is_given = ~np.isnan(ratings)
    is_given &= is_given.sum(axis=0) >= 2
    kept = np.flatnonzero(is_given.any(axis=0))
    if len(kept) < 2:
        raise InsufficientDataError(f"alpha needs 2 units that were rated twice; there are {len(kept)}")
    _, unit = np.nonzero(is_given)
    values, code = np.unique(ratings[is_given], return_inverse=True)
    if level == "ratio" and values[0] < 0.0:
        raise DataError(f"a ratio scale has no negative ratings; the least is {values[0]:g}")
    place = np.searchsorted(kept, unit)
    table = csr_array((np.ones(len(code)), (place, code)), shape=(len(kept), len(values)))
    return _Units(table, np.asarray(table.sum(axis=1)).ravel(), values, level)


def _disagreements(units: _Units, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[B, U] how often each unit counts -> [B] observed and [B] expected mean squared distance."""
    totals = weights @ units.table
    n = totals.sum(axis=1)
    within, between = _sums_of_squares(units, weights, totals)
    return within / n, between / (n * np.maximum(n - 1.0, 1.0))


def _sums_of_squares(units: _Units, weights: np.ndarray, totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[B] over ordered pairs within units, each unit over its ratings less one, and [B] over all pairs."""
    table, sizes = units.table, units.sizes
    if units.level == "nominal":
        within = sizes**2 - np.asarray((table * table).sum(axis=1)).ravel()
        n = totals.sum(axis=1)
        return weights @ (within / (sizes - 1.0)), n**2 - (totals**2).sum(axis=1)
    if units.level == "ratio":
        squares = _ratio_squares(units.values)
        within = np.asarray((table * (table @ squares)).sum(axis=1)).ravel()
        return weights @ (within / (sizes - 1.0)), ((totals @ squares) * totals).sum(axis=1)
    scores = units.values[None, :]
    if units.level == "ordinal":
        scores = np.cumsum(totals, axis=1) - totals / 2.0
    scores = scores - (totals * scores).sum(axis=1, keepdims=True) / totals.sum(axis=1, keepdims=True)
    sums, squared = (table @ scores.T).T, (table @ (scores**2).T).T
    within = 2.0 * (sizes * squared - sums**2)
    between = 2.0 * totals.sum(axis=1) * (totals * scores**2).sum(axis=1)
    return (weights * within / (sizes - 1.0)).sum(axis=1), between


def _ratio_squares(values: np.ndarray) -> np.ndarray:
    """[C, C] squared distances on a ratio scale; 0 from 0 is 0."""
    total = np.add.outer(values, values)
    return np.asarray((np.subtract.outer(values, values) / np.where(total > 0.0, total, 1.0)) ** 2)


def _greatest_distance(units: _Units) -> float:
    """The greatest squared distance of two ratings that were given."""
    if units.level == "nominal":
        return 1.0
    if units.level == "ratio":
        return float(_ratio_squares(units.values).max())
    totals = np.asarray(units.table.sum(axis=0)).ravel()
    scores = np.cumsum(totals) - totals / 2.0 if units.level == "ordinal" else units.values
    return float((scores[-1] - scores[0]) ** 2)


def _resampled(units: _Units, *, n_resamples: int, seed: int) -> np.ndarray:
    """Alpha of each resample of units in which not all ratings are the same."""
    random, n_units = np.random.default_rng(seed), units.table.shape[0]
    n_rows, alphas = max(1, _CHUNK // max(units.table.shape)), []
    for start in range(0, n_resamples, n_rows):
        size = min(n_rows, n_resamples - start)
        drawn = random.integers(n_units, size=(size, n_units)) + n_units * np.arange(size)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=size * n_units).reshape(size, n_units)
        observed, expected = _disagreements(units, weights.astype(np.float64))
        alphas.append(1.0 - observed[expected > 0.0] / expected[expected > 0.0])
    return np.concatenate(alphas)
