"""A run made visible: its report and plots here, its record kept for MLflow, and nothing lost meanwhile."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from workbench.experiment.run import Run, run
from workbench.experiment.spec import ExperimentSpec, load_spec
from workbench.publication import parameters, publish, publish_leaderboard, spec_yaml
from workbench.routing.evaluate import cross_validate
from workbench.routing.out_of_fold import Contender
from workbench.settings import Settings

pytestmark = pytest.mark.anyio
pytest.importorskip("matplotlib", reason="the extra 'notebooks' is not installed")
DEAD = "http://127.0.0.1:9"


@pytest.fixture
async def finished(tmp_path: Path) -> Run:
    """A replay of two recorded models, which needs no server."""
    rows = [
        {"prompt_id": f"p{n}", "prompt": f"prompt {n}", "arm": arm, "quality": q, "cost_usd": 0.1}
        for n in range(8)
        for arm, q in (("a", 0.0), ("b", 1.0))
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "table.parquet")
    written = {
        "name": "replayed",
        "question": "Is b better than a?",
        "replay": {"outcomes": "table.parquet"},
        "arms": [{"name": "a", "model": "replay/a"}, {"name": "b [new]", "model": "replay/b"}],
        "scorer": "recorded",
        "file": tmp_path / "experiments" / ".." / "spec.yaml",
    }
    return await run(ExperimentSpec.model_validate(written), settings=settings(tmp_path))


def settings(tmp_path: Path) -> Settings:
    return Settings(runs_dir=tmp_path / "runs", tracking_uri=DEAD)


async def test_a_dead_tracking_server_is_a_warning_and_the_rest_is_there(
    finished: Run, tmp_path: Path
) -> None:
    pytest.importorskip("mlflow", reason="the extra 'tracking' is not installed")
    published = publish(finished, settings=settings(tmp_path))
    assert published.tracked is None
    assert len(published.warnings) == 1
    assert published.warnings[0].endswith(f"When it can be reached: workbench sync {finished.folder}")
    assert published.report == finished.folder / "report.html"
    assert "Is b better than a?" in published.report.read_text()
    plots = sorted(path.name for path in (finished.folder / "plots").iterdir())
    assert plots == ["differences.png", "quality_cost.png"]
    assert json.loads((finished.folder / "tracking.json").read_text())["state"] == "pending"


async def test_the_kept_spec_is_the_same_experiment(finished: Run, tmp_path: Path) -> None:
    (tmp_path / "kept.yaml").write_text(spec_yaml(finished.spec))
    assert load_spec(tmp_path / "kept.yaml").fingerprint() == finished.spec.fingerprint()
    assert yaml.safe_load(spec_yaml(finished.spec))["alpha"] == 0.05, "defaults are written out"


async def test_the_parameters_are_what_a_run_is_found_by(finished: Run) -> None:
    listed = parameters(finished)
    assert listed["prompts"] == "table.parquet"
    assert listed["n_prompts"] == 8
    assert listed["control"] == "a"
    assert listed["arm.b _new_"] == "replay/b", "MLflow takes no brackets in a name"


async def test_a_leaderboard_is_kept_though_the_tracking_server_is_dead(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="the extra 'tracking' is not installed")
    rows = [(f"p{n}", f"prompt {n}", arm, float(arm == "a")) for n in range(8) for arm in ("a", "b")]
    table = pd.DataFrame(rows, columns=["prompt_id", "prompt", "arm", "quality"])
    alone = (Contender("random"), Contender("best_single"))
    board = cross_validate(table, folds=2, contenders=alone, n_resamples=10)
    published = publish_leaderboard(board, name="beside", question="Which?", settings=settings(tmp_path))
    assert "workbench sync" in published.warnings[0]
    (folder,) = (tmp_path / "runs").glob("beside-????????")
    assert json.loads((folder / "analysis.json").read_text())["control"] == "best_single"
    kept = pd.read_csv(folder / "leaderboard.csv")["router"].tolist()
    assert kept == ["random", "best_single", "no_information", "oracle"]


async def test_an_arm_is_described_by_all_that_it_is_made_of(finished: Run) -> None:
    members = {"members": ["simulator/sim-nano", "simulator/sim-small"]}
    spec = ExperimentSpec.model_validate(
        {
            "name": "x",
            "question": "Which?",
            "arms": [
                {"name": "vote", "ensemble": members},
                {"name": "long", "model": "simulator/sim-nano", "template": "{prompt}" + "x" * 9000},
            ],
        }
    )
    listed = parameters(replace(finished, spec=spec))
    vote, long = str(listed["arm.vote"]), str(listed["arm.long"])
    assert "ensemble: " in vote
    assert "sim-nano" in vote
    assert long.startswith("simulator/sim-nano; template: {prompt}xxx")
    assert len(long) < 1_100
