"""Processes that a test kills: forked from one that has done the imports, so that each starts at once."""

import json
import os
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import Any

_PARENT = """
    import json, os, sys, traceback
    import workbench.experiment.run, workbench.plots, workbench.providers.simulator, workbench.publication
    import workbench.report, workbench.tracking

    def run(asked):
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        os.dup2(os.open(asked["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
        os.dup2(1, 2)
        try:
            exec(asked["code"], {"__name__": "__main__"})
        except SystemExit as exc:
            return exc.code or 0
        except BaseException:
            traceback.print_exc()
            return 1
        return 0

    print("null", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if "pid" in asked:
            pid, status = os.waitpid(asked["pid"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                code = run(asked)
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        print(json.dumps(answer), flush=True)
"""


class Forks:
    """The process that has done the imports."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._answer()

    def start(self, code: str, folder: Path, **environment: str) -> "Fork":
        """Run `code` in `folder`, in this process's environment with `environment`."""
        said = folder / f"said-{time.monotonic_ns()}.txt"
        asked = {"folder": str(folder), "said": str(said), "environment": dict(os.environ) | environment}
        return Fork(self.ask(asked | {"code": textwrap.dedent(code)}), said, self)

    def ask(self, asked: dict[str, Any]) -> Any:
        """What the process answers: of what is to be run its number, of a number how it ended."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@dataclass
class Fork:
    """A process that was started; what it prints is in the file `said`."""

    pid: int
    said: Path
    parent: Forks
    returncode: int | None = None

    def poll(self) -> int | None:
        """How it ended, by a signal as its negative; None: it runs."""
        if self.returncode is None:
            self.returncode = self.parent.ask({"pid": self.pid})
        return self.returncode

    def wait(self, limit_s: float = 120.0) -> int:
        """How it ended, once it has."""
        limit = time.monotonic() + limit_s
        while (code := self.poll()) is None:
            assert time.monotonic() < limit, self.said.read_text()
            time.sleep(0.005)
        return code

    def kill(self) -> int:
        """End it at once."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, SIGKILL)
        return self.wait()


@contextmanager
def forking() -> Iterator[Forks]:
    """One process that forks others while the block runs."""
    command = [sys.executable, "-c", textwrap.dedent(_PARENT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Forks(process)
        assert process.stdin is not None
        process.stdin.close()


@dataclass(frozen=True)
class Served:
    """A simulator in a process of its own."""

    url: str

    def n_answers(self) -> int:
        """How many answers it has given."""
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/simulator/requests") as answer:
            return int(json.load(answer)["n_answers"])


@contextmanager
def serving(forks: Forks, folder: Path) -> Iterator[Served]:
    """A simulator while the block runs."""
    code = """
        import asyncio
        from workbench.providers.simulator import serve
        asyncio.run(serve(0, on_ready=lambda simulator: print(simulator.base_url, flush=True)))
    """
    process = forks.start(code, folder)
    while not process.said.exists() or not process.said.read_text().endswith("\n"):
        assert process.poll() is None
        time.sleep(0.01)
    yield Served(process.said.read_text().strip())
    process.kill()
