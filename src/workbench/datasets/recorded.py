"""Recorded public benchmarks: where each comes from, where it is on this machine, and how to load it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from workbench import outcomes
from workbench.errors import DataError, StorageError
from workbench.settings import Settings, data_dir
from workbench.storage import read_bytes


@dataclass(frozen=True, slots=True)
class OriginalFile:
    """A file of the source's repository at the pinned commit, and what its bytes must be."""

    path: str
    sha256: str
    n_bytes: int


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A row of `data/benchmarks.json`: a table that others recorded, and its provenance.

    `files` is empty where the originals cannot be checked; `not_fetchable` then says why and what to
    do instead, and is None elsewhere. `usd_per_mtok` is (input, output) by model, for a source that
    records no cost: `cost_usd` is then an estimate from 4 characters a token.
    """

    name: str
    title: str
    licence: str
    repository: str
    commit: str
    base_url: str
    n_prompts: int
    n_models: int
    citation: str
    notes: str
    files: tuple[OriginalFile, ...] = ()
    not_fetchable: str | None = None
    usd_per_mtok: Mapping[str, tuple[float, float]] | None = None

    @property
    def n_bytes(self) -> int:
        """Size of all originals together."""
        return sum(file.n_bytes for file in self.files)

    @property
    def location(self) -> Path | None:
        """The Parquet file on this machine; None: it is not here."""
        return next((path for path in _places(self.name) if path.is_file()), None)


@lru_cache(maxsize=1)
def benchmarks() -> Mapping[str, Benchmark]:
    """Every known benchmark by name, in the order of `data/benchmarks.json`.

    Raises:
        StorageError: the file that comes with the package is missing.
        DataError: it is damaged.
    """
    path = data_dir() / "benchmarks.json"
    content = read_bytes(path, purpose="list of benchmarks")
    try:
        return {row["name"]: _parsed(row) for row in json.loads(content)}
    except (ValueError, KeyError, TypeError) as exc:
        raise DataError(f"{path} is damaged: {exc!r}; restore it from the repository") from exc


def benchmark(name: str) -> Benchmark:
    """The benchmark of this name.

    Raises:
        DataError: there is none; the message lists those there are.
    """
    known = benchmarks()
    if name in known:
        return known[name]
    close = get_close_matches(name, known, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise DataError(f"there is no benchmark {name!r}{hint}; known are: {', '.join(known)}")


def load_benchmark(name: str) -> pd.DataFrame:
    """The outcome table of a recorded benchmark, from `benchmarks_dir` or else the cache.

    Raises:
        DataError: no benchmark has this name, or its file is damaged.
        StorageError: it is not on this machine; the message says how to get it.
    """
    found = benchmark(name)
    if found.location is None:
        raise StorageError(f"the benchmark {name!r} is not on this machine: {how_to_get(found)}")
    return outcomes.read(found.location)


def load_outcomes(name_or_path: str | Path) -> pd.DataFrame:
    """An outcome table: a benchmark by its name, or a Parquet file by its path.

    Raises:
        DataError: neither, or not an outcome table.
        StorageError: there is no such file.
    """
    if str(name_or_path) in benchmarks():
        return load_benchmark(str(name_or_path))
    path = Path(name_or_path)
    if path.suffix.lower() not in (".parquet", ".pq"):
        benchmark(str(name_or_path))
    return outcomes.read(path)


def how_to_get(wanted: Benchmark) -> str:
    """One sentence that says how a user gets this benchmark's table."""
    instead = (
        "set WORKBENCH_BENCHMARKS_DIR to a folder that holds "
        f"{wanted.name}.parquet (an outcome table, see `workbench.outcomes`)"
    )
    if wanted.not_fetchable is None:
        return f"run `workbench data fetch {wanted.name}`, or {instead}"
    return f"{wanted.not_fetchable} To use it, {instead}"


def cached_table(name: str) -> Path:
    """Where a fetched benchmark's table is kept."""
    return Settings().cache_dir / "benchmarks" / f"{name}.parquet"


def _places(name: str) -> list[Path]:
    settings = Settings()
    given = [settings.benchmarks_dir / f"{name}.parquet"] if settings.benchmarks_dir else []
    return [*given, cached_table(name)]


def _parsed(row: Mapping[str, Any]) -> Benchmark:  # Any: JSON at the border
    files = tuple(OriginalFile(file["path"], file["sha256"], int(file["bytes"])) for file in row["files"])
    if bool(files) == (row["not_fetchable"] is not None):
        raise ValueError(f"{row['name']} must have files or say why it is not fetchable")
    return Benchmark(
        name=row["name"],
        title=row["title"],
        licence=row["licence"],
        repository=row["repository"],
        commit=row["commit"],
        base_url=row["base_url"],
        n_prompts=int(row["n_prompts"]),
        n_models=int(row["n_models"]),
        citation=row["citation"],
        notes=row["notes"],
        files=files,
        not_fetchable=row["not_fetchable"],
        usd_per_mtok={model: (float(i), float(o)) for model, (i, o) in row["usd_per_mtok"].items()} or None,
    )
