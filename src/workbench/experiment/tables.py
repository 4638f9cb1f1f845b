"""Recorded outcome tables that a spec names: other experiments' outcomes, benchmarks and files."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from workbench import datasets
from workbench.errors import ConfigError
from workbench.experiment.arm_spec import ArmSpec, TableSpec
from workbench.experiment.spec import ExperimentSpec, TrainingSpec, load_spec
from workbench.settings import Settings

_YAML = (".yaml", ".yml")


def needed_experiments(spec: ExperimentSpec | TrainingSpec) -> list[Path]:
    """The experiments whose outcomes this one learns from or replays: they are run before it.

    Raises:
        ConfigError: one of them needs this one in its turn.
    """
    needed = _named_experiments(spec)
    seen, waiting = set(), [path.resolve() for path in needed]
    while waiting:
        path = waiting.pop()
        if path == spec.file:
            raise ConfigError(f"{spec.file} learns from itself, by way of the experiments it names")
        if path not in seen:
            seen.add(path)
            waiting += [other.resolve() for other in _named_experiments(load_spec(path))]
    return needed


def read_table(table: TableSpec, *, folder: Path, settings: Settings) -> pd.DataFrame:
    """The rows of a recorded outcome table that `table` asks for; its paths start at `folder`.

    Raises:
        ConfigError: it asks for a column or a value that the table does not have.
        DataError, StorageError: there is no such table.
    """
    if table.outcomes.endswith(_YAML):
        name = load_spec(folder / table.outcomes).name
        rows = datasets.load_outcomes(settings.runs_dir / name / "outcomes.parquet")
    else:
        local = folder / table.outcomes
        rows = datasets.load_outcomes(local if local.exists() else table.outcomes)
    return matching(rows, table.where, where=table.outcomes)


def matching(rows: pd.DataFrame, conditions: Mapping[str, object], *, where: str) -> pd.DataFrame:
    """The rows in which every column of `conditions` has the value given.

    Raises:
        ConfigError: there is no such column, or no such row.
    """
    for column, value in conditions.items():
        if column not in rows:
            raise ConfigError(f"{where} has no column {column!r}; it has {', '.join(map(str, rows.columns))}")
        kept = rows[rows[column] == value]
        if kept.empty:
            seen = ", ".join(sorted(map(str, rows[column].dropna().unique()))[:10])
            raise ConfigError(f"{where} has no row with {column} = {value!r}; there are {seen}")
        rows = kept
    return rows


def _named_experiments(spec: ExperimentSpec | TrainingSpec) -> list[Path]:
    if isinstance(spec, TrainingSpec):
        tables: list[TableSpec | None] = [spec.fit_on]
    else:
        tables = [spec.replay, *map(_learned_from, spec.arms)]
    named = [table.outcomes for table in tables if table is not None]
    return list(dict.fromkeys(spec.folder / name for name in named if name.endswith(_YAML)))


def _learned_from(arm: ArmSpec) -> TableSpec | None:
    learner = arm.router or arm.cascade or arm.ensemble
    return None if learner is None else learner.fit_on
