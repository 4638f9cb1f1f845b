"""Files are whole or not there: under a kill, a full disk, and paths that cannot be written."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import outcomes
from workbench.errors import ConfigError, DataError, LockedError, StorageError, StorageFullError
from workbench.storage import (
    folder_inside,
    locked,
    read_bytes,
    safe_name,
    writable_folder,
    write_atomically,
    write_text,
)

REWRITE_FOREVER = """
import sys
from pathlib import Path
from workbench.storage import write_atomically

def halves(file, byte):
    for _ in range(64):
        file.write(byte * 4096)

print("ready", flush=True)
while True:
    for byte in (b"a", b"b"):
        write_atomically(Path(sys.argv[1]), lambda file: halves(file, byte))
"""

WRITE_BEYOND_A_LIMIT = """
import resource, sys
from pathlib import Path
from workbench.errors import StorageError
from workbench.storage import write_text

resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_text(Path(sys.argv[1]), "x" * 10_000)
except StorageError as error:
    print(type(error).__name__)
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting needs root; test_a_file_over_the_limit_leaves_the_old_one runs everywhere")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_is_written_as_utf8_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "file.txt", "naïve ✓\r\n")
    assert (tmp_path / "new" / "file.txt").read_bytes() == "naïve ✓\r\n".encode()
    assert names_in(tmp_path / "new") == ["file.txt"]


def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def broken(file: Any) -> None:
        file.write(b"new")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, broken)
    assert (path.read_text(), names_in(tmp_path)) == ("old", ["file"])


def test_a_full_disk_leaves_the_old_file(small_disk: Path) -> None:
    write_text(small_disk / "file", "old")
    with pytest.raises(StorageFullError, match=r"no space left to write .*file.*[Ff]ree some space"):
        write_text(small_disk / "file", "x" * 100_000)
    assert ((small_disk / "file").read_text(), names_in(small_disk)) == ("old", ["file"])


def test_a_table_that_does_not_fit_leaves_the_old_one(small_disk: Path) -> None:
    old = pd.DataFrame({"prompt_id": ["p"], "arm": ["a"], "quality": [1.0]})
    new = pd.DataFrame({"prompt_id": [os.urandom(16).hex() for _ in range(9_000)], "arm": "a"})
    outcomes.write(old, small_disk / "table.parquet")
    with pytest.raises(StorageFullError):
        outcomes.write(new, small_disk / "table.parquet")
    assert len(outcomes.read(small_disk / "table.parquet")) == 1


