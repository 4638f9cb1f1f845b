"""Models as points: the patterns of a complete table are its singular vectors, and gaps are filled."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.routing.model_space import ModelSpace, fit_model_space


def table(n_prompts: int = 40, n_models: int = 5, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n_prompts, n_models))


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_a_complete_table_has_the_patterns_of_numpys_svd(rank: int) -> None:
    quality = table()
    space = fit_model_space(quality, max_rank=rank)
    left, sizes, right = np.linalg.svd(quality - quality.mean(axis=0), full_matrices=False)
    expected = quality.mean(axis=0) + (left[:, :rank] * sizes[:rank]) @ right[:rank]
    assert space.quality(space.scores(quality)) == pytest.approx(expected, abs=1e-10)
    assert np.abs(np.sum(space.loadings * right[:rank].T, axis=0)) == pytest.approx(np.ones(rank))


def test_a_table_of_one_pattern_is_recovered_where_it_was_not_seen() -> None:
    rng = np.random.default_rng(3)
    truth = 0.5 + np.outer(rng.choice([-1.0, 1.0], 200), [0.4, 0.3, -0.2, 0.35])
    unseen = rng.random(truth.shape) < 0.1
    quality = np.where(unseen, np.nan, truth)
    space = fit_model_space(quality, max_rank=1)
    said = space.quality(space.scores(quality))
    assert np.abs(said - truth)[unseen].max() < 0.06
    assert np.abs(space.mean - truth).mean(axis=0)[unseen.any(axis=0)].min() > 0.15  # the mean says far less


@given(st.integers(1, 6), st.integers(0, 99))
def test_with_as_many_patterns_as_models_quality_comes_back_from_its_scores(n_models: int, seed: int) -> None:
    quality = table(12, n_models, seed=seed)
    space = fit_model_space(quality)
    assert space.rank == n_models
    assert space.quality(space.scores(quality)) == pytest.approx(quality, abs=1e-9)


@given(st.integers(0, 99), st.sampled_from([0.0, 0.3]))
def test_loadings_are_orthonormal_and_have_a_sign_of_their_own(seed: int, missing: float) -> None:
    quality = table(seed=seed)
    quality[np.random.default_rng(seed).random(quality.shape) < missing] = np.nan
    loadings = fit_model_space(quality, max_rank=3).loadings
    assert loadings.T @ loadings == pytest.approx(np.eye(3), abs=1e-9)
    assert (loadings.max(axis=0) >= -loadings.min(axis=0)).all()


def test_a_model_that_was_never_seen_has_finite_numbers() -> None:
    quality = table()
    quality[:, 2] = np.nan
    space = fit_model_space(quality, max_rank=2)
    assert space.mean[2] == 0.0
    assert np.isfinite(space.scores(quality)).all()


def test_a_row_without_outcomes_is_an_average_prompt() -> None:
    space = fit_model_space(table(), max_rank=2)
    assert space.scores(np.full((1, 5), np.nan)) == pytest.approx(np.zeros((1, 2)))


def test_parts_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="models"):
        ModelSpace(np.zeros(3), np.zeros((2, 1)))
    with pytest.raises(ValueError, match="numbers"):
        ModelSpace(np.array([np.nan]), np.zeros((1, 1)))
