"""Arms in which several models answer: all calls are paid for, counted, durable and within the budget."""

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL

import numpy as np
import pandas as pd
import pytest

from forked import Forks, Served
from workbench.errors import ConfigError, StorageFullError
from workbench.experiment.journal import read_journal
from workbench.experiment.plan import make_plan
from workbench.experiment.progress import Progress
from workbench.experiment.run import Run, run
from workbench.experiment.spec import load_spec
from workbench.routing import checkpoint
from workbench.routing.cascade_training import fit_cascade
from workbench.routing.training_table import from_table
from workbench.settings import Settings
from workbench.types import Decision

pytestmark = pytest.mark.anyio

MEMBERS = ("simulator/sim-nano", "simulator/sim-small", "simulator/sim-medium")
SPEC = f"""
name: panels
question: Do three small models together beat a large one?
prompts: {{source: tasks, split: test, n: 12}}
arms:
  - {{name: large, model: simulator/sim-large}}
  - {{name: vote, ensemble: {{members: [{", ".join(MEMBERS)}]}}}}
concurrency: 4
"""
FUSED = """  - name: fused
    ensemble: {rule: fusion, members: [simulator/sim-nano, simulator/sim-small], fuser: simulator/sim-large}
"""


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """What three recorded models answered: two agree on the wrong answer to p0 and p1."""
    said = {
        "a": ["4", "4", "4", "4", "4", "4"],
        "b": ["4", "4", "5", "4", "4", "5"],
        "c": ["5", "5", "4", "4", "5", "4"],
    }
    rows = [
        {
            "prompt_id": f"p{n}",
            "prompt": f"What is {n} + {4 - n}?",
            "arm": model,
            "response": f"Answer: {text}",
            "quality": float(text == "4"),
            "cost_usd": cost_usd,
            "latency_s": latency_s,
        }
        for (model, texts), cost_usd, latency_s in zip(
            said.items(), (1.0, 2.0, 4.0), (3.0, 1.0, 2.0), strict=True
        )
        for n, text in enumerate(texts)
    ]
    path = tmp_path / "recorded.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return path


REPLAYED = """
name: replayed
question: Is the vote better than a?
replay: {outcomes: recorded.parquet}
scorer: recorded
arms:
  - {name: a, model: replay/a}
  - {name: vote, ensemble: {members: [replay/a, replay/b, replay/c]}}
"""


def rows_of(finished: Run, arm: str) -> pd.DataFrame:
    return finished.table[finished.table["arm"] == arm]


async def test_a_panel_costs_all_its_calls_and_takes_as_long_as_the_slowest(
    write, settings, recorded
) -> None:
    finished = await run(load_spec(write(REPLAYED)), settings=settings)
    vote = rows_of(finished, "vote")
    assert (vote["cost_usd"] == 7.0).all()
    assert (vote["latency_s"] == 3.0).all()
    assert vote["quality"].tolist() == [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], "the majority says 4 every time"


async def test_the_router_of_an_arm_may_be_a_saved_cascade(write, settings, recorded) -> None:
    fitted = fit_cascade(from_table(pd.read_parquet(recorded)))
    a_and_c = np.tile([0, 2], (len(fitted.opening_weights), 1))
    checkpoint.save(replace(fitted, opening=a_and_c, max_asked=2), recorded.parent / "cascade.ckpt")
    text = REPLAYED[: REPLAYED.index("  - {name: vote")] + (
        "  - {name: saved, router: {checkpoint: cascade.ckpt}}\n"
    )
    finished = await run(load_spec(write(text)), settings=settings)
    saved = rows_of(finished, "saved")
    assert (saved["cost_usd"] == 5.0).all()
    assert (saved["latency_s"] == 5.0).all()
    assert saved["propensity"].isna().all()


def test_a_saved_cascade_has_no_fallbacks(write, settings, recorded) -> None:
    saved = fit_cascade(from_table(pd.read_parquet(recorded)))
    checkpoint.save(saved, recorded.parent / "cascade.ckpt")
    arm = "  - {name: saved, router: {checkpoint: cascade.ckpt}, fallbacks: [replay/a]}\n"
    with pytest.raises(ConfigError, match=r"the cascade in .* leave out `fallbacks`"):
        make_plan(load_spec(write(REPLAYED + arm)), settings)


