"""Quantiles against scipy's order-statistic interval, binomial sums and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.quantiles import paired_quantile_difference, quantile


@pytest.mark.parametrize(("n", "q"), [(30, 0.5), (200, 0.95), (1000, 0.99), (57, 0.25)])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_interval_is_that_of_scipys_quantile_test(n, q, alpha):
    values = np.random.default_rng(n).exponential(size=n)
    ours = quantile(values, q, alpha=alpha)
    reference = stats.quantile_test(values, p=q).confidence_interval(1.0 - alpha)
    expected = [-math.inf if math.isnan(reference.low) else reference.low]
    expected += [math.inf if math.isnan(reference.high) else reference.high]
    assert [ours.low, ours.high] == expected
    assert ours.value == np.quantile(values, q)


def test_median_of_ten_is_bounded_by_the_second_and_ninth():
    # Conover (1999): P(1 <= Bin(10, 1/2) <= 8) = 1 - 2 * 11 / 1024 = .9785; third to eighth would be .8906.
    ours = quantile(np.arange(1.0, 11.0), 0.5)
    assert (ours.low, ours.high) == (2.0, 9.0)
    assert ours.level == pytest.approx(1 - 22 / 1024)


def test_level_is_at_least_what_was_asked_for_and_few_values_leave_a_side_open():
    for n in range(1, 80):
        ours = quantile(np.arange(float(n)), 0.95)
        assert ours.level >= 0.95
        assert ours.low <= ours.value <= ours.high
    assert quantile(np.arange(30.0), 0.95).high == math.inf


def test_interval_covers_what_its_level_says():
    draws = np.random.default_rng(1).exponential(size=(1500, 60))
    intervals = [quantile(row, 0.9) for row in draws]
    truth = -math.log(0.1)
    n_covered = sum(interval.low <= truth <= interval.high for interval in intervals)
    assert stats.binomtest(n_covered, 1500, intervals[0].level).pvalue > 1e-3


def test_difference_of_medians_is_close_to_scipys_paired_bootstrap():
    random = np.random.default_rng(2)
    control = random.gamma(2.0, 1.0, size=400)
    treatment = 0.8 * control + random.gamma(1.0, 0.2, size=400)

    def difference(one, other, axis):
        return np.quantile(one, 0.5, axis=axis) - np.quantile(other, 0.5, axis=axis)

    ours = paired_quantile_difference(treatment, control, 0.5, n_resamples=4000)
    reference = stats.bootstrap(
        (treatment, control), difference, paired=True, method="percentile", n_resamples=4000, rng=1
    ).confidence_interval
    width = reference.high - reference.low
    assert ours.low == pytest.approx(reference.low, abs=0.08 * width)
    assert ours.high == pytest.approx(reference.high, abs=0.08 * width)
    assert ours.value == pytest.approx(np.median(treatment) - np.median(control))


def test_arms_that_are_alike_on_each_prompt_differ_by_exactly_that():
    latency_s = np.random.default_rng(3).gamma(2.0, 1.0, size=100)
    ours = paired_quantile_difference(latency_s + 0.5, latency_s, 0.9)
    assert (ours.value, ours.low, ours.high) == pytest.approx((0.5, 0.5, 0.5))


def test_repeating_prompts_within_clusters_adds_nothing():
    treatment, control = np.random.default_rng(4).gamma(2.0, 1.0, size=(2, 150))
    once = paired_quantile_difference(treatment, control, 0.5)
    clusters = np.repeat(np.arange(150), 3)
    thrice = paired_quantile_difference(np.repeat(treatment, 3), np.repeat(control, 3), 0.5, clusters)
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.15)


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="between 0 and 1"):
        quantile(np.ones(3), 95)
    with pytest.raises(DataError, match="NaN"):
        quantile(np.array([1.0, np.nan]), 0.5)
    with pytest.raises(InsufficientDataError):
        quantile(np.array([]), 0.5)
    with pytest.raises(DataError, match="do not pair"):
        paired_quantile_difference(np.ones(3), np.ones(2), 0.5)
    with pytest.raises(InsufficientDataError, match="there is 1"):
        paired_quantile_difference(np.ones(3), np.ones(3), 0.5, np.zeros(3))
