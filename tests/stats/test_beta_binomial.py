"""Posterior probabilities against closed sums, exact beta functions and many draws."""

import numpy as np
import pytest
from scipy import special, stats

from workbench.errors import DataError
from workbench.stats.beta_binomial import beta_binomial, paired_beta_binomial


def probability_by_sum(k: int, n: int, j: int, m: int) -> float:
    """P(treatment > control) under uniform priors, as the finite sum for whole-numbered betas (Cook 2005)."""
    a, b, c, d = k + 1, n - k + 1, j + 1, m - j + 1
    i = np.arange(a)
    terms = special.betaln(c + i, b + d) - np.log(b + i) - special.betaln(1 + i, b) - special.betaln(c, d)
    return float(np.exp(terms).sum())


@pytest.mark.parametrize(
    "counts", [(1, 1, 0, 1), (56, 70, 48, 80), (3, 10, 700, 1000), (0, 5, 0, 5), (8000, 10_000, 7900, 10_000)]
)
def test_probability_is_the_finite_sum(counts):
    assert beta_binomial(*counts).probability_better == pytest.approx(probability_by_sum(*counts), abs=1e-9)


@pytest.mark.parametrize("prior", [(1.0, 1.0), (0.5, 0.5), (3.0, 7.0)], ids=str)
@pytest.mark.parametrize("counts", [(9, 10, 30, 50), (0, 5, 5, 5), (9, 10, 700_000, 1_000_000)], ids=str)
def test_interval_holds_the_right_share_of_many_draws(counts, prior):
    k, n, j, m = counts
    ours, random = beta_binomial(*counts, prior=prior), np.random.default_rng(1)
    draws = random.beta(prior[0] + k, prior[1] + n - k, 200_000)
    draws = draws - random.beta(prior[0] + j, prior[1] + m - j, 200_000)
    error = 4 * np.sqrt(0.025 * 0.975 / 200_000)
    assert np.mean(draws < ours.low) == pytest.approx(0.025, abs=error)
    assert np.mean(draws > ours.high) == pytest.approx(0.025, abs=error)
    assert ours.mean == pytest.approx(draws.mean(), abs=0.003)
    assert (ours.estimate.value, ours.estimate.low, ours.estimate.high) == (ours.mean, ours.low, ours.high)


def test_nothing_seen_is_the_prior_and_its_difference_is_triangular():
    ours = beta_binomial(0, 0, 0, 0)
    assert ours.probability_better == pytest.approx(0.5)
    assert ours.low == pytest.approx(stats.triang(0.5, loc=-1, scale=2).ppf(0.025), abs=1e-8)


@pytest.mark.parametrize("counts", [(1, 0, 1), (40, 20, 160), (0, 0, 10), (3, 9, 12)], ids=str)
def test_paired_probability_is_one_incomplete_beta_function(counts):
    ours = paired_beta_binomial(*counts)
    assert ours.probability_better == pytest.approx(stats.beta(counts[0] + 1, counts[1] + 1).sf(0.5))


@pytest.mark.parametrize("counts", [(1, 0, 1), (40, 20, 160), (0, 0, 100), (300, 250, 100_000)], ids=str)
def test_paired_interval_holds_the_right_share_of_many_draws(counts):
    b, c, n = counts
    ours = paired_beta_binomial(*counts)
    cells = np.random.default_rng(2).dirichlet([1 + b, 1 + c, 2 + n - b - c], 200_000)
    draws = cells[:, 0] - cells[:, 1]
    error = 4 * np.sqrt(0.025 * 0.975 / 200_000)
    assert np.mean(draws < ours.low) == pytest.approx(0.025, abs=error)
    assert np.mean(draws > ours.high) == pytest.approx(0.025, abs=error)
    assert ours.mean == pytest.approx((b - c) / (n + 4))


def test_exchanging_the_arms_mirrors_the_answer():
    one, other = beta_binomial(30, 40, 20, 50), beta_binomial(20, 50, 30, 40)
    assert (one.low, one.probability_better) == pytest.approx((-other.high, 1 - other.probability_better))
    paired, mirrored = paired_beta_binomial(30, 20, 90), paired_beta_binomial(20, 30, 90)
    assert (paired.low, paired.high) == pytest.approx((-mirrored.high, -mirrored.low))


def test_what_cannot_be_is_refused():
    with pytest.raises(DataError, match="3 successes in 2"):
        beta_binomial(3, 2, 1, 2)
    with pytest.raises(DataError, match="prior"):
        beta_binomial(1, 2, 1, 2, prior=(0.0, 1.0))
    with pytest.raises(DataError, match="not possible"):
        paired_beta_binomial(3, 3, 5)
