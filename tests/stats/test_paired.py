"""The paired mean against scipy, statsmodels, the sandwich formula by hand, and exact bounds."""

import math
import time

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.paired import paired_mean


@pytest.fixture
def differences() -> np.ndarray:
    return np.random.default_rng(7).choice([-1.0, 0.0, 0.0, 0.5, 1.0], size=120)


def test_without_clusters_it_is_the_paired_t_test(differences):
    ours, reference = paired_mean(differences), stats.ttest_1samp(differences, 0.0)
    assert ours.t == pytest.approx(reference.statistic)
    assert ours.p_value == pytest.approx(reference.pvalue)
    assert ours.df == 119


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_interval_is_scipys(differences, level):
    interval = paired_mean(differences).interval(1.0 - level)
    reference = stats.ttest_1samp(differences, 0.0).confidence_interval(level)
    assert (interval.low, interval.high) == pytest.approx((reference.low, reference.high))


def test_sleep_data_of_student_gives_the_published_p_value():
    # Student (1908), table of Cushny & Peebles; R: t.test(extra ~ group, paired = TRUE) p = 0.002833.
    drug_1 = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    drug_2 = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    result = paired_mean(drug_1 - drug_2, bounds=(-10.0, 10.0))
    assert result.t == pytest.approx(-4.0621, abs=5e-5)
    assert result.p_value == pytest.approx(0.002833, abs=5e-7)


@pytest.mark.parametrize("n_clusters", [3, 12, 60])
def test_clustered_error_is_that_of_statsmodels(differences, n_clusters):
    clusters = np.random.default_rng(1).integers(n_clusters, size=120)
    ours = paired_mean(differences, clusters, correction="CR1")
    fit = sm.OLS(differences, np.ones(120)).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": True}, use_t=True
    )
    assert ours.standard_error == pytest.approx(fit.bse[0])
    assert ours.p_value == pytest.approx(fit.pvalues[0])
    assert (ours.interval().low, ours.interval().high) == pytest.approx(tuple(fit.conf_int()[0]))


def test_clusters_of_two_equal_prompts_halve_the_information():
    once = np.array([0.0, 1.0, -1.0, 1.0, 0.0, 1.0])
    twice = paired_mean(np.repeat(once, 2), np.repeat(np.arange(6), 2))
    assert twice.standard_error == pytest.approx(paired_mean(once).standard_error)


def test_names_of_clusters_do_not_matter(differences):
    clusters = np.arange(120) // 4
    named, numbered = paired_mean(differences, 1000 - 7 * clusters), paired_mean(differences, clusters)
    assert named.n_clusters == numbered.n_clusters == 30
    assert named.p_value == pytest.approx(numbered.p_value)


def test_no_difference_at_all_still_has_a_wide_interval():
    result = paired_mean(np.zeros(10))
    share = 1 - 0.025 ** (1 / 10)  # Clopper-Pearson bound for 0 of 10
    reference = stats.binomtest(0, 10).proportion_ci(0.95, method="exact").high
    assert result.p_value == 1.0
    assert (result.interval().low, result.interval().high) == pytest.approx((-share, share))
    assert share == pytest.approx(reference)


@pytest.mark.parametrize(("n", "is_shown"), [(4, False), (5, False), (6, True), (20, True)])
def test_constant_gain_agrees_with_the_sign_test(n, is_shown):
    result = paired_mean(np.ones(n))
    assert result.p_value == pytest.approx(stats.binomtest(n, n).pvalue)
    assert (result.p_value <= 0.05) is is_shown
    assert (result.interval().low > 0.0) is is_shown
    assert result.interval().high == 1.0


def test_constant_difference_that_is_not_exact_in_binary_counts_as_constant():
    assert paired_mean(np.full(30, 0.9) - np.full(30, 0.6)).t is None


def test_clusters_that_all_have_the_same_mean_get_the_exact_interval_too():
    result = paired_mean(np.array([1.0, -1.0, 1.0, -1.0]), np.array([0, 0, 1, 1]))
    assert result.p_value == 1.0
    assert result.interval().high > 0.8


