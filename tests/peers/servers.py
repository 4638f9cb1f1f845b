"""Servers that nobody here wrote, as processes on loopback, and one conversation to hold with all of them."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from workbench.datasets import tasks
from workbench.providers.wire import HttpProvider
from workbench.types import Completion, Decoding, Prompt

HERE = Path(__file__).resolve().parent
PEERS = HERE.parents[1] / ".peers"
KEY = "canary-of-a-peer"
"""What every peer is asked with; it opens nothing."""

PROMPTS = tuple(task.prompt for task in tasks()[18::36])
"""Twenty of the embedded prompts, of every task; none holds another, so that a peer can tell them apart."""

DECODING = Decoding(max_output_tokens=400)
_START_S = 60.0


def installed(path: Path) -> Path:
    """`path` below `.peers`, or a skip that says what to do; in CI its absence is a failure."""
    if (PEERS / path).exists() and (path.suffix != ".js" or shutil.which("node")):
        return PEERS / path
    reason = f"{path.parts[0]} is not installed (or Node is not): make peers"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def running(
    command: Sequence[str | Path], *, port: int, health: str, environment: Mapping[str, str], log: Path
) -> Iterator[str]:
    """The origin of a server, from when it answers `health` until the block ends."""
    origin = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=output, stderr=output, cwd=log.parent
        )
    try:
        _wait_for(f"{origin}{health}", process, log)
        yield origin
    finally:
        process.terminate()
        try:
            process.wait(5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    limit = time.monotonic() + _START_S
    while time.monotonic() < limit and process.poll() is None:
        try:
            with urlopen(url, timeout=2.0):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    pytest.fail(f"{url} did not answer; {process.args!r} wrote: {log.read_text(errors='replace')[-2000:]}")


async def asked(
    provider: HttpProvider, model: str, prompt: Prompt, *, is_streamed: bool, decoding: Decoding = DECODING
) -> Completion:
    """The answer; one that came in pieces must be their sum."""
    if not is_streamed:
        return await provider.complete(model, prompt, decoding, deadline_s=20.0)
    deltas = [one async for one in provider.stream(model, prompt, decoding, deadline_s=20.0)]
    completion = deltas.pop().completion
    assert completion is not None
    assert completion.first_token_s is not None
    assert "".join(one.text for one in deltas) == completion.text
    assert "".join(one.reasoning for one in deltas) == completion.reasoning
    return completion
