"""Designs: which arm meets which prompt, when, and with what probability."""

from collections import Counter, defaultdict
from pathlib import Path

import pytest
from scipy.stats import binomtest, chisquare

from workbench.errors import ConfigError, DataError
from workbench.experiment.plan import Plan, make_plan
from workbench.experiment.run import run
from workbench.experiment.spec import load_spec
from workbench.settings import Settings

SPEC = """
name: designed
question: Which?
prompts: {source: tasks}
arms:
  - {name: a, model: simulator/sim-nano}
  - {name: b, model: simulator/sim-small}
  - {name: c, model: simulator/sim-large}
"""
RANDOMISED = SPEC + "design: {kind: randomised, shares: {a: 0.5, b: 0.25, c: 0.25}}\n"
INTERLEAVED = SPEC + "design: {kind: interleaved, block_size: 50}\n"


@pytest.fixture
def planned(tmp_path: Path):
    def planned(text: str) -> Plan:
        (tmp_path / "spec.yaml").write_text(text)
        return make_plan(load_spec(tmp_path / "spec.yaml"), Settings(runs_dir=tmp_path / "runs"))

    return planned


def test_a_randomised_prompt_meets_one_arm_with_its_share(planned) -> None:
    calls = planned(RANDOMISED).calls
    assert len(calls) == len({call.prompt.prompt_id for call in calls}) == 720
    counts = Counter(call.arm.name for call in calls)
    expected = [720 * share for share in (0.5, 0.25, 0.25)]
    assert chisquare([counts[name] for name in "abc"], expected).pvalue > 0.01
    assert {call.share for call in calls if call.arm.name == "a"} == {0.5}


def test_all_repeats_of_a_randomised_prompt_go_to_its_arm(planned) -> None:
    arms = defaultdict(set)
    for call in planned(RANDOMISED + "repeats: 3\n").calls:
        arms[call.prompt.prompt_id].add(call.arm.name)
    assert all(len(names) == 1 for names in arms.values())


def test_a_prompts_arm_follows_from_the_seed_and_the_prompt_alone(planned) -> None:
    def drawn(text: str) -> dict[str, str]:
        return {call.prompt.prompt_id: call.arm.name for call in planned(text).calls}

    whole, part = drawn(RANDOMISED), drawn(RANDOMISED.replace("source: tasks", "source: tasks, n: 100"))
    assert part.items() <= whole.items()
    same = sum(whole[name] == other for name, other in drawn(RANDOMISED + "seed: 1\n").items())
    assert binomtest(same, 720, 0.5**2 + 2 * 0.25**2).pvalue > 0.01


def test_interleaved_arms_take_turns_in_random_order_in_every_block(planned) -> None:
    calls = planned(INTERLEAVED).calls
    assert len(calls) == 720 * 3
    orders = Counter()
    for block in range(15):
        part = [call for call in calls if call.block == block]
        names = list(dict.fromkeys(call.arm.name for call in part))
        assert [call.arm.name for call in part] == [name for name in names for _ in range(len(part) // 3)]
        assert len({call.prompt.prompt_id for call in part}) == len(part) // 3
        orders[tuple(names)] += 1
    assert [call.block for call in calls] == sorted(call.block for call in calls)
    assert len(orders) >= 4, "of the six orders of three arms"


def test_a_run_that_may_stop_asks_all_repeats_of_a_prompt_together(planned) -> None:
    calls = planned(SPEC + "repeats: 2\nstopping: {rule: sequential}\n").calls
    assert all(len({call.prompt for call in calls[at : at + 6]}) == 1 for at in range(0, len(calls), 6))


@pytest.mark.parametrize(
    ("added", "told"),
    [
        ("design: {kind: randomised, shares: {a: 0.5, b: 0.5}}\n", "must name each of the arms"),
        ("design: {kind: randomised, shares: {a: 0.5, b: 0.3, c: 0.1}}\n", "add up to 1, not 0.9"),
        ("design: {shares: {a: 0.5, b: 0.25, c: 0.25}}\n", "`shares` are of the kind randomised"),
        ("design: {block_size: 5}\n", "`block_size` is of the kind interleaved"),
        ("design: {sd: 0.3, discordant_share: 0.2}\n", "either a `discordant_share`"),
        ("design: {kind: randomised}\nstopping: {rule: sequential}\n", "a randomised design has none"),
        ("stopping: {look_every: 5}\n", "these keys are of `rule: sequential`"),
    ],
)
def test_a_design_that_cannot_be_is_refused(planned, added: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        planned(SPEC + added)
    assert told in str(caught.value)


def test_clusters_are_a_column_of_the_prompts_file(planned, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("text,reference,document\nOne,1,d1\nTwo,2,d1\nThree,3,d2\n")
    text = SPEC.replace("source: tasks", "source: own.csv")
    plan = planned(text + "design: {clusters: document}\n")
    assert [prompt.cluster for prompt in plan.prompts] == ["d1", "d1", "d2"]
    with pytest.raises(DataError, match="no column 'chapter' of clusters; it has text, reference, document"):
        planned(text + "design: {clusters: chapter}\n")


@pytest.mark.anyio
async def test_the_table_says_the_block_the_levels_and_the_propensity(tmp_path: Path) -> None:
    settings = Settings(runs_dir=tmp_path / "runs")
    path = tmp_path / "spec.yaml"
    path.write_text(
        "name: blocks\nquestion: Which?\nprompts: {n: 4}\ndesign: {kind: interleaved, block_size: 2}\n"
        "factorial:\n  model: [simulator/sim-nano, simulator/sim-small]\n"
        "  template: ['{prompt}', 'Q: {prompt}']\n"
    )
    table = (await run(load_spec(path), settings=settings)).table
    assert sorted(table["block"].unique()) == [0, 1]
    assert set(table["factor.model"]) == {"sim-nano", "sim-small"}
    assert set(table["factor.template"]) == {"template 1", "template 2"}
