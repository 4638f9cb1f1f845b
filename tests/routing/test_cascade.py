"""The cascade: what it asks, when it stops, and that a table and a conversation are treated alike."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench.answers import settled
from workbench.errors import DataError, InsufficientDataError, RoutingError
from workbench.routing import checkpoint
from workbench.routing.agreement_rule import fit_agreement_rules
from workbench.routing.ballots import ballots_of
from workbench.routing.baselines import Fixed
from workbench.routing.cascade import Answered, Ask, Cascade, Stop
from workbench.routing.cascade_training import fit_cascade
from workbench.routing.contest import contest
from workbench.routing.ensemble import fit_majority
from workbench.routing.fields import encoded
from workbench.routing.fusion import Fusion
from workbench.routing.membership import replay
from workbench.routing.training_data import TrainingData
from workbench.routing.training_table import from_table
from workbench.types import Prompt

SKILL = {"acme/tiny": 0.72, "acme/small": 0.75, "acme/large": 0.95}
PRICE = {"acme/tiny": 0.0001, "acme/small": 0.0002, "acme/large": 0.01}


def answers_table(n_prompts: int = 240, *, seed: int = 0) -> pd.DataFrame:
    """Right answers are the prompt's number; wrong ones are scattered, so that agreement tells."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(n_prompts):
        for model, skill in SKILL.items():
            is_right = rng.random() < skill
            rows.append(
                {
                    "prompt_id": f"p{number}",
                    "prompt": f"What is the value of item {number}?",
                    "arm": model,
                    "provider": "acme",
                    "model": model.split("/")[1],
                    "response": str(number if is_right else rng.integers(1_000, 9_000)),
                    "quality": float(is_right),
                    "cost_usd": PRICE[model] * float(rng.uniform(0.9, 1.1)),
                }
            )
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return from_table(answers_table())


@pytest.fixture(scope="module")
def cascade(data: TrainingData) -> Cascade:
    return fit_cascade(data, cost_weight=10.0)


def test_it_stops_where_two_cheap_models_agree(cascade: Cascade, data: TrainingData) -> None:
    asked = [Answered("acme/small", "17", 0.0002), Answered("acme/tiny", "17.0", 0.0001)]
    step = cascade.next(data.prompts[0], asked)
    assert isinstance(step, Stop)
    assert step.predicted_quality > 0.9


def test_it_asks_the_strong_model_where_they_differ(cascade: Cascade, data: TrainingData) -> None:
    asked = [Answered("acme/small", "17", 0.0002), Answered("acme/tiny", "40", 0.0001)]
    assert cascade.next(data.prompts[0], asked) == Ask("acme/large")


def test_it_gives_the_answer_of_the_group_that_weighs_most(cascade: Cascade, data: TrainingData) -> None:
    texts = {"acme/small": "17", "acme/tiny": "40", "acme/large": "40"}
    step = cascade.next(data.prompts[0], [Answered(model, text) for model, text in texts.items()])
    assert isinstance(step, Stop)
    assert step.answer in (1, 2)


def test_refusals_do_not_agree(cascade: Cascade, data: TrainingData) -> None:
    refusal = "I'm sorry, I can't help with that."
    asked = [Answered("acme/small", refusal), Answered("acme/tiny", refusal)]
    assert cascade.next(data.prompts[0], asked) == Ask("acme/large")


def test_a_conversation_goes_as_the_replay_of_the_same_answers(cascade: Cascade, data: TrainingData) -> None:
    replay = cascade.replay(data, [cascade.cost_weight])
    assert data.answers is not None
    for row in range(0, len(data.prompts), 8):
        asked: list[Answered] = []
        while isinstance(step := cascade.next(data.prompts[row], asked), Ask):
            column = data.model_ids.index(step.model_id)
            asked.append(Answered(step.model_id, data.answers[row, column], data.cost_usd[row, column]))
        column = data.model_ids.index(asked[step.answer].model_id)
        assert replay.quality[0, row] == data.quality[row, column]
        assert replay.cost_usd[0, row] == pytest.approx(sum(each.cost_usd or 0.0 for each in asked))
        assert replay.predicted[0, row] == pytest.approx(step.predicted_quality)


def test_it_saves_and_is_no_worse_than_the_best_model_on_new_prompts(cascade: Cascade) -> None:
    unseen = from_table(answers_table(400, seed=1))
    replay, best = cascade.replay(unseen, [10.0]), unseen.model_ids.index("acme/large")
    assert replay.quality.mean() > unseen.quality[:, best].mean() - 0.02
    assert replay.cost_usd.mean() < 0.7 * unseen.cost_usd[:, best].mean()


def test_a_greater_cost_weight_never_costs_more(cascade: Cascade, data: TrainingData) -> None:
    cost = cascade.replay(data, [0.0, 5.0, 50.0, 5_000.0]).cost_usd.mean(axis=1)
    assert (np.diff(cost) <= 1e-12).all()


def test_what_all_the_asked_cost_is_counted(cascade: Cascade, data: TrainingData) -> None:
    everyone = replace(cascade, max_asked=3).replay(data, [0.0])
    is_all = everyone.n_asked[0] == 3
    assert is_all.any()
    assert everyone.cost_usd[0, is_all] == pytest.approx(data.cost_usd[is_all].sum(axis=1))


