"""What every test gets: no address but loopback, a clean environment, and one event loop."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to anywhere else fails the test that tries it."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not str(address[0]).startswith(("127.", "::1", "localhost")):
            raise AssertionError(f"a test tried to reach {address}; only loopback is allowed")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tests neither see this machine's settings nor leave files in the checkout."""
    for name in (
        "RUNS_DIR",
        "TRACKING_URI",
        "BENCHMARKS_DIR",
        "SIMULATOR_URL",
        "LOG",
        "SHOW_CONTENT",
        "TRACE_SHARE",
        "REDIS_URL",
        "KEYRING",
        "KEY_FILE",
        "KEY_FILE_PASSWORD",
    ):
        monkeypatch.delenv(f"WORKBENCH_{name}", raising=False)
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of recorded public benchmarks beside the checkout."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no recorded benchmarks at {folder}")
    return folder


@pytest.fixture(scope="session")
def fresh_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store made once for all workers; copies of it save each test the migrations."""
    tracking = pytest.importorskip("workbench.tracking.store", reason="the extra 'tracking' is not installed")
    folder = tmp_path_factory.getbasetemp()
    path = (folder.parent if os.environ.get("PYTEST_XDIST_WORKER") else folder) / "mlflow-store" / "mlflow.db"
    with tracking.connected(f"sqlite:///{path}"):
        return path
