"""Runs a program and its tests under limits: a script that `sandbox` starts, which nothing imports.

It reads a job as JSON from its standard input, gives up what it can of its rights, runs the program, and
writes one JSON line with what each test came to. Only the standard library is used, and none of this package.
"""

import ast
import contextlib
import ctypes
import json
import math
import os
import platform
import signal
import struct
import sys
import types
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 1, 38, 22, 2
CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWIPC, CLONE_THREAD = 0x10000000, 0x40000000, 0x08000000, 0x00010000
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
READ_RIGHTS, EXECUTE = 0b1100, 0b1
ALL_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1}
"""Rights of files that Landlock can withhold, by its version; from 3 on, truncating is one more."""
N_FILES, N_FILE_BYTES = 64, 16 * 2**20

# Numbers of system calls: https://github.com/torvalds/linux/blob/v6.12/arch/x86/entry/syscalls/syscall_64.tbl
# and include/uapi/asm-generic/unistd.h there.
ARCHITECTURES = {
    "x86_64": (
        (0xC000003E, 56, 234),
        "41 57 58 59 62 90 91 92 93 94 101 129 132 160 165 188 189 190 197 198 199 200 203 235 248 249 250 "
        "260 261 268 272 280 297 298 302 308 310 311 321 322 323 424 425 434 438 452",
    ),
    "aarch64": (
        (0xC00000B7, 220, 131),
        "5 6 7 14 15 16 40 52 53 54 55 88 97 117 122 129 130 138 164 198 217 218 219 221 240 241 261 268 270 "
        "271 280 281 282 424 425 434 438 452",
    ),
}
"""Of each: its number, that of clone and of tgkill, and the calls that are refused: sockets, new programs and
processes, signals to others, the memory of others, limits, mounts, and owners, modes and times of files."""
CLONE3, EPERM, ENOSYS = 435, 1, 38
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000, 0x80000000


def main() -> None:
    job = json.loads(sys.stdin.buffer.read())
    report, folder = os.dup(1), str(Path.cwd())
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    guards = confine(job, folder)
    results = run(job["code"], job["tests"])
    os.write(report, json.dumps([job["nonce"], guards, results]).encode())
    os._exit(0)


def confine(job: dict[str, Any], folder: str) -> list[str]:
    """Give up rights, each as far as this system can; returns the names of what was given up."""
    guards = []
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC) == 0:
            guards.append("network namespace")
    limit(job)
    guards.append("limits")
    if sys.platform == "linux":
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if withhold_files(libc, folder):
            guards.append("files")
        if refuse_calls(libc):
            guards.append("system calls")
            return guards
    refuse_processes()
    return guards


def limit(job: dict[str, Any]) -> None:
    import resource  # here, as Windows has none, and this file is read there too

    n_bytes = job["memory_mb"] * 2**20
    seconds = math.ceil(job["timeout_s"])
    limits = {
        resource.RLIMIT_AS: n_bytes,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: N_FILE_BYTES,
        resource.RLIMIT_NOFILE: N_FILES,
        resource.RLIMIT_CORE: 0,
    }
    for kind, value in limits.items():
        with contextlib.suppress(ValueError, OSError):  # macOS refuses some
            resource.setrlimit(kind, (value, value))


