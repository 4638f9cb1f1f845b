"""The bootstrap against scipy's, closed forms, and the rate at which it covers."""

import time

import numpy as np
import pytest
from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats import bootstrap
from workbench.stats.bootstrap import bootstrap_mean, bootstrap_ratio
from workbench.stats.estimate import Estimate


@pytest.fixture
def costs() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    control = random.gamma(2.0, 1.0, size=300)
    return 0.4 * control + random.gamma(1.0, 0.1, size=300), control


def test_ratio_is_close_to_scipys_percentile_bootstrap(costs):
    def ratio(above, below, axis):
        return above.mean(axis=axis) / below.mean(axis=axis)

    ours = bootstrap_ratio(*costs, n_resamples=4000)
    reference = stats.bootstrap(
        costs, ratio, paired=True, vectorized=True, method="percentile", n_resamples=4000, rng=1
    ).confidence_interval
    width = reference.high - reference.low
    assert ours.low == pytest.approx(reference.low, abs=0.06 * width)
    assert ours.high == pytest.approx(reference.high, abs=0.06 * width)


def test_mean_is_close_to_the_normal_interval(costs):
    values = costs[1]
    ours = bootstrap_mean(values, n_resamples=4000)
    margin = 1.96 * values.std() / np.sqrt(len(values))
    assert ours.value == pytest.approx(values.mean())
    assert ours.high - ours.low == pytest.approx(2 * margin, rel=0.06)


def test_clusters_of_equal_prompts_count_once(costs):
    once = bootstrap_ratio(*costs, n_resamples=4000)
    above, below = (np.repeat(part, 4) for part in costs)
    clustered = bootstrap_ratio(above, below, np.repeat(np.arange(300), 4), n_resamples=4000)
    naive = bootstrap_ratio(above, below, n_resamples=4000)
    assert clustered.high - clustered.low == pytest.approx(once.high - once.low, rel=0.06)
    assert naive.high - naive.low == pytest.approx((once.high - once.low) / 2, rel=0.06)


@pytest.mark.parametrize("tail", ["exponential", "heavy"])
def test_strata_of_many_prompts_give_the_quantiles_of_drawing_each(tail, monkeypatch):
    random = np.random.default_rng(2)
    values = random.exponential(size=800) if tail == "exponential" else np.exp(2 * random.normal(size=800))
    singly = bootstrap_mean(values, n_resamples=20_000, alpha=0.1, seed=1)
    monkeypatch.setattr(bootstrap, "_MAX_DRAWS", 0)
    by_strata = bootstrap_mean(values, n_resamples=20_000, alpha=0.1, seed=2)
    width = singly.high - singly.low
    assert by_strata.low == pytest.approx(singly.low, abs=0.02 * width)
    assert by_strata.high == pytest.approx(singly.high, abs=0.02 * width)


def test_strata_of_a_ratio_give_the_quantiles_of_drawing_each(monkeypatch):
    random = np.random.default_rng(3)
    above, below = random.gamma(0.5, 1.0, size=(2, 800))
    singly = bootstrap_ratio(above, below, n_resamples=20_000, seed=1)
    monkeypatch.setattr(bootstrap, "_MAX_DRAWS", 0)
    by_strata = bootstrap_ratio(above, below, n_resamples=20_000, seed=2)
    width = singly.high - singly.low
    assert by_strata.low == pytest.approx(singly.low, abs=0.02 * width)
    assert by_strata.high == pytest.approx(singly.high, abs=0.02 * width)


def test_few_kinds_are_drawn_as_exact_counts():
    # Of ten 0/1 scores with three ones, a resample's sum is binomial(10, 0.3).
    ours = bootstrap_mean(np.repeat([1.0, 0.0], [3, 7]), n_resamples=100_000, alpha=0.1)
    assert (ours.low, ours.high) == tuple(stats.binom.ppf([0.05, 0.95], 10, 0.3) / 10)


@pytest.mark.parametrize("method", ["percentile", "basic", "BCa"])
def test_each_method_is_close_to_scipys(costs, method):
    ours = bootstrap_mean(costs[0], n_resamples=20_000, method=method)
    reference = stats.bootstrap(
        (costs[0],), np.mean, method=method, n_resamples=20_000, rng=1, batch=1000
    ).confidence_interval
    width = reference.high - reference.low
    assert ours.low == pytest.approx(reference.low, abs=0.03 * width)
    assert ours.high == pytest.approx(reference.high, abs=0.03 * width)


def test_bca_leans_to_the_long_tail_and_percentile_less():
    values = np.random.default_rng(0).exponential(size=40) ** 2
    bca, percentile = (bootstrap_mean(values, method=method) for method in ("BCa", "percentile"))
    assert bca.low > percentile.low
    assert bca.high > percentile.high


def test_bca_of_equal_values_is_that_value():
    assert bootstrap_mean(np.ones(20), method="BCa") == Estimate(1.0, 1.0, 1.0)


def test_same_seed_same_interval(costs):
    assert bootstrap_ratio(*costs, seed=3) == bootstrap_ratio(*costs, seed=3)
    assert bootstrap_ratio(*costs, seed=3) != bootstrap_ratio(*costs, seed=4)


def test_interval_covers_about_as_often_as_it_says():
    random = np.random.default_rng(11)
    intervals = [bootstrap_mean(random.exponential(size=150), n_resamples=300) for _ in range(400)]
    n_covered = sum(interval.low <= 1.0 <= interval.high for interval in intervals)
    assert 0.91 <= n_covered / 400 <= 0.98


@pytest.mark.parametrize(
    ("above", "below", "error"),
    [
        ([1.0], [1.0], InsufficientDataError),
        ([1.0, 2.0], [1.0], DataError),
        ([1.0, np.nan], [1.0, 2.0], DataError),
        ([1.0, 2.0], [0.0, 0.0], DataError),
        ([1.0, 2.0], [-1.0, 2.0], DataError),
    ],
    ids=["one", "unpaired", "nan", "nothing below", "negative"],
)
def test_bad_input_is_refused(above, below, error):
    with pytest.raises(error):
        bootstrap_ratio(np.array(above), np.array(below))


def test_one_cluster_is_refused():
    with pytest.raises(InsufficientDataError, match="there is 1"):
        bootstrap_mean(np.array([1.0, 2.0]), np.array([4, 4]))


def test_ten_thousand_resamples_of_a_hundred_thousand_pairs_are_much_faster_than_scipys():
    values = np.random.default_rng(0).normal(size=100_000)
    start_s = time.process_time()
    bootstrap_mean(values, n_resamples=10_000)
    ours_s = time.process_time() - start_s
    start_s = time.process_time()
    stats.bootstrap((values,), np.mean, n_resamples=300, method="percentile", batch=100)
    assert ours_s < (time.process_time() - start_s) * (10_000 / 300) / 3
