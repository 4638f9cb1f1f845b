"""A catalog as a CSV file: one row for each model, date of a price, and tier of prompt length.

The facts about a model (window, capabilities) are taken from the last of its rows that states them.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import date
from functools import lru_cache
from pathlib import Path

from workbench.catalog.models import CAPABILITIES, Catalog, ModelSpec, with_prices
from workbench.catalog.price import DISCOUNTS, RATES, Price
from workbench.errors import DataError
from workbench.settings import data_dir
from workbench.storage import read_bytes, write_text

_REQUIRED = (
    "provider",
    "model",
    "input_usd_per_mtok",
    "output_usd_per_mtok",
    "context_tokens",
    "source",
    "date",
)
COLUMNS = (
    "provider",
    "model",
    "date",
    "above_input_tokens",
    *RATES,
    *DISCOUNTS,
    "source",
    "checked",
    "context_tokens",
    "max_output_tokens",
    "capabilities",
    "facts_source",
)
"""The columns of a catalog file, in the order in which one is written. Only `_REQUIRED` must be there."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a catalog file: a model's facts, and one price or none."""

    spec: ModelSpec
    price: Price | None
    where: str


@lru_cache(maxsize=1)
def default_catalog() -> Catalog:
    """The models that come with the package."""
    return read_catalog(package_file())


def package_file() -> Path:
    """The catalog file that comes with the package."""
    return data_dir() / "models.csv"


def read_catalog(path: Path) -> Catalog:
    """Models from a CSV file with the columns of `data/models.csv`, of which some may be left out.

    Raises:
        StorageError: there is no such file.
        DataError: a column is missing or unknown, or a row cannot be read; the message names the line.
    """
    return catalog_of(read_rows(path))


def read_rows(path: Path) -> list[Row]:
    """The rows of a catalog file as they are, repeated ones included; errors as `read_catalog`."""
    try:
        text = read_bytes(path, purpose="model catalog").decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise DataError(f"{path} is not UTF-8 text: {exc}") from exc
    table = csv.DictReader(io.StringIO(text), strict=True)
    try:
        names = table.fieldnames or ()
        if missing := set(_REQUIRED) - set(names):
            raise DataError(f"{path} lacks the columns {', '.join(sorted(missing))}")
        if unknown := set(names) - set(COLUMNS):
            raise DataError(f"{path} has columns that are not known: {', '.join(sorted(unknown))}")
        return [_row(cells, where=f"{path}, line {table.line_num}") for cells in table]
    except csv.Error as exc:
        raise DataError(f"{path}, line {table.line_num}: {exc}") from exc


def catalog_of(rows: Iterable[Row]) -> Catalog:
    """The models that `rows` describe, with all their prices.

    Raises:
        DataError: a tier of a price has no row for shorter prompts.
    """
    by_model: dict[str, list[Row]] = {}
    for row in rows:
        by_model.setdefault(row.spec.model_id, []).append(row)
    return Catalog(_model(of_model) for of_model in by_model.values())


def write_catalog(path: Path, models: Iterable[ModelSpec]) -> None:
    """Put `models` in the place of the file at `path`, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(cells for spec in models for cells in _cells(spec))
    write_text(path, text.getvalue())


def _row(cells: Mapping[str, str], *, where: str) -> Row:
    named = {name: cells.get(name) or "" for name in COLUMNS}
    try:
        if None in cells or None in cells.values():
            raise ValueError("it has not as many cells as the header")
        if not named["provider"] or not named["model"]:
            raise ValueError("a row needs a provider and a model")
        return Row(_facts(named), _price(named), where)
    except ValueError as exc:
        raise DataError(f"{where}: {exc}") from exc
    except DataError as exc:
        raise DataError(f"{where}: a price of {named['provider']}/{named['model']}: {exc}") from exc


def _facts(cells: Mapping[str, str]) -> ModelSpec:
    capabilities = frozenset(cells["capabilities"].split())
    if unknown := capabilities - set(CAPABILITIES):
        known = ", ".join(CAPABILITIES)
        raise ValueError(f"{', '.join(sorted(unknown))}: no such capability; there are {known}")
    return ModelSpec(
        cells["provider"],
        cells["model"],
        context_tokens=_count(cells["context_tokens"]),
        max_output_tokens=_count(cells["max_output_tokens"]),
        capabilities=capabilities,
        facts_source=cells["facts_source"],
    )


def _price(cells: Mapping[str, str]) -> Price | None:
    """The price in a row; None: it has none, and is about the model only."""
    numbers = {name: float(cells[name]) if cells[name] else None for name in (*RATES, *DISCOUNTS)}
    given, taken = numbers.pop("input_usd_per_mtok"), numbers.pop("output_usd_per_mtok")
    if given is None and taken is None:
        return None
    if given is None or taken is None:
        raise ValueError("a price needs both input_usd_per_mtok and output_usd_per_mtok")
    return Price(
        given,
        taken,
        cells["source"],
        date.fromisoformat(cells["date"]),
        **numbers,  # type: ignore[arg-type]  # each is a rate or a discount
        above_input_tokens=_count(cells["above_input_tokens"]) or 0,
        checked=date.fromisoformat(cells["checked"]) if cells["checked"] else None,
    )


def _count(cell: str) -> int | None:
    if not cell:
        return None
    if (number := int(cell)) < 0:
        raise ValueError(f"{number} is no number of tokens")
    return number


def _model(rows: list[Row]) -> ModelSpec:
    spec = rows[-1].spec
    stated: dict[str, object] = {}
    for row in rows:
        stated |= {name: value for name in _FACTS if (value := getattr(row.spec, name))}
    whole = replace(spec, **stated)  # type: ignore[arg-type]  # each value came from the field of its name
    return with_prices(whole, _dated([row for row in rows if row.price is not None]))


_FACTS = ("context_tokens", "max_output_tokens", "capabilities", "facts_source")


def _dated(rows: list[Row]) -> Iterator[Price]:
    """One price a date, with its tiers; of two rows for one date and tier the later stands."""
    by_date: dict[date, dict[int, Price]] = {}
    for row in rows:
        if row.price is not None:
            by_date.setdefault(row.price.date, {})[row.price.above_input_tokens] = row.price
    for day, tiers in by_date.items():
        if 0 not in tiers:
            raise DataError(
                f"{rows[0].where}: the price of {rows[0].spec.model_id} of {day} has no row for short prompts"
            )
        price: Price | None = None
        for above in sorted(tiers, reverse=True):
            price = replace(tiers[above], longer=price)
        if price is not None:
            yield price


def _cells(spec: ModelSpec) -> Iterator[dict[str, object]]:
    """The rows of one model; its facts are in the last."""
    facts = {
        "context_tokens": spec.context_tokens,
        "max_output_tokens": spec.max_output_tokens,
        "capabilities": " ".join(name for name in CAPABILITIES if name in spec.capabilities),
        "facts_source": spec.facts_source,
    }
    name: dict[str, object] = {"provider": spec.provider, "model": spec.model}
    rows = [name | _price_cells(tier) for price in spec.prices for tier in price.tiers] or [name]
    yield from rows[:-1]
    yield rows[-1] | facts


def _price_cells(price: Price) -> dict[str, object]:
    cells: dict[str, object] = {
        field.name: getattr(price, field.name) for field in fields(price) if field.name != "longer"
    }
    numbers = {name: f"{value:.10g}" for name in (*RATES, *DISCOUNTS) if (value := cells[name]) is not None}
    return cells | numbers | {"above_input_tokens": price.above_input_tokens or None}
