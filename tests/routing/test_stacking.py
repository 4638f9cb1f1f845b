"""What a head counts for: its share where heads are alike, nothing where it is useless, never less."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.routing.forecast import Floats
from workbench.routing.stacking import mix_of, over_plain


def target(n_prompts: int, *, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=(n_prompts, 1))


def test_equal_heads_share_equally() -> None:
    truth = target(300)
    assert mix_of(np.stack([truth] * 4), truth)[:, 0] == pytest.approx([0.25] * 4, abs=1e-6)


def test_a_useless_head_counts_for_almost_nothing() -> None:
    truth = target(5000)
    right, useless = mix_of(np.stack([truth, target(5000, seed=1)]), truth)[:, 0]
    assert right == pytest.approx(1.0, abs=0.02)
    assert useless < 0.02


def test_a_head_that_says_the_opposite_is_silenced_and_not_turned_round() -> None:
    truth = target(5000)
    right, opposite = mix_of(np.stack([truth + target(5000, seed=1), -truth]), truth)[:, 0]
    assert right > 0.0
    assert opposite == 0.0


@given(st.integers(2, 40), st.integers(1, 5), st.integers(0, 999))
def test_weights_are_finite_and_never_negative(n_prompts: int, n_heads: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = mix_of(rng.normal(size=(n_heads, n_prompts, 3)), rng.normal(size=(n_prompts, 3)))
    assert weights.shape == (n_heads, 3)
    assert np.isfinite(weights).all()
    assert (weights >= 0.0).all()


def test_weights_are_drawn_to_equal_shares_as_a_prior_worth_25_variances_says() -> None:
    truth = target(50)
    heads = np.stack([truth + scale * target(50, seed=2 + scale) for scale in (1, 2)])
    rows, prior = heads[:, :, 0], truth.var() / 0.2**2  # the standard deviation of a weight is 0.2
    mean = rows.mean(axis=0)
    share = float(mean @ truth[:, 0] / (mean @ mean)) / 2
    exact = np.linalg.solve(rows @ rows.T + prior * np.eye(2), rows @ truth[:, 0] + prior * share)
    assert mix_of(heads, truth)[:, 0] == pytest.approx(exact)


def test_where_the_data_say_little_heads_count_alike() -> None:
    truth = target(4)
    heads = np.stack([0.05 * truth + 0.01 * scale * target(4, seed=scale) for scale in (1, 2)])
    first, second = mix_of(heads, truth)[:, 0]
    assert first == pytest.approx(second, rel=0.02)
    assert first + second <= 2.1


def test_each_pattern_has_weights_of_its_own() -> None:
    truth = np.hstack([target(5000), target(5000, seed=1)])
    noise = np.hstack([target(5000, seed=2), target(5000, seed=3)])
    heads = np.stack([np.hstack([truth[:, :1], noise[:, 1:]]), np.hstack([noise[:, :1], truth[:, 1:]])])
    assert mix_of(heads, truth) == pytest.approx(np.eye(2), abs=0.03)


def test_heads_that_say_nothing_count_for_nothing() -> None:
    assert not mix_of(np.zeros((3, 10, 2)), np.ones((10, 2))).any()


def test_heads_that_do_not_beat_the_plain_one_count_for_nothing() -> None:
    plain = 0.5 * target(2000)
    heads = np.stack([0.5 * target(2000, seed=4), 0.5 * target(2000, seed=5), plain])
    mix = over_plain(heads, plain + target(2000, seed=6))[:, 0]
    assert mix[:2] == pytest.approx([0.0, 0.0], abs=0.05)
    assert mix[2] == pytest.approx(1.0, abs=0.1)


def test_heads_that_beat_the_plain_one_by_far_count_as_they_would_without_it() -> None:
    truth = target(5000)
    heads = np.stack([truth, 0.0 * truth])
    assert over_plain(heads, truth)[0, 0] == pytest.approx(mix_of(heads, truth)[0, 0], abs=0.01)


def test_a_plain_head_that_says_nothing_draws_what_is_in_doubt_to_nothing() -> None:
    truth, noise = target(100), target(100, seed=1)
    said = np.einsum("hnr,hr->nr", heads := np.stack([noise, 0.0 * noise]), over_plain(heads, truth))
    assert np.abs(said).max() < 0.2
