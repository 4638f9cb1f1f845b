"""A process of its own for a program that somebody else wrote, with limits, and ended with all that it began.

It is no boundary against a determined attacker: the program and its tests share one process, and the system's
kernel is shared with everything else. `docs/scoring.md` says what holds where.
"""

import json
import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import ConfigError

_SCRIPT = Path(__file__).with_name("confined.py")
_MOST_REPORT = 2**20
_MOST_SOURCE = 200_000
"""Characters of a program, and of its tests."""
_START_S = 5.0
"""What a process may take to start, beside its time: a machine can be busy."""

GUARDS = ("limits", "network namespace", "files", "system calls")
"""What a process gives up where the system allows it; on Linux since 5.13, on x86-64 and arm64, all."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use: seconds of a processor, and MiB. On the wall it has five seconds more."""

    timeout_s: float = 5.0
    memory_mb: int = 256


@dataclass(frozen=True, slots=True)
class Ran:
    """Whether each test passed; empty where the program did not come to its end. `guards` held."""

    passed: tuple[bool, ...] = ()
    guards: tuple[str, ...] = ()


def run_tests(code: str, tests: str, limits: Limits) -> Ran:
    """Run `code`, then each of its `tests`, in a fresh Python without this process's environment.

    Raises:
        ConfigError: this system cannot limit processes (Windows).
    """
    if os.name != "posix":
        raise ConfigError("the scorer 'code' needs Linux or macOS: this system cannot limit a process")
    if max(len(code), len(tests)) > _MOST_SOURCE:
        return Ran()
    nonce = secrets.token_hex(16)
    job = {
        "code": code,
        "tests": tests,
        "nonce": nonce,
        "timeout_s": limits.timeout_s,
        "memory_mb": limits.memory_mb,
    }
    with tempfile.TemporaryDirectory(prefix="workbench-") as folder:
        return _read(_reported(json.dumps(job).encode(), folder, limits.timeout_s), nonce)


def check_sandbox() -> tuple[str, ...]:
    """Which of `GUARDS` this system does not have, found out by running a program.

    Raises:
        ConfigError: programs cannot be run here.
    """
    ran = run_tests("", "assert True", Limits())
    if ran.passed != (True,):
        raise ConfigError("the scorer 'code' could not run a program here: too little memory, or no process")
    return tuple(guard for guard in GUARDS if guard not in ran.guards)


def _reported(job: bytes, folder: str, timeout_s: float) -> bytes:
    """What the process wrote before its time was over; the process, and all of its group, have ended."""
    process = subprocess.Popen(  # noqa: S603 - our own script
        [sys.executable, "-I", "-S", "-B", str(_SCRIPT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={},
        start_new_session=True,
    )
    try:
        return _exchanged(process, job, time.monotonic() + timeout_s + _START_S)
    finally:
        _end(process)


def _exchanged(process: "subprocess.Popen[bytes]", job: bytes, deadline_s: float) -> bytes:
    if process.stdin is None or process.stdout is None:
        return b""
    try:
        with process.stdin:
            process.stdin.write(job)
    except BrokenPipeError:
        return b""
    content, descriptor = b"", process.stdout.fileno()
    while len(content) < _MOST_REPORT:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0.0 or not select.select([descriptor], [], [], left_s)[0]:
            return b""
        piece = os.read(descriptor, 65_536)
        if not piece:
            return content
        content += piece
    return b""


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill the whole group: until it is waited for, its number cannot be anybody else's."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _read(report: bytes, nonce: str) -> Ran:
    """A report that is whole and has the nonce; anything else is what a program wrote in its place."""
    try:
        given, guards, passed = json.loads(report)
    except (ValueError, TypeError, RecursionError):
        return Ran()
    if given != nonce or not isinstance(passed, list) or not isinstance(guards, list):
        return Ran()
    return Ran(tuple(result is True for result in passed), tuple(map(str, guards)))