def test_a_full_disk_is_found_before_the_run(small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(b"x" * 65_536)
    with pytest.raises(StorageFullError):
        writable_folder(small_disk / "runs")


@pytest.mark.skipif(sys.platform == "win32", reason="resource limits are POSIX")
def test_a_file_over_the_limit_leaves_the_old_one(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old")
    command = [sys.executable, "-c", WRITE_BEYOND_A_LIMIT, str(tmp_path / "file")]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout == "StorageError\n"
    assert ((tmp_path / "file").read_text(), names_in(tmp_path)) == ("old", ["file"])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path, found = tmp_path / "file", set()
    for number in range(50):
        child = subprocess.Popen([sys.executable, "-c", REWRITE_FOREVER, str(path)], stdout=subprocess.PIPE)
        with child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(0.004 + number % 10 * 0.0013)
            os.kill(child.pid, signal.SIGKILL)
        if path.exists():
            found.add(path.read_bytes())
    assert found <= {b"a" * 262_144, b"b" * 262_144}
    assert found


def paths_that_cannot_be_files(tmp_path: Path) -> list[Path]:
    (tmp_path / "a-file").write_text("x")
    (tmp_path / "a-folder").mkdir()
    return [
        tmp_path / "a-file" / "below",
        tmp_path / "a-folder",
        tmp_path / ("n" * 300),
        Path("/proc/nowhere/f"),
    ]


@pytest.mark.parametrize(
    "nth", range(4), ids=["below-a-file", "a-folder", "name-too-long", "no-such-system-folder"]
)
@pytest.mark.parametrize(
    "use",
    [lambda path: write_text(path, "x"), lambda path: read_bytes(path, purpose="journal")],
    ids=["write", "read"],
)
def test_a_path_that_cannot_be_used_is_named(tmp_path: Path, use: Callable[[Path], object], nth: int) -> None:
    path = paths_that_cannot_be_files(tmp_path)[nth]
    with pytest.raises(StorageError) as caught:
        use(path)
    assert str(path) in str(caught.value)
    assert names_in(tmp_path) == ["a-file", "a-folder"]


def test_a_folder_that_cannot_be_one_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "runs", Path("/proc/runs")):
        with pytest.raises(StorageError, match=str(path)):
            writable_folder(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not bind root")
def test_a_read_only_folder_is_refused_at_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="Permission denied"):
        writable_folder(tmp_path)
    tmp_path.chmod(0o700)


def test_a_new_folder_is_private_and_left_empty(tmp_path: Path) -> None:
    folder = writable_folder(tmp_path / "a" / "runs")
    assert (names_in(folder), folder.stat().st_mode & 0o777) == ([], 0o700)


def test_all_that_is_made_is_private(tmp_path: Path) -> None:
    with locked(tmp_path / "runs" / ".lock", busy=""):
        write_text(tmp_path / "runs" / "deeper" / "run" / "file", "x")
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {"runs": 0o700, ".lock": 0o600, "deeper": 0o700, "run": 0o700, "file": 0o600}


@pytest.mark.parametrize("path", ["/dev/zero", "pipe"], ids=["device", "pipe"])
def test_what_never_ends_is_not_read(tmp_path: Path, path: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="not a file"):
        read_bytes(tmp_path / path, purpose="prompt set")


def test_a_file_over_the_cap_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(DataError, match=r"prompt set: .*huge has 1,099,511,627,776 bytes; at most"):
        read_bytes(tmp_path / "huge", purpose="prompt set")


def test_a_path_with_a_nul_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="NUL"):
        read_bytes(tmp_path / "a\0b", purpose="journal")


def test_a_link_out_of_the_folder_is_refused_and_one_inside_is_not(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    (runs / "real").mkdir(parents=True)
    (runs / "out").symlink_to(tmp_path)
    (runs / "in").symlink_to(runs / "real")
    with pytest.raises(StorageError, match="leads out of"):
        folder_inside(runs, "out", what="experiment")
    assert folder_inside(runs, "in", what="experiment") == runs / "in"
    with pytest.raises(ConfigError, match="cannot be a file name"):
        folder_inside(runs, "../out", what="experiment")


def test_a_missing_file_says_what_it_was_wanted_for(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"price list: there is no file .*prices\.csv"):
        read_bytes(tmp_path / "prices.csv", purpose="price list")


@given(st.text())
def test_a_safe_name_stays_in_its_folder(name: str) -> None:
    folder = Path("/runs/here")
    try:
        accepted = safe_name(name, what="experiment")
    except ConfigError:
        return
    assert accepted == name
    assert Path(os.path.normpath(folder / accepted)).parent == folder


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "a\\b",
        "/etc",
        ".hidden",
        "-rf",
        "a\0",
        "a\n",
        "a ",
        "con",
        "NUL.txt",
        "x" * 101,
        "é",
        "a.",
    ],
)
def test_a_name_that_could_do_harm_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a file name"):
        safe_name(name, what="experiment")


def test_the_second_holder_of_a_lock_is_told(tmp_path: Path) -> None:
    with locked(tmp_path / "lock", busy="first"):
        code = (
            "import sys; from pathlib import Path; from workbench.storage import locked\n"
            "with locked(Path(sys.argv[1]), busy='run r1 is being made by another process'): pass"
        )
        second = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "lock")], capture_output=True, text=True, check=False
        )
    assert f"{LockedError.__name__}: run r1 is being made by another process" in second.stderr


def test_a_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError), locked(tmp_path / "lock", busy="busy"):
        raise ValueError
    with locked(tmp_path / "lock", busy="busy"):
        pass
