"""Running an experiment over real HTTP: killed, resumed, out of money, misspelt; nothing is bought twice."""

import asyncio
import json
import time
from pathlib import Path
from signal import SIGKILL

import pandas as pd
import pytest

from faults import FaultServer
from forked import Forks, Served
from workbench.errors import (
    BudgetError,
    ConfigError,
    FingerprintError,
    LockedError,
    StorageError,
    StorageFullError,
)
from workbench.experiment.progress import Progress
from workbench.experiment.result_table import rows
from workbench.experiment.run import mark_interrupted, run, set_run_aside
from workbench.experiment.spec import load_spec
from workbench.settings import Settings
from workbench.storage import locked

pytestmark = pytest.mark.anyio

SPEC = """
name: two-arms
question: Is large better than small?
prompts: {source: tasks, split: test, n: 40}
arms:
  - {name: small, model: simulator/sim-small}
  - {name: large, model: simulator/sim-large}
concurrency: 16
"""


async def test_every_arm_is_asked_every_prompt_once(write, settings, simulator) -> None:
    finished = await run(load_spec(write(SPEC)), settings=settings)
    assert finished.state == "completed"
    assert len(finished.table) == 80
    assert simulator.n_answers == finished.table["error"].isna().sum()
    assert finished.spent_usd == pytest.approx(finished.table["cost_usd"].sum())


async def test_a_simulator_is_started_where_none_is_named(write, settings) -> None:
    finished = await run(load_spec(write(SPEC.replace("n: 40", "n: 6"))), settings=settings)
    assert len(finished.table) == 12


async def test_a_finished_run_is_not_bought_again_and_gives_the_same_table(
    write, settings, simulator
) -> None:
    first = await run(load_spec(write(SPEC)), settings=settings)
    n_bought = simulator.n_requests
    second = await run(load_spec(write(SPEC)), settings=settings)
    assert simulator.n_requests == n_bought
    assert second.n_resumed == 80
    assert rows(second.analysis) == rows(first.analysis)
    pd.testing.assert_frame_equal(second.table, first.table)


async def test_a_cancelled_run_keeps_what_was_finished_and_goes_on(write, settings, simulator) -> None:
    cancelled = asyncio.get_running_loop().create_future()

    def cancel_half_way(progress: Progress) -> None:
        if progress.n_done and not cancelled.done():
            cancelled.set_result(None)
            task.cancel()

    task = asyncio.ensure_future(run(load_spec(write(SPEC)), settings=settings, observer=cancel_half_way))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert json.loads((settings.runs_dir / "two-arms" / "run.json").read_text())["state"] == "interrupted"
    finished = await run(load_spec(write(SPEC)), settings=settings)
    assert 0 < finished.n_resumed < 80
    assert len(finished.table) == 80


async def test_a_budget_ends_a_run_without_being_exceeded(write, settings, simulator) -> None:
    spec = load_spec(write(SPEC + "budget_usd: 0.02\n"))
    finished = await run(spec, settings=settings)
    assert finished.state == "out of budget"
    assert 0 < finished.spent_usd <= 0.02
    assert 0 < len(finished.table) < 80
    assert "the budget ended the run" in finished.notes[-1]


async def test_a_raised_budget_goes_on_where_the_last_one_ended(write, settings, simulator) -> None:
    first = await run(load_spec(write(SPEC + "budget_usd: 0.02\n")), settings=settings)
    second = await run(load_spec(write(SPEC + "budget_usd: 1\n")), settings=settings)
    assert second.n_resumed == len(first.table)
    assert second.state == "completed"


async def test_repeats_are_separate_draws(write, settings, simulator) -> None:
    spec = load_spec(write(SPEC.replace("n: 40", "n: 30") + "repeats: 3\n"))
    table = (await run(spec, settings=settings)).table
    by_repeat = table[table["arm"] == "small"].pivot(index="prompt_id", columns="repeat", values="quality")
    assert by_repeat.shape == (30, 3)
    assert (by_repeat.nunique(axis=1) > 1).any()


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (("sim-small", "sim-smal"), ConfigError, "did you mean simulator/sim-small"),
        (("sim-small", ""), ConfigError, "is no model id"),
        (("simulator/sim-small", "nowhere/x"), ConfigError, "nowhere"),
        (("concurrency: 16", "scorer: guess"), ConfigError, "guess"),
        (("concurrency: 16", "scorer: recorded"), ConfigError, "replay"),
        (("concurrency: 16", "budget_usd: 0.000001"), BudgetError, "raise the budget"),
        (("split: test", "split: tset"), Exception, "tset"),
        (("source: tasks", "source: none.csv"), Exception, "none.csv"),
    ],
    ids=["model", "no-model", "provider", "scorer", "recorded", "budget", "split", "file"],
)
async def test_what_cannot_work_is_told_before_anything_is_sent(
    write, settings, simulator, change, error, told
) -> None:
    with pytest.raises(error, match=told):
        await run(load_spec(write(SPEC.replace(*change))), settings=settings)
    assert simulator.n_requests == 0


