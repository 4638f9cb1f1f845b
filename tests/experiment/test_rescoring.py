"""A finished run scored by another scorer: no arm is asked, nothing is lost, no judge is paid twice."""

from pathlib import Path

import pytest

from judges import ARMS, JUDGE, PAIRWISE, Models, say
from loopback import serving
from workbench import outcomes
from workbench.errors import BudgetError, ConfigError, FingerprintError, InsufficientDataError, StorageError
from workbench.experiment.labels import answers_to_label, write_sheet
from workbench.experiment.rescoring import Rescored, rescore
from workbench.experiment.run import Run, run
from workbench.experiment.spec import ExperimentSpec
from workbench.scoring import read_options
from workbench.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def spec(tmp_path: Path) -> ExperimentSpec:
    written = {
        "name": "finished",
        "question": "Is small better?",
        "prompts": {"n": 6},
        "arms": ARMS,
        "file": tmp_path / "spec.yaml",
    }
    return ExperimentSpec.model_validate(written)


@pytest.fixture
async def models(monkeypatch: pytest.MonkeyPatch):
    models = Models(say)
    async with serving(models.route) as url:
        monkeypatch.setenv("WORKBENCH_SIMULATOR_URL", f"{url}/v1")
        yield models


@pytest.fixture
async def finished(spec: ExperimentSpec, settings: Settings, models: Models) -> Run:
    done = await run(spec, settings=settings)
    models.n_requests.clear()
    return done


async def again(spec: ExperimentSpec, written: object, **changes: object) -> Rescored:
    settings = Settings(runs_dir=spec.folder / "runs")
    return await rescore(spec, read_options(written), settings=settings, **changes)


async def test_another_scorer_writes_another_table_and_asks_no_arm(spec, finished, models) -> None:
    before = {path.name: path.read_bytes() for path in finished.folder.iterdir() if path.is_file()}
    done = await again(spec, {"kind": "regex", "pattern": "sim-small"})
    assert models.n_requests == {}
    assert {path.name: path.read_bytes() for path in finished.folder.iterdir() if path.is_file()} == before
    kept = outcomes.read(finished.folder / "scored" / "quality_regex.parquet")
    assert kept.groupby("arm")["quality_regex"].mean().to_dict() == {"nano": 0.0, "small": 1.0}
    assert kept["quality"].tolist() == finished.table["quality"].tolist()
    assert done.analysis.metric == "quality_regex"
    assert done.analysis.comparisons[0].difference.value == -1.0


async def test_a_judge_is_paid_once_for_each_answer(spec, finished, models) -> None:
    first = await again(spec, JUDGE)
    assert models.n_requests == {"sim-large": 12}
    second = await again(spec, JUDGE)
    assert models.n_requests == {"sim-large": 12}
    assert second.table["quality_judge"].tolist() == first.table["quality_judge"].tolist()
    assert set(first.table["quality_judge"]) == {0.75, 0.25}
    with pytest.raises(FingerprintError, match="scorer"):
        await again(spec, JUDGE | {"rubric": "Is it short?"})
    await again(spec, JUDGE | {"rubric": "Is it short?"}, column="brevity")
    assert models.n_requests == {"sim-large": 24}


async def test_a_budget_ends_it_and_what_was_scored_is_kept(spec, finished, models) -> None:
    one_by_one = spec.model_copy(update={"concurrency": 1})
    with pytest.raises(BudgetError) as refused:
        await again(one_by_one, JUDGE, budget_usd=1e-6)
    bound_usd = float(str(refused.value).split("$")[1].split(",")[0])
    with pytest.raises(BudgetError):
        await again(one_by_one, JUDGE, budget_usd=bound_usd + 0.002)
    n_paid = models.n_requests["sim-large"]
    assert 0 < n_paid < 12
    await again(spec, JUDGE)
    assert models.n_requests["sim-large"] == 12


async def test_why_nothing_has_a_score_is_told(spec, finished, models) -> None:
    models.say = lambda model, text: "Good."
    with pytest.raises(InsufficientDataError, match="12 answers not scored: the judge's verdict was not in"):
        await again(spec, JUDGE)


async def test_pairs_are_judged_against_the_control(spec, finished, models) -> None:
    done = await again(spec, PAIRWISE)
    quality = done.table.groupby("arm")["quality_pairwise_judge"].mean()
    assert quality.to_dict() == {"nano": 0.0, "small": 0.5}


async def test_labels_of_a_sheet_become_a_column(spec, finished) -> None:
    answers = answers_to_label(finished.table, n=12)
    sheet = spec.folder / "sheet.csv"
    write_sheet(sheet, answers)
    sheet.write_text(
        sheet.read_text().replace("sim-small.,,", "sim-small.,right,ann").replace(".,,", ".,0,ann")
    )
    done = await again(spec, {"kind": "human", "labels": "sheet.csv"})
    assert done.table.groupby("arm")["human_quality"].mean().to_dict() == {"nano": 0.0, "small": 1.0}


async def test_people_can_be_the_scorer_of_a_run(spec, settings, models) -> None:
    people = spec.model_copy(update={"scorer": read_options({"kind": "human", "labels": "own.csv"})})
    with pytest.raises(Exception, match="has a score"):
        await run(people, settings=settings)
    n_bought = sum(models.n_requests.values())
    table = outcomes.read(settings.runs_dir / "finished" / "outcomes.parquet")
    rows = [f"{p},{a},{int(a == 'small')}" for p, a in zip(table["prompt_id"], table["arm"], strict=True)]
    (spec.folder / "own.csv").write_text("\n".join(["prompt_id,arm,label", *rows]))
    labelled = await run(people, settings=settings)
    assert sum(models.n_requests.values()) == n_bought
    assert labelled.table.groupby("arm")["quality"].mean().to_dict() == {"nano": 0.0, "small": 1.0}


@pytest.mark.parametrize(
    ("written", "changes", "told"),
    [
        ("exact", {"column": "quality"}, "has a column 'quality' already"),
        ("exact", {"column": "../out"}, "cannot be a file name"),
        ("recorded", {}, "looks at no answer"),
        (PAIRWISE | {"against": "medium"}, {}, "not an arm"),
    ],
)
async def test_what_cannot_be_is_refused(spec, finished, written, changes, told) -> None:
    with pytest.raises(ConfigError, match=told):
        await again(spec, written, **changes)


async def test_a_run_that_is_not_there_is_told(spec) -> None:
    with pytest.raises(StorageError, match="run the experiment first"):
        await again(spec, "exact")
