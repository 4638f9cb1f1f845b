"""Runs whose disk fills, is read-only or leads elsewhere, and runs killed while they write their results."""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml

from forked import Forks
from workbench import outcomes
from workbench.errors import ConfigError, StorageError, StorageFullError
from workbench.experiment.analyse import from_json
from workbench.experiment.journal import read_journal
from workbench.experiment.run import Run, run
from workbench.experiment.spec import load_spec, load_training_spec
from workbench.experiment.training import train
from workbench.providers.simulator import Simulator
from workbench.publication import publish
from workbench.routing import checkpoint
from workbench.settings import Settings

pytestmark = pytest.mark.anyio

SPEC = """
name: two-arms
question: Is large better than small?
prompts: {source: tasks, split: test, n: 12}
arms:
  - {name: small, model: simulator/sim-small}
  - {name: large, model: simulator/sim-large}
concurrency: 4
budget_usd: 1
"""
NOWHERE = "http://127.0.0.1:9"
SAME = ["prompt_id", "arm", "model", "response", "quality", "error", "cost_usd"]
WRITTEN = (
    "journal.jsonl",
    "run.json",
    "outcomes.parquet",
    "analysis.json",
    "spec.yaml",
    "plots/differences.png",
    "plots/quality_cost.png",
    "report.html",
    "tracking.json",
)
"""All that a run and its publication write, in this order."""


