"""Planning before spending: costs, times and sizes, against the arithmetic that they come from."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench.errors import ConfigError, DataError
from workbench.experiment.outlook import Outlook, outlook
from workbench.experiment.outlook_text import sentences
from workbench.experiment.plan import make_plan
from workbench.experiment.run import run
from workbench.experiment.spec import load_spec
from workbench.settings import Settings
from workbench.stats.power import PairedMeans, TwoMeans, least_effect, n_for, power_of
from workbench.stats.power_proportions import PairedProportions
from workbench.types import Usage

SPEC = """
name: planned
question: Is b better than a?
prompts: {source: tasks}
arms:
  - {name: a, model: simulator/sim-nano}
  - {name: b, model: simulator/sim-large}
concurrency: 8
"""


@pytest.fixture
def seen(tmp_path: Path, settings: Settings):
    def seen(text: str) -> Outlook:
        (tmp_path / "spec.yaml").write_text(text)
        return outlook(make_plan(load_spec(tmp_path / "spec.yaml"), settings), settings)

    return seen


def design(text: str) -> str:
    return SPEC + f"design: {{{text}}}\n"


def test_costs_are_those_of_the_catalog_for_the_assumed_length(seen, tmp_path, settings) -> None:
    found = seen(design("output_tokens: 100, latency_s: 0.4"))
    plan = make_plan(load_spec(tmp_path / "spec.yaml"), settings)
    price = plan.catalog["simulator/sim-large"].price_on()
    n_bytes = np.mean([len(prompt.text.encode()) for prompt in plan.prompts])
    expected = 720 * price.cost_usd(Usage(round(n_bytes / 4) + 8, 100))
    assert [arm.n_calls for arm in found.arms] == [720, 720]
    assert found.arms[1].expected_usd == pytest.approx(expected, rel=0.03)
    assert found.arms[1].most_usd == sum(plan.dearest(c)[0] for c in plan.calls if c.arm.name == "b")
    assert found.duration_s == pytest.approx(1440 * 0.4 / 8)


def test_a_panel_is_expected_to_cost_all_of_its_members(seen) -> None:
    vote = "  - {name: vote, ensemble: {members: [simulator/sim-nano, simulator/sim-large]}}\nconcurrency"
    a, b, both = (arm.expected_usd for arm in seen(SPEC.replace("concurrency", vote)).arms)
    assert both == pytest.approx(a + b)


def test_the_size_is_that_of_the_test_of_pairs(seen) -> None:
    found = seen(design("discordant_share: 0.3, effect: 0.06, power: 0.9")).detectable[0]
    assumed = PairedProportions(0.3)
    assert found.n_planned == 720
    assert found.n_needed == n_for(assumed, 0.06, power=0.9)
    assert found.power_at_planned == power_of(assumed, 0.06, 720)
    assert found.least_effect == least_effect(assumed, 720, power=0.9)


def test_clusters_cost_power(seen, tmp_path) -> None:
    rows = "".join(f"Prompt {n},1,d{n // 5}\n" for n in range(200))
    (tmp_path / "own.csv").write_text("text,reference,document\n" + rows)
    text = design("clusters: document, sd: 0.4, icc: 0.3").replace("source: tasks", "source: own.csv")
    found = seen(text).detectable[0]
    assert found.least_effect == least_effect(PairedMeans(0.4, icc=0.3, cluster_size=5.0), 200)


def test_a_randomised_design_needs_more_prompts(seen) -> None:
    paired = seen(design("sd: 0.4, effect: 0.1")).detectable[0]
    drawn = seen(design("kind: randomised, sd: 0.4, effect: 0.1")).detectable[0]
    assert drawn.n_planned < 720 / 2 + 60
    assert drawn.n_needed == n_for(TwoMeans(0.4, 0.4), 0.1) > paired.n_needed


def test_more_arms_share_alpha(seen) -> None:
    third = SPEC.replace("concurrency", "  - {name: c, model: simulator/sim-small}\nconcurrency")
    found = seen(third).detectable
    assert [one.arm for one in found] == ["each arm"]
    assert found[0].least_effect == least_effect(PairedProportions(0.2), 720, n_comparisons=2)


def test_a_sequential_run_is_expected_to_stop_before_its_planned_size(seen) -> None:
    text = design("discordant_share: 0.3, effect: 0.12") + "stopping: {rule: sequential}\n"
    found = seen(text).detectable[0]
    assert found.early.mean_n < 0.6 * 720
    assert found.early.power > 0.95
    assert found.early_null.mean_n > 0.95 * 720
    assert any("Looked at as it goes on" in sentence for sentence in sentences(seen(text)))


def test_a_budget_that_will_not_do_is_told(seen) -> None:
    short = seen(SPEC + "budget_usd: 0.1\n")
    assert short.exceeds_budget
    told = " ".join(sentences(short))
    share = 100 * 0.1 / short.expected_usd
    assert f"expected to end the run after about {share:.0f} % of its calls" in told
    enough = seen(SPEC + "budget_usd: 100\n")
    assert "pays for every call" in " ".join(sentences(enough))
    between = (enough.expected_usd + enough.most_usd) / 2
    assert "is expected to do, and is never exceeded" in " ".join(
        sentences(seen(SPEC + f"budget_usd: {between}\n"))
    )


def test_a_pilot_gives_costs_times_and_variance(seen, tmp_path) -> None:
    random = np.random.default_rng(0)
    rows = [
        {
            "prompt_id": f"p{n}",
            "arm": arm,
            "quality": float(random.random() < 0.5),
            "cost_usd": cost,
            "latency_s": 3.0,
        }
        for n in range(400)
        for arm, cost in (("a", 0.01), ("b", 0.05))
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "pilot.parquet")
    found = seen(design("pilot: pilot.parquet"))
    assert found.arms[1].expected_usd == pytest.approx(720 * 0.05)
    assert found.duration_s == pytest.approx(1440 * 3.0 / 8)
    truth = least_effect(PairedMeans(math.sqrt(0.5)), 720)
    assert truth < found.detectable[0].least_effect < 1.15 * truth, "the variance at its upper limit"


def test_a_pilot_of_other_arms_is_refused(seen, tmp_path) -> None:
    pd.DataFrame({"prompt_id": ["p"], "arm": ["x"], "quality": [1.0]}).to_parquet(tmp_path / "pilot.parquet")
    with pytest.raises(ConfigError, match=r"pilot.parquet has no rows of arm 'a'; it has x"):
        seen(design("pilot: pilot.parquet"))


def test_an_effect_that_the_assumptions_exclude_is_refused(seen) -> None:
    with pytest.raises(DataError, match=r"effect of 0.3 is not possible"):
        seen(design("discordant_share: 0.1, effect: 0.3"))


@pytest.mark.anyio
async def test_what_a_run_expects_to_spend_is_told_before_the_first_call(tmp_path, settings) -> None:
    path, told = tmp_path / "spec.yaml", []
    path.write_text(SPEC.replace("{source: tasks}", "{source: tasks, n: 4}") + "budget_usd: 1\n")
    finished = await run(load_spec(path), settings=settings, observer=told.append)
    assert told[0].n_done == 0
    assert told[0].expected_usd < told[0].bound_usd
    assert told[0].expected_usd == pytest.approx(finished.spent_usd, rel=2.0)
