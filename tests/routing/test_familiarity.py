"""How far a prediction is trusted: as withheld neighbourhoods say, and less away from the training."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.routing.familiarity import Guard, Withheld, fit_guard
from workbench.routing.forecast import Floats

MEAN = np.array([0.4, 0.5, 0.6])
HOME, AWAY = 0.8, 0.1
GUARD = Guard(
    similarity=np.array([0.2, 0.6]),
    common=np.array([0.5, 1.0]),
    difference=np.array([0.0, 1.0]),
    home=HOME,
    between=np.array([0.1, 0.2, 0.3]),
    n_fitted=3,
)
similarities = st.floats(-1.0, 1.0)


def judged(truth_away: str) -> Guard:
    """A guard for a predictor that is right about half of the prompts, which are like the training."""
    rng = np.random.default_rng(0)
    gain = rng.normal(scale=0.1, size=(600, 3))
    noise = rng.normal(scale=0.1, size=(600, 3))
    is_home = np.arange(600) < 300
    away = {"noise": noise, "right": gain}[truth_away]
    truth = MEAN + np.where(is_home[:, None], gain, away)
    similarity = np.where(is_home, HOME, AWAY)
    home, elsewhere = (
        Withheld(MEAN + gain[rows], truth[rows], similarity[rows]) for rows in (is_home, ~is_home)
    )
    return fit_guard(home, elsewhere, MEAN, between=np.full(3, 0.1))


def held(guard: Guard, quality: Floats, similarity: float) -> Floats:
    (only,) = guard.hold(quality[None, :], MEAN, np.array([similarity]))
    return np.asarray(only)


def test_what_is_right_at_home_and_noise_away_is_trusted_at_home_alone() -> None:
    guard = judged("noise")
    gain = np.array([0.1, -0.1, 0.3])
    assert held(guard, MEAN + gain, HOME) - MEAN == pytest.approx(gain, rel=0.15)
    assert np.abs(held(guard, MEAN + gain, AWAY) - MEAN).max() < 0.03


def test_what_is_right_everywhere_is_trusted_everywhere() -> None:
    guard, quality = judged("right"), MEAN + np.array([0.1, -0.1, 0.3])
    for similarity in (AWAY, HOME):
        assert held(guard, quality, similarity) == pytest.approx(quality, abs=0.01)


def test_between_two_corners_trust_is_a_line() -> None:
    gain = np.array([0.1, -0.1, 0.0])  # nothing is common: differences alone
    half = held(GUARD, MEAN + gain, 0.4)
    assert half == pytest.approx((held(GUARD, MEAN + gain, 0.2) + held(GUARD, MEAN + gain, 0.6)) / 2)
    assert half == pytest.approx(MEAN + gain / 2)


def test_what_is_common_and_what_differs_are_held_apart() -> None:
    gain = np.array([0.3, 0.2, 0.1])  # 0.2 in common
    assert held(GUARD, MEAN + gain, 0.2) == pytest.approx(MEAN + 0.5 * 0.2)
    assert held(GUARD, MEAN + gain, 0.1) == pytest.approx(MEAN + 0.25 * 0.2)
    assert held(GUARD, MEAN + gain, -0.5) == pytest.approx(MEAN)


@given(similarities, similarities)
def test_familiarity_rises_within_0_and_1_and_doubt_falls(one: float, other: float) -> None:
    similarity = np.sort([one, other])
    familiarity, doubt = GUARD.familiarity(similarity), GUARD.doubt(similarity)
    assert 0.0 <= familiarity[0] <= familiarity[1] <= 1.0
    assert (doubt[0] >= doubt[1]).all()
    assert (doubt <= GUARD.between).all()


def test_doubt_is_none_at_home_and_that_of_another_neighbourhood_far_away() -> None:
    at_home, far_away = GUARD.doubt(np.array([HOME, 0.0]))
    assert at_home == pytest.approx([0.0, 0.0, 0.0])
    assert far_away == pytest.approx(GUARD.between)


def test_what_is_right_is_trusted_also_where_pairs_were_not_seen() -> None:
    rng = np.random.default_rng(1)
    gain, similarity = rng.normal(scale=0.1, size=(400, 3)), rng.random(400)
    truth = np.where(rng.random((400, 3)) < 0.2, np.nan, MEAN + gain)
    between = np.full(3, 0.1)
    withheld = Withheld(MEAN + gain, truth, similarity)
    guard = fit_guard(withheld, withheld, MEAN, between=between)
    assert 0.7 < guard.common.min() <= guard.common.max() <= 1.0
    assert 0.7 < guard.difference.min() <= guard.difference.max() <= 1.0


def test_a_model_added_later_does_not_change_what_is_common() -> None:
    more = replace(GUARD, between=np.append(GUARD.between, 0.2))
    quality, similarity = np.array([[0.5, 0.7, 0.8]]), np.array([0.3])
    wide = more.hold(np.append(quality, [[1.0]], axis=1), np.append(MEAN, 0.5), similarity)
    assert np.array_equal(wide[:, :3], GUARD.hold(quality, MEAN, similarity))


def test_parts_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="guard"):
        replace(GUARD, common=np.ones(3))
    with pytest.raises(ValueError, match="guard"):
        replace(GUARD, n_fitted=4)
    with pytest.raises(ValueError, match="numbers"):
        replace(GUARD, between=np.array([np.nan, 0.1, 0.1]))
