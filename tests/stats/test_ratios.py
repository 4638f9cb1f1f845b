"""Ratios against the definition of Fieller's set, the delta method by hand, and how often they cover."""

import math

import numpy as np
import pytest
from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.ratios import cost_per_correct, cost_per_correct_ratio, cost_ratio, ratio_of_means
from workbench.stats.relative import paired_relative_difference


def is_rejected(numerator: np.ndarray, denominator: np.ndarray, ratio: float) -> bool:
    """Fieller's definition: the t-test that mean(numerator - ratio denominator) is 0."""
    return bool(stats.ttest_1samp(numerator - ratio * denominator, 0.0).pvalue < 0.05)


def sample(mean_above: float, mean_below: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    below = random.normal(size=40)
    above = 0.5 * below + random.normal(size=40)
    return above - above.mean() + mean_above, below - below.mean() + mean_below


@pytest.mark.parametrize(
    ("means", "kind"),
    [((1.0, 2.0), "bounded"), ((-1.0, 0.5), "bounded"), ((2.0, 0.1), "exclusive"), ((0.1, 0.1), "unbounded")],
    ids=str,
)
def test_set_holds_just_the_ratios_that_a_t_test_does_not_reject(means, kind):
    above, below = sample(*means, seed=1)
    fieller = ratio_of_means(above, below).fieller()
    assert fieller.kind == kind
    for ratio in np.concatenate([np.linspace(-60, 60, 241), [fieller.value]]):
        assert (ratio in fieller) is not is_rejected(above, below, ratio)


def test_limits_are_where_the_t_test_is_just_at_its_level():
    above, below = sample(2.0, 0.1, seed=1)
    gap = ratio_of_means(above, below).fieller().gap
    assert gap is not None
    for limit in gap:
        assert stats.ttest_1samp(above - limit * below, 0.0).pvalue == pytest.approx(0.05)
    bounded = ratio_of_means(*sample(1.0, 2.0, seed=1)).fieller()
    assert bounded.gap is None
    for limit in (bounded.low, bounded.high):
        p_value = stats.ttest_1samp(
            sample(1.0, 2.0, seed=1)[0] - limit * sample(1.0, 2.0, seed=1)[1], 0
        ).pvalue
        assert p_value == pytest.approx(0.05)


def test_unbounded_and_exclusive_sets_have_infinite_ends():
    for means in ((2.0, 0.1), (0.1, 0.1)):
        fieller = ratio_of_means(*sample(*means, seed=1)).fieller()
        assert (fieller.low, fieller.high) == (-math.inf, math.inf)


def test_delta_error_is_by_hand_and_close_to_fieller_for_a_clear_denominator():
    above, below = sample(1.0, 20.0, seed=2)
    result = ratio_of_means(above, below)
    covariance = np.cov(above, below) / 40
    gradient = np.array([1.0, -result.ratio]) / below.mean()
    assert result.standard_error == pytest.approx(np.sqrt(gradient @ covariance @ gradient))
    assert result.correlation == pytest.approx(
        covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    )
    assert result.fieller().low == pytest.approx(result.interval().low, rel=0.02)


def test_cost_per_correct_by_hand():
    cost_usd, is_correct = np.tile([0.01, 0.03], 50), np.tile([1, 0, 1, 1], 25)
    result = cost_per_correct(cost_usd, is_correct)
    assert result.ratio == pytest.approx(cost_usd.sum() / is_correct.sum())
    assert result.fieller().kind == "bounded"
    assert result.interval().low < result.ratio < result.interval().high


def test_few_correct_answers_leave_the_cost_without_an_upper_limit():
    cost_usd = np.random.default_rng(0).gamma(2.0, 0.01, size=40)
    fieller = cost_per_correct(cost_usd, np.repeat([1, 0], [2, 38])).fieller()
    assert fieller.kind == "exclusive"
    assert fieller.high == math.inf
    assert 0.0 < fieller.low < fieller.value
    assert 0.0 not in fieller


def test_no_correct_answer_rules_nothing_out():
    result = cost_per_correct(np.full(10, 0.01), np.zeros(10))
    assert result.ratio == math.inf
    assert (result.fieller().kind, result.fieller().low, result.fieller().high) == (
        "unbounded",
        0.0,
        math.inf,
    )
    assert (result.interval().low, result.interval().high) == (0.0, math.inf)


def test_ratio_of_two_arms_is_the_delta_method_by_simulated_gradient():
    random = np.random.default_rng(5)
    parts = [random.gamma(2.0, 0.01, 300), random.random(300) < 0.8, random.gamma(2.0, 0.02, 300)]
    parts = [part.astype(float) for part in (*parts, random.random(300) < 0.7)]
    result = cost_per_correct_ratio(*parts)
    means = np.array([part.mean() for part in parts])
    gradient = np.array([1, -1, -1, 1]) / means
    covariance = np.cov(np.stack(parts)) / 300
    assert result.ratio == pytest.approx(means[0] / means[1] / (means[2] / means[3]))
    assert result.log_standard_error == pytest.approx(np.sqrt(gradient @ covariance @ gradient))


def test_arms_that_are_always_correct_are_compared_by_cost_alone():
    costs = np.random.default_rng(6).gamma(2.0, 0.01, size=(2, 100))
    ours = cost_per_correct_ratio(costs[0], np.ones(100), costs[1], np.ones(100))
    assert ours.interval() == paired_relative_difference(*costs).interval()


def test_cost_ratio_is_close_to_the_delta_method_for_many_prompts_of_alike_cost():
    random = np.random.default_rng(1)
    control = random.uniform(0.9, 1.1, size=500)
    treatment = 0.5 * control * random.uniform(0.8, 1.2, size=500)
    ours, delta = cost_ratio(treatment, control), paired_relative_difference(treatment, control)
    assert (ours.ratio, ours.df) == pytest.approx((delta.ratio, delta.df), rel=0.02)
    assert ours.log_standard_error == pytest.approx(delta.log_standard_error, rel=0.005)
    assert ours.ratio_interval().low == pytest.approx(1.0 + ours.interval().low)


@pytest.mark.parametrize("n_clusters", [6, 30])
def test_cost_ratio_covers_where_few_clusters_make_up_much_of_the_cost(n_clusters):
    random, n_runs, n_covered = np.random.default_rng(2), 800, 0
    for _ in range(n_runs):
        control = random.gamma(2.0, 1.0, size=n_clusters)
        treatment = 0.5 * control * random.gamma(9.0, 1 / 9, size=n_clusters)
        interval = cost_ratio(treatment, control).ratio_interval()
        n_covered += interval.low <= 0.5 <= interval.high
    assert stats.binomtest(n_covered, n_runs, 0.95, alternative="less").pvalue > 1e-3


def test_costs_without_a_ratio_are_refused():
    with pytest.raises(DataError, match="costs nothing"):
        cost_ratio(np.ones(3), np.zeros(3))
    with pytest.raises(DataError, match="below 0"):
        cost_ratio(np.array([1.0, -1.0]), np.ones(2))
    with pytest.raises(DataError, match="do not pair"):
        cost_ratio(np.ones(3), np.ones(2))
    with pytest.raises(InsufficientDataError, match="there is 1"):
        cost_ratio(np.ones(3), np.array([0.0, 0.0, 1.0]))


def test_clusters_of_equal_prompts_add_nothing():
    cost_usd, is_correct = np.random.default_rng(7).random((2, 50))
    once = cost_per_correct(cost_usd, is_correct)
    clusters = np.repeat(np.arange(50), 2)
    twice = cost_per_correct(np.repeat(cost_usd, 2), np.repeat(is_correct, 2), clusters)
    assert twice.fieller().low == pytest.approx(once.fieller().low)
    assert twice.standard_error == pytest.approx(once.standard_error)


def test_fieller_covers_as_often_as_it_says_where_the_denominator_is_small():
    random, n_covered = np.random.default_rng(8), 0
    for _ in range(1000):
        below = random.normal(0.3, 1.0, size=30)
        n_covered += 2.0 in ratio_of_means(2.0 * below + random.normal(size=30), below).fieller()
    assert stats.binomtest(n_covered, 1000, 0.95).pvalue > 1e-3


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="do not pair"):
        ratio_of_means(np.ones(3), np.ones(2))
    with pytest.raises(InsufficientDataError):
        ratio_of_means(np.ones(1), np.ones(1))
    with pytest.raises(DataError, match="below 0"):
        cost_per_correct(np.array([-1.0, 1.0]), np.ones(2))
    with pytest.raises(DataError, match="neither"):
        cost_per_correct(np.ones(2), np.array([1, 2]))
    with pytest.raises(DataError, match="no correct answer"):
        cost_per_correct_ratio(np.ones(3), np.zeros(3), np.ones(3), np.ones(3))
    with pytest.raises(DataError, match="do not pair"):
        cost_per_correct_ratio(np.ones(3), np.ones(3), np.ones(2), np.ones(2))
