"""The store that runs are sent to: where it is, making a fresh one, and talking to it without hanging."""

import logging
import os
import socket
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.db import utils as mlflow_db

from workbench.environment import sqlite_path
from workbench.errors import TrackingError
from workbench.redaction import without_password
from workbench.storage import explained, locked

Tell = Callable[[str], None]

_PROBE_S = 3.0
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "6",  # MLflow's own: 120 s, seven times
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
_CREATION_LIMIT_S = 120.0


def artifact_root(uri: str) -> str | None:
    """The folder beside a SQLite store that artifacts go to; None where the server decides."""
    path = sqlite_path(uri)
    return None if path is None else (path.parent / "mlartifacts").as_uri()


@contextmanager
def connected(uri: str, *, tell: Tell | None = None, action: str = "take the run") -> Iterator[MlflowClient]:
    """A client of the store at `uri`, which is made first where it is a SQLite file that is not there.

    `tell` is given a line when something takes long; `action` is what an error says was not done. A store
    that does not answer is an error after at most ten seconds.

    Raises:
        TrackingError: the store is not there, refuses, hangs, or fails.
    """
    shown = without_password(uri)
    try:
        with quiet():
            prepare(uri, tell=tell)
            yield MlflowClient(tracking_uri=uri, registry_uri=uri)
    except (MlflowException, OSError, sqlite3.Error) as exc:
        reason = " ".join(str(exc).replace(uri, shown).split())[:300]
        raise TrackingError(f"the tracking store {shown} did not {action}: {reason}") from exc


def prepare(uri: str, *, tell: Tell | None = None) -> None:
    """Make the store where it is a SQLite file that is not there, and see that it answers.

    Raises:
        OSError, sqlite3.Error, TrackingError: it does not.
    """
    path = sqlite_path(uri)
    if path is None:
        _probe_socket(uri)
        return
    if not _is_made(path):
        _make(path, tell=tell or (lambda line: None))
    with closing(sqlite3.connect(path, timeout=_PROBE_S)) as database:
        database.execute("BEGIN IMMEDIATE")
        database.execute("ROLLBACK")


@contextmanager
def quiet() -> Iterator[None]:
    """Let MLflow print nothing, wait for nobody, and log warnings only, while the block runs.

    One warning is silenced: MLflow's own tables use a loader that SQLAlchemy 2.1 wants rid of.
    """
    loggers = {name: logging.getLogger(name) for name in ("mlflow", "alembic")}
    levels = {name: logger.level for name, logger in loggers.items()}
    with _environment(_ENVIRONMENT), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="The ``noload`` loader strategy", category=DeprecationWarning
        )
        for logger in loggers.values():
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for name, logger in loggers.items():
                logger.setLevel(levels[name])


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _probe_socket(uri: str) -> None:
    """A database that is down would be asked for hours by MLflow's retries; ask once, and briefly."""
    parts = urlsplit(uri)
    port = parts.port or _PORTS.get(parts.scheme.partition("+")[0])
    if not parts.hostname or port is None:
        raise TrackingError(
            f"{without_password(uri)!r} is not a tracking store; give http://..., or sqlite:///file"
        )
    socket.create_connection((parts.hostname, port), timeout=_PROBE_S).close()


def _is_made(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _make(path: Path, *, tell: Tell) -> None:
    """Make the SQLite store aside, then put it in place: no process ever sees one half made."""
    busy = f"another process has been making the tracking store {path} for {_CREATION_LIMIT_S:.0f} s"
    with locked(path.with_name(f".{path.name}.lock"), wait_s=_CREATION_LIMIT_S, busy=busy):
        if _is_made(path):
            return
        tell(f"making the tracking store {path} (some seconds, once)")
        aside = path.with_name(f".{path.name}.new")
        aside.unlink(missing_ok=True)
        engine = mlflow_db.create_sqlalchemy_engine(f"sqlite:///{aside}")
        mlflow_db._initialize_tables(engine)
        engine.dispose()
        with closing(sqlite3.connect(aside)) as database:
            database.execute("PRAGMA journal_mode=WAL")
        with explained(path, "make"):
            aside.chmod(0o600)  # it will hold questions, prompts of examples and verdicts
            aside.replace(path)
