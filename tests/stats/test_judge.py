"""A judge against labels and against itself: closed forms, and how often intervals cover."""

import numpy as np
import pytest
from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.judge import (
    JudgeAccuracy,
    judge_accuracy,
    judge_accuracy_counts,
    position_bias,
    rogan_gladen,
)
from workbench.stats.proportions import wilson


def judge_of(hits: int, n_true: int, rejections: int, n_false: int) -> JudgeAccuracy:
    return judge_accuracy_counts(hits, n_true - hits, rejections, n_false - rejections)


def test_accuracy_counts_the_four_cells():
    judge = judge_accuracy(np.array([1, 1, 0, 0, 1]), np.array([1, 0, 0, 1, 1]))
    assert judge == judge_accuracy_counts(2, 1, 1, 1)
    cells = judge.n_true_positive, judge.n_false_negative, judge.n_true_negative, judge.n_false_positive
    assert cells == (2, 1, 1, 1)
    assert judge.sensitivity == wilson(2, 3)
    assert judge.specificity == wilson(1, 2)
    assert judge.accuracy == wilson(3, 5)


def test_corrected_share_and_error_are_rogan_and_gladens():
    judge = judge_of(90, 100, 160, 200)
    result = rogan_gladen(300, 1000, judge=judge)
    share = (0.3 + 0.8 - 1.0) / 0.7
    variance = 0.3 * 0.7 / 1000 + share**2 * 0.9 * 0.1 / 100 + (1 - share) ** 2 * 0.8 * 0.2 / 200
    assert result.estimate.value == pytest.approx(share)
    assert result.standard_error == pytest.approx(np.sqrt(variance) / 0.7)
    assert result.apparent == wilson(300, 1000)


def test_interval_of_many_prompts_and_labels_is_the_normal_one():
    result = rogan_gladen(300_000, 1_000_000, judge=judge_of(90_000, 100_000, 160_000, 200_000))
    margin = stats.norm.isf(0.025) * result.standard_error
    assert result.estimate.low == pytest.approx(result.estimate.value - margin, abs=0.01 * margin)
    assert result.estimate.high == pytest.approx(result.estimate.value + margin, abs=0.01 * margin)


@pytest.mark.parametrize(("share", "n_labels"), [(0.3, 30), (0.05, 50), (0.8, 200)])
def test_corrected_interval_covers_at_least_as_often_as_it_says(share, n_labels):
    random, n_covered = np.random.default_rng(n_labels), 0
    for _ in range(400):
        judge = judge_of(random.binomial(n_labels, 0.9), n_labels, random.binomial(n_labels, 0.85), n_labels)
        n_positive = random.binomial(500, share * 0.9 + (1 - share) * 0.15)
        interval = rogan_gladen(n_positive, 500, judge=judge).estimate
        n_covered += interval.low <= share <= interval.high
    assert stats.binomtest(n_covered, 400, 0.95, alternative="less").pvalue > 1e-3
    assert n_covered < 400


def test_a_share_below_what_false_alarms_explain_is_zero():
    result = rogan_gladen(18, 100, judge=judge_of(45, 50, 40, 50))
    assert result.estimate.value == result.estimate.low == 0.0
    assert result.estimate.high > 0.0


def test_a_judge_no_better_than_chance_is_refused():
    with pytest.raises(DataError, match="no better than chance"):
        rogan_gladen(50, 100, judge=judge_of(20, 50, 30, 50))


def test_flips_and_whom_they_favour():
    original = np.array([1, 1, 1, -1, -1, 0, 1, 1])
    swapped = np.array([1, -1, -1, -1, 1, 0, 0, 1])
    result = position_bias(original, swapped)
    assert (result.n_to_first, result.n_to_second, result.n_pairs) == (3, 1, 8)
    assert result.flip_rate == wilson(4, 8)
    assert result.bias.value == pytest.approx((1 + 1 + 0.5 - 1) / 8)
    assert result.p_value == pytest.approx(stats.binomtest(1, 4).pvalue)


def test_a_judge_that_always_takes_the_first_is_found():
    result = position_bias(np.ones(12), -np.ones(12))
    assert result.flip_rate.value == result.bias.value == 1.0
    assert result.p_value == pytest.approx(2 * 0.5**12)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: judge_accuracy(np.array([1, 0]), np.array([1, 1])), InsufficientDataError),
        (lambda: judge_accuracy(np.array([1, 2]), np.array([1, 0])), DataError),
        (lambda: judge_accuracy(np.array([1]), np.array([1, 0])), DataError),
        (lambda: position_bias(np.array([1, 0]), np.array([1, 0.5])), DataError),
        (lambda: position_bias(np.array([1, 0]), np.array([1])), DataError),
        (lambda: rogan_gladen(11, 10, judge=judge_of(9, 10, 9, 10)), DataError),
    ],
    ids=["one kind", "not binary", "lengths", "no verdict", "orders", "counts"],
)
def test_bad_input_is_refused(call, error):
    with pytest.raises(error):
        call()
