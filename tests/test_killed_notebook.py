"""A notebook that was killed in the middle of a cell: the rows that it had finished are not bought again."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import anyio
import nbformat
import pytest

from workbench.errors import LockedError
from workbench.experiment.run import Run, run
from workbench.experiment.spec import load_spec
from workbench.providers.simulator import Simulator
from workbench.settings import Settings

SPEC = """
name: killed-notebook
question: Is large better than small?
prompts: {source: tasks, split: test, n: 60}
arms:
  - {name: small, model: simulator/sim-small}
  - {name: vote, ensemble: {members: [simulator/sim-nano, simulator/sim-reader]}}
concurrency: 4
notebook: run.ipynb
"""
CELLS = (
    "from workbench import load_spec, run",
    'spec_path = "spec.yaml"',
    "finished = await run(load_spec(spec_path))",
)


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    cells[1]["metadata"]["tags"] = ["parameters"]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "run.ipynb")
    path = tmp_path / "spec.yaml"
    path.write_text(textwrap.dedent(SPEC))
    return path


@pytest.fixture
async def simulator(monkeypatch: pytest.MonkeyPatch):
    async with Simulator() as simulator:
        monkeypatch.setenv("WORKBENCH_SIMULATOR_URL", simulator.base_url)
        yield simulator


async def gone_on_with(spec: Path, settings: Settings) -> Run:
    """The run, once the killed notebook's kernel is gone and holds it no more."""
    for _ in range(150):
        try:
            return await run(load_spec(spec), settings=settings)
        except LockedError:
            await anyio.sleep(0.2)
    raise AssertionError("the kernel of a killed notebook goes on")


@pytest.mark.slow
@pytest.mark.anyio
async def test_rows_of_a_notebook_that_was_killed_in_a_cell_are_not_bought_again(
    spec: Path, tmp_path: Path, simulator: Simulator
) -> None:
    settings = Settings(runs_dir=tmp_path / "runs")
    environment = os.environ | {
        "WORKBENCH_RUNS_DIR": str(settings.runs_dir),
        "WORKBENCH_TRACKING_URI": "http://127.0.0.1:9",
    }
    command = [sys.executable, "-m", "workbench", "run", str(spec)]
    killed = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    journal = settings.runs_dir / "killed-notebook" / "journal.jsonl"
    while not journal.exists() or journal.read_bytes().count(b'"kind": "outcome"') < 20:
        assert killed.poll() is None
        await anyio.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait(10)
    finished = await gone_on_with(spec, settings)
    assert finished.n_resumed >= 20
    assert len(finished.table) == 120
    lines = list(map(json.loads, journal.read_text().splitlines()))
    n_small = sum(
        line["kind"] == "outcome" and line["arm"] == "small" and not line["error"] for line in lines
    )
    n_parts = sum(line["kind"] == "part" and "error" not in line for line in lines)
    assert simulator.n_answers - n_small - n_parts <= finished.spec.concurrency
