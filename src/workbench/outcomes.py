"""The outcome table: one row for what one arm did with one prompt. Everything makes, reads or explains one.

| column | type | meaning; what absence means |
|---|---|---|
| prompt_id | text, never absent | the prompt; all arms' rows of one prompt are one pair |
| arm | text, never absent | the arm of the experiment; in a recorded benchmark, the model |
| prompt | text | what was asked; absent where it may not be kept |
| task | text | the kind of prompt, for tables by task |
| cluster | text | prompts that are not independent share one; absent: each prompt is its own |
| model | text | the model that answered (for a router's arm: the one it chose) |
| provider | text | who served it |
| response | text | the answer, verbatim; absent where it was not kept, or there was an error |
| quality | number in [0, 1] | the score of the answer; absent: not scored (an error then counts as 0) |
| cost_usd | number >= 0 | what all attempts cost; absent: no price is known, or answered from a cache |
| latency_s | number >= 0 | from sending the first attempt to the last byte |
| input_tokens, output_tokens | whole number >= 0 | as the provider counted |
| error | text | the class of the error; absent: answered |
| propensity | number in (0, 1] | probability of the router's choice; absent: `model` is none |
| repeat | whole number >= 0 | 0 for the first call of this arm with this prompt |
| split | text | train, test, ... as the maker of the table divided it |
| price_date | text, YYYY-MM-DD | the date of the price that `cost_usd` was computed from |

A table may lack any column but `prompt_id` and `arm`, and may have others, which are kept. On disk it is
Parquet. One row per (prompt_id, arm, repeat).
"""

import hashlib
import io
from collections.abc import Iterable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.errors import DataError, InsufficientDataError
from workbench.storage import read_bytes, write_atomically
from workbench.types import Outcome
from workbench.types import normalise as normalise

_TEXT = (
    "prompt_id",
    "arm",
    "prompt",
    "task",
    "cluster",
    "model",
    "provider",
    "response",
    "error",
    "split",
    "price_date",
)
_FLOAT = ("quality", "cost_usd", "latency_s", "propensity")
_INT = ("input_tokens", "output_tokens", "repeat")
COLUMNS: tuple[str, ...] = (
    "prompt_id", "prompt", "task", "cluster", "arm", "model", "provider", "response", "quality", "cost_usd",
    "latency_s", "input_tokens", "output_tokens", "error", "propensity", "repeat", "split", "price_date",
)  # fmt: skip
_NAMES = ("prompt_id", "task", "cluster", "arm", "model", "response", "split")
KEY = ["prompt_id", "arm", "repeat"]
MAX_ROWS = 10_000_000
MAX_DECODED_BYTES = 4 * 2**30
_BATCH_ROWS = 1024
_values = attrgetter(*COLUMNS)


def from_outcomes(outcomes: Iterable[Outcome]) -> pd.DataFrame:
    """The table of `outcomes`, every column of the schema present, validated."""
    return validate(pd.DataFrame([_values(outcome) for outcome in outcomes], columns=list(COLUMNS)))


def validate(table: pd.DataFrame) -> pd.DataFrame:
    """A copy of `table` with the schema's types and order, `repeat` filled in, other columns last.

    Raises:
        DataError: names the column, what is wrong, and the first rows in which it is.
    """
    missing = [column for column in ("prompt_id", "arm") if column not in table]
    if missing:
        raise DataError(
            f"an outcome table needs the column {missing[0]!r}; this one has {list(table.columns)}"
        )
    table = table.reset_index(drop=True)
    typed = {column: _typed(table[column]) for column in COLUMNS if column in table}
    typed.setdefault("repeat", pd.Series(0, index=table.index, dtype="Int64"))
    extra = {column: table[column] for column in table if column not in typed}
    table = pd.DataFrame(typed | extra)[[c for c in COLUMNS if c in typed] + list(extra)]
    for column in ("prompt_id", "arm", "repeat"):
        _reject(table[column], table[column].isna(), "is absent")
    _check_ranges(table)
    _reject(
        table["prompt_id"],
        table.duplicated(KEY),
        "repeats an earlier row of the same prompt_id, arm and repeat",
    )
    return table