def test_interval_stays_inside_the_bounds():
    interval = paired_mean(np.array([1.0, 1.0, 1.0, 0.0])).interval()
    assert interval.high == 1.0


@pytest.mark.parametrize(
    ("differences", "clusters", "error", "message"),
    [
        (np.array([]), None, InsufficientDataError, "there is 0"),
        (np.array([0.5]), None, InsufficientDataError, "there is 1"),
        (np.array([0.5, 0.1]), np.array([3, 3]), InsufficientDataError, "there is 1"),
        (np.array([0.5, np.nan]), None, DataError, "1 of 2 differences"),
        (np.array([0.5, np.inf]), None, DataError, "1 of 2 differences"),
        (np.array([0.5, 1.5]), None, DataError, "outside"),
        (np.array([0.5, 0.5]), np.array([1]), DataError, "1 clusters for 2"),
    ],
    ids=["empty", "one", "one cluster", "nan", "inf", "bounds", "shape"],
)
def test_bad_differences_are_refused(differences, clusters, error, message):
    with pytest.raises(error, match=message):
        paired_mean(differences, clusters)


@pytest.mark.parametrize("share_alike", [0.3, 0.9])
def test_six_clusters_of_unequal_size_cover_as_often_as_they_say(share_alike):
    random, sizes = np.random.default_rng(5), [30, 10, 10, 5, 5, 3]
    clusters, n_runs = np.repeat(np.arange(6), sizes), 1000
    n_covered = n_covered_cr1 = 0
    for _ in range(n_runs):
        common = math.sqrt(share_alike) * random.normal(size=6)[clusters]
        row = common + math.sqrt(1.0 - share_alike) * random.normal(size=63)
        n_covered += _holds_zero(row, clusters, "CR2")
        n_covered_cr1 += _holds_zero(row, clusters, "CR1")
    assert stats.binomtest(n_covered, n_runs, 0.95, alternative="less").pvalue > 1e-3
    assert stats.binomtest(n_covered_cr1, n_runs, 0.95, alternative="less").pvalue < 1e-3


def test_one_sided_p_values_agree_with_the_intervals(differences):
    result = paired_mean(differences)
    assert result.p_at_most(result.interval(0.1).low) == pytest.approx(0.05)
    assert result.p_at_least(result.interval(0.1).high) == pytest.approx(0.05)
    assert result.p_at_most(0.0) + result.p_at_least(0.0) == pytest.approx(1.0)
    tied = paired_mean(np.zeros(10))
    assert tied.p_at_most(tied.interval(0.1).low) == pytest.approx(0.05)
    assert tied.p_at_least(tied.interval(0.1).high) == pytest.approx(0.05)


def test_without_bounds_ties_say_nothing_and_others_are_the_t_test(differences):
    everything = (-math.inf, math.inf)
    tied = paired_mean(np.full(10, 3.0), bounds=everything).interval()
    assert (tied.low, tied.high) == everything
    assert paired_mean(differences, bounds=everything).p_value == paired_mean(differences).p_value


def test_interval_covers_as_often_as_it_says():
    random = np.random.default_rng(3)
    draws = random.choice([-1.0, 0.0, 1.0], p=[0.1, 0.7, 0.2], size=(1000, 200))
    n_covered = sum(low <= 0.1 <= high for low, high in map(_ends, draws))
    assert stats.binomtest(n_covered, 1000, 0.95).pvalue > 1e-3


def test_a_hundred_thousand_pairs_take_a_fraction_of_a_second():
    differences = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], size=100_000)
    start_s = time.process_time()
    paired_mean(differences, np.arange(100_000) // 3)
    assert time.process_time() - start_s < 5.0


def _holds_zero(row: np.ndarray, clusters: np.ndarray, correction: str) -> bool:
    interval = paired_mean(row, clusters, bounds=(-math.inf, math.inf), correction=correction).interval()
    return interval.low <= 0.0 <= interval.high


def _ends(row: np.ndarray) -> tuple[float, float]:
    interval = paired_mean(row).interval()
    return interval.low, interval.high
