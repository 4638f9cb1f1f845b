"""The YAML of an experiment: what is accepted, and what one is told about a mistake."""

from pathlib import Path

import pytest

from workbench.errors import ConfigError, StorageError, WorkbenchError
from workbench.experiment.spec import load_spec, load_training_spec

GOOD = """
name: small-test
question: Is b better than a?
arms:
  - {name: a, model: simulator/sim-nano}
  - {name: b, model: simulator/sim-large}
"""


def test_the_first_arm_is_the_control_unless_another_is_named(write) -> None:
    assert load_spec(write(GOOD)).control_arm == "a"
    assert load_spec(write(GOOD + "control: b\n")).control_arm == "b"


def test_every_experiment_that_comes_with_the_project_is_valid() -> None:
    folder = Path(__file__).resolve().parents[2] / "experiments"
    for path in folder.glob("*.yaml"):
        (load_training_spec if "\nkind:" in path.read_text() else load_spec)(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GOOD + "alhpa: 0.1\n", "alhpa: there is no such key; did you mean 'alpha'?"),
        (GOOD.replace("model: simulator/sim-nano", "modle: x"), "arms[0].modle: there is no such key"),
        (GOOD.replace("question: Is b better than a?\n", ""), "question: this key is missing"),
        (GOOD + "alpha: 1.5\n", "alpha: Input should be less than 1"),
        (GOOD + "budget_usd: -1\n", "budget_usd: Input should be greater than 0"),
        (GOOD + "control: c\n", "control 'c' is not one of the arms"),
        (GOOD.replace("name: b", "name: a"), "arms must have different names"),
        (GOOD.replace("small-test", "../../etc"), "experiment name '../../etc' cannot be a file name"),
        (GOOD + "seed: 1\nseed: 2\n", "the key 'seed' stands twice"),
        (GOOD + "x: &a [1]\ny: *a\n", "anchors and aliases"),
        (GOOD + "x: !!python/object/apply:os.system [id]\n", "is not plain YAML"),
        ("- 1\n", "a spec is a mapping"),
        ("a: [\n", "is not plain YAML"),
        (GOOD + "  - {name: c}\n", "arms[2]: needs either `model` or `router`"),
        (GOOD + f"notebook: {'n' * 256}.ipynb\n", "notebook: 'nnn"),
        (GOOD + 'notebook: "a\\0.ipynb"\n', "cannot be a path"),
        (GOOD + f"prompts: {{source: {'a/' * 600}}}\n", "prompts.source: String should have at most 1000"),
        (GOOD + 'prompts: {source: ""}\n', "prompts.source: String should have at least 1"),
    ],
)
def test_a_mistake_is_named_with_its_key(write, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_spec(write(text))
    assert told in str(caught.value)
    assert "spec.yaml" in str(caught.value)


def test_an_error_inside_a_list_is_told_once(write) -> None:
    with pytest.raises(ConfigError) as caught:
        load_spec(write("name: x\nquestion: Why?\narms: [{name: a, modle: b}]\n"))
    assert str(caught.value).count("\n") == 0


def test_a_missing_file_and_a_huge_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no file"):
        load_spec(tmp_path / "none.yaml")
    huge = tmp_path / "huge.yaml"
    huge.write_bytes(b"#" * 1_000_001)
    with pytest.raises(ConfigError, match="at most 1,000,000"):
        load_spec(huge)


def test_deep_nesting_ends_in_one_of_our_errors(write) -> None:
    with pytest.raises(WorkbenchError):
        load_spec(write("a: " + "[" * 5000))


def test_the_seed_differs_between_repeats_and_specs(write) -> None:
    spec = load_spec(write(GOOD))
    assert spec.decode(0).seed != spec.decode(1).seed
    assert spec.decode(0) == spec.decode(0)


def test_what_does_not_change_a_call_does_not_change_the_fingerprint(write) -> None:
    first = load_spec(write(GOOD)).fingerprint()
    assert load_spec(write(GOOD + "budget_usd: 3\nalpha: 0.1\nconcurrency: 2\n")).fingerprint() == first
    assert load_spec(write(GOOD + "repeats: 2\n")).fingerprint() != first


@pytest.mark.parametrize(
    "text",
    [
        GOOD + "# sk-canary1234567890abcd\n",
        GOOD.replace("Is b better", "Is sk-canary1234567890abcd better"),
        GOOD.replace("name: a", "name: canaryZ7x9Kp2Lm4Nv8Rt1Ws6Yb3Hd5Jf0"),
        "OPENAI_API_KEY=sk-canary1234567890abcd: [",
        GOOD + "metric: canary of the environment\n",
    ],
    ids=["comment", "question", "arm", "no-yaml", "a-known-value"],
)
def test_a_key_in_a_spec_is_refused_and_not_repeated(
    write, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "canary of the environment")
    with pytest.raises(ConfigError, match="looks like a") as caught:
        load_spec(write(text))
    assert "canary" not in str(caught.value)
