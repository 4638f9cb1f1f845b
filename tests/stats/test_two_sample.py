"""Two samples' means against scipy, a published example, and how often the interval covers."""

import numpy as np
import pytest
from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.two_sample import two_sample_mean


@pytest.fixture
def samples() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(8)
    return random.normal(0.4, 1.0, size=35), random.normal(0.0, 3.0, size=12)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_without_clusters_it_is_welchs_test(samples, alpha):
    ours = two_sample_mean(*samples)
    reference = stats.ttest_ind(*samples, equal_var=False)
    interval = reference.confidence_interval(1.0 - alpha)
    assert (ours.t, ours.df, ours.p_value) == pytest.approx(
        (reference.statistic, reference.df, reference.pvalue)
    )
    assert (ours.interval(alpha).low, ours.interval(alpha).high) == pytest.approx(
        (interval.low, interval.high)
    )


def test_sleep_data_as_two_samples_give_the_published_p_value():
    # R: t.test(extra ~ group, data = sleep): t = -1.8608, df = 17.776, p-value = 0.07939.
    drug_1 = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    drug_2 = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    ours = two_sample_mean(drug_1, drug_2)
    assert (round(ours.t, 4), round(ours.df, 3), round(ours.p_value, 5)) == (-1.8608, 17.776, 0.07939)


def test_one_sided_p_values_are_scipys(samples):
    ours = two_sample_mean(*samples)
    for alternative, p_value in (("greater", ours.p_at_most(0.0)), ("less", ours.p_at_least(0.0))):
        reference = stats.ttest_ind(*samples, equal_var=False, alternative=alternative)
        assert p_value == pytest.approx(reference.pvalue)


def test_rows_that_are_repeated_within_clusters_add_nothing(samples):
    once = two_sample_mean(*samples, np.arange(35), 100 + np.arange(12))
    repeated = [np.repeat(part, 3) for part in (*samples, np.arange(35), 100 + np.arange(12))]
    thrice = two_sample_mean(*repeated)
    assert thrice.standard_error == pytest.approx(once.standard_error)
    assert (thrice.df, thrice.n_clusters) == (pytest.approx(once.df), 47)


def test_clusters_that_both_samples_share_cancel():
    effects = np.repeat([5.0, -5.0, 2.0, 9.0, -7.0, 0.0], 4)
    noise = np.random.default_rng(0).normal(size=(2, 24))
    clusters = np.repeat(np.arange(6), 4)
    shared = two_sample_mean(effects + noise[0], effects + noise[1], clusters, clusters)
    apart = two_sample_mean(effects + noise[0], effects + noise[1], clusters, clusters + 6)
    assert shared.standard_error < apart.standard_error / 4


def test_two_arms_of_six_clusters_cover_as_often_as_they_say():
    random, sizes = np.random.default_rng(6), np.array([12, 8, 5, 5, 3, 3])
    clusters, n_runs, n_covered = np.repeat(np.arange(6), sizes), 600, 0
    for _ in range(n_runs):
        first, second = (random.normal(size=6)[clusters] + random.normal(size=36) for _ in range(2))
        interval = two_sample_mean(first, second, clusters, clusters + 6).interval()
        n_covered += interval.low <= 0.0 <= interval.high
    assert stats.binomtest(n_covered, n_runs, 0.95).pvalue > 1e-3


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.ones(1), np.ones(3)), InsufficientDataError, "treatment has 1"),
        ((np.ones(3), np.array([1.0, np.nan])), DataError, "control"),
        ((np.ones(3), np.zeros(3)), InsufficientDataError, "neither sample varies"),
        ((np.arange(3), np.arange(3), np.arange(3)), DataError, "one sample only"),
        ((np.arange(3), np.arange(3), np.arange(3), np.arange(2)), DataError, "2 clusters for 3"),
    ],
    ids=["one row", "nan", "constant", "half clustered", "length"],
)
def test_bad_samples_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        two_sample_mean(*arguments)
