"""TOST and non-inferiority against statsmodels, and against the intervals they must agree with."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import ttost_ind, ttost_paired

from workbench.errors import DataError
from workbench.stats.equivalence import non_inferiority, tost
from workbench.stats.paired import paired_mean
from workbench.stats.paired_proportions import tango
from workbench.stats.two_sample import two_sample_mean


@pytest.fixture
def scores() -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.random.default_rng(3).uniform(size=(2, 80)))


def test_paired_means_are_those_of_statsmodels(scores):
    ours = tost(paired_mean(scores[0] - scores[1]), low=-0.1, high=0.15)
    p_value, lower, upper = ttost_paired(*scores, -0.1, 0.15)
    assert (ours.p_value, ours.p_lower, ours.p_upper) == pytest.approx((p_value, lower[1], upper[1]))


def test_two_samples_are_those_of_statsmodels(scores):
    ours = tost(two_sample_mean(scores[0], scores[1][:50]), low=-0.2, high=0.15)
    p_value, lower, upper = ttost_ind(scores[0], scores[1][:50], -0.2, 0.15, usevar="unequal")
    assert (ours.p_value, ours.p_lower, ours.p_upper) == pytest.approx((p_value, lower[1], upper[1]))


def test_clusters_are_allowed_for(scores):
    differences, clusters = scores[0] - scores[1], np.arange(80) // 8
    mean = paired_mean(differences, clusters)
    ours = tost(mean, low=-0.1, high=0.1)
    assert ours.p_lower == pytest.approx(stats.t.sf((mean.estimate + 0.1) / mean.standard_error, 9))


@pytest.mark.parametrize("low", [-0.3, -0.05, 0.02])
@pytest.mark.parametrize("counts", [(20, 18, 300), (9, 30, 200), (0, 0, 60), (3, 0, 90)], ids=str)
def test_p_values_agree_with_the_interval_at_1_minus_2_alpha(counts, low):
    differences = np.repeat([1.0, -1.0, 0.0], [counts[0], counts[1], counts[2] - counts[0] - counts[1]])
    for result in (tango(*counts), paired_mean(differences)):
        ours = tost(result, low=low, high=low + 0.1, alpha=0.05)
        is_inside = low < ours.interval.low and ours.interval.high < low + 0.1
        assert ours.is_equivalent is (ours.p_value <= 0.05) is is_inside
        assert ours.interval == result.interval(0.1)


def test_non_inferiority_is_the_lower_of_the_two_tests():
    pairs = tango(20, 26, 400)
    ours = non_inferiority(pairs, margin=0.05, alpha=0.025)
    assert ours.p_value == tost(pairs, low=-0.05, high=0.05).p_lower
    assert ours.is_non_inferior is (ours.interval.low > -0.05)
    assert ours.interval == pairs.interval(0.05)


def test_at_the_margin_equivalence_is_found_as_rarely_as_promised():
    random, n_runs = np.random.default_rng(1), 2000
    draws = random.multinomial(500, [0.15, 0.1, 0.75], size=n_runs)
    n_found = sum(
        non_inferiority(tango(int(c), int(b), 500), margin=0.05).is_non_inferior for b, c, _ in draws
    )
    assert stats.binomtest(n_found, n_runs, 0.05, alternative="greater").pvalue > 1e-3
    assert n_found > 0


def test_margins_that_cannot_be_are_refused():
    pairs = tango(1, 1, 10)
    with pytest.raises(DataError, match="must rise"):
        tost(pairs, low=0.1, high=-0.1)
    with pytest.raises(DataError, match="above 0"):
        non_inferiority(pairs, margin=-0.1)
    with pytest.raises(DataError, match="one-sided alpha"):
        tost(pairs, low=-0.1, high=0.1, alpha=0.5)
