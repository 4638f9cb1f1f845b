"""Answers kept on disk, in one SQLite file that any number of processes may use at once.

The folder is the cache's own: a file there that is damaged, or of another version, is deleted and begun
anew. Whatever the disk does (full, locked, read-only, gone) is a miss.
"""

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TypeVar

from workbench.cache.entry import SCHEMA_VERSION
from workbench.cache.flights import Flights
from workbench.cache.store import Statistics
from workbench.errors import ConfigError, StorageError
from workbench.storage import explained, locked

log = logging.getLogger("workbench")

FILE = "completions.sqlite"

_PATIENCE_S = 1.0
"""How long a call waits for the disk in all; `_BUSY_S` of it for another process."""
_BUSY_S = 0.05
_SMALLEST_BYTES = 64 * 2**10
_LARGEST_SHARE = 1 / 4
"""What one entry may take of the whole."""
_USED_EVERY_S = 60.0
"""How exactly the time of last use is kept: a hit writes no more often than this."""
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
"""The last is what SQL gets that does not fit the table: ours always fits ours."""

_TABLE = """
CREATE TABLE completions (
    key TEXT PRIMARY KEY, content BLOB NOT NULL, stored_at REAL NOT NULL, used_at REAL NOT NULL
)
"""
_INDEX = "CREATE INDEX completions_by_use ON completions (used_at)"
_FIND = """
SELECT CAST(content AS BLOB), CAST(stored_at AS REAL), CAST(used_at AS REAL) FROM completions WHERE key = ?
"""
_PUT = "INSERT OR REPLACE INTO completions (key, content, stored_at, used_at) VALUES (?, ?, ?, ?)"
_DELETE = "DELETE FROM completions WHERE key = ?"
_EVICT = "DELETE FROM completions WHERE rowid = (SELECT rowid FROM completions ORDER BY used_at LIMIT 1)"

_T = TypeVar("_T")


class DiskStore:
    """Answers in `folder`, which is made where it is missing, readable by nobody else.

    Args:
        max_bytes: size of the file; the least recently used answers go first.
        clock: seconds since the epoch.

    Raises:
        ConfigError: `max_bytes` is under 64 KiB.
    """

    def __init__(
        self, folder: Path, *, max_bytes: int = 256 * 2**20, clock: Callable[[], float] = time.time
    ) -> None:
        if max_bytes < _SMALLEST_BYTES:
            raise ConfigError(f"a cache on disk needs at least {_SMALLEST_BYTES:,} bytes, not {max_bytes:,}")
        self.statistics = Statistics()
        self.flights = Flights()
        self.path = folder / FILE
        self._max_bytes = max_bytes
        self._clock = clock
        self._database: sqlite3.Connection | None = None
        self._inode = 0
        # One thread: a disk that is slow keeps nobody waiting who does not ask it.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="workbench-cache")

    async def get(self, key: str, *, max_age_s: float | None = None) -> bytes | None:
        """What was put there, unless it is older than `max_age_s` seconds (None: of any age)."""
        return await self._tried(lambda database: self._get(database, key, max_age_s))

    async def put(self, key: str, content: bytes) -> None:
        """Keep `content`, unless it would take over a quarter of the room."""
        if len(content) <= self._max_bytes * _LARGEST_SHARE:
            await self._tried(lambda database: self._put(database, key, content))

    async def delete(self, key: str) -> None:
        """Forget what is there."""
        await self._tried(lambda database: database.execute(_DELETE, (key,)))

    async def aclose(self) -> None:
        """Close the file; a call after this opens it again."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)

    async def _tried(self, work: Callable[[sqlite3.Connection], _T]) -> _T | None:
        """What `work` gives, in the store's thread; None where the disk does not let it, or not in time."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await loop.run_in_executor(self._thread, self._done, work)
        except TimeoutError:
            self.statistics.n_failures += 1
            return None

    def _done(self, work: Callable[[sqlite3.Connection], _T]) -> _T | None:
        try:
            return work(self._opened())
        except (sqlite3.Error, StorageError) as exc:
            self.statistics.n_failures += 1
            log.info("%s: %s", self.path, exc)
            if _is_damage(exc):
                self._discard()
            return None

    def _get(self, database: sqlite3.Connection, key: str, max_age_s: float | None) -> bytes | None:
        row = database.execute(_FIND, (key,)).fetchone()
        if row is None:
            return None
        content, stored_at, used_at = row
        now = self._clock()
        if max_age_s is not None and not 0.0 <= now - stored_at <= max_age_s:
            database.execute(_DELETE, (key,))
            return None
        if now - used_at >= _USED_EVERY_S:
            with suppress(sqlite3.OperationalError):  # the answer is there, whether this is noted or not
                database.execute("UPDATE completions SET used_at = ? WHERE key = ?", (now, key))
        return bytes(content)

    def _put(self, database: sqlite3.Connection, key: str, content: bytes) -> None:
        now, n_evicted = self._clock(), 0
        with database:
            database.execute("BEGIN IMMEDIATE")
            database.execute(_PUT, (key, content, now, now))
            while _n_bytes(database) > self._max_bytes and database.execute(_EVICT).rowcount:
                n_evicted += 1
        self.statistics.n_stores += 1
        self.statistics.n_evictions += n_evicted

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            with self._alone():
                try:
                    self._database = self._connected()
                except sqlite3.DatabaseError as exc:
                    if not _is_damage(exc):
                        raise
                    self._unlink()
                    self._database = self._connected()
        return self._database

    def _connected(self) -> sqlite3.Connection:
        """The file, made where it is missing. One of another version counts as damaged."""
        with explained(self.path, "open"):
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                self._inode = os.fstat(descriptor).st_ino
            finally:
                os.close(descriptor)
            self.path.chmod(0o600)
        database = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)
        try:
            _prepare(database)
        except BaseException:
            database.close()
            raise
        return database

    def _discard(self) -> None:
        """Delete the damaged file, unless another process did, and there is a new one."""
        self._close()
        with suppress(StorageError), self._alone(), explained(self.path, "delete"):
            if self.path.exists() and self.path.stat().st_ino == self._inode:
                self._unlink()

    def _unlink(self) -> None:
        with explained(self.path, "delete"):
            for suffix in ("", "-wal", "-shm"):
                self.path.with_name(FILE + suffix).unlink(missing_ok=True)

    def _alone(self) -> AbstractContextManager[None]:
        """Only one process opens or deletes the file at a time."""
        lock = self.path.with_name(f"{FILE}.lock")
        return locked(lock, wait_s=_PATIENCE_S / 2, busy=f"another process is opening {self.path}")

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


class _OtherVersionError(sqlite3.DatabaseError):
    """The file is of a version that this program does not read."""


def _prepare(database: sqlite3.Connection) -> None:
    version = database.execute("PRAGMA user_version").fetchone()[0]
    n_pages = database.execute("PRAGMA page_count").fetchone()[0]
    if version != SCHEMA_VERSION and n_pages:
        raise _OtherVersionError(f"version {version}, not {SCHEMA_VERSION}")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute("PRAGMA journal_size_limit = 1048576")
    if not n_pages:
        with database:
            database.execute("BEGIN IMMEDIATE")
            database.execute(_TABLE)
            database.execute(_INDEX)
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _is_damage(exc: Exception) -> bool:
    code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
    return isinstance(exc, _OtherVersionError) or code in _DAMAGE


def _n_bytes(database: sqlite3.Connection) -> int:
    """What the entries take of the file; pages that were freed are used again before it grows."""
    n_pages, n_free, page_bytes = (
        database.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((n_pages - n_free) * page_bytes)
