"""What was served, as a table: totals for a bill, and an outcome table to learn from."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from workbench.server.database import inserting, outcomes, past_usage

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


_OF = ("key_id", "tenant", "model", "arm")
_NUMBERS = ("n_requests", "n_errors", "cost_usd", "input_tokens", "output_tokens")


def _numbers() -> list[sa.ColumnElement[Any]]:
    """What one outcome adds to a sum."""
    table = outcomes.c
    is_error = sa.case((table.error.is_not(None), 1), else_=0)
    told = (sa.func.coalesce(table[name], 0).label(name) for name in _NUMBERS[2:])
    return [sa.literal(1).label("n_requests"), is_error.label("n_errors"), *told]


def _ever_served() -> sa.Subquery:
    table, past = outcomes.c, past_usage.c
    begun = sa.cast(past.day, sa.Float) * _DAY_S
    of_none = sa.func.nullif(past.experiment, "").label("experiment")
    return sa.union_all(
        sa.select(table.at, *(table[name] for name in _OF), table.experiment, *_numbers()),
        sa.select(begun, *(past[name] for name in _OF), of_none, *(past[name] for name in _NUMBERS)),
    ).subquery()


EVER_SERVED = _ever_served()
"""All that was ever served, a row each; of what is deleted, the sums of each day, at its beginning."""


def totals(engine: sa.Engine, *, by: By, since: float = 0.0) -> list[Total]:
    """Requests since a Unix time, in groups, the dearest first; of what is deleted, whole days."""
    table = EVER_SERVED.c
    group = _day(table.at) if by == "day" else table[by]
    sums = (sa.func.coalesce(sa.func.sum(table[name]), 0) for name in _NUMBERS)
    wanted = sa.select(group.label("group"), *sums).where(table.at >= since).group_by(group)
    with engine.connect() as connection:
        found = [_total(*row) for row in connection.execute(wanted)]
    return sorted(found, key=lambda total: -total.cost_usd)


def _total(group: object, n: int, n_errors: int, usd: float, n_in: int, n_out: int) -> Total:
    """PostgreSQL adds whole numbers up to decimal ones."""
    return Total(str(group), int(n), int(n_errors), float(usd), int(n_in), int(n_out))


def _day(at: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    return sa.cast(sa.func.floor(at / _DAY_S), sa.Integer)


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
    """Delete what was served before a Unix time, but what it had cost; returns how many rows."""
    table = outcomes.c
    of = [_day(table.at), *(table[name] for name in _OF), sa.func.coalesce(table.experiment, "")]
    wanted = sa.select(*of, *(sa.func.sum(number) for number in _numbers()))
    wanted = wanted.where(table.at < before).group_by(*of)
    added = {name: past_usage.c[name] + sa.literal_column(f"excluded.{name}") for name in _NUMBERS}
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":  # no row comes or goes between the two
            connection.execute(sa.text("LOCK TABLE outcomes IN SHARE ROW EXCLUSIVE MODE"))
        keep = inserting(engine, past_usage)
        keep = keep.on_conflict_do_update(index_elements=list(past_usage.primary_key), set_=added)
        connection.execute(keep.from_select(past_usage.columns.keys(), wanted))
        return connection.execute(sa.delete(outcomes).where(table.at < before)).rowcount


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
