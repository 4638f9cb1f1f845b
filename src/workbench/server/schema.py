"""The tables as this version wants them: migrations applied once, whoever starts first. Owns Alembic."""

from importlib.resources import as_file, files
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from workbench.errors import StorageError
from workbench.storage import locked

_LOCK = 0x776F726B
"""Whoever holds this advisory lock of PostgreSQL migrates."""
_WAIT_S = 60.0


def migrate(engine: sa.Engine, folder: Path) -> None:
    """Apply the changes that the database does not have yet; processes that start together take turns.

    Raises:
        StorageError: the database is of a newer version of the workbench.
        LockedError: another process held the lock for a minute.
    """
    with as_file(files("workbench.server") / "migrations") as scripts:
        config = Config()
        config.set_main_option("script_location", str(scripts))
        config.set_main_option("path_separator", "os")
        busy = f"another process is changing the tables of {folder}; start again when it has ended"
        with locked(folder / ".schema.lock", wait_s=_WAIT_S, busy=busy), engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            _refuse_newer(connection, config)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _refuse_newer(connection: sa.Connection, config: Config) -> None:
    at = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if at is not None and at not in known:
        raise StorageError(
            f"the server's database is at version {at}, newer than this workbench; install the newer one"
        )
