"""What stands behind the command: a tracking server that dies costs a warning, and is made up for later."""

import asyncio
import json
from pathlib import Path

import pytest

from workbench import session
from workbench.errors import ConfigError
from workbench.experiment.analyse import from_json
from workbench.experiment.spec import load_spec
from workbench.outcomes import read

pytest.importorskip("mlflow", reason="the extra 'tracking' is not installed")
nbformat = pytest.importorskip("nbformat", reason="the extra 'notebooks' is not installed")

DEAD = "http://127.0.0.1:9"
SPEC = """
name: two-arms
question: Is large better than small?
prompts: {source: tasks, split: test, n: 4}
arms:
  - {name: small, model: simulator/sim-small}
  - {name: large, model: simulator/sim-large}
notebook: tiny.ipynb
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spec and its notebook, in a project whose tracking server is dead."""
    monkeypatch.setenv("WORKBENCH_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("WORKBENCH_TRACKING_URI", DEAD)
    parameters = nbformat.v4.new_code_cell("spec_path = ''", metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[parameters]), tmp_path / "tiny.ipynb")
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC)
    return path


@pytest.fixture
def folder(spec: Path, tmp_path: Path) -> Path:
    """The folder of a run that was finished while the server was dead."""
    asyncio.run(session.run_in_terminal(spec))
    return tmp_path / "runs" / "two-arms"


def pretend_sent(folder: Path) -> None:
    """As if the server had taken the run, and died afterwards."""
    path = folder / "tracking.json"
    kept = json.loads(path.read_text())
    run = {"run_id": "r1", "experiment_id": "1", "uri": DEAD, "url_hint": DEAD}
    path.write_text(json.dumps(kept | {"state": "logged", "run": run}))


def test_the_results_are_kept_whatever_the_tracking_server_does(folder: Path) -> None:
    analysis = from_json((folder / "analysis.json").read_text())
    assert [arm.n_calls for arm in analysis.arms] == [4, 4]
    assert len(read(folder / "outcomes.parquet")) == 8
    assert json.loads((folder / "tracking.json").read_text())["state"] == "pending"


def test_a_server_that_died_after_the_run_costs_a_warning(
    folder: Path, spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend_sent(folder)
    output = session.run_notebook(spec, parameters={})
    said = capsys.readouterr().out
    assert f"warning: the notebook is not in MLflow: the tracking store {DEAD}" in said
    assert output.exists()
    assert "small (control)" in said


@pytest.mark.slow
def test_a_run_that_could_not_be_sent_is_sent_later(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from workbench import tracking

    monkeypatch.setenv("WORKBENCH_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    session.sync(folder)
    tracked = tracking.tracked(folder)
    assert tracked is not None
    assert f"MLflow run {tracked.run_id} is up to date" in capsys.readouterr().out
    assert not tracking.is_pending(folder)


def test_the_notebook_beside_the_spec_comes_before_ours(spec: Path, tmp_path: Path) -> None:
    assert session.notebook_of(load_spec(spec)) == tmp_path / "tiny.ipynb"
    (tmp_path / "tiny.ipynb").unlink()
    spec.write_text(SPEC.replace("tiny.ipynb", "02_compare_models.ipynb"))
    assert session.notebook_of(load_spec(spec)).parent.name == "notebooks"


def test_the_spec_is_no_parameter_to_be_given(spec: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be set"):
        session.run_notebook(spec, parameters={"spec_path": "other.yaml"})