@dataclass(frozen=True)
class Disk:
    """A file system of its own, whose size can be changed."""

    folder: Path

    def resize(self, n_bytes: int) -> None:
        option = f"remount,size={max(1, n_bytes // 1024)}k"
        subprocess.run(["mount", "-o", option, str(self.folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(latency_scale=0.0) as simulator:
        yield simulator


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC)
    return path


def settings_in(runs_dir: Path, simulator: Simulator | None = None) -> Settings:
    url = simulator.base_url if simulator else None
    return Settings(runs_dir=runs_dir, tracking_uri=NOWHERE, simulator_url=url)


@pytest.fixture(scope="module")
async def undisturbed(tmp_path_factory: pytest.TempPathFactory, simulator: Simulator) -> Run:
    """The same run where nothing goes wrong."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "spec.yaml").write_text(SPEC)
    settings = settings_in(folder / "runs", simulator)
    finished = await run(load_spec(folder / "spec.yaml"), settings=settings)
    publish(finished, settings=settings)
    return finished


def pages(n_bytes: int) -> int:
    return -(-n_bytes // 4096) * 4096


def whole(folder: Path) -> set[str]:
    """The names of the files in `folder`, each read and found whole."""
    readers: dict[str, Callable[[Path], object]] = {
        ".parquet": outcomes.read,
        ".json": lambda path: json.loads(path.read_bytes()),
        ".jsonl": read_journal,
        ".yaml": lambda path: yaml.safe_load(path.read_text()),
        ".png": lambda path: path.read_bytes().index(b"IEND"),
        ".html": lambda path: path.read_text().index("</html>"),
        ".ckpt": checkpoint.load,
        ".csv": pd.read_csv,
    }
    names = set()
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith("."):  # locks, and what a kill left half written
            readers[path.suffix](path)
            names.add(str(path.relative_to(folder)))
    return names


@pytest.mark.parametrize("site", WRITTEN)
async def test_a_disk_that_fills_is_one_clear_error_and_space_is_all_it_takes(
    site: str, disk: Disk, spec: Path, simulator: Simulator, undisturbed: Run
) -> None:
    settings = settings_in(disk.folder / "runs", simulator)
    before = WRITTEN[: WRITTEN.index(site)]
    sizes = {name: pages((undisturbed.folder / name).stat().st_size) for name in (*before, site)}
    short = sizes[site] // 2 if site == "journal.jsonl" else pages(sizes[site] - 4096)
    disk.resize(max(8192, sum(sizes[name] for name in before) + short))
    n_before = simulator.n_answers
    with pytest.raises(StorageFullError, match="no space left to write"):
        publish(await run(load_spec(spec), settings=settings), settings=settings)
    kept = whole(disk.folder / "runs" / "two-arms")
    assert set(before) - {"tracking.json"} <= kept <= set(WRITTEN)
    assert not [path for path in disk.folder.rglob(".*") if not path.name.endswith(".lock")]
    disk.resize(16 * 2**20)
    finished = await run(load_spec(spec), settings=settings)
    publish(finished, settings=settings)
    assert whole(finished.folder) == set(WRITTEN)
    pd.testing.assert_frame_equal(finished.table[SAME], undisturbed.table[SAME])
    n_answered = int(undisturbed.table["error"].isna().sum())
    assert simulator.n_answers - n_before <= n_answered + 4


@pytest.mark.parametrize("site", ["router.ckpt", "leaderboard.csv"])
async def test_a_disk_that_fills_while_a_router_is_trained(
    site: str, disk: Disk, tmp_path: Path, undisturbed: Run
) -> None:
    path = tmp_path / "router.yaml"
    table = undisturbed.folder / "outcomes.parquet"
    path.write_text(f"name: router\nquestion: Why?\nkind: knn\nfit_on: {{outcomes: {table}}}\nfolds: 2\n")
    spec, settings = load_training_spec(path), settings_in(disk.folder)
    whole_run = await train(spec, settings=settings_in(tmp_path / "whole"))
    written = ["router.ckpt", "outcomes.parquet", "analysis.json", "leaderboard.csv"]
    sizes = [pages((whole_run.folder / name).stat().st_size) for name in written[: written.index(site) + 1]]
    disk.resize(max(4096, sum(sizes) - 4096))
    with pytest.raises(StorageFullError):
        await train(spec, settings=settings)
    assert whole(disk.folder) <= {f"router/{name}" for name in written}
    disk.resize(16 * 2**20)
    again = await train(spec, settings=settings)
    assert outcomes.digest(again.table) == outcomes.digest(whole_run.table)


@pytest.mark.slow
def test_a_disk_that_fills_leaves_a_readable_notebook(disk: Disk, tmp_path: Path) -> None:
    batch = pytest.importorskip("workbench.batch", reason="the extra 'notebooks' is not installed")
    nbformat = pytest.importorskip("nbformat")
    node = nbformat.v4.new_notebook()
    sources = ("n = 1", "print('x' * 200_000)")
    node.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    node.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(node, tmp_path / "question.ipynb")
    disk.resize(65_536)
    output = disk.folder / "notebook.ipynb"
    with pytest.raises(StorageFullError):
        batch.execute(tmp_path / "question.ipynb", parameters={}, output=output)
    assert nbformat.read(output, as_version=4).metadata.papermill.status == "running"
    assert json.loads((disk.folder / "status.json").read_text())["state"] == "running"
    disk.resize(2**20)
    batch.execute(tmp_path / "question.ipynb", parameters={}, output=output)


def in_the_way(tmp_path: Path) -> Path:
    (tmp_path / "runs").write_text("a file")
    return tmp_path / "runs"


def missing_and_cannot_be_made(tmp_path: Path) -> Path:
    return Path("/proc/nowhere/runs")


def a_file_for_the_run(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "two-arms").write_text("a file")
    return tmp_path / "runs"


def a_link_out(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "two-arms").symlink_to(tmp_path / "elsewhere")
    return tmp_path / "runs"


def a_folder_for_the_journal(tmp_path: Path) -> Path:
    (tmp_path / "runs" / "two-arms" / "journal.jsonl").mkdir(parents=True)
    return tmp_path / "runs"


@pytest.mark.parametrize(
    "place",
    [in_the_way, missing_and_cannot_be_made, a_file_for_the_run, a_link_out, a_folder_for_the_journal],
    ids=lambda place: place.__name__,
)
async def test_a_place_that_cannot_be_used_is_told_before_anything_is_paid_for(
    place: Callable[[Path], Path], tmp_path: Path, spec: Path, simulator: Simulator
) -> None:
    n_before = simulator.n_requests
    needed = spec.with_name("record.yaml")
    needed.write_text(SPEC.replace("two-arms", "record"))
    router = "  - {name: knn, router: {kind: knn, fit_on: {outcomes: record.yaml}}}\nconcurrency"
    spec.write_text(SPEC.replace("concurrency", router))
    with pytest.raises(StorageError, match="runs"):
        await run(load_spec(spec), settings=settings_in(place(tmp_path), simulator))
    if place is not a_folder_for_the_journal:
        assert simulator.n_requests == n_before


async def test_a_read_only_disk_is_told_before_anything_is_paid_for(
    disk: Disk, spec: Path, simulator: Simulator
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk.folder)], check=True)
    n_before = simulator.n_requests
    with pytest.raises(StorageError, match="Read-only file system"):
        await run(load_spec(spec), settings=settings_in(disk.folder / "runs", simulator))
    assert simulator.n_requests == n_before


async def test_experiments_that_learn_from_each_other_are_refused(spec: Path, simulator: Simulator) -> None:
    other = spec.with_name("other.yaml")
    arm = "  - {name: knn, router: {kind: knn, fit_on: {outcomes: OTHER}}}\nconcurrency"
    spec.write_text(SPEC.replace("concurrency", arm.replace("OTHER", "other.yaml")))
    text = SPEC.replace("two-arms", "other").replace("concurrency", arm.replace("OTHER", "spec.yaml"))
    other.write_text(text)
    n_before = simulator.n_requests
    with pytest.raises(ConfigError, match="learns from itself"):
        await run(load_spec(spec), settings=settings_in(spec.parent / "runs", simulator))
    assert simulator.n_requests == n_before


RUN_AND_PUBLISH = """
    import asyncio
    from pathlib import Path
    from workbench import load_spec, publish, run
    publish(asyncio.run(run(load_spec(Path("spec.yaml")))))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and fork are POSIX")
async def test_kills_while_results_are_written_leave_whole_files_and_the_same_results(
    spec: Path, simulator: Simulator, undisturbed: Run, forks: Forks
) -> None:
    rng = random.Random(7)
    folder = spec.parent / "runs" / "two-arms"
    n_before = simulator.n_answers
    environment = {"WORKBENCH_SIMULATOR_URL": simulator.base_url, "WORKBENCH_TRACKING_URI": NOWHERE}

    async def ended(*, kill_after_s: float | None = None) -> float:
        """Seconds until the run ended."""
        began = time.monotonic()
        process = forks.start(RUN_AND_PUBLISH, spec.parent, **environment)
        if kill_after_s is None:
            assert await asyncio.to_thread(process.wait) == 0, process.said.read_text()
        else:
            await asyncio.sleep(kill_after_s)
            process.kill()
        return time.monotonic() - began

    whole_s = await ended()
    n_bought = simulator.n_answers - n_before
    for _ in range(5):
        await ended(kill_after_s=rng.uniform(0.05, 0.9) * whole_s)
        assert whole(folder) == set(WRITTEN)
        assert from_json((folder / "analysis.json").read_text()).arms
    await ended()
    pd.testing.assert_frame_equal(outcomes.read(folder / "outcomes.parquet")[SAME], undisturbed.table[SAME])
    assert json.loads((folder / "run.json").read_text())["state"] == "completed"
    assert simulator.n_answers - n_before == n_bought, "what was in the journal was not bought again"
