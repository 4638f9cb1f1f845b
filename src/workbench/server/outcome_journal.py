"""What was served and is not in the database yet, in files: a process that is killed loses none of it.

One JSON object a line. A line reaches the system before the answer is sent, and so survives a kill of the
process; a power cut may take the last seconds. Each process has a folder of its own, `journal/N`, under a
lock that ends with it: whoever starts next finds what is left there.
"""

import json
import os
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import LockedError, StorageError
from workbench.storage import explained, locked, read_bytes, writable_folder

Row = dict[str, Any]
"""A row of the table `outcomes`."""

_ENCODER = json.JSONEncoder(separators=(",", ":"))
_SEGMENT_BYTES = 2**20
_MOST_PROCESSES = 256
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)


@dataclass(slots=True)
class _Segment:
    """One file: `n_left` of its lines are not in the database."""

    path: Path
    n_left: int = 0
    n_bytes: int = 0


class OutcomeJournal:
    """Rows in the order in which they came; `done` says how many of the oldest are in the database.

    Rows that were spilled are nowhere else: `read_spilled` gives them back, in order.
    """

    def __init__(self, root: Path) -> None:
        """
        Raises:
            StorageError: no file can be written in `root`.
        """
        self._locks = ExitStack()
        self._root = root
        self._folder = self._own_folder()
        self._segments: deque[_Segment] = deque()
        self._number = 0
        self._descriptor: int | None = None
        self._reader: tuple[_Segment, int] | None = None
        self.n_spilled = 0
        """Rows that are here and not in memory."""

    def close(self) -> None:
        """Leave the folder to whoever starts next."""
        self._close_file()
        self._locks.close()

    def append(self, row: Row) -> bool:
        """Write a row; False: the disk does not take it, and nothing of it is there."""
        line = _line(row)
        try:
            segment, descriptor = self._current()
            _write(descriptor, line, after=segment.n_bytes)
        except (OSError, StorageError):
            return False
        segment.n_left += 1
        segment.n_bytes += len(line)
        return True

    def spill(self, row: Row) -> bool:
        """The same, of a row that is not kept in memory."""
        if not self.append(row):
            return False
        if self._reader is None:
            newest = self._segments[-1]
            self._reader = (newest, newest.n_bytes - len(_line(row)))
        self.n_spilled += 1
        return True

    def read_spilled(self, most: int) -> list[Row]:
        """The oldest `most` rows that were spilled; from now on they are the caller's to keep.

        Raises:
            StorageError: the file cannot be read now.
        """
        rows: list[Row] = []
        while self._reader is not None and len(rows) < most:
            segment, offset = self._reader
            content = read_bytes(segment.path, purpose="outcomes that wait")[offset : segment.n_bytes]
            lines = content.splitlines(keepends=True)[: most - len(rows)]
            rows += [json.loads(line) for line in lines]
            self._reader = self._after(segment, offset + sum(map(len, lines)))
        self.n_spilled -= len(rows)
        return rows

    def done(self, n_rows: int) -> None:
        """The oldest `n_rows` are in the database; files of which nothing is left are deleted."""
        while n_rows:
            oldest = self._segments[0]
            n_done = min(n_rows, oldest.n_left)
            oldest.n_left -= n_done
            n_rows -= n_done
            if oldest.n_left:
                return
            if len(self._segments) == 1:
                self._empty(oldest)
                return
            self._segments.popleft()
            oldest.path.unlink(missing_ok=True)

    def left_behind(self) -> Iterator[tuple[Path, list[Row]]]:
        """Files of processes that ended, and their rows; delete each when its rows are in the database."""
        own = self._folder
        yield from ((path, _rows(path)) for path in _files(own) if not self._is_ours(path))
        for folder in sorted(self._root.glob("[0-9]*")):
            if folder != own and _files(folder):
                with ExitStack() as stack:
                    try:
                        stack.enter_context(_lock(folder))
                    except LockedError:
                        continue  # its process lives
                    yield from ((path, _rows(path)) for path in _files(folder))

    def _own_folder(self) -> Path:
        for number in range(_MOST_PROCESSES):
            folder = writable_folder(self._root / str(number))
            try:
                self._locks.enter_context(_lock(folder))
            except LockedError:
                continue
            return folder
        raise StorageError(f"{_MOST_PROCESSES} processes keep journals in {self._root}; stop some")

    def _current(self) -> tuple[_Segment, int]:
        if self._descriptor is not None and self._segments[-1].n_bytes < _SEGMENT_BYTES:
            return self._segments[-1], self._descriptor
        self._close_file()
        path = self._next_path()
        with explained(path, "write"):
            self._descriptor = os.open(path, _NEW, 0o600)
        self._segments.append(_Segment(path))
        return self._segments[-1], self._descriptor

    def _next_path(self) -> Path:
        while True:  # past those that an earlier process left
            self._number += 1
            path = self._folder / f"{self._number:08}.jsonl"
            if not path.exists():
                return path

    def _empty(self, segment: _Segment) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
        segment.n_bytes = 0

    def _after(self, segment: _Segment, offset: int) -> tuple[_Segment, int] | None:
        if offset < segment.n_bytes:
            return segment, offset
        number = self._segments.index(segment) + 1
        return (self._segments[number], 0) if number < len(self._segments) else None

    def _is_ours(self, path: Path) -> bool:
        return any(segment.path == path for segment in self._segments)

    def _close_file(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _line(row: Row) -> bytes:
    return _ENCODER.encode(row).encode() + b"\n"


def _write(descriptor: int, line: bytes, *, after: int) -> None:
    """Write all of `line` at the end of a file of `after` bytes, or nothing of it."""
    try:
        n_written = os.write(descriptor, line)
        while n_written < len(line):
            n_written += os.write(descriptor, line[n_written:])
    except OSError:
        os.ftruncate(descriptor, after)
        raise


def _lock(folder: Path) -> AbstractContextManager[None]:
    return locked(folder / ".lock", busy=f"{folder} is in use")


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


def _rows(path: Path) -> list[Row]:
    """What a file holds; a line that was torn when the power went is passed over."""
    rows: list[Row] = []
    for line in read_bytes(path, purpose="outcomes that wait").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows
