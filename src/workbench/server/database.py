"""Where the server keeps what must outlive it: tokens, virtual keys and outcomes. Owns SQLAlchemy.

SQLite by default, PostgreSQL by setting. The tables are made and changed by the migrations beside this file.
"""

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import SQLAlchemyError

from workbench.errors import ConfigError, StorageError
from workbench.storage import explained, writable_folder

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

Engine = sa.Engine
"""The database, for modules that only hand it on."""

DatabaseTrouble = SQLAlchemyError
"""What a database raises that does not answer, for modules that only wait until it does."""

metadata = sa.MetaData()

admin_tokens = sa.Table(
    "admin_tokens",
    metadata,
    sa.Column("token_id", sa.String(12), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("revoked_at", sa.Float),
)

virtual_keys = sa.Table(
    "virtual_keys",
    metadata,
    sa.Column("key_id", sa.String(12), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("tenant", sa.String(100), nullable=False),
    sa.Column("budget_usd", sa.Float),
    sa.Column("requests_per_minute", sa.Float),
    sa.Column("models", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float),
    sa.Column("revoked_at", sa.Float),
)

outcomes = sa.Table(
    "outcomes",
    metadata,
    sa.Column("request_id", sa.String(64), primary_key=True),
    sa.Column("at", sa.Float, nullable=False, index=True),
    sa.Column("key_id", sa.String(12), nullable=False),
    sa.Column("tenant", sa.String(100), nullable=False),
    sa.Column("experiment", sa.String(100)),
    sa.Column("arm", sa.String(300), nullable=False),
    sa.Column("router", sa.String(300), nullable=False),
    sa.Column("asked_model", sa.String(300), nullable=False),
    sa.Column("model", sa.String(300), nullable=False),
    sa.Column("provider", sa.String(100), nullable=False),
    sa.Column("served_model", sa.String(300)),
    sa.Column("propensity", sa.Float),
    sa.Column("predicted_quality", sa.Float),
    sa.Column("predicted_cost_usd", sa.Float),
    sa.Column("cost_usd", sa.Float),
    sa.Column("latency_s", sa.Float),
    sa.Column("first_token_s", sa.Float),
    sa.Column("input_tokens", sa.Integer),
    sa.Column("output_tokens", sa.Integer),
    sa.Column("error", sa.String(100)),
    sa.Column("cluster", sa.String(64)),
    sa.Column("prompt", sa.Text),
    sa.Column("response", sa.Text),
    sa.Column("quality", sa.Float),
    sa.Column("quality_at", sa.Float),
    sa.Column("router_version", sa.String(300)),
    sa.Index("outcomes_of_key", "key_id", "at"),
    sa.Index("outcomes_of_experiment", "experiment", "at"),
)
"""A row for each served request. `cluster` is a digest of the caller's user or conversation, which are not
independent; `prompt` and `response` are there only where the server is told to keep them."""

past_usage = sa.Table(
    "past_usage",
    metadata,
    sa.Column("day", sa.Integer, primary_key=True),
    sa.Column("key_id", sa.String(12), primary_key=True),
    sa.Column("tenant", sa.String(100), primary_key=True),
    sa.Column("model", sa.String(300), primary_key=True),
    sa.Column("arm", sa.String(300), primary_key=True),
    sa.Column("experiment", sa.String(100), primary_key=True),
    sa.Column("n_requests", sa.BigInteger, nullable=False),
    sa.Column("n_errors", sa.BigInteger, nullable=False),
    sa.Column("cost_usd", sa.Float, nullable=False),
    sa.Column("input_tokens", sa.BigInteger, nullable=False),
    sa.Column("output_tokens", sa.BigInteger, nullable=False),
)
"""Sums of the outcomes that are deleted, so that what was spent stays spent. `day` is counted from 1970, in
UTC; `experiment` "": of none."""

experiments = sa.Table(
    "experiments",
    metadata,
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("spec", sa.JSON, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("verdict", sa.JSON),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
    sa.Column("versions", sa.JSON),
)
"""`versions` are those that the targets of the arms stood for when it began."""


REVISION = "0004"
"""The newest of the migrations: a database that has had it needs no other."""


def open_database(url: str | None, folder: Path) -> sa.Engine:
    """The database at `url`, by default SQLite in `folder`, with its tables as this version wants them.

    `folder` has the lock that keeps two processes from making the tables at once.

    Raises:
        ConfigError: `url` is no address of a database, or its driver is not installed.
        StorageError: it does not answer, or cannot be written.
    """
    writable_folder(folder)
    try:
        engine = sa.create_engine(url or f"sqlite:///{folder / 'server.db'}", hide_parameters=True)
        if engine.dialect.name == "sqlite":
            _make_private(engine.url.database)
            sa.event.listen(engine, "connect", _prepare)
        if _revision(engine) != REVISION:
            from workbench.server.schema import migrate  # Alembic, which a server rarely needs

            migrate(engine, folder)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ModuleNotFoundError) as exc:
        raise ConfigError("database is no URL that SQLAlchemy knows, or its driver is missing") from exc
    except SQLAlchemyError as exc:
        raise StorageError(f"the server's database does not answer ({type(exc).__name__})") from exc
    return engine


def inserting(engine: sa.Engine, table: sa.Table) -> "sqlite.Insert | postgresql.Insert":
    """An insertion into `table` that can say what to do about a row that is there already."""
    if engine.dialect.name != "postgresql":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # large, and loaded already where it is the database

    return postgresql.insert(table)


def _make_private(path: str | None) -> None:
    """Keep others of this machine out of a file of SQLite; those that it makes beside it follow its mode."""
    if path and path != ":memory:":
        with explained(Path(path), "write"):
            Path(path).touch(mode=0o600)
            Path(path).chmod(0o600)


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    """Readers do not wait for the writer, and a writer waits for another one."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA busy_timeout=10000")


def _revision(engine: sa.Engine) -> str | None:
    """The newest migration that the database has had; None: none yet."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def problem_of(engine: sa.Engine) -> str | None:
    """Why the database does not answer now; None: it does."""
    try:
        with engine.connect() as connection:
            connection.execute(sa.select(1))
    except SQLAlchemyError as exc:
        return type(exc).__name__
    return None
