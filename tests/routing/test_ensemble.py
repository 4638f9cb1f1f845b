"""Votes: who wins, how ties are broken, and what votes are worth in closed form."""

import numpy as np
import pytest
from scipy.stats import binom

from voters import voters
from workbench.routing.ballots import count
from workbench.routing.ensemble import Vote, fit_majority, fit_weighted_vote, reliabilities
from workbench.routing.fields import decoded, encoded
from workbench.routing.membership import replay

A, B, C, D = "acme/a", "acme/b", "acme/c", "acme/d"


def vote_of(*weights: float) -> Vote:
    names = (A, B, C, D)[: len(weights)]
    return Vote(names, np.array(weights), np.full(len(weights), 0.5))


def winner(vote: Vote, *answers: str | None) -> int:
    [choice] = vote.choose(count([answers], vote.model_ids, final_answer=str))
    return int(choice)


def test_the_final_answer_of_most_members_wins() -> None:
    assert winner(vote_of(1, 1, 1), "5", "4", "4") == 1


def test_a_tie_goes_to_the_answer_of_the_most_reliable_member() -> None:
    assert winner(vote_of(1, 1, 1, 1), "5", "4", "4", "5") == 0
    assert winner(vote_of(1, 1, 1), "3", "4", "5") == 0


def test_weights_that_add_up_to_the_same_but_for_rounding_are_a_tie() -> None:
    assert winner(vote_of(0.3, 0.1, 0.2), "5", "4", "4") == 0


def test_one_heavy_member_outvotes_two_light_ones() -> None:
    assert winner(vote_of(3.0, 1.0, 1.0), "5", "4", "4") == 0
    assert winner(vote_of(1.9, 1.0, 1.0), "5", "4", "4") == 1


def test_the_vote_goes_on_with_those_who_answered() -> None:
    assert winner(vote_of(1, 1, 1), None, "4", None) == 1
    assert winner(vote_of(-2.0, -1.0), None, "4") == 1
    assert winner(vote_of(1, 1), None, None) == -1


def test_an_answer_without_a_final_one_wins_only_where_there_is_no_other() -> None:
    assert winner(vote_of(1, 1), "", "4") == 1
    assert winner(vote_of(-2.0, -1.0), "", "4") == 1
    assert winner(vote_of(1, 1, 1), None, "", "") == 1


def test_equally_reliable_members_are_ordered_by_cost() -> None:
    data, _ = voters([1.0, 0.5, 1.0], costs=[0.03, 0.01, 0.02])
    assert fit_majority(data).model_ids == ("acme/m2", "acme/m0", "acme/m1")


def test_three_equal_members_are_as_right_as_the_binomial_says() -> None:
    """With two possible answers a majority of 3 is right where 2 or 3 of them are."""
    data, ballots = voters([0.7, 0.7, 0.7], n_prompts=10_000, n_wrong=1)
    replayed = replay(fit_majority(data), data, ballots)
    assert replayed.quality.mean() == pytest.approx(binom.sf(1, 3, 0.7), abs=0.015)


def test_a_weight_is_the_log_odds_of_the_accuracy() -> None:
    data, _ = voters([0.9, 0.7, 0.6], n_prompts=10_000)
    weights = fit_weighted_vote(data).weight
    assert weights == pytest.approx(np.log(np.array([0.9 / 0.1, 0.7 / 0.3, 0.6 / 0.4])), abs=0.1)


def test_a_member_that_is_mostly_wrong_still_speaks_for_its_answer() -> None:
    data, _ = voters([0.6, 0.3, 0.3])
    vote = fit_weighted_vote(data)
    assert vote.weight.tolist()[1:] == [0.1, 0.1]
    assert winner(vote_of(*vote.weight), "3", "4", "4") == 0
    assert winner(vote_of(0.05, *vote.weight[1:]), "3", "4", "4") == 1


def test_a_weighted_vote_is_better_than_a_majority_where_one_member_knows_more() -> None:
    """Members of .95, .6 and .6 with two answers: the log-odds let the first one decide alone."""
    data, ballots = voters([0.95, 0.6, 0.6], n_prompts=5000, n_wrong=1)
    majority = replay(fit_majority(data), data, ballots).quality.mean()
    weighted = replay(fit_weighted_vote(data), data, ballots).quality.mean()
    assert weighted == pytest.approx(data.quality[:, 0].mean())
    assert weighted > majority + 0.05


def test_a_lucky_dozen_is_shrunk_to_the_others() -> None:
    data, _ = voters([1.0, 0.5], n_prompts=12)
    mean = (12 + data.quality[:, 1].sum() + 1) / 26
    assert reliabilities(data)[0] == pytest.approx((12 + 10 * mean) / 22)


def test_members_that_are_never_wrong_have_finite_weights() -> None:
    data, _ = voters([1.0, 1.0], n_prompts=50)
    assert np.isfinite(fit_weighted_vote(data).weight).all()


def test_fewer_members_keep_their_order_and_weights() -> None:
    vote = vote_of(3.0, 2.0, 1.0).among([C, A])
    assert (vote.model_ids, vote.weight.tolist()) == ((A, C), [3.0, 1.0])


def test_a_vote_survives_being_taken_apart_into_numbers() -> None:
    vote = vote_of(3.0, 2.0)
    again = decoded(Vote, *encoded(vote))
    assert (again.model_ids, again.weight.tolist(), again.name) == (
        vote.model_ids,
        [3.0, 2.0],
        "weighted_vote",
    )
