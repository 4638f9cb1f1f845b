"""The last registered routers that were served, beside the database: a server starts without MLflow."""

import hashlib
import json
import logging
from pathlib import Path

from workbench.errors import CheckpointError, ConfigError, StorageError
from workbench.routing import checkpoint
from workbench.server.targets import Target
from workbench.storage import read_bytes, writable_folder, write_text

log = logging.getLogger("workbench")


class RouterShelf:
    """A checkpoint for each name, and a note that says what it is; both are of the owner alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, name: str, address: str, target: Target) -> None:
        """Remember what was loaded last; one that cannot be stops nobody."""
        saved, note = self._files(name)
        try:
            writable_folder(self._folder)
            checkpoint.save(target.router, saved)
            about = {"address": address, "version": target.version, "candidates": target.candidates}
            write_text(note, json.dumps(about | {"sha256": _digest(saved)}))
        except (ConfigError, StorageError) as exc:
            log.warning("%s was not kept for the next start: %s", target.version, exc)

    def kept(self, name: str, address: str) -> Target | None:
        """What was loaded last from `address`; None: it is not here, or is damaged."""
        saved, note = self._files(name)
        try:
            about = json.loads(read_bytes(note, purpose="note of a router"))
            if about["address"] != address or about["sha256"] != _digest(saved):
                return None
            return Target(checkpoint.load(saved), tuple(about["candidates"]), version=about["version"])
        except (CheckpointError, StorageError, ValueError, KeyError, TypeError):
            return None

    def _files(self, name: str) -> tuple[Path, Path]:
        """A name of the server's file may have any characters."""
        stem = hashlib.blake2b(name.encode(), digest_size=12).hexdigest()
        return self._folder / f"{stem}.ckpt", self._folder / f"{stem}.json"


def _digest(path: Path) -> str:
    return hashlib.sha256(read_bytes(path, purpose="saved router")).hexdigest()