async def test_a_cascade_costs_what_it_asked_and_waits_for_each(write, settings, simulator) -> None:
    write(
        """
        name: recorded-fleet
        question: What does each model make of it?
        prompts: {source: tasks, split: train, n: 40}
        arms:
          - {name: nano, model: simulator/sim-nano}
          - {name: small, model: simulator/sim-small}
          - {name: large, model: simulator/sim-large}
        """,
        "fleet.yaml",
    )
    text = SPEC[: SPEC.index("  - {name: vote")] + (
        "  - {name: cascade, cascade: {fit_on: {outcomes: fleet.yaml}, cost_weight: 50, max_asked: 2}}\n"
    )
    finished = await run(load_spec(write(text)), settings=settings)
    cascade = rows_of(finished, "cascade")
    assert len(cascade) == 12
    parts = [json.loads(line) for line in (finished.folder / "journal.jsonl").read_text().splitlines()]
    paid_usd = sum(part["cost_usd"] or 0.0 for part in parts if part["kind"] == "part")
    assert cascade["cost_usd"].sum() == pytest.approx(paid_usd)
    asked = pd.Series([tuple(part["key"]) for part in parts if part["kind"] == "part"]).value_counts()
    assert asked.between(1, 2).all()


async def test_every_call_of_every_arm_is_paid_for_once(write, settings, simulator) -> None:
    finished = await run(
        load_spec(write(SPEC.replace("concurrency", FUSED + "concurrency"))), settings=settings
    )
    assert len(finished.table) == 36
    assert finished.spent_usd == pytest.approx(finished.table["cost_usd"].sum())
    parts = [json.loads(line) for line in (finished.folder / "journal.jsonl").read_text().splitlines()]
    n_answered = sum(part["kind"] == "part" and "error" not in part for part in parts)
    n_large = rows_of(finished, "large")["error"].isna().sum()
    assert simulator.n_answers == n_answered + n_large


async def test_an_answer_of_a_member_is_not_bought_again_for_want_of_the_others(
    write, settings, simulator
) -> None:
    spec = load_spec(write(SPEC))
    finished = await run(spec, settings=settings)
    journal, n_bought = finished.folder / "journal.jsonl", simulator.n_answers
    lines = [line for line in journal.read_text().splitlines() if '"arm": "vote"' not in line]
    journal.write_text("\n".join(lines) + "\n")  # as if killed before any vote was counted
    content = read_journal(journal)
    assert content.spent_usd == pytest.approx(finished.spent_usd)
    again = await run(spec, settings=settings)
    assert simulator.n_answers == n_bought
    pd.testing.assert_frame_equal(again.table, finished.table)
    assert again.spent_usd == pytest.approx(finished.spent_usd)


async def test_a_budget_pays_for_whole_panels_or_none(write, settings, simulator) -> None:
    text = SPEC.replace("n: 12", "n: 40") + "budget_usd: 0.012\n"
    finished = await run(load_spec(write(text)), settings=settings)
    assert finished.state == "out of budget"
    assert finished.spent_usd <= 0.012
    parts = [json.loads(line) for line in (finished.folder / "journal.jsonl").read_text().splitlines()]
    asked = pd.Series([tuple(part["key"]) for part in parts if part["kind"] == "part"]).value_counts()
    assert len(rows_of(finished, "vote")) == len(asked) > 0
    assert (asked == len(MEMBERS)).all()


def test_what_is_reserved_for_a_panel_covers_its_dearest_requests(write, settings) -> None:
    plan = make_plan(load_spec(write(SPEC.replace("concurrency", FUSED + "concurrency"))), settings)
    prompt = plan.prompts[0]
    calls = {call.arm.name: call for call in plan.calls if call.prompt is prompt}
    bounds = {model: plan.request_bound_usd(model, prompt, calls["large"]) for model in plan.model_ids}
    decision = Decision(MEMBERS[0], "any")
    assert plan.cost_bound_usd(calls["vote"], decision) == pytest.approx(sum(bounds[m] for m in MEMBERS))
    members_usd = bounds[MEMBERS[0]] + bounds[MEMBERS[1]]
    assert plan.cost_bound_usd(calls["fused"], decision) > members_usd + bounds["simulator/sim-large"]
    assert plan.dearest(calls["vote"])[1] == "the majority_vote 'vote'"


@pytest.mark.parametrize(
    "arm",
    [
        "{name: x, model: replay/a, template: 'Now: {prompt}'}",
        "{name: x, model: replay/a, system: Be brief.}",
        "{name: x, model: replay/a, decoding: {temperature: 1.0}}",
        "{name: x, ensemble: {rule: fusion, members: [replay/a, replay/b], fuser: replay/c}}",
    ],
    ids=["template", "system", "decoding", "fusion"],
)
def test_a_replay_is_not_asked_for_what_was_never_recorded(write, settings, recorded, arm: str) -> None:
    with pytest.raises(ConfigError, match="arm 'x': a replay has the answers that were recorded"):
        make_plan(load_spec(write(REPLAYED + f"  - {arm}\n")), settings)