def test_only_candidates_are_asked(cascade: Cascade, data: TrainingData) -> None:
    assert cascade.next(data.prompts[0], [], candidates=["acme/large"]) == Ask("acme/large")
    with pytest.raises(RoutingError):
        cascade.next(data.prompts[0], [], candidates=["other/model"])


@pytest.mark.parametrize(
    "text", ["word " * 200_000, "x" * 1_000_000, "Ǹjẹ́ o lè yanjú èyí?", "\ud800"], ids=str.__len__
)
def test_any_prompt_and_any_answer_is_decided_on_in_50_ms(cascade: Cascade, text: str) -> None:
    asked, took_s = [Answered("acme/small", text, 0.0002), Answered("acme/tiny", text, 0.0001)], []
    for _ in range(3):
        started_s = time.process_time()
        assert isinstance(cascade.next(Prompt("odd", text), ()), Ask)
        assert isinstance(cascade.next(Prompt("odd", text), asked), Ask | Stop)
        took_s.append((time.process_time() - started_s) / 2)
    assert min(took_s) < 0.05


def test_missing_pairs_are_neither_asked_nor_given() -> None:
    table = answers_table().drop(index=range(0, 600, 7))
    data = from_table(table)
    replay = fit_cascade(data, cost_weight=10.0).replay(data, [10.0])
    n_known = np.isfinite(data.quality).sum(axis=1)
    assert (replay.n_asked[0] <= n_known).all()
    assert np.isfinite(replay.quality).all()


def test_an_aim_is_the_greatest_weight_that_reached_it(cascade: Cascade) -> None:
    aimed = cascade.aiming_at(0.9)
    place = int(np.argmax(aimed.opening_weights == aimed.cost_weight))
    assert aimed.expected_quality[place] >= 0.9
    assert (aimed.expected_quality[place + 1 :] < 0.9).all()


def test_it_survives_its_file(cascade: Cascade, data: TrainingData, tmp_path: Path) -> None:
    checkpoint.save(cascade, tmp_path / "cascade.ckpt")
    again = checkpoint.load(tmp_path / "cascade.ckpt")
    assert isinstance(again, Cascade)
    assert again.cost_weight == cascade.cost_weight
    assert np.array_equal(again.replay(data, [10.0]).cost_usd, cascade.replay(data, [10.0]).cost_usd)


def test_the_same_seed_gives_the_same_cascade(cascade: Cascade, data: TrainingData) -> None:
    (settings, arrays), (others, again) = encoded(fit_cascade(data, cost_weight=10.0)), encoded(cascade)
    assert settings == others
    assert all(array.tobytes() == again[name].tobytes() for name, array in arrays.items())


def test_as_a_router_it_says_whom_it_asks_first(cascade: Cascade, data: TrainingData) -> None:
    prompt = data.prompts[0]
    decision = cascade.route(prompt, data.model_ids)
    assert Ask(decision.model_id) == cascade.next(prompt, [])
    assert {decision.model_id, *decision.fallbacks} == set(data.model_ids)
    with pytest.raises(RoutingError, match="no candidates"):
        cascade.route(prompt, ())


def test_a_contest_plays_a_cascade_on_the_recorded_answers(cascade: Cascade, data: TrainingData) -> None:
    verdict = contest(cascade, Fixed("acme/tiny"), data)
    expected = cascade.replay(data, [cascade.cost_weight]).quality[0]
    assert verdict.gain.value == pytest.approx(
        (expected - data.quality[:, data.model_ids.index("acme/tiny")]).mean()
    )
    with pytest.raises(DataError, match="no column 'response'"):
        contest(cascade, Fixed("acme/tiny"), replace(data, answers=None))


def test_a_contest_plays_an_ensemble_on_the_recorded_answers(data: TrainingData) -> None:
    vote = fit_majority(data)
    votes = replay(vote, data, ballots_of(data, final_answer=settled)).quality
    best = data.quality[:, data.model_ids.index("acme/large")]
    verdict = contest(vote, Fixed("acme/large"), data)
    assert verdict.gain.value == pytest.approx(np.mean(votes - best))
    with pytest.raises(DataError, match="what a fusion would have written is in no table"):
        contest(Fusion(vote, "acme/writer"), Fixed("acme/large"), data)


def test_without_responses_or_costs_it_says_so(data: TrainingData) -> None:
    with pytest.raises(DataError, match="no column 'response'"):
        fit_cascade(replace(data, answers=None))
    with pytest.raises(InsufficientDataError, match="cost_usd"):
        fit_cascade(replace(data, cost_usd=np.full_like(data.cost_usd, np.nan)))


def test_the_untrained_rule_accepts_agreement_of_the_cheap_and_else_asks_the_strong(
    data: TrainingData,
) -> None:
    rule = fit_agreement_rules(data, [10.0])[0]
    assert [data.model_ids[c] for c in (rule.first, rule.second, rule.strong)] == [
        "acme/small",
        "acme/tiny",
        "acme/large",
    ]
    quality, cost = rule.replay(data)
    assert quality.mean() > 0.9
    assert cost.mean() < 0.7 * data.cost_usd[:, data.model_ids.index("acme/large")].mean()


def test_a_rule_of_one_model_is_that_model(data: TrainingData) -> None:
    rule = fit_agreement_rules(data, [5_000.0])[0]
    assert rule.first == rule.second == rule.strong
    assert np.array_equal(rule.replay(data)[0], data.quality[:, rule.first])
