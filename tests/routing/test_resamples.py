"""The draws of a paired bootstrap: against a plain loop, scipy, and groups that stay together."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from workbench.errors import InsufficientDataError
from workbench.routing.resamples import estimate, resamples


def test_means_are_those_of_a_plain_loop() -> None:
    values = np.random.default_rng(1).random((3, 40))
    draws = resamples(np.arange(40), n_resamples=6, seed=9)
    rng = np.random.default_rng(9)
    drawn = [rng.integers(0, 40, size=40) for _ in range(6)]
    expected = [[row[places].mean() for row in values] for places in drawn]
    sums = np.stack([draws.sums(row) for row in values])
    assert np.allclose(draws.means(sums), expected)
    assert np.allclose(draws.mean(values[1]), np.array(expected)[:, 1])


def test_weights_of_prompts_give_the_same_means() -> None:
    values, groups = np.random.default_rng(2).random(30), np.arange(30) // 3
    draws = resamples(groups, n_resamples=5)
    weights = np.concatenate(list(draws.weights()))
    assert np.allclose(weights @ values / weights.sum(axis=1), draws.mean(values))


def test_a_group_is_drawn_as_a_whole() -> None:
    groups = np.array([0, 0, 0, 1, 2, 2])
    weights = np.concatenate(list(resamples(groups, n_resamples=50).weights()))
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 4] == weights[:, 5]).all()
    assert set(weights.sum(axis=1)) - {6.0}  # groups differ in size, so the number of prompts varies


def test_the_interval_of_a_mean_is_scipys() -> None:
    values = np.random.default_rng(5).random(400)
    found = estimate(values.mean(), resamples(np.arange(400), n_resamples=4_000).mean(values))
    reference = bootstrap((values,), np.mean, method="percentile", n_resamples=4_000, rng=1)
    expected = reference.confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.004)


def test_many_groups_are_put_together_and_the_interval_stays() -> None:
    values = np.random.default_rng(6).random(20_000)
    draws = resamples(np.arange(20_000), n_resamples=400)
    assert draws.counts.shape[1] == 8192
    assert draws.mean(values).std() == pytest.approx(values.std() / np.sqrt(20_000), rel=0.15)


def test_draws_that_mean_nothing_are_left_out() -> None:
    assert estimate(1.0, np.array([np.nan, 2.0, 2.0])).low == 2.0
    assert np.isnan(estimate(1.0, np.array([np.nan])).low)


def test_no_prompts_cannot_be_resampled() -> None:
    with pytest.raises(InsufficientDataError):
        resamples(np.zeros(0, dtype=np.int64))
