"""A real Redis on loopback, in a folder of its own, that a test can kill, stop and start again."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

_PROGRAMS = ("redis-server", "valkey-server")
_READY_WITHIN_S = 5.0


class RedisServer:
    """A server that keeps nothing on disk; `options` are those of its command line, without dashes.

    It keeps its port over `kill` and `start`.
    """

    def __init__(self, folder: Path, **options: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._folder = folder
        self._options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "save": "",
            "appendonly": "no",
            **options,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Without a password."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        arguments = [part for name, value in self._options.items() for part in (f"--{name}", value)]
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program(), *arguments], cwd=self._folder, stdout=log, stderr=log
            )
        limit = time.monotonic() + _READY_WITHIN_S
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "redis.log").read_text()
            assert time.monotonic() < limit, f"no answer of redis-server in {_READY_WITHIN_S} s"
            time.sleep(0.005)

    def kill(self) -> None:
        """End it at once; what it kept is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def command(self, *words: str | bytes) -> Any:
        """What the server says to one command, such as `server.command("PTTL", "a")`."""
        with Redis(port=self.port, password=self._options.get("requirepass")) as client:
            return client.execute_command(*words)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let it hang: connections are accepted, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64)[:1] in (b"+", b"-")  # an error too: it may want a password first
        except OSError:
            return False


def program() -> str:
    """The server's program; without one, the test is skipped, but in CI it fails."""
    found = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if found is None:
        assert not os.environ.get("CI"), "no redis-server: install it, as .ci/run does"
        pytest.skip("neither redis-server nor valkey-server is installed here")
    return found


@contextmanager
def serving(folder: Path, **options: str) -> Iterator[RedisServer]:
    """A server while the block runs."""
    server = RedisServer(folder, **options)
    server.start()
    try:
        yield server
    finally:
        server.kill()
