"""What experiments need: a spec on disk, a place for runs, and simulated models that outlive a run."""

import subprocess
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from forked import Forks, Served, forking, serving
from workbench.providers.simulator import Simulator
from workbench.settings import Settings


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str, name: str = "spec.yaml") -> Path:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return write


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(runs_dir=tmp_path / "runs")


@pytest.fixture
async def simulator(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Simulator]:
    """One that counts what the runs of a test bought."""
    async with Simulator(latency_scale=0.01) as simulator:
        monkeypatch.setenv("WORKBENCH_SIMULATOR_URL", simulator.base_url)
        yield simulator


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    with forking() as found:
        yield found


@pytest.fixture
def served(forks: Forks, tmp_path: Path) -> Iterator[Served]:
    """A simulator that neither a killed run nor one that is busy slows down."""
    with serving(forks, tmp_path) as found:
        yield found


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB, of which 24 are free until `filler` is removed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting needs root")
    (folder / "filler").write_bytes(b"x" * (232 * 1024))
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
