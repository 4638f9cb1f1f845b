"""How far a prediction is trusted: as withheld prompts say, and less away from the training."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from workbench.routing.familiarity import Guard
from workbench.routing.familiarity_fit import Withheld, fit_guard
from workbench.routing.forecast import Floats

MEAN = np.array([0.4, 0.5, 0.6])
HOME, AWAY = 0.8, 0.1
GUARD = Guard(
    home=np.array([1.0, 0.8]),
    away=np.array([0.5, 0.0]),
    odds=np.array([-4.0, 10.0]),
    between=np.array([0.1, 0.2, 0.3]),
    n_fitted=3,
)
EVEN = 0.4  # the nearness at which home and away are equally likely in GUARD
familiarities = st.floats(0.0, 1.0)


def judged(truth_away: str) -> Guard:
    """A guard for a predictor that is right about half of the prompts, which are like the training."""
    rng = np.random.default_rng(0)
    gain = rng.normal(scale=0.1, size=(600, 3))
    noise = rng.normal(scale=0.1, size=(600, 3))
    is_home = np.arange(600) < 300
    away = {"noise": noise, "right": gain}[truth_away]
    truth = MEAN + np.where(is_home[:, None], gain, away)
    nearness = np.where(is_home, HOME, AWAY)
    home, elsewhere = (
        Withheld(MEAN + gain[rows], truth[rows], nearness[rows]) for rows in (is_home, ~is_home)
    )
    return fit_guard(home, elsewhere, MEAN, between=np.full(3, 0.1))


def held(guard: Guard, quality: Floats, nearness: float, familiarity: float = 1.0) -> Floats:
    (only,) = guard.hold(quality[None, :], MEAN, np.array([nearness]), np.array([familiarity]))
    return np.asarray(only)


def test_what_is_right_at_home_and_noise_away_is_trusted_at_home_alone() -> None:
    guard = judged("noise")
    gain = np.array([0.1, -0.1, 0.3])
    assert held(guard, MEAN + gain, HOME) - MEAN == pytest.approx(gain, rel=0.15)
    assert np.abs(held(guard, MEAN + gain, AWAY) - MEAN).max() < 0.03


def test_what_is_right_everywhere_is_trusted_everywhere() -> None:
    guard, quality = judged("right"), MEAN + np.array([0.1, -0.1, 0.3])
    for nearness in (AWAY, HOME):
        assert held(guard, quality, nearness) == pytest.approx(quality, abs=0.01)


def test_a_prompt_as_likely_away_as_at_home_is_trusted_half_way_between() -> None:
    gain = np.array([0.1, -0.1, 0.0])  # nothing is common: differences alone
    assert held(GUARD, MEAN + gain, EVEN) == pytest.approx(MEAN + gain * (0.8 + 0.0) / 2)


def test_what_is_common_and_what_differs_are_held_apart() -> None:
    gain = np.array([0.3, 0.2, 0.1])  # 0.2 in common
    assert held(GUARD, MEAN + gain, -9.0) == pytest.approx(MEAN + 0.5 * 0.2)
    assert held(GUARD, MEAN + gain, 9.0) == pytest.approx(MEAN + 0.2 + 0.8 * (gain - 0.2))


def test_in_a_strange_prompt_little_is_trusted_but_models_stay_ranked() -> None:
    gain = np.array([0.3, 0.2, -0.5])
    strange, half = (held(GUARD, MEAN + gain, 9.0, familiarity=part) - MEAN for part in (0.0, 0.5))
    assert half == pytest.approx(0.5 * (held(GUARD, MEAN + gain, 9.0) - MEAN))
    assert np.abs(strange).max() < 0.01
    assert strange == pytest.approx(0.02 * 0.8 * gain)


def test_how_likely_home_is_follows_bayes_for_two_normal_clouds() -> None:
    rng = np.random.default_rng(0)
    clouds = norm(0.6, 0.1), norm(0.4, 0.1)
    home, away = (
        Withheld(MEAN + np.zeros((4000, 3)), MEAN + np.zeros((4000, 3)), cloud.rvs(4000, random_state=rng))
        for cloud in clouds
    )
    intercept, slope = fit_guard(home, away, MEAN, between=np.full(3, 0.1)).odds
    for nearness in (0.3, 0.4, 0.5):
        bayes = 0.9 * clouds[0].pdf(nearness) / (0.1 * clouds[1].pdf(nearness))  # nine to one before
        assert intercept + slope * nearness == pytest.approx(np.log(bayes), abs=0.3)


def test_where_home_and_away_cannot_be_told_apart_a_prompt_is_likely_at_home() -> None:
    rng = np.random.default_rng(0)
    gain = rng.normal(scale=0.1, size=(2000, 3))
    home = Withheld(MEAN + gain, MEAN + gain, rng.normal(0.5, 0.1, size=2000))
    away = Withheld(MEAN + gain, MEAN - gain, rng.normal(0.5, 0.1, size=2000))
    guard = fit_guard(home, away, MEAN, between=np.full(3, 0.1))
    quality = MEAN + np.array([0.1, -0.1, 0.3])
    for nearness in (0.4, 0.5, 0.6):
        assert held(guard, quality, nearness) - MEAN == pytest.approx(0.9 * (quality - MEAN), rel=0.05)


def test_without_prompts_away_trust_is_that_at_home() -> None:
    gain = np.random.default_rng(0).normal(scale=0.1, size=(300, 3))
    home = Withheld(MEAN + gain, MEAN + 0.5 * gain, np.full(300, HOME))
    nothing = Withheld(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))
    guard = fit_guard(home, nothing, MEAN, between=np.full(3, 0.1))
    quality = MEAN + np.array([0.1, -0.1, 0.3])
    for nearness in (AWAY, HOME):
        assert held(guard, quality, nearness) - MEAN == pytest.approx(0.5 * (quality - MEAN))


def test_a_prompt_is_familiar_as_far_as_both_the_views_and_its_nearness_say() -> None:
    seen = np.array([1.0, 0.3, 1.0, 1.0])
    nearness = np.array([9.0, 9.0, EVEN, -9.0])
    assert GUARD.familiarity(nearness, seen) == pytest.approx([1.0, 0.3, 0.5 / 0.9, 0.0], abs=1e-6)


@given(familiarities, familiarities)
def test_doubt_falls_as_familiarity_rises(one: float, other: float) -> None:
    doubt = GUARD.doubt(np.sort([one, other]))
    assert (doubt[0] >= doubt[1]).all()
    assert (doubt <= GUARD.between).all()


def test_doubt_is_none_at_home_and_that_of_another_neighbourhood_far_away() -> None:
    at_home, far_away = GUARD.doubt(np.array([1.0, 0.0]))
    assert at_home == pytest.approx([0.0, 0.0, 0.0])
    assert far_away == pytest.approx(GUARD.between)


def test_what_is_right_is_trusted_also_where_pairs_were_not_seen() -> None:
    rng = np.random.default_rng(1)
    gain, nearness = rng.normal(scale=0.1, size=(400, 3)), rng.random(400)
    truth = np.where(rng.random((400, 3)) < 0.2, np.nan, MEAN + gain)
    withheld = Withheld(MEAN + gain, truth, nearness)
    guard = fit_guard(withheld, withheld, MEAN, between=np.full(3, 0.1))
    assert guard.home == pytest.approx([1.0, 1.0])
    assert guard.away == pytest.approx([1.0, 1.0])


def test_a_model_added_later_does_not_change_what_is_common() -> None:
    more = replace(GUARD, between=np.append(GUARD.between, 0.2))
    quality, nearness, familiarity = np.array([[0.5, 0.7, 0.8]]), np.array([0.3]), np.array([0.7])
    wide = more.hold(np.append(quality, [[1.0]], axis=1), np.append(MEAN, 0.5), nearness, familiarity)
    assert np.array_equal(wide[:, :3], GUARD.hold(quality, MEAN, nearness, familiarity))


def test_parts_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="guard"):
        replace(GUARD, away=np.ones(3))
    with pytest.raises(ValueError, match="guard"):
        replace(GUARD, n_fitted=4)
    with pytest.raises(ValueError, match="numbers"):
        replace(GUARD, between=np.array([np.nan, 0.1, 0.1]))
