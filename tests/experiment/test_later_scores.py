"""Runs whose answers are scored by a model, in pairs, or in a thread: paid once, resumed, told apart."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from judges import ARMS, JUDGE, PAIRWISE, Models, answers_in, preferring, say
from loopback import serving
from workbench.experiment.grading import Grading
from workbench.experiment.journal import read_journal
from workbench.experiment.run import Run, run
from workbench.experiment.spec import ExperimentSpec
from workbench.scoring import LocalScorer, read_options
from workbench.settings import Settings
from workbench.types import Outcome, Prompt

pytestmark = pytest.mark.anyio


async def ran(tmp_path: Path, models: Models, monkeypatch: pytest.MonkeyPatch, **changes: object) -> Run:
    written = {
        "name": "judged",
        "question": "Is small better?",
        "prompts": {"n": 6},
        "arms": ARMS,
        "scorer": JUDGE,
        "file": tmp_path / "spec.yaml",
    }
    async with serving(models.route) as url:
        monkeypatch.setenv("WORKBENCH_SIMULATOR_URL", f"{url}/v1")
        spec = ExperimentSpec.model_validate(written | changes)
        return await run(spec, settings=Settings(runs_dir=tmp_path / "runs"))


async def test_a_judge_scores_each_answer_once_and_its_cost_stands_apart(tmp_path, monkeypatch) -> None:
    models = Models(say)
    finished = await ran(tmp_path, models, monkeypatch)
    table = finished.table
    assert table.groupby("arm")["quality"].unique().map(list).to_dict() == {"small": [0.75], "nano": [0.25]}
    assert models.n_requests["sim-large"] == 12
    answers_usd, judge_usd = table["cost_usd"].sum(), table["scorer_cost_usd"].sum()
    assert judge_usd > 0
    assert finished.spent_usd == pytest.approx(answers_usd + judge_usd)
    assert finished.analysis.arms[0].total_cost_usd == pytest.approx(
        table.loc[table["arm"] == "small", "cost_usd"].sum()
    )
    assert any("sim-large scored 12 answers" in note for note in finished.notes)


async def test_a_run_that_goes_on_pays_no_judge_twice(tmp_path, monkeypatch) -> None:
    models = Models(say)
    first = await ran(tmp_path, models, monkeypatch)
    journal = first.folder / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    scores = [number for number, line in enumerate(lines) if b'"kind": "score"' in line]
    journal.write_bytes(b"".join(lines[: scores[8]]))  # killed before the ninth score was kept
    n_done = len(read_journal(journal).outcomes)
    models.n_requests.clear()
    second = await ran(tmp_path, models, monkeypatch)
    assert models.n_requests["sim-large"] == 12 - 8
    assert sum(models.n_requests.values()) == 12 - 8 + 12 - n_done
    assert second.table["quality"].tolist() == first.table["quality"].tolist()
    assert second.spent_usd > first.spent_usd  # what was in flight may have been paid for


async def test_a_judge_that_cannot_be_read_leaves_answers_out_and_says_so(tmp_path, monkeypatch) -> None:
    def mumbling(model: str, text: str) -> str:
        shown = answers_in(text)
        return "Well ..." if "sim-nano" in shown.get("ANSWER", "") and "12" in text else say(model, text)

    finished = await ran(tmp_path, Models(mumbling), monkeypatch, prompts={"n": 12})
    n_unscored = int(finished.table["quality"].isna().sum())
    assert 0 < n_unscored < 12
    assert any("left out because the answer was not scored" in text for text in finished.analysis.warnings)
    assert any(f"{n_unscored} answer" in note and "not in the form" in note for note in finished.notes)


async def test_a_pairwise_judge_gives_the_rate_of_wins_over_the_control(tmp_path, monkeypatch) -> None:
    models = Models(say)
    finished = await ran(tmp_path, models, monkeypatch, scorer=PAIRWISE, control="nano")
    quality = finished.table.groupby("arm")["quality"].mean()
    assert quality.to_dict() == {"nano": 0.5, "small": 1.0}
    assert models.n_requests["sim-large"] == 12
    won = finished.table[finished.table["arm"] == "small"]
    assert (won["as_first"] == 1.0).all()
    assert (won["as_second"] == 1.0).all()
    assert any("0 of 6 verdicts came out otherwise" in note for note in finished.notes)


async def test_the_position_that_a_judge_prefers_is_counted(tmp_path, monkeypatch) -> None:
    def first(model: str, text: str) -> str:
        return preferring(text, "A") if "ANSWER A" in answers_in(text) else say(model, text)

    finished = await ran(tmp_path, Models(first), monkeypatch, scorer=PAIRWISE)
    assert set(finished.table["quality"]) == {0.5}
    assert any("6 of 6 verdicts came out otherwise" in note for note in finished.notes)


async def test_the_budget_of_the_run_holds_for_its_judge(tmp_path, monkeypatch) -> None:
    models, many = Models(say), {"prompts": {"n": 40}, "concurrency": 2}
    poor = await ran(tmp_path, models, monkeypatch, budget_usd=0.05, **many)
    assert poor.state == "out of budget"
    assert 0.03 < poor.spent_usd <= 0.05
    rich = await ran(tmp_path, models, monkeypatch, budget_usd=1.0, **many)
    assert rich.state == "completed"
    assert rich.table["quality"].notna().all()
    assert models.n_requests["sim-large"] == 80


async def test_a_pattern_and_a_schema_are_scored_in_a_thread_and_kept(tmp_path, monkeypatch) -> None:
    (tmp_path / "s.json").write_text(json.dumps({"type": "object"}))
    pattern = {"kind": "regex", "pattern": "sim-sm[a-z]+"}
    finished = await ran(tmp_path, Models(say), monkeypatch, scorer=pattern)
    assert finished.table.groupby("arm")["quality"].mean().to_dict() == {"nano": 0.0, "small": 1.0}
    assert len(read_journal(finished.folder / "journal.jsonl").scores) == 12
    schema = {"kind": "json_schema", "schema": "s.json"}
    finished = await ran(tmp_path, Models(say), monkeypatch, scorer=schema, name="valid")
    assert set(finished.table["quality"]) == {0.0}
    assert finished.plan.fingerprint["scorer_sha256"]


async def test_programs_in_answers_are_run_with_the_tests_of_their_prompts(tmp_path, monkeypatch) -> None:
    rows = [
        {"prompt_id": f"p{n}", "text": f"Write f that adds {n}.", "reference": f"assert f(1) == {n + 1}"}
        for n in range(3)
    ]
    (tmp_path / "tasks.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def program(model: str, text: str) -> str:
        wanted = text.removesuffix(".").split()[-1]
        return f"```python\ndef f(x):\n    return x + {wanted if model == 'sim-small' else 0}\n```"

    prompts, scorer = {"source": "tasks.jsonl"}, {"kind": "code", "timeout_s": 2}
    finished = await ran(tmp_path, Models(program), monkeypatch, prompts=prompts, scorer=scorer)
    quality = finished.table.groupby("arm")["quality"].sum()
    assert quality.to_dict() == {"nano": 1.0, "small": 3.0}


async def test_a_slow_scorer_leaves_the_event_loop_its_turns() -> None:
    def slow(response: str, reference: str) -> float:
        time.sleep(0.3)
        return 1.0

    local = LocalScorer(slow, is_slow=True)
    async with Grading(read_options("exact"), local=local, client=None) as grading:
        task = asyncio.ensure_future(grading.grade(Outcome("p", "a", "m", "x"), Prompt("p", "?")))
        n_turns = 0
        while not task.done():
            await asyncio.sleep(0.01)
            n_turns += 1
    assert task.result().score.quality == 1.0
    assert n_turns > 5