def refuse_processes() -> None:
    """Where calls are not filtered: no new process, and with it no thread."""
    import resource

    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def withhold_files(libc: ctypes.CDLL, folder: str) -> bool:
    """Leave Python's own files to read, and `folder` to write.

    Source: https://docs.kernel.org/userspace-api/landlock.html, and for the calls `linux/landlock.h`.
    """
    version = libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return False
    rights = ALL_RIGHTS.get(version, (1 << 15) - 1)
    ruleset = libc.syscall(LANDLOCK_CREATE_RULESET, struct.pack("<Q", rights), 8, 0)
    if ruleset < 0:
        return False
    readable = {
        sys.prefix,
        sys.base_prefix,
        "/usr/lib",
        "/usr/lib64",
        "/lib",
        "/lib64",
        "/usr/share/zoneinfo",
    }
    allowed = dict.fromkeys(readable, READ_RIGHTS & rights) | {
        "/dev/null": 0b110,
        "/dev/urandom": 0b100,
        folder: rights & ~EXECUTE,
    }
    for path, right in allowed.items():
        try:
            descriptor = os.open(path, os.O_PATH)
        except OSError:
            continue
        rule = struct.pack("<Qi", right, descriptor)
        libc.syscall(LANDLOCK_ADD_RULE, ruleset, 1, rule, 0)
        os.close(descriptor)
    return bool(libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0) == 0)


def refuse_calls(libc: ctypes.CDLL) -> bool:
    """Refuse system calls by a filter.

    Source: https://docs.kernel.org/userspace-api/seccomp_filter.html, and for its lines `linux/filter.h`.
    """
    known = ARCHITECTURES.get(platform.machine())
    if known is None:
        return False
    (architecture, clone, tgkill), refused = known
    load, equal, at_least, any_bit, answer = 0x20, 0x15, 0x35, 0x45, 0x06
    lines = [
        (load, 0, 0, 4),  # the architecture
        (equal, 1, 0, architecture),
        (answer, 0, 0, KILL),
        (load, 0, 0, 0),  # the number of the call
        (at_least, 0, 1, 0x40000000),
        (answer, 0, 0, KILL),
        (equal, 0, 1, CLONE3),
        (answer, 0, 0, REFUSE | ENOSYS),  # threads then begin by clone, whose flags can be seen
        (equal, 0, 4, clone),
        (load, 0, 0, 16),  # its first argument
        (any_bit, 0, 1, CLONE_THREAD),
        (answer, 0, 0, ALLOW),
        (answer, 0, 0, REFUSE | EPERM),
        (equal, 0, 4, tgkill),
        (load, 0, 0, 16),
        (equal, 0, 1, os.getpid()),
        (answer, 0, 0, ALLOW),
        (answer, 0, 0, REFUSE | EPERM),
    ]
    for number in map(int, refused.split()):
        lines += [(equal, 0, 1, number), (answer, 0, 0, REFUSE | EPERM)]
    lines.append((answer, 0, 0, ALLOW))
    program = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in lines))
    header = struct.pack("@HP", len(lines), ctypes.addressof(program))
    return bool(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0) == 0)


def run(code: str, tests: str) -> list[bool]:
    """Run the program, then the tests one by one in its names; whether each passed."""
    names = types.ModuleType("answer")
    names.__dict__["__name__"] = "answer"
    try:
        parts = tests_of(tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    try:
        exec(compile(code, "answer.py", "exec"), names.__dict__)  # noqa: S102 - what this script is for
    except BaseException:  # noqa: BLE001 - whatever a stranger's program raises, it has failed
        return [False for is_test, _ in parts if is_test]
    results = []
    for is_test, part in parts:
        passed = True
        try:
            exec(part, names.__dict__)  # noqa: S102
        except BaseException:  # noqa: BLE001
            passed = False
        if is_test:
            results.append(passed)
    return results


def tests_of(source: str) -> list[tuple[bool, types.CodeType]]:
    """The parts of the tests in order, and whether each is one: an assertion, a call, a `test_` function."""
    parts: list[tuple[bool, types.CodeType]] = []
    functions: list[tuple[bool, types.CodeType]] = []
    for statement in ast.parse(source).body:
        is_call = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
        module = ast.Module([statement], [])
        parts.append((isinstance(statement, ast.Assert) or is_call, compile(module, "tests.py", "exec")))
        if isinstance(statement, ast.FunctionDef) and statement.name.startswith("test_"):
            functions.append((True, compile(f"{statement.name}()", "tests.py", "exec")))
    return parts + functions


if __name__ == "__main__":
    main()
