"""Scores by a regular expression, searched in a process of its own, which is ended when it takes too long.

Python's `re` can need exponential time, and cannot be stopped from within its process. So a pattern has at
most `MOST_PATTERN` characters, is searched in at most `MOST_TEXT`, and has `LIMIT_S` seconds for each text.
"""

import atexit
import json
import re
import subprocess
import sys
import threading
from dataclasses import dataclass

from workbench.errors import ConfigError
from workbench.scoring.text import normalised

MOST_PATTERN = 1_000
MOST_TEXT = 200_000
"""Characters; of a longer text the end is searched, where the answer is."""
LIMIT_S = 2.0
_MEMORY_BYTES = 512 * 2**20
_ANSWER = "answer"

_SEARCH = f"""
import json, re, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, ({_MEMORY_BYTES}, {_MEMORY_BYTES}))
except (ImportError, ValueError, OSError):
    pass
for line in sys.stdin:
    pattern, text = json.loads(line)
    last = None
    for last in re.finditer(pattern, text):
        pass
    named = None if last is None else last.groupdict().get({_ANSWER!r})
    print(json.dumps([last is not None, named]), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found; `answer` is what the group of that name matched last, None where it did not."""

    is_match: bool
    answer: str | None = None


class Searcher:
    """A process that searches texts, one after another; begun when needed, and anew when it was ended."""

    def __init__(self, *, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def search(self, pattern: str, text: str) -> Found | None:
        """What `pattern` finds in `text`; None: nothing was found out in time (or in memory)."""
        request = json.dumps([pattern, text[-MOST_TEXT:]]).encode() + b"\n"
        with self._lock:
            process = self._process = self._process or _begun()
            timer = threading.Timer(self._limit_s, process.kill)
            timer.start()
            reply = _exchange(process, request)
            timer.cancel()
            if not reply.endswith(b"\n"):
                self._end()
                return None
        return Found(*json.loads(reply))

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


SEARCHER = Searcher()
atexit.register(SEARCHER.close)


def check_pattern(pattern: str) -> None:
    """Find a pattern that cannot be used.

    Raises:
        ConfigError: it is no regular expression, or too long.
    """
    if len(pattern) > MOST_PATTERN:
        raise ConfigError(f"a pattern has at most {MOST_PATTERN:,} characters, not {len(pattern):,}")
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as exc:
        raise ConfigError(f"{pattern[:80]!r} is no regular expression: {exc}") from exc


def matches(response: str, reference: str, *, pattern: str) -> float | None:
    """1 if the pattern is found; with a group named `answer`, if what it matched last is the reference.

    That is compared as `normalised` does. None: the search took too long.
    """
    found = SEARCHER.search(pattern, response)
    if found is None:
        return None
    if has_answer(pattern):
        return 0.0 if found.answer is None else normalised(found.answer, reference)
    return float(found.is_match)


def has_answer(pattern: str) -> bool:
    """Whether the pattern has a group named `answer`, which is compared with the reference."""
    return _ANSWER in re.compile(pattern).groupindex


def _begun() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", "-c", _SEARCH]
    return subprocess.Popen(  # noqa: S603 - our own program
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}
    )


def _exchange(process: subprocess.Popen[bytes], request: bytes) -> bytes:
    """The reply to `request`; one without an end where the process was ended."""
    if process.stdin is None or process.stdout is None:
        return b""
    try:
        process.stdin.write(request)
        process.stdin.flush()
        return process.stdout.readline()
    except OSError:
        return b""
