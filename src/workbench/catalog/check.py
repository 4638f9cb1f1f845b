"""What is wrong with a catalog file, as far as can be told without asking anybody."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from workbench.catalog.models import Catalog
from workbench.catalog.table import Row

STALE_AFTER = timedelta(days=180)
"""A price that nobody has looked at for longer may not hold any more."""

_EQUAL = 1e-6


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to look at; `where` is the file and line, or the model."""

    where: str
    problem: str


def check_rows(rows: Iterable[Row], *, on: date) -> Iterator[Finding]:
    """Missing prices, prices not looked at for long, and rows that another one repeats."""
    seen: dict[tuple[str, date | None, int], str] = {}
    priced: set[str] = set()
    listed: dict[str, Row] = {}
    newest: dict[str, tuple[date, Row]] = {}
    for row in rows:
        price, model_id = row.price, row.spec.model_id
        key = (model_id, *((None, 0) if price is None else (price.date, price.above_input_tokens)))
        if key in seen:
            yield Finding(row.where, f"{model_id} stands already in {seen[key]}; the later row is used")
        seen.setdefault(key, row.where)
        listed.setdefault(model_id, row)
        if price is None:
            continue
        priced.add(model_id)
        looked_at = price.checked or price.date
        if not price.source:
            yield Finding(row.where, f"the price of {model_id} has no source")
        if model_id not in newest or looked_at >= newest[model_id][0]:
            newest[model_id] = (looked_at, row)
    for model_id, row in listed.items():
        if model_id not in priced:
            yield Finding(row.where, f"{model_id} has no price, so it cannot be used under a budget")
    for model_id, (looked_at, row) in newest.items():
        if on - looked_at > STALE_AFTER:
            days = (on - looked_at).days
            yield Finding(row.where, f"the price of {model_id} was last looked at {days} days ago")


def check_against(catalog: Catalog, other: Catalog, *, name: str, on: date) -> Iterator[Finding]:
    """Prices of input and output that `other`, which is called `name`, has otherwise."""
    for spec in catalog:
        known = other.get(spec.model_id)
        ours, theirs = spec.price_on(on), None if known is None else known.price_on(on)
        if ours is None or theirs is None:
            continue
        for what in ("input_usd_per_mtok", "output_usd_per_mtok"):
            mine, told = getattr(ours, what), getattr(theirs, what)
            if not math.isclose(mine, told, rel_tol=_EQUAL):
                yield Finding(spec.model_id, f"{what} is {mine:g}, but {told:g} in {name}")