@pytest.mark.parametrize("rule", ["majority", "weighted_vote", "best_of"])
async def test_an_ensemble_is_fitted_on_recorded_answers(write, settings, recorded, rule: str) -> None:
    text = REPLAYED.replace(
        "{members: [replay/a, replay/b, replay/c]}",
        f"{{rule: {rule}, fit_on: {{outcomes: recorded.parquet}}}}",
    )
    finished = await run(load_spec(write(text)), settings=settings)
    assert rows_of(finished, "vote")["quality"].mean() == 1.0
    assert finished.plan.fingerprint["fitted_on_sha256"].keys() == {"vote"}


async def test_a_disk_that_fills_under_a_panel_is_one_clear_error_and_loses_nothing(
    write, small_disk, simulator
) -> None:
    text = SPEC.replace("n: 12", "n: 30").replace("  - {name: large, model: simulator/sim-large}\n", "")
    spec, settings = load_spec(write(text)), Settings(runs_dir=small_disk / "runs")
    with pytest.raises(StorageFullError, match=r"no space left to write .*journal"):
        await run(spec, settings=settings)
    at_end = read_journal(small_disk / "runs" / "panels" / "journal.jsonl")
    n_kept = sum(map(len, at_end.parts.values())) + len(MEMBERS) * len(at_end.outcomes)
    assert n_kept > 0
    (small_disk / "filler").unlink()
    finished = await run(spec, settings=settings)
    assert len(finished.table) == 30
    assert simulator.n_answers <= 30 * len(MEMBERS) + spec.concurrency * len(MEMBERS)


async def test_a_cancelled_panel_keeps_what_was_answered(write, settings, simulator) -> None:
    cancelled = asyncio.get_running_loop().create_future()

    def cancel_on_the_way(progress: Progress) -> None:
        if progress.n_done and not cancelled.done():
            cancelled.set_result(None)
            task.cancel()

    spec = load_spec(write(SPEC.replace("n: 12", "n: 60")))
    task = asyncio.ensure_future(run(spec, settings=settings, observer=cancel_on_the_way))
    with pytest.raises(asyncio.CancelledError):
        await task
    folder = settings.runs_dir / "panels"
    assert json.loads((folder / "run.json").read_text())["state"] == "interrupted"
    n_bought = simulator.n_answers
    at_end = read_journal(folder / "journal.jsonl")
    n_large = sum(key[1] == "large" for key in at_end.outcomes)
    n_votes = sum(key[1] == "vote" for key in at_end.outcomes)
    n_kept = n_large + n_votes * len(MEMBERS) + sum(map(len, at_end.parts.values()))
    assert n_bought - n_kept <= spec.concurrency
    assert len((await run(spec, settings=settings)).table) == 120


@pytest.mark.slow
def test_a_panel_killed_half_way_buys_no_more_again_than_was_in_flight(
    write, tmp_path: Path, served: Served, forks: Forks
) -> None:
    spec = write(SPEC.replace("n: 12", "n: 30") + "budget_usd: 5\n")
    program = (
        f"import asyncio; from workbench import load_spec, run; asyncio.run(run(load_spec({str(spec)!r})))"
    )
    environment = {"WORKBENCH_SIMULATOR_URL": served.url, "WORKBENCH_RUNS_DIR": str(tmp_path / "runs")}
    journal = tmp_path / "runs" / "panels" / "journal.jsonl"
    killed = forks.start(program, tmp_path, **environment)
    while not journal.exists() or journal.read_bytes().count(b'"kind": "part"') < 31:
        assert killed.poll() is None
        time.sleep(0.005)
    assert killed.kill() == -SIGKILL
    at_kill = read_journal(journal)
    assert forks.start(program, tmp_path, **environment).wait() == 0
    n_bought = served.n_answers()
    table = pd.read_parquet(tmp_path / "runs" / "panels" / "outcomes.parquet")
    lines = list(map(json.loads, journal.read_text().splitlines()))
    ends = [
        line
        for line in lines
        if line["kind"] == "part" or (line["kind"] == "outcome" and line["arm"] == "large")
    ]
    n_answered = sum(not line.get("error") for line in ends)
    assert len(table) == 60
    assert n_bought - n_answered <= 4, "at most the requests that were in flight were bought twice"
    assert at_kill.in_flight_usd > 0.0
    state = json.loads((journal.parent / "run.json").read_text())
    assert state["spent_usd"] == pytest.approx(table["cost_usd"].sum() + at_kill.in_flight_usd)
