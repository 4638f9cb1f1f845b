"""Loading prompts to run: the embedded set, a user's own file, or the prompts of an outcome table."""

import codecs
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd

from workbench.datasets.embedded import tasks as embedded_tasks
from workbench.datasets.recorded import benchmarks, load_benchmark
from workbench.errors import DataError, InsufficientDataError
from workbench.outcomes import read_parquet
from workbench.redaction import holds_known_secret
from workbench.storage import read_bytes
from workbench.types import Prompt

EMBEDDED = "tasks"
SUFFIXES = (".jsonl", ".csv", ".parquet")
MAX_PROMPTS = 1_000_000
MAX_BYTES = 256 * 2**20
_OPTIONAL = ("task", "cluster", "reference", "system")  # in the order of `Prompt`


def load_prompts(
    name_or_path: str | Path,
    *,
    split: str | None = None,
    tasks: Sequence[str] = (),
    n: int | None = None,
    seed: int = 0,
    cluster: str | None = None,
) -> tuple[Prompt, ...]:
    """The prompts of the embedded set ("tasks"), a recorded benchmark, or a .jsonl, .csv or .parquet file.

    A file has a column `text` or `prompt`, and may have `prompt_id` (absent: a hash of the text),
    `task`, `cluster`, `reference`, `system` and `split`. In an outcome table (one with `arm` or `model`)
    each prompt counts once. A file has at most 256 MiB and 1,000,000 rows.

    Args:
        split: keep this split alone; None keeps all.
        tasks: keep these tasks alone; empty keeps all.
        n: draw this many by `seed`, in proportion to the tasks, kept in file order; None or a number
            above what there is keeps all.
        cluster: the column that says which prompts are not independent; None: `cluster`, if there is one.
    Raises:
        StorageError: there is no such file.
        DataError: an unknown name, a damaged file, a missing column, an empty prompt, two prompts of one
            id, one of our own keys in a prompt, or nothing left.
    """
    table = _table(name_or_path, cluster=cluster)
    for column, wanted in (("split", [split] if split is not None else []), ("task", list(tasks))):
        table = _kept(table, column, wanted, source=name_or_path)
    prompts = _prompts(table)
    if not prompts:
        raise DataError(f"{name_or_path} has no prompts")
    return prompts if n is None else _sample(prompts, n, seed=seed)


def prompts_of(table: pd.DataFrame) -> tuple[Prompt, ...]:
    """The prompts of an outcome table, each once, in order; rows without a `prompt` are left out.

    Raises:
        DataError: the table has no column `prompt`, or gives one id two texts.
        InsufficientDataError: no row has a prompt.
    """
    prompts = _prompts(_columns(table, "the outcome table"))
    if not prompts:
        raise InsufficientDataError("the outcome table keeps no prompts, so they cannot be asked again")
    return prompts


def _table(name_or_path: str | Path, *, cluster: str | None = None) -> pd.DataFrame:
    """[N] rows with unique prompt_id, text, and what else is known of each prompt, as text or None."""
    if str(name_or_path) == EMBEDDED:
        return _columns(_clustered(_embedded(), cluster, EMBEDDED), EMBEDDED)
    if str(name_or_path) in benchmarks():
        recorded = _clustered(load_benchmark(str(name_or_path)), cluster, str(name_or_path))
        return _columns(recorded, str(name_or_path))
    path = Path(name_or_path)
    if path.suffix.lower() not in SUFFIXES:
        known = [EMBEDDED, *benchmarks()]
        close = get_close_matches(str(name_or_path), known, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise DataError(
            f"there is no prompt set {str(name_or_path)!r}{hint}; known are {', '.join(known)}, and files "
            "that end in "
            f"{', '.join(SUFFIXES)}"
        )
    content = read_bytes(path, purpose="prompt set", max_bytes=MAX_BYTES)
    table = _read(content, path)
    if len(table) > MAX_PROMPTS:
        raise DataError(f"{path} has over {MAX_PROMPTS:,} rows; split it into several prompt sets")
    return _columns(_clustered(table, cluster, str(path)), str(path))


def _clustered(table: pd.DataFrame, column: str | None, source: str) -> pd.DataFrame:
    """`table` with the clusters of `column`; None: as it is."""
    if column is None:
        return table
    if column not in table:
        raise DataError(f"{source} has no column {column!r} of clusters; it has {', '.join(map(str, table))}")
    return table.assign(cluster=table[column])


def _embedded() -> pd.DataFrame:
    rows = [
        {
            "prompt_id": task.prompt.prompt_id,
            "text": task.prompt.text,
            "task": task.prompt.task,
            "reference": task.prompt.reference,
            "split": task.split,
        }
        for task in embedded_tasks()
    ]
    return pd.DataFrame(rows)


def _read(content: bytes, path: Path) -> pd.DataFrame:
    try:
        if path.suffix.lower() == ".parquet":
            return read_parquet(content, source=str(path))
        if path.suffix.lower() == ".csv":
            return pd.read_csv(
                io.BytesIO(content), dtype=str, keep_default_na=False, na_values=[""], nrows=MAX_PROMPTS + 1
            )
        return pd.DataFrame(_json_lines(content, path))
    except (ValueError, OSError) as exc:
        raise DataError(f"{path} could not be read as {path.suffix}: {exc}") from exc


def _json_lines(content: bytes, path: Path) -> list[Mapping[str, object]]:
    rows: list[Mapping[str, object]] = []
    for number, line in enumerate(io.BytesIO(content.removeprefix(codecs.BOM_UTF8)), start=1):
        if not line.strip():
            continue
        if len(rows) > MAX_PROMPTS:
            break
        try:
            row = json.loads(line.decode())
        except (ValueError, RecursionError) as exc:
            raise DataError(f"{path}, line {number}, is not JSON: {exc}") from exc
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}, is not a JSON object but {line.decode().strip()[:40]!r}")
        rows.append(row)
    return rows


