"""Durable files: whole or not there, confined to their folder, and never half written.

Nothing else in the package opens a file for writing, so a full disk, a read-only folder or a kill at
any moment is answered here, once.
"""

import errno
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from workbench.errors import ConfigError, DataError, LockedError, StorageError, StorageFullError

MAX_BYTES = 2**30
"""Cap on a file that is read whole; what is known to be smaller, or may be larger, has a cap of its own."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")


@contextmanager
def explained(path: Path, action: str) -> Iterator[None]:
    """Translate an `OSError` on `path` into a `StorageError` that says what to do."""
    if "\0" in str(path):
        raise StorageError(f"cannot {action} {str(path)!r}: a path cannot have a NUL in it")
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(
                f"no space left to {action} {path}; what was there is intact. Free some space and run again"
            ) from exc
        raise StorageError(f"cannot {action} {path}: {exc.strerror or exc}") from exc


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a new file, then put it in the place of `path` in one step.

    A reader, or a kill at any moment, finds the old file or the new one, never a torn one.

    Raises:
        StorageFullError, StorageError: `path` is as it was before.
    """
    with explained(path, "write"):
        _make_private(path.parent)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
        _sync_folder(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content`, whole or not at all."""
    write_atomically(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def read_bytes(path: Path, *, purpose: str, max_bytes: int = MAX_BYTES) -> bytes:
    """The content of a file that must exist; `purpose` says in the error what it was wanted for.

    Raises:
        StorageError: it is missing, a folder, a device or a pipe, or may not be read.
        DataError: it has more than `max_bytes`; nothing was read.
    """
    with explained(path, "read"):
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError) as exc:
            raise StorageError(f"{purpose}: there is no file {path}") from exc
        if not stat.S_ISREG(status.st_mode):
            raise StorageError(f"cannot read {path}: it is a folder, a device or a pipe, not a file")
        if status.st_size > max_bytes:
            raise DataError(f"{purpose}: {path} has {status.st_size:,} bytes; at most {max_bytes:,} are read")
        return path.read_bytes()


def writable_folder(path: Path) -> Path:
    """Make `path` a folder of ours (mode 0700 where new) and prove that a file can be written in it.

    Raises:
        StorageError, StorageFullError: at once, so that nothing is paid for that could not be kept.
    """
    with explained(path, "write in"):
        _make_private(path)
        with tempfile.TemporaryFile(dir=path) as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
    return path


def folder_inside(root: Path, name: str, *, what: str) -> Path:
    """`root/name`, which need not be there yet.

    Raises:
        ConfigError: `name` cannot be a folder's.
        StorageError: it is a link that leads out of `root`, so that what is written would be elsewhere.
    """
    folder = root / safe_name(name, what=what)
    with explained(folder, "look at"):
        if folder.is_symlink() and not folder.resolve().is_relative_to(root.resolve()):
            raise StorageError(
                f"{folder} is a link that leads out of {root}; remove it, or rename the {what}"
            )
    return folder


def set_aside(path: Path) -> Path | None:
    """Rename `path` to the first free of `<path>.1`, `<path>.2`, ...; None where there is nothing."""
    if not path.exists():
        return None
    number = 1
    while (aside := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    with explained(path, "rename"):
        path.rename(aside)
    return aside


def safe_name(name: str, *, what: str) -> str:
    """`name`, if it can be one file's or folder's name on every system and stays where it is put.

    >>> safe_name("compare-models.v2", what="experiment")
    'compare-models.v2'

    Raises:
        ConfigError: it has a path separator, a control character, is reserved, or over 100 characters.
    """
    if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name) or name.endswith("."):
        raise ConfigError(
            f"{what} name {name[:100]!r} cannot be a file name; use up to 100 letters, digits, "
            "'.', '_' and '-', beginning with a letter or digit"
        )
    return name


@contextmanager
def locked(path: Path, *, wait_s: float = 0.0, busy: str) -> Iterator[None]:
    """Hold the lock file `path` while the block runs; `busy` is what the error says when another has it.

    Raises:
        LockedError: another process held it for all of `wait_s`.
    """
    from filelock import FileLock, Timeout  # here, as it takes long to import, and a client locks nothing

    with explained(path, "lock"):
        _make_private(path.parent)
        lock = FileLock(path, timeout=wait_s, mode=0o600)
        try:
            lock.acquire()
        except Timeout as exc:
            raise LockedError(busy) from exc
    try:
        yield
    finally:
        lock.release()


def _make_private(folder: Path) -> None:
    """Make `folder` and what is missing above it, open to nobody else; one that is there stays as it is."""
    if not folder.is_dir():
        if folder.parent != folder:
            _make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, on systems where a folder can be synced."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
