"""What was served, as a table: totals for a bill, and an outcome table to learn from."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

from workbench.server.database import outcomes

By = Literal["key_id", "tenant", "model", "arm", "experiment", "day"]
_DAY_S = 86_400.0
_CHUNK = 10_000


@dataclass(frozen=True, slots=True)
class Total:
    """What one group of requests was: `group` is the key, model, arm or UTC day (as days since 1970)."""

    group: str
    n_requests: int
    n_errors: int
    cost_usd: float
    input_tokens: int
    output_tokens: int


def totals(engine: sa.Engine, *, by: By, since: float = 0.0) -> list[Total]:
    """Requests since a Unix time, in groups, the dearest first."""
    table = outcomes.c
    group = sa.cast(sa.func.floor(table.at / _DAY_S), sa.Integer) if by == "day" else table[by]
    wanted = (
        sa.select(
            group.label("group"),
            sa.func.count(),
            sa.func.count(table.error),
            sa.func.coalesce(sa.func.sum(table.cost_usd), 0.0),
            sa.func.coalesce(sa.func.sum(table.input_tokens), 0),
            sa.func.coalesce(sa.func.sum(table.output_tokens), 0),
        )
        .where(table.at >= since)
        .group_by(group)
    )
    with engine.connect() as connection:
        found = [Total(str(row[0]), *row[1:]) for row in connection.execute(wanted)]
    return sorted(found, key=lambda total: -total.cost_usd)


def score(engine: sa.Engine, request_id: str, *, tenant: str, quality: float) -> bool:
    """Attach a quality to a served request; False: this tenant has none of this name."""
    change = (
        sa.update(outcomes)
        .where(outcomes.c.request_id == request_id, outcomes.c.tenant == tenant)
        .values(quality=quality, quality_at=time.time())
    )
    with engine.begin() as connection:
        return connection.execute(change).rowcount > 0


def forget(engine: sa.Engine, *, before: float) -> int:
    """Delete what was served before a Unix time; returns how many rows."""
    with engine.begin() as connection:
        return connection.execute(sa.delete(outcomes).where(outcomes.c.at < before)).rowcount


def export(engine: sa.Engine, path: Path, *, since: float = 0.0) -> int:
    """Write what was served as an outcome table in Parquet; returns how many rows.

    Each request is a prompt of its own, and requests of one user or conversation are a cluster.

    Raises:
        InsufficientDataError: there is nothing to write. StorageError: `path` cannot be written.
    """
    import pandas as pd  # here, as serving needs no pandas

    from workbench import outcomes as outcome_table
    from workbench.errors import InsufficientDataError

    rows = [row._asdict() for row in _rows(engine, since)]
    if not rows:
        raise InsufficientDataError("nothing was served since then, so there is nothing to export")
    table = pd.DataFrame(rows).rename(columns={"request_id": "prompt_id"})
    outcome_table.write(outcome_table.validate(table.drop(columns=["key_id", "tenant"])), path)
    return len(rows)


def _rows(engine: sa.Engine, since: float) -> Iterator[sa.Row[tuple[object, ...]]]:
    wanted = sa.select(outcomes).where(outcomes.c.at >= since).order_by(outcomes.c.at)
    with engine.connect() as connection:
        yield from connection.execution_options(yield_per=_CHUNK).execute(wanted)
