"""The pairwise ranker: what it learns from pairs, and what it must not."""

from dataclasses import replace

import numpy as np
import pytest

from voters import voters
from workbench.errors import ConfigError
from workbench.routing.ballots import ballots_of, count
from workbench.routing.baselines import fit_best_single
from workbench.routing.ensemble import fit_majority
from workbench.routing.fields import decoded, encoded
from workbench.routing.linear import fit_tfidf_lr
from workbench.routing.membership import replay
from workbench.routing.ranker import BestOf, fit_best_of, predicted_out_of_part
from workbench.routing.training_data import TrainingData

MODELS = ("acme/m0", "acme/m1", "acme/m2")


def test_between_two_models_the_utilities_differ_by_the_log_odds_of_their_wins() -> None:
    """Bradley and Terry's model of two: the logit of the share of pairs that the first one wins."""
    data, ballots = voters([0.8, 0.6], n_prompts=20_000)
    strangers = replace(ballots, final=np.arange(ballots.final.size).reshape(ballots.final.shape))
    ranker = fit_best_of(data, replace(strangers, n_chars=np.ones(ballots.final.shape)), MODELS[:2], c=100.0)
    one, other = ranker.coefficients[:2] + ranker.coefficients[2:4]
    odds = ranker.coefficients[7] + ranker.coefficients[8]
    utility = one - other + odds * np.subtract(*np.log(ranker.reliability / (1 - ranker.reliability)))
    wins = (data.quality[:, 0] > data.quality[:, 1]).sum() / (data.quality[:, 0] != data.quality[:, 1]).sum()
    assert utility == pytest.approx(np.log(wins / (1 - wins)), abs=0.02)


def test_it_learns_that_agreement_speaks_for_an_answer() -> None:
    data, ballots = voters([0.7, 0.7, 0.7], n_prompts=4000, n_wrong=5)
    learnt, judged = np.arange(2000), np.arange(2000, 4000)
    ranker = fit_best_of(data.rows(learnt), ballots.rows(learnt), MODELS)
    held_out = replay(ranker, data.rows(judged), ballots.rows(judged)).mean_quality
    majority = replay(fit_majority(data), data.rows(judged), ballots.rows(judged)).mean_quality
    assert held_out == pytest.approx(majority, abs=0.01)
    assert held_out > data.quality.mean() + 0.05


def test_it_learns_that_members_who_copy_each_other_are_one_voice() -> None:
    """m1 and m2 always say the same and outvote the better m0 in a majority; the ranker finds out."""
    data, _ = voters([0.8, 0.6, 0.6], n_wrong=1)
    assert data.answers is not None
    quality, answers = data.quality.copy(), data.answers.copy()
    quality[:, 2], answers[:, 2] = quality[:, 1], answers[:, 1]
    data = replace(data, quality=quality, answers=answers)
    ballots = ballots_of(data, final_answer=str)
    assert replay(fit_majority(data), data, ballots).mean_quality == quality[:, 1].mean()
    assert replay(fit_best_of(data, ballots, MODELS), data, ballots).mean_quality == quality[:, 0].mean()


def test_it_learns_that_a_refusal_is_worth_nothing() -> None:
    data, ballots = voters([0.7, 0.7], n_prompts=1000)
    is_refusal = (data.quality == 0.0) & (np.arange(1000) % 2 == 0)[:, None]
    refusing = replace(ballots, is_refusal=is_refusal, final=np.where(is_refusal, -1, ballots.final))
    ranker = fit_best_of(data, refusing, MODELS[:2])
    one_refuses = is_refusal.sum(axis=1) == 1
    choice = ranker.choose(refusing)[one_refuses]
    assert not np.take_along_axis(is_refusal[one_refuses], choice[:, None], axis=1).any()


def test_a_forecast_of_the_prompt_decides_where_nothing_else_does() -> None:
    """Each of two models is right on its half of the prompts, and the forecast knows which."""
    data, ballots = voters([0.5, 0.5], n_prompts=400)
    half = np.arange(400) % 2
    quality = np.column_stack([half, 1 - half]).astype(np.float64)
    data = replace(data, quality=quality)
    predicted = np.where(quality == 1.0, 0.8, 0.4)
    ranker = fit_best_of(data, ballots, MODELS[:2], predicted=predicted)
    assert replay(ranker, data, ballots, predicted=predicted).mean_quality == 1.0
    unknown = replay(ranker, data, ballots, predicted=np.full(quality.shape, np.nan))
    assert 0.4 < unknown.mean_quality < 0.6


def test_a_forecast_is_not_made_by_a_router_that_saw_the_prompt(data: TrainingData) -> None:
    """The best single's forecast is the mean of its rows: without a part's rows, that of the others."""
    predicted = predicted_out_of_part(data, fit_best_single, n_parts=4)
    for value in np.unique(predicted[:, 0]):
        rows = predicted[:, 0] == value
        assert value == pytest.approx(data.quality[~rows, 0].mean())
    assert predicted_out_of_part(data, fit_tfidf_lr).shape == data.quality.shape


def test_where_no_answers_differ_the_most_reliable_is_taken() -> None:
    data, ballots = voters([1.0, 1.0], n_prompts=20)
    ranker = fit_best_of(data, ballots, MODELS[:2])
    assert not ranker.coefficients.any()
    assert set(ranker.choose(ballots)) == {0}


def test_who_did_not_answer_is_not_taken() -> None:
    data, ballots = voters([0.9, 0.6], n_prompts=200)
    ranker = fit_best_of(data, ballots, MODELS[:2])
    asked = count([[None, "right"], [None, None]], MODELS[:2], final_answer=str)
    assert ranker.choose(asked).tolist() == [1, -1]


@pytest.mark.parametrize(
    ("members", "c"),
    [(MODELS[:2], 0.0), ((), 1.0), (("acme/m0", "acme/m0"), 1.0)],
    ids=["c", "none", "twice"],
)
def test_a_ranker_that_cannot_be_is_refused(members: tuple[str, ...], c: float) -> None:
    data, ballots = voters([0.9, 0.6], n_prompts=20)
    with pytest.raises(ConfigError, match="best-of-n"):
        fit_best_of(data, ballots, members, c=c)


def test_a_ranker_survives_being_taken_apart_into_numbers() -> None:
    data, ballots = voters([0.9, 0.6], n_prompts=100)
    ranker = fit_best_of(data, ballots, MODELS[:2])
    again = decoded(BestOf, *encoded(ranker))
    assert again.choose(ballots).tolist() == ranker.choose(ballots).tolist()
