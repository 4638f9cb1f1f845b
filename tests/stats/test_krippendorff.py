"""Krippendorff's alpha against his published example, its definition pair by pair, and simulation."""

import itertools

import numpy as np
import pytest
from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.krippendorff import krippendorff_alpha

MISSING = np.nan
EXAMPLE = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, MISSING, MISSING, MISSING],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, MISSING, 3],
        [MISSING, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, MISSING],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, MISSING],
    ]
)
LEVELS = ["nominal", "ordinal", "interval", "ratio"]


@pytest.mark.parametrize(
    ("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849), ("ratio", 0.797)]
)
def test_example_has_the_published_value(level, published):
    # Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, example C and its scales.
    result = krippendorff_alpha(EXAMPLE, level_of_measurement=level)
    assert result.estimate.value == pytest.approx(published, abs=6e-4)
    assert (result.n_units, result.n_ratings) == (11, 40)


def by_definition(ratings: np.ndarray, level: str) -> float:
    """Alpha from all ordered pairs of ratings, with the distances as Krippendorff writes them."""
    units = [column[~np.isnan(column)] for column in ratings.T]
    units = [unit for unit in units if len(unit) >= 2]
    everything = np.concatenate(units)

    def distance(one: float, other: float) -> float:
        low, high = sorted((one, other))
        between = sum((everything == rank).sum() for rank in np.unique(everything) if low <= rank <= high)
        ends = ((everything == low).sum() + (everything == high).sum()) / 2.0
        squares = {
            "nominal": float(one != other),
            "ordinal": float(between - ends) ** 2 if one != other else 0.0,
            "interval": (one - other) ** 2,
            "ratio": ((one - other) / (one + other)) ** 2,
        }
        return squares[level]

    within = sum(
        sum(distance(one, other) for one, other in itertools.permutations(unit, 2)) / (len(unit) - 1)
        for unit in units
    )
    between = sum(distance(one, other) for one, other in itertools.permutations(everything, 2))
    n = len(everything)
    return 1.0 - (within / n) / (between / (n * (n - 1)))


@pytest.mark.parametrize("level", LEVELS)
def test_value_is_that_of_the_definition(level):
    random = np.random.default_rng(2)
    ratings = random.choice([1.0, 2.0, 4.0, 7.0], size=(3, 25))
    ratings[1] = np.where(random.random(25) < 0.6, ratings[0], ratings[1])
    ratings[random.random((3, 25)) < 0.2] = MISSING
    ours = krippendorff_alpha(ratings, level_of_measurement=level).estimate.value
    assert ours == pytest.approx(by_definition(ratings, level))


@pytest.mark.parametrize("level", LEVELS)
def test_a_resample_of_units_has_the_alpha_of_its_ratings(level):
    ends = krippendorff_alpha(EXAMPLE, level_of_measurement=level, n_resamples=8, seed=5).estimate
    kept, random = EXAMPLE[:, :11].copy(), np.random.default_rng(5)
    kept[:, 9:] = EXAMPLE[:, 9:11]
    drawn = random.integers(11, size=(8, 11))
    alphas = [by_definition(kept[:, units], level) for units in drawn]
    assert (ends.low, ends.high) == pytest.approx(tuple(np.quantile(alphas, [0.025, 0.975])))


def test_ordinal_alpha_knows_only_the_order():
    stretched = np.where(EXAMPLE == 5.0, 90.0, EXAMPLE)
    ours = krippendorff_alpha(stretched, level_of_measurement="ordinal")
    assert ours.estimate == krippendorff_alpha(EXAMPLE, level_of_measurement="ordinal").estimate


def test_raters_without_disagreement_keep_a_wide_interval():
    ratings = np.tile([1.0, 2.0, 1.0, 2.0, 1.0, 2.0], (2, 1))
    result = krippendorff_alpha(ratings)
    assert result.estimate.value == result.estimate.high == 1.0
    assert result.estimate.low < 0.3


def test_interval_covers_as_often_as_it_says():
    # Two raters say 1 or 2 with probability 1/2; the second repeats the first with 0.6, so alpha is 0.6.
    random = np.random.default_rng(6)
    n_covered = 0
    for seed in range(200):
        first, other = random.integers(1, 3, size=(2, 100)).astype(float)
        second = np.where(random.random(100) < 0.6, first, other)
        interval = krippendorff_alpha(np.stack([first, second]), n_resamples=200, seed=seed).estimate
        n_covered += interval.low <= 0.6 <= interval.high
    assert stats.binomtest(n_covered, 200, 0.94, alternative="less").pvalue > 1e-3


@pytest.mark.parametrize(
    ("ratings", "level", "error"),
    [
        ([[1, 2], [1, 2]], "ordered", DataError),
        ([[1, 1], [1, 1]], "nominal", DataError),
        ([[1, 2], [MISSING, 2]], "nominal", InsufficientDataError),
        ([[1, np.inf], [2, 2]], "interval", DataError),
        ([[-1, 2], [2, 2]], "ratio", DataError),
        ([1, 2], "nominal", DataError),
    ],
    ids=["unknown level", "constant", "one unit", "infinite", "negative ratio", "no table"],
)
def test_bad_ratings_are_refused(ratings, level, error):
    with pytest.raises(error):
        krippendorff_alpha(np.array(ratings, dtype=float), level_of_measurement=level)
