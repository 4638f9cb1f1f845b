"""MLflow's own pages over a store: started light, ready when said so, gone at the end."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from workbench.errors import ConfigError, TrackingError
from workbench.redaction import without_password
from workbench.tracking.store import Tell, artifact_root, connected

_HOST = "127.0.0.1"
_STOP_LIMIT_S = 5.0
_ENVIRONMENT = {
    # Without these a server is 10 to 15 processes and 1.5 to 2.6 GB, and needs a minute to start.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}


@dataclass(frozen=True, slots=True)
class OpenUi:
    """A running server; `wait` blocks until it ends."""

    url: str
    process: "subprocess.Popen[bytes]"

    def wait(self) -> int:
        """The exit status of the server, once it has one."""
        return self.process.wait()


def ui_command(uri: str, port: int) -> list[str]:
    """The command line that serves the store at `uri` on this machine's `port`, for this machine only.

    Raises:
        ConfigError: `uri` is a server already, or holds a password, which a command line would show.
    """
    if uri.startswith(("http://", "https://")):
        raise ConfigError(f"{without_password(uri)} is a tracking server already; open it in a browser")
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    root = artifact_root(uri)
    if root is not None:
        command += ["--artifacts-destination", root]
    return [*command, "--host", _HOST, "--port", str(port), "--workers", "1"]


@contextmanager
def open_ui(
    uri: str, *, port: int = 5000, ready_limit_s: float = 90.0, tell: Tell | None = None
) -> Iterator[OpenUi]:
    """Serve the store at `uri` while the block runs; the server and all its children end with it.

    Raises:
        ConfigError: the port is taken, or `uri` is a server already.
        TrackingError: the store cannot be opened, or the server ended or was not ready in time.
    """
    say = tell or (lambda line: None)
    command = ui_command(uri, port)
    _refuse_taken(port)
    with connected(uri, tell=tell):
        pass
    url = f"http://{_HOST}:{port}"
    say(f"starting the MLflow pages on {url} (up to 20 s)")
    process = subprocess.Popen(  # noqa: S603 - our own command
        command, env=os.environ | _ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        _await_ready(process, url, limit_s=ready_limit_s)
        say(f"MLflow is ready on {url}")
        yield OpenUi(url, process)
    finally:
        _end(process)


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as exc:
            raise ConfigError(
                f"port {port} cannot be used ({exc.strerror}); choose another with --port"
            ) from exc


def _await_ready(process: "subprocess.Popen[bytes]", url: str, *, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise TrackingError(
                f"the MLflow server ended with status {process.returncode} before it was ready"
            )
        with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=2):  # noqa: S310 - local http
            return
        time.sleep(0.2)
    raise TrackingError(f"the MLflow server was not ready on {url} within {limit_s:.0f} s")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the server's whole group: its workers too."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_STOP_LIMIT_S)