def read(path: Path) -> pd.DataFrame:
    """A validated outcome table from Parquet. A table of models without `arm` gets `arm` = `model`.

    Names, tasks and responses that are whole numbers become text, as `7` becomes "7".

    Raises:
        StorageError: there is no such file.
        DataError: it is not Parquet, not an outcome table, or too large (`read_parquet`).
    """
    table = read_parquet(read_bytes(path, purpose="outcome table"), source=str(path))
    if "arm" not in table and "model" in table:
        table["arm"] = table["model"]
    numbered = [name for name in _NAMES if name in table and pd.api.types.is_integer_dtype(table[name])]
    return validate(table.astype(dict.fromkeys(numbered, "string")))


def read_parquet(content: bytes, *, source: str, max_bytes: int = MAX_DECODED_BYTES) -> pd.DataFrame:
    """The table in a Parquet file, which can be a thousand times larger than the file.

    Raises:
        DataError: it is not Parquet, or is over 10 million rows or `max_bytes` once decoded; reading stops
            there. `source` names the file in the error.
    """
    try:
        file = pq.ParquetFile(io.BytesIO(content))
        if file.metadata.num_rows > MAX_ROWS:
            raise DataError(f"{source} has {file.metadata.num_rows:,} rows; at most {MAX_ROWS:,} are read")
        batches, n_bytes = [], 0
        for batch in file.iter_batches(_BATCH_ROWS):
            batches.append(batch)
            n_bytes += batch.nbytes
            if n_bytes > max_bytes:
                raise DataError(f"{source} unpacks to more than {max_bytes:,} bytes, which is not read on")
        table: pd.DataFrame = pa.Table.from_batches(batches, file.schema_arrow).to_pandas()
    except (pa.ArrowException, OSError) as exc:
        raise DataError(f"{source} is not a whole Parquet file: {exc}") from exc
    return table


def write(table: pd.DataFrame, path: Path) -> None:
    """Validate `table` and write it to `path` as Parquet, whole or not at all."""
    arrow = pa.Table.from_pandas(validate(table), preserve_index=False)
    write_atomically(path, lambda file: pq.write_table(arrow, file, compression="zstd"))


def digest(table: pd.DataFrame) -> str:
    """SHA-256 of the content: the same for the same rows in any order of rows or columns.

    Numbers count to 12 significant digits; absent is not the same as empty.
    """
    table = validate(table).sort_values(KEY, kind="stable")
    content = hashlib.sha256()
    for name in sorted(table.columns):
        values = table[name].astype(object)
        cells = [_cell(str(name)), *map(_cell, values.where(values.notna(), None))]
        content.update("".join(cells).encode("utf-8", "surrogatepass"))
    return content.hexdigest()


def split_by_prompt(
    table: pd.DataFrame,
    fractions: Sequence[float] = (0.8, 0.2),
    *,
    names: Sequence[str] = ("train", "test"),
    seed: int = 0,
) -> pd.Series:
    """[N rows] the name of each row's part, so that no prompt is in two parts.

    Prompts that are the same after folding case and white space count as one, and so do those of one
    cluster. The part follows from the prompt's text and the seed alone: more rows do not move others.

    Raises:
        DataError: the fractions do not add up to 1, or there is not a name for each.
    """
    if len(fractions) != len(names) or not abs(sum(fractions) - 1.0) <= 1e-9 or min(fractions) < 0:
        raise DataError(f"fractions {list(fractions)} must be one per name of {list(names)} and add up to 1")
    groups = prompt_groups(table)
    bounds = np.cumsum(fractions)[:-1]
    part = {
        group: names[int(np.searchsorted(bounds, _uniform(group, seed), side="right"))]
        for group in groups.unique()
    }
    return groups.map(part).rename("split")


