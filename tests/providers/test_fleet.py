"""The simulated models: their truth is known, their draws obey it, and their mistakes are mistakes."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from statistics import mean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from workbench.catalog import default_catalog
from workbench.datasets import Task, tasks
from workbench.errors import ConfigError, InsufficientDataError
from workbench.providers.fleet import FLEET, Fleet, SimulatedModel
from workbench.providers.wrong_answers import wrong_answers
from workbench.scoring import answer as score
from workbench.types import Decoding, Prompt, Usage

PROMPTS = [task.prompt for task in tasks()]
NAMES = [model.name for model in FLEET]
CATALOG = default_catalog()


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet(tasks())


def is_right(fleet: Fleet, model: str, prompt: Prompt, seed: int = 0) -> bool:
    return fleet.answer(model, prompt.text, seed, max_output_tokens=512).is_right


def quality_matrix(fleet: Fleet) -> np.ndarray:
    return np.stack([fleet.probabilities(name, PROMPTS) for name in NAMES])


def test_a_probability_is_the_logistic_of_skill_less_difficulty() -> None:
    model = SimulatedModel("sim-x", {"logic": 2.0}, -1.0, 10, 0.0, step=0.5)
    assert model.right_probability("logic", 3) == pytest.approx(stats.logistic.cdf(2.0 - 2 * 0.5))
    assert model.right_probability("another task", 1) == pytest.approx(stats.logistic.cdf(-1.0))
    assert model.right_probability(None, 1) == pytest.approx(stats.logistic.cdf(-1.0))


@pytest.mark.parametrize("name", NAMES)
def test_the_share_of_right_answers_is_the_true_quality(fleet: Fleet, name: str) -> None:
    answers = [is_right(fleet, name, prompt, seed) for seed in (1, 2, 3) for prompt in PROMPTS]
    rows = np.tile(
        [fleet.models[name].right_probability(task.prompt.task, task.difficulty) for task in tasks()], 3
    )
    spread = math.sqrt((rows * (1 - rows)).sum()) / len(rows)
    assert abs(mean(answers) - rows.mean()) < 4 * spread


def test_answers_scored_as_a_stranger_would_agree_with_what_was_drawn(fleet: Fleet) -> None:
    for name in ("sim-nano", "sim-large"):
        for prompt in PROMPTS:
            said = fleet.answer(name, prompt.text, 7, max_output_tokens=512)
            assert score(said.text, prompt.reference or "") == float(said.is_right)


def test_every_wrong_answer_of_every_prompt_is_wrong(fleet: Fleet) -> None:
    peers: dict[str | None, list[str]] = {}
    for prompt in PROMPTS:
        peers.setdefault(prompt.task, []).append(prompt.reference or "")
    for prompt in PROMPTS:
        wrong = wrong_answers(prompt.reference or "", peers[prompt.task][:40])
        assert 1 <= len(set(wrong)) == len(wrong) <= 4
        assert [score(f"Answer: {text}", prompt.reference or "") for text in wrong] == [0.0] * len(wrong)


def test_the_draw_depends_on_model_prompt_and_seeds_alone() -> None:
    subset = tasks()[:50]
    one, other = Fleet(subset), Fleet(tuple(reversed(subset)), FLEET[:2])
    for prompt in PROMPTS[:50]:
        same = [fleet.answer("sim-nano", prompt.text, 3, max_output_tokens=512) for fleet in (one, other)]
        assert same[0].is_right == same[1].is_right
        assert same[0].latency_s == same[1].latency_s


@pytest.mark.parametrize("change", ["model", "fleet seed", "sampling seed"])
def test_other_seeds_and_models_draw_independently(fleet: Fleet, change: str) -> None:
    even = SimulatedModel("sim-even", {}, 0.0, 10, 0.0, step=0.0)
    models = [even, SimulatedModel("sim-other", {}, 0.0, 10, 0.0, step=0.0)]
    one = Fleet(tasks(), models)
    other = Fleet(tasks(), models, seed=1 if change == "fleet seed" else 0)
    first = [is_right(one, "sim-even", prompt) for prompt in PROMPTS]
    name, seed = ("sim-other" if change == "model" else "sim-even"), int(change == "sampling seed")
    second = [is_right(other, name, prompt, seed) for prompt in PROMPTS]
    agreement = mean(a == b for a, b in zip(first, second, strict=True))
    assert abs(agreement - 0.5) < 4 * 0.5 / math.sqrt(len(PROMPTS))


def test_a_true_difference_is_of_true_qualities(fleet: Fleet) -> None:
    difference = fleet.true_difference("sim-large", "sim-nano", PROMPTS)
    rows = fleet.probabilities("sim-large", PROMPTS) - fleet.probabilities("sim-nano", PROMPTS)
    assert difference == pytest.approx(rows.mean())
    assert fleet.true_difference("sim-nano", "sim-large", PROMPTS) == pytest.approx(-difference)


def test_a_prompt_that_always_fails_has_quality_zero_and_is_rare(fleet: Fleet) -> None:
    failing = [
        (name, prompt)
        for name in NAMES
        for prompt in PROMPTS
        if fleet.failure_status(name, prompt.text, 5, n_earlier=9) == 500
    ]
    assert all(fleet.probabilities(name, [prompt])[0] == 0.0 for name, prompt in failing)
    expected = 0.003 * len(NAMES) * len(PROMPTS)
    assert abs(len(failing) - expected) < 4 * math.sqrt(expected)


def test_a_failure_that_passes_is_gone_at_the_second_request(fleet: Fleet) -> None:
    first = [
        fleet.failure_status("sim-large", prompt.text, s, n_earlier=0) for prompt in PROMPTS for s in range(5)
    ]
    again = [
        fleet.failure_status("sim-large", prompt.text, s, n_earlier=1) for prompt in PROMPTS for s in range(5)
    ]
    n_transient = sum(status in (429, 503) for status in first)
    expected = 0.01 * len(first)
    assert abs(n_transient - expected) < 4 * math.sqrt(expected)
    assert set(again) <= {None, 500}
    assert {429, 503} <= set(first)


def test_latencies_are_lognormal_with_the_stated_median(fleet: Fleet) -> None:
    model = fleet.models["sim-medium"]
    seconds = [
        fleet.answer("sim-medium", prompt.text, 0, max_output_tokens=512).latency_s for prompt in PROMPTS
    ]
    z = np.log(np.array(seconds) / model.latency_s) / model.latency_sigma
    assert stats.kstest(z, "norm").pvalue > 1e-3


def test_routing_is_worth_it(fleet: Fleet) -> None:
    quality = quality_matrix(fleet)
    singles = dict(zip(NAMES, quality.mean(axis=1), strict=True))
    assert singles["sim-nano"] == min(singles.values()) == pytest.approx(0.55, abs=0.03)
    assert singles["sim-large"] == max(singles.values()) == pytest.approx(0.85, abs=0.02)
    assert quality.max(axis=0).mean() > singles["sim-large"] + 0.08
    assert (1 - np.prod(1 - quality, axis=0)).mean() > 0.97


def test_every_task_has_a_specialist_that_is_cheaper_and_better_than_the_generalist(
    fleet: Fleet,
) -> None:
    for task in {prompt.task for prompt in PROMPTS}:
        kin = [prompt for prompt in PROMPTS if prompt.task == task]
        best = max(NAMES, key=lambda name: fleet.true_quality(name, kin))
        assert best != "sim-large"
        assert usd_per_answer(fleet, best, kin) < 0.6 * usd_per_answer(fleet, "sim-large", kin)


def usd_per_answer(fleet: Fleet, name: str, prompts: Sequence[Prompt]) -> float:
    price = CATALOG[f"simulator/{name}"].price
    assert price is not None
    answers = [fleet.answer(name, prompt.text, 0, max_output_tokens=512) for prompt in prompts]
    return mean(price.cost_usd(Usage(said.input_tokens, said.output_tokens)) for said in answers)


def test_prices_are_spread_about_thirty_fold() -> None:
    prices = [CATALOG[f"simulator/{name}"].price for name in NAMES]
    inputs = [price.input_usd_per_mtok for price in prices if price is not None]
    assert len(inputs) == len(NAMES)
    assert max(inputs) / min(inputs) == pytest.approx(30, rel=0.2)


def test_no_answer_costs_more_than_the_bound_that_a_budget_reserves(fleet: Fleet) -> None:
    for name in NAMES:
        spec = CATALOG[f"simulator/{name}"]
        assert spec.price is not None
        for prompt in PROMPTS[::5]:
            for limit in (16, 512):
                said = fleet.answer(name, prompt.text, 0, max_output_tokens=limit)
                cost_usd = spec.price.cost_usd(Usage(said.input_tokens, said.output_tokens))
                assert cost_usd <= spec.cost_bound_usd(prompt, Decoding(max_output_tokens=limit))


def test_the_default_limit_cuts_no_answer(fleet: Fleet) -> None:
    for name in NAMES:
        said = [
            fleet.answer(name, prompt.text, 0, max_output_tokens=Decoding().max_output_tokens)
            for prompt in PROMPTS
        ]
        assert {one.finish_reason for one in said} == {"stop"}


def test_an_unknown_prompt_has_quality_zero_and_a_stable_id(fleet: Fleet) -> None:
    stranger = Prompt("x", "Who are you?")
    assert fleet.true_quality("sim-large", [stranger]) == 0.0
    assert not is_right(fleet, "sim-large", stranger)
    assert fleet.prompt_id(stranger.text) == fleet.prompt_id(stranger.text) != fleet.prompt_id("And you?")


def test_the_truth_about_no_prompts_is_refused(fleet: Fleet) -> None:
    with pytest.raises(InsufficientDataError, match="needs at least one prompt"):
        fleet.true_quality("sim-nano", [])


def test_a_model_goes_by_its_name_or_its_id(fleet: Fleet) -> None:
    assert fleet.true_quality("simulator/sim-nano", PROMPTS) == fleet.true_quality("sim-nano", PROMPTS)
    with pytest.raises(ConfigError, match="no simulated model 'gpt-9'; there are sim-nano"):
        fleet.true_quality("gpt-9", PROMPTS)


@given(st.decimals(-(10**9), 10**9, places=3) | st.integers(-(10**12), 10**12))
def test_a_wrong_number_is_off_by_about_a_tenth_or_more(number: Decimal | int) -> None:
    for text in wrong_answers(f"{number}"):  # 13 for 14 is the least: a tenth in whole units
        assert abs(Decimal(text) - number) >= abs(Decimal(number)) * Decimal("0.07")
        assert Decimal(text) != number


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("2024-02-28", "2024-02-29"),
        ("23:30", "00:30"),
        ("9:05", "10:05"),
        ("amber, fern, ladder", "amber, fern"),
        ("$1,250.00", "$1375.00"),
        ("0", "1"),
        ("-3", "-2"),
    ],
)
def test_a_wrong_answer_looks_like_a_right_one(reference: str, expected: str) -> None:
    assert wrong_answers(reference)[0] == expected


def test_a_wrong_object_is_wrong_in_every_field() -> None:
    right = {"name": "Ann", "n": 3, "ok": True, "tags": ["a", "b"], "when": "2026-01-31", "none": None}
    for text in wrong_answers(json.dumps(right), ['{"name": "Bob"}']):
        wrong = json.loads(text)
        assert list(wrong) == list(right)
        assert all(wrong[key] != right[key] for key in right)


@given(st.text(min_size=1), st.lists(st.text(), max_size=5))
def test_any_text_has_a_wrong_answer(reference: str, peers: list[str]) -> None:
    assert all(text != reference for text in wrong_answers(reference, peers))


def test_tasks_of_ones_own_can_be_simulated() -> None:
    own = Task(Prompt("mine", "Say yes or no: is water wet?", "custom", reference="yes"), 1, "test")
    fleet = Fleet([own])
    assert 0 < fleet.true_quality("sim-nano", [own.prompt]) < 1


@pytest.mark.parametrize(
    ("template", "cue"),
    [
        ("{prompt}", 0.0),
        ("Please: {prompt}", 0.0),
        ("{prompt} Think step by step.", 0.7),
        ("Only the answer. {prompt}", -0.5),
    ],
    ids=["as-it-is", "other-words", "steps", "only-the-answer"],
)
def test_the_words_around_a_prompt_have_the_effect_that_is_stated(
    fleet: Fleet, template: str, cue: float
) -> None:
    asked = [replace(prompt, text=template.replace("{prompt}", prompt.text)) for prompt in PROMPTS]
    model = fleet.models["sim-small"]
    tasks_of = {task.prompt.prompt_id: task for task in tasks()}
    fails = fleet.probabilities("sim-small", PROMPTS) == 0.0
    logit = np.log([p / (1 - p) for p in (
        model.right_probability(prompt.task, tasks_of[prompt.prompt_id].difficulty) for prompt in PROMPTS
    )])  # fmt: skip
    expected = np.where(fails, 0.0, 1.0 / (1.0 + np.exp(-(logit + cue))))
    assert fleet.probabilities("sim-small", asked) == pytest.approx(expected)
    n_right = sum(is_right(fleet, "sim-small", prompt) for prompt in asked)
    variance = float((expected * (1 - expected)).sum())
    assert abs(n_right - expected.sum()) < 4 * np.sqrt(variance)


def test_a_system_message_counts_as_words_around_the_prompt(fleet: Fleet) -> None:
    told = [replace(prompt, system="Think step by step.") for prompt in PROMPTS]
    assert fleet.true_quality("sim-nano", told) > fleet.true_quality("sim-nano", PROMPTS) + 0.05


def test_other_words_draw_anew(fleet: Fleet) -> None:
    same = [
        is_right(fleet, "sim-nano", prompt)
        == is_right(fleet, "sim-nano", replace(prompt, text=f"Q: {prompt.text}"))
        for prompt in PROMPTS
    ]
    assert 0.5 < np.mean(same) < 0.9
