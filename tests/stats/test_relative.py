"""Relative differences against the delta method by hand, a regression's robust errors, and simulation."""

import numpy as np
import pytest
from scipy import stats

from workbench.errors import DataError
from workbench.stats.relative import paired_relative_difference, two_sample_relative_difference


@pytest.fixture
def pairs() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(4)
    control = random.gamma(3.0, 2.0, size=150)
    return 1.1 * control + random.gamma(1.0, 0.5, size=150), control


def test_paired_error_is_the_delta_method_by_hand(pairs):
    treatment, control = pairs
    covariance = np.cov(treatment, control) / 150
    gradient = np.array([1.0, -treatment.mean() / control.mean()]) / control.mean()
    ours = paired_relative_difference(treatment, control)
    assert ours.standard_error == pytest.approx(np.sqrt(gradient @ covariance @ gradient))
    assert ours.log_standard_error == pytest.approx(ours.standard_error / ours.ratio)
    assert ours.estimate == pytest.approx(treatment.sum() / control.sum() - 1.0)


def test_two_sample_error_is_the_delta_method_by_hand(pairs):
    treatment, control = pairs[0], pairs[1][:90]
    ratio = treatment.mean() / control.mean()
    variances = treatment.var(ddof=1) / 150, control.var(ddof=1) / 90
    expected = np.sqrt(variances[0] + ratio**2 * variances[1]) / control.mean()
    assert two_sample_relative_difference(treatment, control).standard_error == pytest.approx(expected)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_intervals_are_t_on_either_scale_and_the_first_agrees_with_p(pairs, alpha):
    ours = paired_relative_difference(*pairs)
    t = stats.t.isf(alpha / 2, 149)
    linear, log = ours.linear_interval(alpha), ours.interval(alpha)
    assert linear.high - linear.low == pytest.approx(2 * t * ours.standard_error)
    assert np.log((1 + log.high) / (1 + log.low)) == pytest.approx(2 * t * ours.log_standard_error)
    at_p = ours.interval(ours.p_value)
    assert min(abs(at_p.low), abs(at_p.high)) == pytest.approx(0.0, abs=1e-9)


def test_scale_does_not_matter_and_the_reverse_is_the_reciprocal(pairs):
    ours, scaled = (
        paired_relative_difference(*pairs),
        paired_relative_difference(*(7 * part for part in pairs)),
    )
    assert scaled.interval().low == pytest.approx(ours.interval().low)
    reverse = paired_relative_difference(pairs[1], pairs[0])
    assert reverse.ratio == pytest.approx(1 / ours.ratio)
    assert reverse.p_value == pytest.approx(ours.p_value)


def test_prompts_that_count_twice_as_clusters_add_nothing(pairs):
    once = paired_relative_difference(*pairs)
    twice = paired_relative_difference(*(np.repeat(part, 2) for part in pairs), np.repeat(np.arange(150), 2))
    assert twice.standard_error == pytest.approx(once.standard_error)
    labels = np.repeat(np.arange(150), 2)
    samples = [np.repeat(part, 2) for part in pairs]
    apart = two_sample_relative_difference(*samples, labels, labels + 150)
    plain = two_sample_relative_difference(*pairs)
    assert apart.standard_error == pytest.approx(plain.standard_error)


def test_interval_covers_as_often_as_it_says():
    random, n_covered = np.random.default_rng(3), 0
    for _ in range(1000):
        control = random.gamma(2.0, 1.0, size=60)
        interval = paired_relative_difference(control + random.gamma(1.0, 0.4, size=60), control).interval()
        n_covered += interval.low <= 0.2 <= interval.high
    assert stats.binomtest(n_covered, 1000, 0.95).pvalue > 1e-3


def test_a_mean_of_zero_has_no_ratio():
    with pytest.raises(DataError, match="means above 0"):
        paired_relative_difference(np.ones(3), np.zeros(3))
    with pytest.raises(DataError, match="do not pair"):
        paired_relative_difference(np.ones(3), np.ones(2))
