"""Programs of strangers: scored by the tests that they pass, and kept from what they must not do."""

import os
import sys
import time
from pathlib import Path

import pytest

from workbench.errors import DataError
from workbench.scoring.code import code, count_tests
from workbench.scoring.fenced import last_block
from workbench.scoring.sandbox import GUARDS, Limits, check_sandbox, run_tests

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the scorer needs a POSIX system")

LIMITS = Limits(timeout_s=1.0, memory_mb=128)
TESTS = "assert add(1, 2) == 3\nassert add(-1, 1) == 0\nassert add('a', 'b') == 'ab'\n"
CANARY = "sk-canary-7f3a9c51e0"


def outcome(program: str, tests: str = "assert True") -> tuple[bool, ...]:
    return run_tests(program, tests, LIMITS).passed


@pytest.fixture
def guarded() -> None:
    missing = check_sandbox()
    if missing:
        pytest.skip(f"this system has no guard of {missing}")


@pytest.mark.parametrize(
    ("response", "quality"),
    [
        ("Here:\n```python\ndef add(a, b):\n    return a + b\n```\nDone.", 1.0),
        ("def add(a, b): return a + b", 1.0),
        ("```\ndef add(a, b): return 3\n```\nNo:\n```\ndef add(a, b): return a - -b\n```", 2 / 3),
        ("def add(a, b): return 0", 1 / 3),
        ("def add(a, b) return", 0.0),
        ("I cannot do that.", 0.0),
        ("", 0.0),
        ("import os\nos._exit(0)", 0.0),
        ("raise SystemExit(0)", 0.0),
        ("import sys\ndef add(a, b): sys.exit(0)", 0.0),
        ("def add(a, b):\n    while True: pass", 0.0),
    ],
    ids=[
        "fenced",
        "bare",
        "last-block",
        "one-of-three",
        "syntax",
        "prose",
        "empty",
        "exit",
        "system-exit",
        "exit-in-test",
        "endless",
    ],
)
def test_the_quality_is_the_share_of_tests_that_pass(response: str, quality: float) -> None:
    assert code(response, TESTS, limits=LIMITS) == pytest.approx(quality)


def test_all_or_nothing_wants_every_test() -> None:
    assert code("def add(a, b): return 0", TESTS, limits=LIMITS, all_or_nothing=True) == 0.0
    assert code("def add(a, b): return a + b", TESTS, limits=LIMITS, all_or_nothing=True) == 1.0


def test_functions_calls_and_set_up_are_understood() -> None:
    """A reference as HumanEval has it: a function `check` that is called with the candidate."""
    tests = "WANTED = 3\ndef check(candidate):\n    assert candidate(1, 2) == WANTED\ncheck(add)\n"
    tests += "def test_zero():\n    assert add(0, 0) == 0\n"
    assert count_tests(tests) == 2
    assert code("def add(a, b): return a + b", tests, limits=LIMITS) == 1.0
    assert code("def add(a, b): return 3", tests, limits=LIMITS) == 0.5


@pytest.mark.parametrize("reference", ["", "x = 1", "def helper(): pass", "assert ("])
def test_a_reference_without_tests_is_an_error_not_a_zero(reference: str) -> None:
    with pytest.raises(DataError, match="the scorer 'code' needs"):
        count_tests(reference)


def test_a_fork_bomb_comes_to_nothing(guarded: None) -> None:
    assert outcome("import os\nwhile True: os.fork()") == (False,)
    assert outcome("import subprocess\nsubprocess.run(['true'])") == (False,)
    assert outcome("import multiprocessing as m\np = m.Process(target=print)\np.start()") == (False,)


def test_an_endless_loop_ends_and_so_does_an_endless_wait() -> None:
    started = time.monotonic()
    assert outcome("while True: pass") == ()
    assert run_tests("import time\ntime.sleep(60)", "assert True", Limits(0.1)).passed == ()
    assert time.monotonic() - started < 40.0


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not hold a process to its memory")
def test_ten_gigabytes_are_not_had() -> None:
    assert outcome("block = bytearray(10 * 2**30)") == (False,)
    assert outcome("blocks = []\nwhile True: blocks.append(bytearray(2**20))") == (False,)


def test_nothing_is_written_outside_its_folder(guarded: None, tmp_path: Path) -> None:
    target = tmp_path / "outside.txt"
    target.write_text("kept")
    assert outcome(f"open({str(tmp_path / 'new.txt')!r}, 'w')") == (False,)
    assert outcome(f"open({str(target)!r}, 'w')") == (False,)
    assert outcome(f"import os\nos.truncate({str(target)!r}, 0)") == (False,)
    assert outcome(f"import os\nos.remove({str(target)!r})") == (False,)
    assert outcome(f"import os\nos.chmod({str(target)!r}, 0)") == (False,)
    assert [path.name for path in tmp_path.iterdir()] == ["outside.txt"]
    assert target.read_text() == "kept"
    assert outcome("open('own.txt', 'w').write('x')\nassert open('own.txt').read() == 'x'") == (True,)


def test_a_file_does_not_grow_without_end() -> None:
    assert outcome("with open('big', 'wb') as f:\n    for _ in range(100): f.write(bytes(2**20))") != (True,)


def test_our_keys_are_out_of_reach(guarded: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    (tmp_path / ".env").write_text(f"OPENAI_API_KEY={CANARY}")
    assert outcome("import os\nassert os.environ.get('OPENAI_API_KEY') is None") == (True,)
    assert outcome(f"open('/proc/{os.getpid()}/environ', 'rb').read()") == (False,)
    assert outcome(f"open('/proc/{os.getpid()}/mem', 'rb')") == (False,)
    assert outcome("import os\nopen(f'/proc/{os.getppid()}/environ', 'rb').read()") == (False,)
    assert outcome(f"open({str(tmp_path / '.env')!r}).read()") == (False,)
    assert outcome("import os\nopen(os.path.expanduser('~/.netrc')).read()") == (False,)


def test_there_is_no_network_and_nobody_to_signal(guarded: None) -> None:
    assert outcome("import socket\nsocket.socket()") == (False,)
    assert outcome(f"import os\nos.kill({os.getpid()}, 0)") == (False,)
    assert outcome("import os\nos.kill(os.getppid(), 9)") == (False,)


def test_a_report_of_its_own_is_not_believed() -> None:
    forged = "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'[\"x\", [], [true]]')\n"
    forged += "    except OSError: pass\nos._exit(0)"
    assert outcome(forged) == ()


def test_output_is_dropped_and_threads_and_the_standard_library_are_there() -> None:
    assert outcome("import sys\nfor _ in range(10**5): print('x' * 100)\nsys.stderr.write('y')") == (True,)
    assert outcome("import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()") == (True,)
    assert outcome("import asyncio\nasyncio.run(asyncio.sleep(0))") == (True,)
    assert outcome("import collections, decimal, hashlib, json, re, sqlite3, typing") == (True,)


def test_all_guards_hold_where_the_system_has_them(guarded: None) -> None:
    assert set(run_tests("", "assert True", LIMITS).guards) == set(GUARDS)


@pytest.mark.parametrize(
    ("response", "block"),
    [
        ("no fence", "no fence"),
        ("```py\na\n```\n~~~\nb\n~~~\n", "b\n"),
        ("````\n```\ninner\n```\n````", "```\ninner\n```\n"),
        ("```python\nopen to the end", "open to the end"),
        ("```\n```python\nx\n```", "```python\nx\n"),
    ],
)
def test_the_last_whole_block_is_taken(response: str, block: str) -> None:
    assert last_block(response) == block
