"""Routers that are registered in MLflow, fetched by a process of their own: the one that serves stays small.

It is started only when an alias names another version than the one that is served.

    python -m workbench.server.registered router:NAME@ALIAS FOLDER

leaves `router.ckpt` and `router.json` (candidates, version) in FOLDER.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TypeGuard

from workbench.environment import store_uri
from workbench.errors import ConfigError, TrackingError
from workbench.routing import checkpoint
from workbench.server.alias import version_at
from workbench.server.targets import Target
from workbench.settings import Settings
from workbench.storage import read_bytes, write_text

_CHECKPOINT, _ABOUT = "router.ckpt", "router.json"
_PATIENCE_S = 120.0


def load(address: str, former: Target | None = None) -> Target:
    """The registered router at `router:NAME@ALIAS`; `former`, where it is that still.

    Raises:
        ConfigError: there is no such router, or MLflow is not installed.
        CheckpointError: it is damaged. TrackingError: the store does not answer.
    """
    if _is_still(former, address):
        return former
    with tempfile.TemporaryDirectory(prefix="router-") as folder:
        command = [sys.executable, "-m", "workbench.server.registered", address, folder]
        try:
            done = subprocess.run(  # noqa: S603 - our own module, and an address from the server's file
                command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
            )
        except subprocess.TimeoutExpired as exc:
            raise TrackingError(f"{address}: the store did not answer in {_PATIENCE_S:g} s") from exc
        if done.returncode:
            raise ConfigError(f"{address} was not loaded: {done.stderr.strip()[-1000:] or 'no reason given'}")
        about = json.loads(read_bytes(Path(folder) / _ABOUT, purpose="candidates of a router"))
        router = checkpoint.load(Path(folder) / _CHECKPOINT)
    return Target(router, tuple(about["candidates"]), version=about["version"])


def load_here(address: str, former: Target | None = None) -> Target:
    """The same in this process, for one that has MLflow anyway.

    Raises:
        ConfigError, CheckpointError, TrackingError: as `load`.
    """
    if _is_still(former, address):
        return former
    from workbench.tracking import load_router

    loaded = load_router(address)
    return Target(loaded.router, loaded.candidates, version=loaded.version.address)


def _is_still(former: Target | None, address: str) -> TypeGuard[Target]:
    return former is not None and version_at(address, store_uri(Settings())) == former.version


def _fetch(address: str, folder: Path) -> None:
    from workbench.tracking import load_router

    loaded = load_router(address)
    checkpoint.save(loaded.router, folder / _CHECKPOINT)
    about = {"candidates": list(loaded.candidates), "version": loaded.version.address}
    write_text(folder / _ABOUT, json.dumps(about))


if __name__ == "__main__":
    from workbench.errors import WorkbenchError
    from workbench.redaction import masked

    try:
        _fetch(sys.argv[1], Path(sys.argv[2]))
    except WorkbenchError as exc:
        sys.exit(masked(str(exc)))
