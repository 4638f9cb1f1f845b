"""Predicted qualities mean what they say, whatever was said before, and keep their order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from workbench.routing.calibration import Calibration
from workbench.routing.calibration_fit import fit_calibration
from workbench.routing.metrics import calibration_error

RNG = np.random.default_rng(0)
CHANCE = RNG.uniform(0.05, 0.95, size=(20_000, 1))
HAPPENED = (RNG.random(CHANCE.shape) < CHANCE).astype(np.float64)


def test_what_means_what_it_says_is_left_as_it_is() -> None:
    assert fit_calibration(CHANCE, HAPPENED).of(CHANCE) == pytest.approx(CHANCE, abs=0.03)


@pytest.mark.parametrize(
    "said", [CHANCE**3, 0.5 + CHANCE / 2, np.round(CHANCE, 1)], ids=["low", "high", "steps"]
)
def test_what_was_said_wrongly_is_put_right(said: np.ndarray) -> None:
    half = slice(0, 10_000), slice(10_000, 20_000)
    calibration = fit_calibration(said[half[0]], HAPPENED[half[0]])
    before = calibration_error(said[half[1]], HAPPENED[half[1]])
    after = calibration_error(calibration.of(said[half[1]]), HAPPENED[half[1]])
    assert after < max(0.15 * before, 0.02)


def test_the_logistic_curve_is_that_of_an_independent_fit() -> None:
    said = 1.0 / (1.0 + np.exp(-2.0 * np.log(CHANCE / (1.0 - CHANCE)) - 0.3))  # twice too sure, and too high
    logit = np.log(np.clip(said, 1e-3, 0.999) / (1.0 - np.clip(said, 1e-3, 0.999)))
    theirs = LogisticRegression(C=np.inf).fit(logit, HAPPENED[:, 0])
    intercept, slope = fit_calibration(said, HAPPENED).sharpness
    assert slope == pytest.approx(theirs.coef_[0, 0], abs=0.01)
    assert intercept == pytest.approx(theirs.intercept_[0], abs=0.01)


@settings(deadline=None)  # of two fits
@given(st.integers(2, 400), st.integers(0, 99))
def test_the_order_of_predictions_is_kept_and_they_are_probabilities(n_prompts: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    quality, truth = rng.uniform(0.01, 0.99, size=(n_prompts, 2)), rng.integers(0, 2, size=(n_prompts, 2))
    calibrated = fit_calibration(quality, truth.astype(np.float64)).of(quality)
    assert ((calibrated > 0.0) & (calibrated < 1.0)).all()
    assert (np.diff(calibrated.ravel()[np.argsort(quality, axis=None)]) > 0.0).all()


def test_of_few_prompts_nothing_is_learned() -> None:
    quality = np.array([[0.2], [0.8]])
    assert fit_calibration(quality, np.array([[1.0], [0.0]])).of(quality) == pytest.approx(quality, abs=0.05)


def test_pairs_that_were_not_seen_do_not_count() -> None:
    half = np.where(np.arange(20_000)[:, None] % 2 == 0, HAPPENED, np.nan)
    whole, part = fit_calibration(CHANCE, half), fit_calibration(CHANCE[::2], HAPPENED[::2])
    assert np.array_equal(whole.of(CHANCE), part.of(CHANCE))


def test_a_line_that_falls_is_refused() -> None:
    with pytest.raises(ValueError, match="calibration"):
        Calibration(np.array([0.0, 1.0]), np.array([0.0, 0.5, 1.0]), np.array([0.0, 0.6, 0.5]))
