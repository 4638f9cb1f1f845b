"""What a bandit has learned, on disk: whole or not at all, and loaded without running anything the file says.

The file is NumPy's npz, of arrays alone; one of them is the settings, as JSON. The router that the bandit
started from is saved apart, by `checkpoint`: what was learned is only good together with it.
"""

import hashlib
import io
import json
import zipfile
import zlib
from pathlib import Path

import numpy as np

from workbench.errors import CheckpointError
from workbench.routing.fields import decoded, encoded
from workbench.routing.online import BanditState
from workbench.storage import read_bytes, write_atomically

SCHEMA = 1
_DAMAGE = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, EOFError, OSError, MemoryError)
_UNREADABLE = (*_DAMAGE, zipfile.BadZipFile, zlib.error)


def save_state(state: BanditState, path: Path) -> None:
    """Write `state`; after a kill at any moment the old file or the new one is there.

    Raises:
        StorageError: the file cannot be written; what was there is intact.
    """
    settings, arrays = encoded(state)
    header = json.dumps({"schema": SCHEMA, "settings": settings}).encode()
    named = {"header": np.frombuffer(header, dtype=np.uint8), **arrays}
    write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **named))


def load_state(path: Path) -> BanditState:
    """What `save_state` wrote.

    Raises:
        CheckpointError: the file is damaged, foreign, or of another version; names it and its SHA-256.
        StorageError: there is no such file.
    """
    content = read_bytes(path, purpose="saved state of a bandit")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(arrays.pop("header").tobytes())
        if header["schema"] != SCHEMA:
            raise ValueError(f"its schema is {header['schema']!r}, this version reads {SCHEMA}")
        return decoded(BanditState, header["settings"], arrays)
    except _UNREADABLE as exc:
        digest = hashlib.sha256(content).hexdigest()
        raise CheckpointError(
            f"{path} (sha256 {digest}) was not loaded: {exc}; a bandit without a state starts from its router"
        ) from exc
