"""The store on disk: what is damaged, locked or full is a miss, and several processes share it."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.cache import DiskStore
from workbench.cache.entry import SCHEMA_VERSION
from workbench.errors import ConfigError

pytestmark = pytest.mark.anyio

FILES = {"completions.sqlite", "completions.sqlite.lock"}


@pytest.fixture
async def make(tmp_path: Path):
    """Stores in one folder, closed at the end."""
    made: list[DiskStore] = []

    def one(folder: Path = tmp_path / "answers", **settings: object) -> DiskStore:
        made.append(DiskStore(folder, **settings))  # type: ignore[arg-type]
        return made[-1]

    yield one
    for store in made:
        await store.aclose()


Make = Callable[..., DiskStore]


async def test_what_was_put_is_there_for_the_next_process(make: Make) -> None:
    first = make()
    await first.put("a", b"\x00\xff")
    await first.aclose()
    assert {path.name for path in first.path.parent.iterdir()} == FILES
    assert await make().get("a") == b"\x00\xff"


async def test_only_the_owner_may_read_it(make: Make) -> None:
    store = make()
    await store.put("a", b"1")
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in store.path.parent.iterdir()} == {0o600}


async def test_a_file_that_others_could_read_is_closed_to_them(make: Make) -> None:
    store = make()
    await store.put("a", b"1")
    await store.aclose()
    store.path.chmod(0o644)
    assert await store.get("a") == b"1"
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"SQLite format 3\0" + b"\xff" * 5000], ids=["empty", "text", "header"]
)
async def test_a_file_that_is_no_database_is_begun_anew(make: Make, content: bytes) -> None:
    store = make()
    store.path.parent.mkdir()
    store.path.write_bytes(content)
    assert await store.get("a") is None
    await store.put("a", b"1")
    assert await make().get("a") == b"1"


async def test_a_file_that_is_damaged_inside_is_begun_anew(make: Make) -> None:
    store = make()
    for number in range(200):
        await store.put(str(number), os.urandom(1000))
    await store.aclose()
    size = store.path.stat().st_size
    with store.path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (size - 8192))
    found = [await store.get(str(number)) for number in range(200)]
    assert None in found
    await store.put("new", b"1")
    assert await store.get("new") == b"1"
    assert store.path.stat().st_size < size / 2


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION + 1])
async def test_a_file_of_another_version_is_begun_anew(make: Make, version: int) -> None:
    store = make()
    await store.put("a", b"1")
    await store.aclose()
    with sqlite3.connect(store.path) as database:
        database.execute(f"PRAGMA user_version = {version}")
    database.close()
    assert await store.get("a") is None
    await store.put("b", b"2")
    assert await make().get("b") == b"2"


async def test_a_file_with_another_table_is_begun_anew(make: Make) -> None:
    store = make()
    store.path.parent.mkdir()
    with sqlite3.connect(store.path) as database:
        database.execute("CREATE TABLE completions (key TEXT)")
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    database.close()
    assert await store.get("a") is None
    await store.put("a", b"1")
    assert await store.get("a") == b"1"


async def test_the_file_keeps_its_size_and_the_last_used_stay(make: Make) -> None:
    now = [0.0]
    store = make(max_bytes=2**18, clock=lambda: now[0])
    await store.put("first", b"x" * 3000)
    for number in range(400):
        now[0] += 100.0
        await store.put(str(number), os.urandom(3000))
        assert await store.get("first") is not None
    assert await store.get("399") is not None
    assert await store.get("0") is None
    assert store.statistics.n_stores - store.statistics.n_evictions > 50
    await store.aclose()
    assert store.path.stat().st_size <= 2**18 + 2**14


async def test_what_would_take_over_a_quarter_of_the_room_is_not_kept(make: Make) -> None:
    store = make(max_bytes=2**16)
    await store.put("a", b"x" * (2**14 + 1))
    assert (await store.get("a"), store.statistics.n_stores) == (None, 0)


async def test_what_is_too_old_is_forgotten(make: Make) -> None:
    now = [1000.0]
    store = make(clock=lambda: now[0])
    await store.put("a", b"1")
    now[0] = 1010.0
    assert await store.get("a", max_age_s=10.0) == b"1"
    assert await store.get("a", max_age_s=9.9) is None
    assert await store.get("a") is None


async def test_a_clock_that_was_set_back_makes_nothing_last_for_ever(make: Make) -> None:
    now = [1000.0]
    store = make(clock=lambda: now[0])
    await store.put("a", b"1")
    now[0] = 500.0
    assert await store.get("a", max_age_s=10.0) is None


async def test_a_locked_file_is_a_miss_and_no_error(make: Make) -> None:
    store = make()
    await store.put("a", b"1")
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    started = asyncio.get_running_loop().time()
    await store.put("b", b"2")
    assert asyncio.get_running_loop().time() - started < 0.5
    assert await store.get("a") == b"1"
    other.execute("ROLLBACK")
    other.close()
    assert (await store.get("b"), store.statistics.n_failures) == (None, 1)


async def test_a_full_disk_is_a_miss_and_what_was_there_stays(make: Make) -> None:
    store = make()
    await store.put("a", b"1")
    database = store._database
    assert database is not None
    n_pages = store.path.stat().st_size // 4096 + 4
    await asyncio.get_running_loop().run_in_executor(
        store._thread, lambda: database.execute(f"PRAGMA max_page_count = {n_pages}")
    )
    for number in range(20):
        await store.put(str(number), os.urandom(4000))
    assert store.statistics.n_failures > 10
    assert await store.get("a") == b"1"


@pytest.mark.parametrize("kind", ["file-for-folder", "folder-for-file"])
async def test_a_place_that_cannot_be_used_is_a_miss(make: Make, tmp_path: Path, kind: str) -> None:
    store = make(tmp_path / "place")
    if kind == "file-for-folder":
        (tmp_path / "place").write_text("a file")
    else:
        store.path.mkdir(parents=True)
    await store.put("a", b"1")
    assert (await store.get("a"), store.statistics.n_failures) == (None, 2)


async def test_a_file_deleted_under_its_reader_is_a_miss_for_the_next(make: Make) -> None:
    store = make()
    await store.put("a", b"1")
    for path in store.path.parent.iterdir():
        path.unlink()
    await store.put("b", b"2")
    assert await make().get("a") is None


async def test_four_processes_on_a_fresh_folder_keep_all_their_answers(make: Make, tmp_path: Path) -> None:
    code = """
        import asyncio, sys
        from pathlib import Path
        from workbench.cache.disk import DiskStore
        async def main():
            store = DiskStore(Path(sys.argv[1]))
            for number in range(50):
                while await store.get(f"{sys.argv[2]}-{number}") is None:
                    await store.put(f"{sys.argv[2]}-{number}", b"1")
            await store.aclose()
        asyncio.run(main())
    """
    lines = "\n".join(line[8:] for line in code.splitlines())
    folder = str(tmp_path / "answers")
    running = [subprocess.Popen([sys.executable, "-c", lines, folder, name]) for name in "abcd"]
    assert [process.wait(30) for process in running] == [0, 0, 0, 0]
    store = make()
    assert all([await store.get(f"{name}-{number}") for name in "abcd" for number in range(50)])


def test_a_store_without_room_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 65,536 bytes"):
        DiskStore(tmp_path, max_bytes=1000)