def prompt_groups(table: pd.DataFrame) -> pd.Series:
    """[N rows] a name for the rows that must stay together: of one prompt, its duplicates, its cluster."""
    texts = (
        table["prompt"].map(normalise, na_action="ignore")
        if "prompt" in table
        else pd.Series(pd.NA, table.index)
    )
    keys = pd.DataFrame({"id": table["prompt_id"], "text": texts.fillna(table["prompt_id"])})
    if "cluster" in table:
        keys["cluster"] = table["cluster"].fillna(table["prompt_id"])
    return _connected(keys)


def pivot(
    table: pd.DataFrame,
    values: Literal["quality", "cost_usd", "latency_s", "input_tokens", "output_tokens"] = "quality",
) -> pd.DataFrame:
    """[prompts x arms] the mean of `values` over repeats; NaN where an arm did not see a prompt.

    Rows are in order of first appearance, columns sorted.

    Raises:
        DataError: the table lacks the column.
        InsufficientDataError: it has no rows.
    """
    if values not in table:
        raise DataError(f"this outcome table has no column {values!r}")
    if table.empty:
        raise InsufficientDataError("the outcome table has no rows")
    numbers = table[["prompt_id", "arm"]].assign(value=table[values].astype("float64"))
    matrix = numbers.groupby(["prompt_id", "arm"], sort=False)["value"].mean().unstack("arm")
    return matrix.reindex(index=table["prompt_id"].unique(), columns=sorted(matrix.columns))


def _cell(value: object) -> str:
    """The value with its length before it, so that no two lists of values read the same when joined."""
    if value is None:
        return "-"
    text = f"{value:.12g}" if isinstance(value, float) else str(value)
    return f"{len(text)}:{text}"


def _typed(column: pd.Series) -> pd.Series:
    name = str(column.name)
    if name in _TEXT:
        if not isinstance(column.dtype, pd.StringDtype):
            is_text = column.map(lambda value: isinstance(value, str) or pd.isna(value)).astype(bool)
            _reject(column, ~is_text, "is not text")
        return column.astype("string")
    numbers = pd.to_numeric(column, errors="coerce").astype("Float64")
    _reject(column, numbers.isna() & column.notna(), "is not a number")
    if name in _FLOAT:
        return numbers.astype("float64")
    _reject(column, (numbers != numbers.round()).fillna(False), "is not a whole number")
    return numbers.astype("Int64")


def _check_ranges(table: pd.DataFrame) -> None:
    for name in (*_FLOAT, *_INT):
        if name not in table:
            continue
        numbers = table[name].astype("float64")
        upper = 1.0 if name in ("quality", "propensity") else np.finfo(float).max
        is_outside = (numbers < 0.0) | (numbers > upper) | ((numbers == 0.0) & (name == "propensity"))
        allowed = {"quality": "in [0, 1]", "propensity": "in (0, 1]"}.get(name, "a finite number >= 0")
        _reject(table[name], is_outside, f"is not {allowed}")


def _reject(column: pd.Series, is_bad: pd.Series, what: str) -> None:
    if not is_bad.any():
        return
    first = ", ".join(f"row {index}: {str(column.loc[index])[:40]!r}" for index in column.index[is_bad][:3])
    raise DataError(f"column {column.name!r} {what} in {int(is_bad.sum())} of {len(column)} rows ({first})")


def _uniform(group: str, seed: int) -> float:
    """A number in [0, 1) that depends on `group` and `seed` alone."""
    return (
        int.from_bytes(hashlib.blake2b(f"{seed}\0{group}".encode(), digest_size=8).digest(), "big") / 2.0**64
    )


def _connected(keys: pd.DataFrame) -> pd.Series:
    """[N] one name for all rows linked by an equal value in any column of `keys`."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(keys)
    rows, nodes, offset = [], [], n
    for name in keys:
        codes, uniques = pd.factorize(keys[name])
        rows.append(np.arange(n))
        nodes.append(codes + offset)
        offset += len(uniques)
    edges = (np.ones(n * len(rows), dtype=np.int8), (np.concatenate(rows), np.concatenate(nodes)))
    _, labels = connected_components(coo_array(edges, shape=(offset, offset)), directed=False)
    name_of_label = keys["text"].groupby(labels[:n]).min()
    return pd.Series(labels[:n], index=keys.index).map(name_of_label)
