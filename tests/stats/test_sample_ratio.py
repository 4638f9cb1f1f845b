"""Sample ratios against scipy's tests, outcomes listed one by one, and looks at every row."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.sample_ratio import sample_ratio, sequential_sample_ratio


@pytest.mark.parametrize(
    ("counts", "shares"), [([821, 736], None), ([300, 200, 90], [3, 2, 1]), ([5, 0, 3, 2], None)]
)
def test_chi_square_is_scipys(counts, shares):
    ours = sample_ratio(np.array(counts), None if shares is None else np.array(shares))
    weights = np.ones(len(counts)) if shares is None else np.array(shares)
    reference = stats.chisquare(counts, sum(counts) * weights / weights.sum())
    assert (ours.chi_square, ours.p_value) == pytest.approx((reference.statistic, reference.pvalue))
    assert ours.df == len(counts) - 1


def test_fabijans_example_is_a_mismatch():
    # Fabijan et al. (2019): 821,588 and 815,482 users of an even split have p = 1.8e-6.
    result = sample_ratio(np.array([821_588, 815_482]))
    assert result.p_value == pytest.approx(1.8e-6, rel=0.03)
    assert result.is_mismatch


def test_two_arms_have_the_exact_binomial_test():
    result = sample_ratio(np.array([14, 3]), np.array([2, 1]))
    assert result.exact_p_value == pytest.approx(stats.binomtest(14, 17, 2 / 3).pvalue)


def test_three_arms_add_up_all_outcomes_that_are_no_likelier():
    counts, chance = np.array([7, 1, 2]), np.array([0.5, 0.3, 0.2])
    exact = stats.multinomial(10, chance)
    outcomes = [o for o in itertools.product(range(11), repeat=3) if sum(o) == 10]
    seen = exact.pmf(counts)
    total = sum(exact.pmf(o) for o in outcomes if exact.pmf(o) <= seen * (1 + 1e-7))
    assert sample_ratio(counts, chance).exact_p_value == pytest.approx(total)


def test_too_many_outcomes_are_not_listed():
    result = sample_ratio(np.array([900, 1000, 950, 1010]))
    assert result.exact_p_value is None
    assert result.p_value < 0.1


def test_evidence_is_the_ratio_of_marginal_likelihoods():
    # Beta(30, 10) integrated over 7 and 5 in this order, against 0.75^7 0.25^5.
    arms = np.array([0, 1, 0, 0, 1, 1, 0, 0, 1, 0, 1, 0])
    result = sequential_sample_ratio(arms, np.array([3.0, 1.0]), concentration=40.0)
    marginal = math.exp(_log_beta(37, 15) - _log_beta(30, 10))
    assert result.e_value == pytest.approx(marginal / (0.75**7 * 0.25**5))
    assert result.p_value == pytest.approx(min(1.0, 1.0 / result.e_process.max()))
    assert result.observed == (7, 5)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def test_looking_after_every_row_errs_as_rarely_as_promised():
    random = np.random.default_rng(0)
    n_found = sum(
        sequential_sample_ratio(
            random.choice(3, size=1500, p=[0.5, 0.3, 0.2]), np.array([5, 3, 2]), alpha=0.05
        ).detected_at
        is not None
        for _ in range(400)
    )
    assert stats.binomtest(n_found, 400, 0.05, alternative="greater").pvalue > 1e-3


def test_a_mismatch_is_found_and_dated():
    random = np.random.default_rng(1)
    arms = np.concatenate([random.integers(2, size=200), (random.random(2000) < 0.35).astype(int)])
    result = sequential_sample_ratio(arms)
    assert 200 < result.detected_at < 700
    assert result.p_value <= 0.001
    assert result.e_process[result.detected_at - 1] >= 1000.0 > result.e_process[result.detected_at - 2]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: sample_ratio(np.array([0, 0])), InsufficientDataError),
        (lambda: sample_ratio(np.array([5])), DataError),
        (lambda: sample_ratio(np.array([5, -1])), DataError),
        (lambda: sample_ratio(np.array([5, 1]), np.array([1, 0])), DataError),
        (lambda: sample_ratio(np.array([5, 1]), np.array([1, 1, 1])), DataError),
        (lambda: sequential_sample_ratio(np.array([])), InsufficientDataError),
        (lambda: sequential_sample_ratio(np.array([0, 2]), np.array([1, 1])), DataError),
        (lambda: sequential_sample_ratio(np.array([0, -1])), DataError),
    ],
)
def test_bad_counts_are_refused(call, error):
    with pytest.raises(error):
        call()
