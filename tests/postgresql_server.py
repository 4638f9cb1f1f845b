"""A real PostgreSQL on a Unix socket, that a test can kill, stop and start again; it does not run as root."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest


class PostgresServer:
    """A server whose data are in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._initdb = program()
        self._folder = folder
        self._as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        self._process: subprocess.Popen[str] | None = None
        if self._as_user:
            shutil.chown(folder, "postgres")
        run = [*self._as_user, self._initdb, "-D", str(folder / "data"), "-A", "trust", "-U", "workbench"]
        run.append("--no-sync")
        subprocess.run(run, check=True, capture_output=True, cwd=folder)

    @property
    def url(self) -> str:
        """As SQLAlchemy takes it."""
        return f"postgresql+psycopg://workbench@/postgres?host={self._folder}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        server = str(Path(self._initdb).with_name("postgres"))
        options = ["-D", str(self._folder / "data"), "-k", str(self._folder)]
        options += ["-c", "listen_addresses=", "-c", "fsync=off"]
        self._process = subprocess.Popen(
            [*self._as_user, server, *options], stderr=subprocess.PIPE, text=True, cwd=self._folder
        )
        assert self._process.stderr is not None
        said = ""
        for line in self._process.stderr:
            said += line
            if "ready to accept connections" in line:
                return
        raise AssertionError(f"PostgreSQL did not start: {said}")

    def kill(self) -> None:
        """End it at once; what was committed is kept."""
        if self._process is not None:
            postmaster = self._own()
            postmaster.send_signal(signal.SIGQUIT)
            postmaster.wait(timeout=30)
            self._process.wait(timeout=30)
            assert self._process.stderr is not None
            self._process.stderr.close()
            self._process = None

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let it hang: connections are accepted, and nothing is answered."""
        processes = [self._own(), *self._own().children(recursive=True)]
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                process.resume()
            assert self._process is not None
            self._process.send_signal(signal.SIGCONT)  # runuser stops with what it runs

    def _own(self) -> psutil.Process:
        return psutil.Process(int((self._folder / "data" / "postmaster.pid").read_text().split()[0]))


def program() -> str:
    """The program that makes a server's folder; without one, the test is skipped, but in CI it fails."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb") or (str(programs[-1]) if programs else None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed; .ci/run installs it")
        pytest.skip("PostgreSQL is not installed")
    return found


@contextmanager
def serving() -> Iterator[PostgresServer]:
    """A server while the block runs.

    Its folder is not below pytest's own, which every pytest that starts closes to all but its user.
    """
    with TemporaryDirectory(prefix="postgresql-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.kill()
