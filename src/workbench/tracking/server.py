"""MLflow's own pages over a store: started light, ready when said so, gone at the end."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from workbench.errors import ConfigError, TrackingError
from workbench.redaction import without_password
from workbench.tracking.store import Tell, artifact_root, connected
from workbench.tracking.views import arms_pages

_HOST = "127.0.0.1"
_STOP_LIMIT_S = 5.0
_WATCH = 'read -r _; trap "" TERM; kill -TERM 0; sleep 5; kill -KILL 0'
"""Waits for our end, which closes its input however it comes (a SIGKILL too), and ends its own group."""
_ENVIRONMENT = {
    # Without these a server is 10 to 15 processes and 1.5 to 2.6 GB, and needs a minute to start.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}


@dataclass(frozen=True, slots=True)
class OpenUi:
    """A running server; `wait` blocks until it ends. `pages` are its experiments' addresses, by name."""

    url: str
    process: "subprocess.Popen[bytes]"
    pages: dict[str, str] = field(default_factory=dict)

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
    url = f"http://{_HOST}:{port}"
    with connected(uri, tell=tell) as client:
        pages = arms_pages(client, url)
    say(f"starting the MLflow pages on {url} (up to 20 s)")
    with _server(command) as process:
        _await_ready(process, url, limit_s=ready_limit_s)
        say(f"MLflow is ready on {url}")
        yield OpenUi(url, process, pages)


@contextmanager
def _server(command: Sequence[str]) -> Iterator["subprocess.Popen[bytes]"]:
    """The server, in a process group that ends with the block, or with this process however it ends."""
    with (
        _watched_group() as group,
        subprocess.Popen(  # noqa: S603 - our own command
            command, env=os.environ | _ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            process_group=group,
        ) as process,
    ):  # fmt: skip
        try:
            yield process
        finally:
            _end(process, group)


@contextmanager
def _watched_group() -> Iterator[int]:
    """A process group with a shell in it that ends the group when this process is gone."""
    command = ["/bin/sh", "-c", _WATCH]
    with subprocess.Popen(command, stdin=subprocess.PIPE, process_group=0) as watch:  # noqa: S603 - fixed
        try:
            yield watch.pid
        finally:
            watch.kill()


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


def _end(process: "subprocess.Popen[bytes]", group: int) -> None:
    """End the server and its workers, at once if they do not heed."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(group, signum)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_STOP_LIMIT_S)