async def test_a_model_without_a_price_is_refused_under_a_budget(
    write, settings, simulator, monkeypatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
    spec = SPEC.replace("simulator/sim-small", "openai/unheard-of") + "budget_usd: 1\n"
    with pytest.raises(ConfigError, match="openai/unheard-of"):
        await run(load_spec(write(spec)), settings=settings)
    assert simulator.n_requests == 0


async def test_a_folder_that_cannot_be_written_is_told_before_anything_is_sent(
    write, tmp_path, simulator
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="file"):
        await run(load_spec(write(SPEC)), settings=Settings(runs_dir=tmp_path / "file" / "runs"))
    assert simulator.n_requests == 0


async def test_a_second_process_on_the_same_run_is_refused(write, settings, simulator) -> None:
    with (
        locked(settings.runs_dir / ".two-arms.lock", busy="held"),
        pytest.raises(LockedError, match="another process is running 'two-arms'"),
    ):
        await run(load_spec(write(SPEC)), settings=settings)


async def test_a_changed_spec_is_not_mixed_with_the_old_run(write, settings, simulator) -> None:
    await run(load_spec(write(SPEC)), settings=settings)
    changed = load_spec(write(SPEC.replace("sim-small", "sim-medium")))
    with pytest.raises(FingerprintError, match=r"arms: was .*sim-small.* is .*sim-medium"):
        await run(changed, settings=settings)
    assert set_run_aside(changed, settings) == settings.runs_dir / "two-arms.1"
    assert (await run(changed, settings=settings)).n_resumed == 0


async def test_a_router_learns_from_another_experiment_which_runs_first(write, settings, simulator) -> None:
    write(SPEC.replace("two-arms", "record").replace("split: test", "split: train"), "record.yaml")
    spec = load_spec(
        write(
            """
            name: routed
            question: Does a router help?
            prompts: {source: tasks, split: test, n: 12}
            arms:
              - {name: large, model: simulator/sim-large}
              - {name: knn, router: {kind: knn, options: {k: 5}, fit_on: {outcomes: record.yaml}}}
            """
        )
    )
    finished = await run(spec, settings=settings)
    routed = finished.table[finished.table["arm"] == "knn"]
    assert set(routed["model"]) <= {"sim-small", "sim-large"}
    assert (routed["propensity"] == 1.0).all()
    assert (settings.runs_dir / "record" / "outcomes.parquet").exists()


async def test_only_a_routers_own_choice_has_a_propensity(
    write, settings, simulator, tmp_path, monkeypatch
) -> None:
    rows = [
        {"prompt_id": text, "prompt": text, "arm": model, "provider": provider, "model": model, "quality": 1}
        for provider, model in (("custom", "gone"), ("simulator", "sim-small"))
        for text in ("2?", "3?")
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "table.parquet")
    text = SPEC.replace("n: 40", "n: 12") + (
        "  - {name: routed, router: {kind: random, fit_on: {outcomes: table.parquet}},"
        " fallbacks: [simulator/sim-large]}\n"
    )
    async with FaultServer("404") as server:
        monkeypatch.setenv("WORKBENCH_BASE_URL", server.url)
        finished = await run(load_spec(write(text.replace("concurrency: 16\n", ""))), settings=settings)
    routed = finished.table[finished.table["arm"] == "routed"]
    assert set(routed["model"]) == {"sim-small", "sim-large"}
    assert (routed["propensity"].isna() == (routed["model"] == "sim-large")).all()
    assert finished.table.loc[finished.table["arm"] != "routed", "propensity"].isna().all()


async def test_a_replayed_table_gives_back_its_own_numbers(write, settings, tmp_path) -> None:
    recorded = pd.DataFrame(
        {
            "prompt_id": ["p1", "p2", "p3"] * 2,
            "prompt": ["one", "two", "three"] * 2,
            "arm": ["a"] * 3 + ["b"] * 3,
            "quality": [1.0, 0.0, 0.5, 1.0, 1.0, 0.25],
            "cost_usd": [0.1, 0.2, 0.3, 1.0, 2.0, 3.0],
        }
    )
    recorded.to_parquet(tmp_path / "recorded.parquet")
    spec = load_spec(
        write(
            """
            name: replayed
            question: Is b better than a?
            replay: {outcomes: recorded.parquet}
            arms: [{name: a, model: replay/a}, {name: b, model: replay/b}]
            scorer: recorded
            """
        )
    )
    finished = await run(spec, settings=settings)
    by_arm = finished.table.groupby("arm")
    assert by_arm["quality"].mean().to_dict() == {"a": 0.5, "b": 0.75}
    assert by_arm["cost_usd"].sum().to_dict() == pytest.approx({"a": 0.6, "b": 6.0})
    assert finished.spent_usd == 0.0


async def test_a_full_disk_is_one_error_and_the_run_goes_on_once_there_is_space(
    write, small_disk, simulator
) -> None:
    spec, settings = load_spec(write(SPEC)), Settings(runs_dir=small_disk / "runs")
    with pytest.raises(StorageFullError, match=r"no space left to write .*journal.*[Ff]ree some space"):
        await run(spec, settings=settings)
    journal = (small_disk / "runs" / "two-arms" / "journal.jsonl").read_bytes()
    n_kept = journal.count(b'"kind": "outcome"')
    assert n_kept > 0
    assert journal.endswith(b"\n"), "no line is torn"
    (small_disk / "filler").unlink()
    finished = await run(spec, settings=settings)
    assert (finished.n_resumed, len(finished.table)) == (n_kept, 80)
    assert simulator.n_answers <= 80 + spec.concurrency


async def test_the_state_of_a_run_that_was_killed_is_put_right(write, settings, simulator) -> None:
    spec = load_spec(write(SPEC.replace("n: 40", "n: 2")))
    await run(spec, settings=settings)
    state = settings.runs_dir / "two-arms" / "run.json"
    mark_interrupted(spec, settings)
    assert json.loads(state.read_text())["state"] == "completed"
    state.write_text('{"state": "running", "n_done": 0, "n_calls": 4, "spent_usd": 0.0}')
    mark_interrupted(spec, settings)
    told = json.loads(state.read_text())
    assert (told["state"], told["n_done"]) == ("interrupted", 4)
    assert told["spent_usd"] > 0.0


async def test_the_first_look_tells_what_the_calls_can_cost(write, settings, simulator) -> None:
    seen: list[Progress] = []
    spec = load_spec(write(SPEC.replace("n: 40", "n: 4") + "budget_usd: 1\n"))
    finished = await run(spec, settings=settings, observer=seen.append)
    assert (seen[0].n_done, seen[0].n_total) == (0, 8)
    assert seen[0].bound_usd is not None
    assert finished.spent_usd < seen[0].bound_usd


@pytest.mark.slow
def test_a_run_killed_half_way_is_finished_without_buying_a_finished_call_twice(
    write, tmp_path: Path, served: Served, forks: Forks
) -> None:
    spec = write(SPEC.replace("n: 40", "n: 60").replace("concurrency: 16", "concurrency: 4\nbudget_usd: 5"))
    command = f"""
        import sys
        from workbench.cli import main
        sys.argv = ["workbench", "run", "--no-notebook", {str(spec)!r}]
        main()
    """
    environment = {
        "WORKBENCH_SIMULATOR_URL": served.url,
        "WORKBENCH_RUNS_DIR": str(tmp_path / "runs"),
        "WORKBENCH_TRACKING_URI": "http://127.0.0.1:9",
    }
    journal = tmp_path / "runs" / "two-arms" / "journal.jsonl"
    killed = forks.start(command, tmp_path, **environment)
    while not journal.exists() or journal.read_bytes().count(b'"outcome"') < 25:
        assert killed.poll() is None
        time.sleep(0.005)
    assert killed.kill() == -SIGKILL
    n_kept = journal.read_bytes().count(b'"kind": "outcome"')
    done = forks.start(command, tmp_path, **environment)
    assert done.wait() == 0, done.said.read_text()
    n_bought = served.n_answers()
    table = pd.read_parquet(tmp_path / "runs" / "two-arms" / "outcomes.parquet")
    assert n_kept >= 25
    assert len(table) == 120
    assert n_bought <= len(table) + 4, "no more than what was in flight is bought twice"
    assert "were in the journal and were not made again" in " ".join(done.said.read_text().split())
    whole = environment | {"WORKBENCH_RUNS_DIR": str(tmp_path / "uninterrupted")}
    assert forks.start(command, tmp_path, **whole).wait() == 0
    other = pd.read_parquet(tmp_path / "uninterrupted" / "two-arms" / "outcomes.parquet")
    same = ["prompt_id", "arm", "response", "quality", "error"]
    pd.testing.assert_frame_equal(table[same], other[same])
