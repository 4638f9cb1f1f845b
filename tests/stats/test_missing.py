"""Missing outcomes against statsmodels' Cochran's Q, hand-worked bounds, and what simulation knows."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import cochrans_q, mcnemar

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.missing import manski_bounds, missingness
from workbench.stats.paired import paired_mean


def test_cochrans_q_is_that_of_statsmodels():
    table = (np.random.default_rng(0).random((60, 4)) < [0.1, 0.3, 0.2, 0.4]).astype(int)
    ours, reference = missingness(table), cochrans_q(table)
    assert (ours.cochran_q, ours.p_value) == pytest.approx((reference.statistic, reference.pvalue))
    assert ours.n_missing == tuple(table.sum(axis=0))


def test_two_arms_have_mcnemars_exact_test():
    table = np.repeat([[1, 0], [0, 1], [1, 1], [0, 0]], [9, 2, 4, 30], axis=0)
    reference = mcnemar([[30, 2], [9, 4]], exact=True)
    assert missingness(table).p_value == pytest.approx(reference.pvalue)


def test_pairs_are_corrected_after_holm():
    table = np.repeat([[1, 0, 0], [0, 0, 0]], [10, 40], axis=0)
    single = 2 * 0.5**10
    assert missingness(table).pair_p_values[0] == pytest.approx([1.0, 3 * single, 3 * single])


def test_arms_that_fail_alike_do_not_differ():
    result = missingness(np.repeat([[1, 1, 1], [0, 0, 0]], [5, 20], axis=0))
    assert (result.cochran_q, result.p_value) == (0.0, 1.0)


def test_bounds_put_missing_outcomes_at_either_end():
    nan = np.nan
    treatment, control = np.array([1.0, nan, 0.5, nan, 1.0]), np.array([0.0, 0.5, nan, nan, 1.0])
    result = manski_bounds(treatment, control)
    assert result.lower == pytest.approx((1.0 - 0.5 - 0.5 - 1.0 + 0.0) / 5)
    assert result.upper == pytest.approx((1.0 + 0.5 + 0.5 + 1.0 + 0.0) / 5)
    assert result.n_missing == 3
    assert result.complete_case.value == pytest.approx(0.5)


def test_without_missing_outcomes_it_is_the_paired_t_interval():
    random = np.random.default_rng(1)
    ours, theirs = random.random((2, 80))
    clusters = np.arange(80) // 4
    result = manski_bounds(ours, theirs, clusters)
    reference = paired_mean(ours - theirs, clusters).interval()
    assert (result.interval.low, result.interval.high) == pytest.approx((reference.low, reference.high))
    assert result.lower == result.upper == pytest.approx(reference.value)


def test_far_bounds_need_only_a_one_sided_quantile():
    random = np.random.default_rng(2)
    ours, theirs = random.random((2, 400))
    ours[:120] = np.nan
    result = manski_bounds(ours, theirs)
    worst = paired_mean(np.where(np.isnan(ours), 0.0, ours) - theirs)
    assert result.interval.low == pytest.approx(
        worst.estimate - stats.t.isf(0.05, 399) * worst.standard_error
    )


def test_interval_covers_whatever_the_missing_outcomes_are():
    random, n_covered = np.random.default_rng(3), 0
    for _ in range(400):
        ours, theirs = (random.random((2, 150)) < [[0.7], [0.5]]).astype(float)
        seen = np.where((ours == 0.0) & (random.random(150) < 0.3), np.nan, ours)
        interval = manski_bounds(seen, theirs).interval
        n_covered += interval.low <= 0.2 <= interval.high
    assert stats.binomtest(n_covered, 400, 0.95, alternative="less").pvalue > 1e-3
    assert n_covered < 400


def test_failing_where_it_would_lose_settles_nothing():
    ours, theirs = np.repeat([1.0, np.nan], [60, 40]), np.repeat([0.0, 1.0], [50, 50])
    result = manski_bounds(ours, theirs)
    assert result.complete_case.low > 0.0
    assert not result.is_settled


def test_an_arm_that_answered_nothing_has_no_complete_case():
    result = manski_bounds(np.full(20, np.nan), np.zeros(20))
    assert result.complete_case is None
    assert (result.lower, result.upper) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: missingness(np.array([[1, 2]])), DataError),
        (lambda: missingness(np.array([1, 0])), DataError),
        (lambda: missingness(np.zeros((0, 2))), InsufficientDataError),
        (lambda: manski_bounds(np.array([0.5, 2.0]), np.zeros(2)), DataError),
        (lambda: manski_bounds(np.zeros(2), np.zeros(3)), DataError),
        (lambda: manski_bounds(np.zeros(2), np.zeros(2), bounds=(0.0, np.inf)), DataError),
        (lambda: manski_bounds(np.zeros(1), np.zeros(1)), InsufficientDataError),
    ],
)
def test_bad_tables_are_refused(call, error):
    with pytest.raises(error):
        call()
