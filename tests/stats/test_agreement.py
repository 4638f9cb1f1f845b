"""Agreement of raters against published tables, SAS, irrCAC and statsmodels, and by simulation."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_fleiss

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.agreement import (
    cohen_kappa,
    cohen_kappa_counts,
    fleiss_kappa,
    gwet_ac1,
    rating_counts,
    raw_agreement,
)

SAS_TABLE = np.array([[0, 4, 1], [0, 8, 0], [0, 1, 5]])

DIAGNOSES = (
    "444444 222555 233335 555555 222444 113333 333355 113334 114444 555555 144444 124444 222333 144444 "
    "224445 333335 111455 111112 224444 133555 555555 244444 222455 114444 144445 222224 111155 224444 "
    "133333 555555"
)
"""Fleiss (1971), table 1: 30 patients, a digit for the diagnosis of each of six raters."""

MISSING = np.nan
RELIABILITY = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, MISSING, MISSING, MISSING],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, MISSING, 3],
        [MISSING, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, MISSING],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, MISSING],
    ]
)
"""Krippendorff (2011), example C: four observers, twelve units; irrCAC calls it cac.raw4raters."""


def expanded(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.nonzero(table)
    times = table[rows, columns]
    return np.repeat(rows, times), np.repeat(columns, times)


def test_kappa_has_the_error_interval_and_test_that_sas_prints():
    # SAS/STAT PROC FREQ, an example of AGREE: 0.4842, ASE 0.1380, [0.2137, 0.7547], p 0.0011.
    result = cohen_kappa(*expanded(SAS_TABLE))
    printed = [result.estimate.value, result.standard_error, result.estimate.low, result.estimate.high]
    assert printed == pytest.approx([0.4842, 0.1380, 0.2137, 0.7547], abs=5e-5)
    assert result.p_value == pytest.approx(0.0011, abs=5e-5)


def test_linear_kappa_has_the_error_interval_and_test_that_sas_prints():
    result = cohen_kappa_counts(SAS_TABLE, weights="linear")
    printed = [result.estimate.value, result.standard_error, result.estimate.low, result.estimate.high]
    assert printed == pytest.approx([0.4701, 0.1457, 0.1845, 0.7558], abs=5e-5)
    assert result.p_value == pytest.approx(0.0010, abs=5e-5)


@pytest.mark.parametrize("weights", [None, "linear", "quadratic"])
def test_kappa_is_that_of_statsmodels(weights):
    table = np.random.default_rng(3).integers(1, 20, size=(5, 5)) + 15 * np.eye(5, dtype=int)
    ours = cohen_kappa(*expanded(table), weights=weights)
    reference = cohens_kappa(table, wt={"quadratic": "quadratic", "linear": "linear", None: None}[weights])
    assert ours.estimate.value == pytest.approx(reference.kappa)
    assert ours.standard_error == pytest.approx(reference.std_kappa)
    assert (ours.estimate.low, ours.estimate.high) == pytest.approx(
        (reference.kappa_low, reference.kappa_upp)
    )
    assert ours.p_value == pytest.approx(reference.pvalue_two_sided)


def test_categories_may_be_text_and_their_order_may_be_given():
    first = np.array(["good", "fair", "poor", "fair", "poor"])
    second = np.array(["good", "poor", "poor", "good", "good"])
    ours = cohen_kappa(first, second, weights="linear", categories=["poor", "fair", "good"])
    order = {"poor": 0, "fair": 1, "good": 2}
    coded = [np.array([order[word] for word in ratings]) for ratings in (first, second)]
    assert ours == cohen_kappa(*coded, weights="linear")
    assert ours.estimate.value != pytest.approx(cohen_kappa(first, second, weights="linear").estimate.value)


def test_perfect_agreement_of_few_units_keeps_a_wide_interval():
    ratings = np.array([0, 1, 0, 1, 0, 1, 0, 1, 0, 1])
    result = cohen_kappa(ratings, ratings)
    share = stats.binomtest(0, 10).proportion_ci(0.95, method="exact").high
    assert result.estimate.value == result.estimate.high == 1.0
    assert result.estimate.low == pytest.approx(1.0 - share / 0.5)


def test_fleiss_kappa_of_the_diagnoses_is_the_published_one():
    counts = rating_counts(np.array([[int(digit) for digit in word] for word in DIAGNOSES.split()]).T)
    result = fleiss_kappa(counts)
    assert result.estimate.value == pytest.approx(0.430, abs=1e-3)  # the paper rounds on the way: 0.43096
    assert result.estimate.value == pytest.approx(statsmodels_fleiss(counts))
    assert result.observed_agreement == pytest.approx(0.5556, abs=5e-5)


def test_missing_ratings_give_the_values_and_errors_that_irrcac_documents():
    # Gwet, irrCAC (CRAN), gwet.ac1.raw and fleiss.kappa.raw of cac.raw4raters.
    counts = rating_counts(RELIABILITY)
    ac1, kappa = gwet_ac1(counts), fleiss_kappa(counts)
    assert (ac1.estimate.value, ac1.standard_error) == pytest.approx((0.77544, 0.14295), abs=5e-6)
    assert (kappa.estimate.value, kappa.standard_error) == pytest.approx((0.76117, 0.15302), abs=5e-6)
    assert ac1.estimate.low == pytest.approx(0.461, abs=5e-4)


def test_ac1_of_two_raters_by_hand():
    # 8 of 10 agree; the mean share of the first category is 0.9: chance 2 x 0.9 x 0.1 = 0.18.
    counts = np.array([[2, 0]] * 8 + [[1, 1]] * 2)
    assert gwet_ac1(counts).estimate.value == pytest.approx((0.8 - 0.18) / 0.82)
    assert fleiss_kappa(counts).estimate.value < 0.0


def test_categories_that_nobody_chose_count_in_ac1():
    ratings = np.array([[1, 2, 2, 1], [1, 2, 1, 1]])
    wide = gwet_ac1(rating_counts(ratings, categories=[1, 2, 3, 4]))
    assert wide.expected_agreement == pytest.approx(gwet_ac1(rating_counts(ratings)).expected_agreement / 3)


@pytest.mark.parametrize("statistic", ["cohen", "fleiss", "ac1"])
def test_intervals_cover_as_often_as_they_say(statistic):
    random = np.random.default_rng(8)
    n_covered, n_runs, truth = 0, 300, _truth(statistic)
    for _ in range(n_runs):
        first = (random.random(150) < 0.4).astype(int)
        second = np.where(random.random(150) < 0.2, 1 - first, first)
        if statistic == "cohen":
            interval = cohen_kappa(first, second).estimate
        else:
            counts = rating_counts(np.stack([first, second]), categories=[0, 1])
            interval = (fleiss_kappa if statistic == "fleiss" else gwet_ac1)(counts).estimate
        n_covered += interval.low <= truth <= interval.high
    assert stats.binomtest(n_covered, n_runs, 0.95).pvalue > 1e-3


def _truth(statistic: str) -> float:
    """Of raters who agree with probability 0.8, the first saying 1 with 0.4 and the second with 0.44."""
    mean = (0.4 + 0.44) / 2.0
    chance = {
        "cohen": 0.4 * 0.44 + 0.6 * 0.56,
        "fleiss": mean**2 + (1.0 - mean) ** 2,
        "ac1": 2.0 * mean * (1.0 - mean),
    }[statistic]
    return (0.8 - chance) / (1.0 - chance)


def test_raw_agreement_has_wilsons_interval():
    first, second = np.array([1, 1, 0, 2, 2]), np.array([1, 1, 0, 2, 1])
    reference = stats.binomtest(4, 5).proportion_ci(0.95, method="wilson")
    ours = raw_agreement(first, second)
    assert (ours.value, ours.low, ours.high) == pytest.approx((0.8, reference.low, reference.high))


@pytest.mark.parametrize(
    ("first", "second", "error", "message"),
    [
        ([1, 2], [1], DataError, "two raters"),
        ([1, 2], [1, MISSING], DataError, "missing"),
        ([1, 1], [1, 1], DataError, "one category"),
        ([1], [2], InsufficientDataError, "2 units"),
        ([], [], InsufficientDataError, "there is none"),
    ],
    ids=["lengths", "missing", "constant", "one", "none"],
)
def test_bad_ratings_are_refused(first, second, error, message):
    with pytest.raises(error, match=message):
        cohen_kappa(np.array(first, dtype=float), np.array(second, dtype=float))


def test_unknown_weights_are_refused():
    with pytest.raises(DataError, match="quadratic"):
        cohen_kappa_counts(SAS_TABLE, weights="squared")


def test_units_that_were_rated_once_are_not_enough():
    with pytest.raises(InsufficientDataError, match="rated twice"):
        fleiss_kappa(np.array([[1, 0], [0, 1], [2, 0]]))


def test_a_rating_outside_the_categories_is_refused():
    with pytest.raises(DataError, match="none of the categories"):
        rating_counts(np.array([[1, 7]]), categories=[1, 2])
