"""Sequential runs: they stop when decided, on whole pairs, for good, and the same if killed on the way."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from signal import SIGKILL

import numpy as np
import pandas as pd
import pytest

from forked import Forks
from workbench.errors import ConfigError, FingerprintError
from workbench.experiment.journal import read_journal
from workbench.experiment.plan import make_plan
from workbench.experiment.progress import Progress
from workbench.experiment.run import Run, run
from workbench.experiment.spec import load_spec
from workbench.experiment.stopping import StoppingRule
from workbench.stats.always_valid import always_valid
from workbench.stats.decision import decide_arms
from workbench.types import Outcome

pytestmark = pytest.mark.anyio

SPEC = """
name: sequential
question: Is b better than a?
replay: {outcomes: recorded.parquet}
scorer: recorded
arms:
  - {name: a, model: replay/a}
  - {name: b, model: replay/b}
stopping: {rule: sequential, min_prompts: 20, look_every: 10}
concurrency: 8
"""
SHARES = {"a": 0.4, "b": 0.75, "c": 0.4}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str = SPEC, *, shares: dict[str, float] = SHARES, n: int = 400, seed: int = 0) -> Path:
        random = np.random.default_rng(seed)
        rows = [
            {
                "prompt_id": f"p{number}",
                "prompt": f"prompt {number}",
                "cluster": f"document {number // 4}" if "clusters" in text else None,
                "arm": arm,
                "quality": float(random.random() < share),
                "cost_usd": 0.01,
            }
            for number in range(n)
            for arm, share in shares.items()
        ]
        pd.DataFrame(rows).to_parquet(tmp_path / "recorded.parquet")
        path = tmp_path / "spec.yaml"
        path.write_text(text)
        return path

    return write


def state_of(finished: Run) -> dict[str, object]:
    read: dict[str, object] = json.loads((finished.folder / "run.json").read_text())
    return read


async def test_a_run_stops_when_it_is_decided_and_says_what_that_saved(write, settings) -> None:
    seen: list[Progress] = []
    finished = await run(load_spec(write()), settings=settings, observer=seen.append)
    told = state_of(finished)
    stopping = told["stopping"]
    assert told["state"] == finished.state == "decided"
    n_begun = finished.table["prompt_id"].nunique()
    assert 20 <= stopping["n_prompts"] <= n_begun < 200
    assert stopping["n_saved"] == 400 - n_begun
    assert stopping["saved_usd"] == pytest.approx(0.02 * (400 - n_begun))
    assert f"stopped early, decided after {stopping['n_prompts']} prompts" in " ".join(finished.notes)
    assert seen[-1].stopping is not None
    assert seen[-1].stopping.reason == "decided"
    assert seen[-1].n_done == seen[-1].n_total == 2 * n_begun
    [watched], [concluded] = seen[-1].comparisons, finished.analysis.comparisons
    assert watched.difference == concluded.difference


async def test_what_is_kept_are_whole_pairs_of_the_first_prompts(write, settings) -> None:
    finished = await run(load_spec(write()), settings=settings)
    assert (finished.table.groupby("prompt_id").size() == 2).all()
    order = list(dict.fromkeys(call.prompt.prompt_id for call in finished.plan.calls))
    kept = set(finished.table["prompt_id"])
    assert kept == set(order[: len(kept)])


async def test_the_decision_is_that_of_the_first_look_at_which_the_test_decides(write, settings) -> None:
    finished = await run(load_spec(write()), settings=settings)
    order = list(dict.fromkeys(call.prompt.prompt_id for call in finished.plan.calls))
    recorded = pd.read_parquet(finished.spec.folder / "recorded.parquet").pivot(
        index="prompt_id", columns="arm", values="quality"
    )
    differences = (recorded["b"] - recorded["a"])[order].to_numpy()
    first = next(
        n for n in range(20, 401, 10)
        if decide_arms([always_valid(differences[:n])])[0].is_final
    )  # fmt: skip
    assert state_of(finished)["stopping"]["n_prompts"] == first


async def test_a_stopped_run_that_is_run_again_does_not_go_on(write, settings) -> None:
    spec = load_spec(write())
    first = await run(spec, settings=settings)
    journal = (first.folder / "journal.jsonl").read_bytes()
    again = await run(spec, settings=settings)
    assert (first.folder / "journal.jsonl").read_bytes() == journal
    assert again.state == "decided"
    assert state_of(again)["stopping"] == state_of(first)["stopping"]
    pd.testing.assert_frame_equal(again.table, first.table)


@pytest.mark.parametrize("keeps_decision", [True, False], ids=["after-it", "before-it-was-kept"])
async def test_a_run_killed_about_its_decision_decides_the_same(
    write, settings, keeps_decision: bool
) -> None:
    spec = load_spec(write())
    first = await run(spec, settings=settings)
    journal = first.folder / "journal.jsonl"
    lines = journal.read_text().splitlines()
    at = next(place for place, line in enumerate(lines) if '"kind": "stopped"' in line)
    journal.write_text("\n".join(lines[: at + keeps_decision]) + "\n")
    again = await run(spec, settings=settings)
    assert state_of(again)["stopping"]["n_prompts"] == state_of(first)["stopping"]["n_prompts"]
    assert again.state == "decided"
    assert (again.table.groupby("prompt_id").size() == 2).all()


async def test_without_a_difference_the_run_goes_to_its_planned_size(write, settings) -> None:
    finished = await run(load_spec(write(shares={"a": 0.5, "b": 0.5}, n=60)), settings=settings)
    assert finished.state == "completed"
    assert len(finished.table) == 120
    assert state_of(finished)["stopping"]["reason"] is None


async def test_a_run_stops_where_no_gain_of_interest_is_left(write, settings) -> None:
    text = SPEC.replace("look_every: 10", "look_every: 10, futility_margin: 0.1")
    finished = await run(load_spec(write(text, shares={"a": 0.1, "b": 0.1}, n=1500)), settings=settings)
    assert finished.state == "futile"
    assert "no difference of interest is left to find" in " ".join(finished.notes)


async def test_several_arms_stop_when_all_are_decided(write, settings) -> None:
    text = SPEC.replace("stopping", "  - {name: c, model: replay/c}\nstopping")
    shares = {"a": 0.2, "b": 0.8, "c": 0.6}
    finished = await run(load_spec(write(text, shares=shares)), settings=settings)
    alone = await run(
        load_spec(write(SPEC.replace("name: sequential", "name: alone"), shares=shares)), settings=settings
    )
    assert finished.state == alone.state == "decided"
    assert state_of(finished)["stopping"]["n_prompts"] > state_of(alone)["stopping"]["n_prompts"]


async def test_the_budget_may_end_a_sequential_run_first(tmp_path, settings, monkeypatch) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(
        "name: poor\nquestion: Is it?\nprompts: {n: 60}\nbudget_usd: 0.02\n"
        "arms: [{name: a, model: simulator/sim-large}, {name: b, model: simulator/sim-medium}]\n"
        "stopping: {rule: sequential}\n"
    )
    finished = await run(load_spec(path), settings=settings)
    assert finished.state == "out of budget"
    assert finished.spent_usd <= 0.02


async def test_clusters_count_once_and_stay_whole(write, settings) -> None:
    text = SPEC + "design: {clusters: cluster}\n"
    finished = await run(load_spec(write(text)), settings=settings)
    assert finished.state == "decided"
    rule = StoppingRule(finished.spec, finished.plan.calls)
    rule.add(Outcome(**row) for row in _outcomes(finished))
    assert rule.results()["b"].n == rule.n_whole // 4


def _outcomes(finished: Run) -> list[dict[str, object]]:
    columns = ["prompt_id", "arm", "model", "provider", "quality", "cluster"]
    return [dict(row) for row in finished.table[columns].astype(object).to_dict("records")]


@pytest.mark.parametrize(
    "change",
    [("look_every: 10", "look_every: 1"), ("concurrency: 8", "alpha: 0.2"), ("concurrency: 8", "control: b")],
    ids=["looks", "alpha", "control"],
)
async def test_how_a_run_stops_cannot_be_changed_on_the_way(write, settings, change) -> None:
    await run(load_spec(write()), settings=settings)
    with pytest.raises(FingerprintError, match=r"stopping: was .* is"):
        await run(load_spec(write(SPEC.replace(*change))), settings=settings)


def test_a_scorer_that_scores_at_the_end_leaves_nothing_to_look_at(write, settings) -> None:
    text = SPEC.replace("scorer: recorded", "scorer: {kind: human, labels: labels.csv}")
    with pytest.raises(ConfigError, match="'human' scores when the run has ended"):
        make_plan(load_spec(write(text)), settings)


async def test_errors_count_as_zero_and_end_no_run(write, settings, tmp_path) -> None:
    path = write()
    recorded = pd.read_parquet(tmp_path / "recorded.parquet")
    recorded["error"] = None
    is_b = recorded["arm"] == "b"
    recorded.loc[is_b, ["error", "quality"]] = ["ServerError", None]
    recorded.loc[~is_b, "quality"] = 1.0
    recorded.to_parquet(tmp_path / "recorded.parquet")
    finished = await run(load_spec(path), settings=settings)
    assert finished.state == "decided"
    assert finished.analysis.comparisons[0].finding == "worse"


@pytest.mark.slow
def test_a_sequential_run_killed_half_way_decides_as_one_that_was_not(tmp_path: Path, forks: Forks) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(
        "name: killed\nquestion: Is it?\nprompts: {source: tasks}\nconcurrency: 4\n"
        "arms: [{name: a, model: simulator/sim-large}, {name: b, model: simulator/sim-nano}]\n"
        "stopping: {rule: sequential, min_prompts: 30, look_every: 5}\n"
    )
    program = (
        f"import asyncio; from workbench import load_spec, run; asyncio.run(run(load_spec({str(path)!r})))"
    )

    def finished(runs: str, *, kill_at: int) -> dict[str, object]:
        folder = tmp_path / runs / "killed"
        environment = {"WORKBENCH_RUNS_DIR": str(tmp_path / runs)}
        process = forks.start(program, tmp_path, **environment)
        journal = folder / "journal.jsonl"
        while kill_at and (
            not journal.exists() or journal.read_bytes().count(b'"kind": "outcome"') < kill_at
        ):
            assert process.poll() is None
            time.sleep(0.005)
        if kill_at:
            assert process.kill() == -SIGKILL
            assert read_journal(journal).stopped is None
            process = forks.start(program, tmp_path, **environment)
        assert process.wait() == 0, process.said.read_text()
        told: dict[str, object] = json.loads((folder / "run.json").read_text())
        return told

    whole, resumed = finished("whole", kill_at=0), finished("resumed", kill_at=30)
    assert whole["state"] == resumed["state"] == "decided"
    assert whole["stopping"]["n_prompts"] == resumed["stopping"]["n_prompts"]
