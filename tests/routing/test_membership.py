"""Members: what an ensemble would have done, and which models are worth asking together."""

import math
from dataclasses import replace

import numpy as np
import pytest

from voters import voters
from workbench.errors import ConfigError
from workbench.routing.ensemble import fit_majority
from workbench.routing.membership import Selection, choose_members, replay


def test_an_ensemble_pays_for_all_members_and_waits_for_the_slowest() -> None:
    data, ballots = voters([0.9, 0.8, 0.7], costs=[0.01, 0.02, 0.04], n_prompts=20)
    replayed = replay(fit_majority(data).among(["acme/m0", "acme/m2"]), data, ballots)
    assert replayed.cost_usd.tolist() == [pytest.approx(0.05)] * 20
    assert replayed.latency_s.tolist() == [3.0] * 20


def test_a_member_without_a_row_neither_votes_nor_costs() -> None:
    data, ballots = voters([1.0, 0.0], n_prompts=4, costs=[0.01, 0.02])
    quality, n_chars = data.quality.copy(), ballots.n_chars.copy()
    quality[0, 0] = quality[1] = n_chars[0, 0] = n_chars[1] = np.nan
    final = np.where(np.isnan(n_chars), -1, ballots.final)
    replayed = replay(
        fit_majority(data), replace(data, quality=quality), replace(ballots, final=final, n_chars=n_chars)
    )
    np.testing.assert_array_equal(replayed.quality, [0.0, np.nan, 1.0, 1.0])
    np.testing.assert_allclose(replayed.cost_usd, [0.02, np.nan, 0.03, 0.03])
    assert (replayed.mean_quality, replayed.mean_cost_usd) == pytest.approx((2 / 3, 0.08 / 3))


def test_where_every_member_failed_the_quality_is_0_and_was_paid_for() -> None:
    data, ballots = voters([0.9, 0.9], n_prompts=5)
    nobody = replace(ballots, final=np.full((5, 2), -1), n_chars=np.full((5, 2), np.nan))
    replayed = replay(fit_majority(data), data, nobody)
    assert (replayed.choice.tolist(), replayed.quality.tolist()) == ([-1] * 5, [0.0] * 5)
    assert replayed.cost_usd.tolist() == [2.0] * 5


def test_two_are_added_where_one_alone_would_gain_nothing() -> None:
    """A second voice never outvotes the first; three of .8 are right more often than one."""
    data, ballots = voters([0.8, 0.8, 0.8], n_prompts=3000, n_wrong=1)
    chosen = choose_members(fit_majority(data), data, ballots)
    assert len(chosen.model_ids) == 3


def test_members_are_added_only_for_as_long_as_they_are_worth_their_cost() -> None:
    data, ballots = voters([0.8, 0.8, 0.8], n_prompts=3000, n_wrong=1, costs=[0.01, 0.01, 0.01])
    gain = 0.096  # .8^3 + 3 x .8^2 x .2 - .8, for 0.02 USD
    vote = fit_majority(data)
    thrifty = choose_members(vote, data, ballots, selection=Selection(cost_weight=gain / 0.02 * 1.5))
    lavish = choose_members(vote, data, ballots, selection=Selection(cost_weight=gain / 0.02 / 1.5))
    assert (len(thrifty.model_ids), len(lavish.model_ids)) == (1, 3)


def test_no_more_is_spent_and_no_more_are_asked_than_allowed() -> None:
    data, ballots = voters([0.9] + [0.7] * 6, n_wrong=5, costs=[0.1] + [0.01] * 6)
    cheap = choose_members(fit_majority(data), data, ballots, selection=Selection(most_usd=0.05))
    assert "acme/m0" not in cheap.model_ids
    assert len(cheap.model_ids) == 5
    few = choose_members(fit_majority(data), data, ballots, selection=Selection(most_members=3))
    assert len(few.model_ids) <= 3


def test_models_that_all_cost_too_much_are_a_mistake() -> None:
    data, ballots = voters([0.9, 0.8], n_prompts=20)
    with pytest.raises(ConfigError, match="no model costs at most"):
        choose_members(fit_majority(data), data, ballots, selection=Selection(most_usd=0.5))


def test_members_cannot_be_chosen_by_a_cost_that_is_not_known() -> None:
    data, ballots = voters([0.9, 0.8], n_prompts=20)
    free = replace(data, cost_usd=np.full(data.quality.shape, np.nan))
    with pytest.raises(ConfigError, match="do not have"):
        choose_members(fit_majority(free), free, ballots, selection=Selection(cost_weight=1.0))
    assert choose_members(fit_majority(free), free, ballots).model_ids[0] == "acme/m0"


@pytest.mark.parametrize("wrong", [{"cost_weight": math.nan}, {"most_usd": -1.0}, {"most_members": 0}])
def test_a_selection_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="cannot be"):
        Selection(**wrong)  # type: ignore[arg-type]
