"""Arms as written: what they are made of, in whose words, and in which combinations."""

from pathlib import Path

import pytest

from workbench.cache.key import Source, key_of
from workbench.errors import ConfigError
from workbench.experiment.plan import Plan, make_plan
from workbench.experiment.spec import ExperimentSpec, load_spec
from workbench.settings import Settings

HEAD = "name: x\nquestion: Which?\nprompts: {n: 6}\n"
GOOD = HEAD + "arms: [{name: a, model: simulator/sim-nano}, {name: b, model: simulator/sim-large}]\n"
FACTORIAL = (
    HEAD
    + """
factorial:
  model: [simulator/sim-small, simulator/sim-medium]
  template: {plain: "{prompt}", steps: "{prompt} Think step by step."}
  decoding: [{max_output_tokens: 128}, {}]
"""
)


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> ExperimentSpec:
        path = tmp_path / "spec.yaml"
        path.write_text(text)
        return load_spec(path)

    return write


@pytest.fixture
def planned(write, tmp_path: Path):
    def planned(text: str) -> Plan:
        return make_plan(write(text), Settings(runs_dir=tmp_path / "runs"))

    return planned


def arm(text: str) -> str:
    return GOOD.replace("{name: b, model: simulator/sim-large}", f"{{name: b, {text}}}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (arm("model: a/b, router: {kind: knn}"), "either `model` or `router`, `cascade` or `ensemble`"),
        (arm("model: a/b, template: 'no place'"), "a template says once where the prompt goes, as {prompt}"),
        (arm("model: a/b, template: '{prompt} and {prompt}'"), "says once where the prompt goes"),
        (arm("model: a/b, tempalte: '{prompt}'"), "did you mean 'template'?"),
        (arm("ensemble: {members: [a/b]}"), "two different models or more"),
        (arm("ensemble: {members: [a/b, a/b]}"), "two different models or more"),
        (arm("ensemble: {rule: best_of, members: [a/b, a/c]}"), "best_of learns from recorded answers"),
        (arm("ensemble: {rule: fusion, members: [a/b, a/c]}"), "`fuser`, the model that writes the answer"),
        (arm("ensemble: {members: [a/b, a/c], fuser: a/d}"), "belongs to the rule fusion"),
        (arm("ensemble: {}"), "needs `members`, or `fit_on`"),
        (arm("ensemble: {members: [a/b, a/c]}, fallbacks: [a/d]"), "`fallbacks` are of a `model`"),
        (arm("ensemble: {members: [a/b, a/c]}, delivery: batch"), "a batch is of one `model`"),
        (arm("cascade: {cost_weight: 1}"), "cascade.fit_on: this key is missing"),
        (arm("cascade: {fit_on: {outcomes: t}, cost_weight: 1, quality: 0.9}"), "either a `cost_weight` or"),
        (HEAD, "there is nothing to compare"),
        (HEAD + "factorial: {template: ['{prompt}']}\n", "needs one factor of those that answer"),
        (HEAD + "factorial: {model: " + str([f"a/{n}" for n in range(65)]) + "}\n", "at most 64"),
    ],
)
def test_a_mistake_in_an_arm_is_named(write, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        write(text)
    assert told in str(caught.value)


def test_a_factorial_is_every_combination_with_its_levels(write) -> None:
    arms = write(FACTORIAL).arms
    assert len(arms) == 2 * 2 * 2
    assert arms[0].name == "sim-small/plain/decoding 1"
    assert arms[-1].levels == {"model": "sim-medium", "template": "steps", "decoding": "decoding 2"}
    assert len({tuple(arm.levels.items()) for arm in arms}) == 8


def test_an_arm_has_its_own_words_and_what_is_written_of_its_decoding(planned) -> None:
    plan = planned(FACTORIAL + "decoding: {temperature: 0.7}\n")
    call = next(call for call in plan.calls if call.arm.name == "sim-small/steps/decoding 1")
    assert call.asked.text == f"{call.prompt.text} Think step by step."
    assert call.asked.prompt_id == call.prompt.prompt_id
    assert (plan.decoding(call).max_output_tokens, plan.decoding(call).temperature) == (128, 0.7)
    other = next(call for call in plan.calls if call.arm.name == "sim-small/steps/decoding 2")
    assert plan.decoding(other).max_output_tokens == 512


def test_a_system_message_takes_the_place_of_the_prompts_own(planned) -> None:
    plan = planned(arm("model: simulator/sim-nano, system: Be brief."))
    assert {call.asked.system for call in plan.calls} == {None, "Be brief."}


def test_braces_of_a_prompt_are_left_alone(planned, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text('text,reference\n"Sum {prompt} and {x}",1\nTwo,2\n')
    text = arm('model: simulator/sim-nano, template: \'{"q": "{prompt}"}\'')
    plan = planned(text.replace("{n: 6}", "{source: own.csv}"))
    asked = {call.asked.text for call in plan.calls if call.arm.name == "b"}
    assert asked == {'{"q": "Sum {prompt} and {x}"}', '{"q": "Two"}'}


def test_words_and_decoding_change_the_fingerprint_and_the_key_of_a_kept_answer(write, planned) -> None:
    plain = arm("model: simulator/sim-nano")
    changed = [plain[:-3] + f", {key}}}]\n" for key in (
        "template: 'Now: {prompt}'", "system: Be brief.", "decoding: {max_output_tokens: 64}"
    )]  # fmt: skip
    fingerprints = [str(write(text).fingerprint()) for text in (plain, *changed)]
    assert len(set(fingerprints)) == 4
    keys = set()
    for text in (plain, *changed):
        plan = planned(text)
        call = min((call for call in plan.calls if call.arm.name == "b"), key=lambda call: call.key)
        source = Source("simulator", "http://127.0.0.1", "chat_completions")
        keys.add(key_of(source, "sim-nano", call.asked, plan.decoding(call)))
    assert len(keys) == 4


def test_an_arm_without_them_has_the_fingerprint_that_it_had_before_there_were_any(write) -> None:
    dumped = write(GOOD).fingerprint()
    assert dumped["arms"][0] == {"name": "a", "model": "simulator/sim-nano", "router": None, "fallbacks": []}
    assert dumped.keys() == {"prompts", "replay", "arms", "scorer", "decoding", "repeats", "seed"}


def test_a_spec_that_was_written_out_is_read_back_the_same(write) -> None:
    from workbench.publication import spec_yaml

    spec = write(FACTORIAL + "decoding: {temperature: 0.7}\nstopping: {rule: sequential}\n")
    again = write(spec_yaml(spec))
    assert [arm.model_dump() for arm in again.arms] == [arm.model_dump() for arm in spec.arms]
    assert again.fingerprint() == spec.fingerprint()