def _columns(table: pd.DataFrame, source: str) -> pd.DataFrame:
    column = next((name for name in ("text", "prompt") if name in table), None)
    if column is None:
        raise DataError(
            f"{source} has no column 'text' or 'prompt'; it has {', '.join(map(str, table)) or 'none'}"
        )
    text = table[column]
    is_recorded = "arm" in table or "model" in table
    if is_recorded:
        table, text = table[text.notna()], text[text.notna()]
    is_bad = ~text.map(lambda value: isinstance(value, str) and bool(value.strip())).astype(bool)
    if is_bad.any():
        raise DataError(f"{source} has no text in {int(is_bad.sum())} rows, first in row {_first(is_bad)}")
    wanted = {"text": text.astype(object)}
    wanted["prompt_id"] = table["prompt_id"].map(_as_text) if "prompt_id" in table else text.map(_hashed)
    wanted |= {name: table[name].map(_as_text) for name in (*_OPTIONAL, "split") if name in table}
    prompts = pd.DataFrame(wanted)
    prompts = prompts.drop_duplicates() if is_recorded else prompts
    _check_ids(prompts, source)
    return prompts


def _check_ids(prompts: pd.DataFrame, source: str) -> None:
    is_absent = prompts["prompt_id"].isna()
    if is_absent.any():
        raise DataError(f"{source} has no prompt_id in row {_first(is_absent)}")
    repeated = prompts["prompt_id"].duplicated()
    if repeated.any():
        first = prompts["prompt_id"][repeated].iloc[0]
        raise DataError(
            f"{source} has {int(repeated.sum())} repeated prompts, the first of them with the id {first!r}; "
            "give each a "
            "prompt_id of its own"
        )


def _kept(table: pd.DataFrame, column: str, wanted: Sequence[str], *, source: str | Path) -> pd.DataFrame:
    if not wanted:
        return table
    known = sorted(set(table[column].dropna())) if column in table else []
    unknown = [value for value in wanted if value not in known]
    if unknown:
        raise DataError(f"{source} has no {column} {unknown[0]!r}; it has {', '.join(known) or 'none'}")
    return table[table[column].isin(wanted)]


def _prompts(table: pd.DataFrame) -> tuple[Prompt, ...]:
    ids, texts = table["prompt_id"].astype(str), table["text"].astype(str)
    known = [[_as_text(cell) for cell in table.get(name, [None] * len(table))] for name in _OPTIONAL]
    if holds_known_secret(*texts, *(cell for cells in known for cell in cells if cell)):
        raise DataError(
            "one of your own keys is in the prompts, and would be sent to every provider; take it out"
        )
    return tuple(Prompt(*values) for values in zip(ids, texts, *known, strict=True))


def _sample(prompts: Sequence[Prompt], n: int, *, seed: int) -> tuple[Prompt, ...]:
    """`n` prompts, as evenly spread over each task's prompts as their number allows."""
    if n < 1:
        raise DataError(f"n is {n}; at least one prompt must be drawn")
    random = Random(seed)
    drawn: list[tuple[float, int]] = []
    for task in sorted({prompt.task or "" for prompt in prompts}):
        places = [place for place, prompt in enumerate(prompts) if (prompt.task or "") == task]
        random.shuffle(places)
        # A task's k-th prompt gets the rank (k + u) / size: any prefix of the ranks is then stratified.
        shift = random.random()
        drawn += [((k + shift) / len(places), place) for k, place in enumerate(places)]
    return tuple(prompts[place] for place in sorted(place for _, place in sorted(drawn)[:n]))


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _as_text(value: Any) -> str | None:
    """A cell of a user's file as text, a structured one (say, a JSON object) as JSON; None: absent."""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return None if value is None or pd.isna(value) else str(value)


def _first(is_bad: pd.Series) -> int:
    return int(is_bad.to_numpy().argmax()) + 1
