"""Labels by people: a blinded sheet of answers to judge, and what was written into it.

A sheet is a CSV file with a row an answer: `label_id`, the prompt, the answer, and two empty columns, `label`
and `labeller`. The id tells nothing of the arm, the order is random, no cell is a formula to spreadsheets.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pandas as pd

from workbench import outcomes
from workbench.errors import DataError, InsufficientDataError
from workbench.experiment.journal import Key
from workbench.experiment.wording import shortened
from workbench.storage import read_bytes, write_text

HUMAN_QUALITY = "human_quality"
"""The column of an outcome table that has the mean label of each answer."""

COLUMNS = ("label_id", "prompt", "response", "label", "labeller")
_WORDS: Mapping[str, float] = {"wrong": 0.0, "partly": 0.5, "right": 1.0}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a cell that a spreadsheet would compute begins with: https://owasp.org/www-community/attacks/CSV_Injection"""

_MAX_BYTES = 64 * 2**20
_MOST_CHARACTERS = 30_000
"""Of a cell; a spreadsheet takes 32,767."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to be labelled, without a word of who gave it."""

    label_id: str
    prompt_id: str
    prompt: str
    response: str


@dataclass(frozen=True, slots=True)
class Label:
    """What one person says of one answer, in [0, 1]."""

    label_id: str
    label: float
    labeller: str = ""


def blinded(key: Key) -> str:
    """A name of an answer that says nothing of its arm.

    >>> blinded(("p1", "small", 0)) == blinded(("p1", "small", 0)) != blinded(("p1", "large", 0))
    True
    """
    prompt_id, arm, repeat = key
    named = f"{len(prompt_id)}:{prompt_id}{len(arm)}:{arm}{repeat}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(named, digest_size=8).hexdigest()


def answers_to_label(table: pd.DataFrame, *, n: int, seed: int = 0) -> list[Answer]:
    """At least `n` answers in random order: of prompts drawn at random, the first answer of every arm.

    So arms can be compared on the same prompts. All answers, where there are fewer.

    Raises:
        InsufficientDataError: the table keeps no answers.
    """
    kept = [name for name in ("prompt", "response") if name not in table]
    if kept:
        raise InsufficientDataError(
            f"the outcome table has no column {kept[0]!r}, so nothing can be labelled"
        )
    rows = table[(table["repeat"] == 0) & table["response"].notna()]
    if rows.empty:
        raise InsufficientDataError("the outcome table keeps no answers, so nothing can be labelled")
    random, chosen = Random(seed), list[Answer]()
    by_prompt = {str(prompt_id): part for prompt_id, part in rows.groupby("prompt_id", sort=True)}
    for prompt_id in random.sample(sorted(by_prompt), len(by_prompt)):
        if len(chosen) >= n:
            break
        part = by_prompt[prompt_id]
        texts = zip(part["arm"], part["prompt"].fillna(""), part["response"], strict=True)
        chosen += [
            Answer(blinded((prompt_id, str(arm), 0)), prompt_id, str(prompt), str(response))
            for arm, prompt, response in texts
        ]
    random.shuffle(chosen)
    return chosen


def write_sheet(path: Path, answers: Iterable[Answer], labels: Iterable[Label] = ()) -> None:
    """Write a sheet, whole or not at all, with the `labels` that there are already."""
    given: dict[str, list[Label]] = {}
    for label in labels:
        given.setdefault(label.label_id, []).append(label)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for answer in answers:
        shown = answer.label_id, _cell(answer.prompt), _cell(answer.response)
        for label in given.get(answer.label_id, []):
            writer.writerow([*shown, f"{label.label:g}", _cell(label.labeller)])
        if answer.label_id not in given:
            writer.writerow([*shown, "", ""])
    write_text(path, text.getvalue())


def read_labels(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The labels in a CSV file: columns prompt_id, arm, repeat, label, labeller.

    Rows without a label are passed over. An answer is named by `label_id`, or by `prompt_id` and `arm` (and
    `repeat`). A label is a number in [0, 1], or wrong, partly or right.

    Raises:
        StorageError: there is no such file.
        DataError: names the line: an answer that is not in the table, no label, or a second label by the same
            labeller for one answer.
    """
    rows = _rows(path)
    keys = [(str(p), str(a), int(r)) for p, a, r in zip(*(table[c] for c in outcomes.KEY), strict=True)]
    known, by_id = set(keys), {blinded(key): key for key in keys}
    read: dict[tuple[Key, str], float] = {}
    for line, row in rows:
        if not row.get("label", "").strip():
            continue
        key = _key(row, known, by_id, where=f"{path}, line {line}")
        labeller = row.get("labeller", "").strip()
        if (key, labeller) in read:
            who = f"by {labeller!r}" if labeller else "without a labeller"
            raise DataError(f"{path}, line {line}, is a second label {who} for one answer; keep one of them")
        read[key, labeller] = _number(row["label"], where=f"{path}, line {line}")
    labels = [(*key, label, labeller) for (key, labeller), label in read.items()]
    return pd.DataFrame(labels, columns=[*outcomes.KEY, "label", "labeller"])


def with_labels(table: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """The table with `human_quality`, the mean of the labels of each answer; absent: it has none."""
    mean = labels.groupby(outcomes.KEY)["label"].mean()
    keys = pd.MultiIndex.from_frame(table[outcomes.KEY].astype({"repeat": int}))
    human = pd.Series(mean.reindex(keys).to_numpy(dtype="float64"), index=table.index)
    return table.assign(**{HUMAN_QUALITY: human})


def sheet_labels(path: Path, answers: Sequence[Answer]) -> list[Label]:
    """The labels of `answers` in a sheet; none where there is no file yet.

    Raises:
        DataError: a label is none.
    """
    known = {answer.label_id for answer in answers}
    return [
        Label(
            row["label_id"],
            _number(row["label"], where=f"{path}, line {line}"),
            _bare(row.get("labeller") or ""),
        )
        for line, row in (_rows(path) if path.exists() else [])
        if row.get("label_id", "") in known and row.get("label", "").strip()
    ]


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Each row with the number of the line that it ends on."""
    content = read_bytes(path, purpose="labels", max_bytes=_MAX_BYTES)
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        fields = set(reader.fieldnames or ())
        rows = [
            (reader.line_num, {name: cell or "" for name, cell in row.items() if isinstance(name, str)})
            for row in reader
        ]
    except (UnicodeDecodeError, csv.Error) as exc:
        raise DataError(f"{path} could not be read as CSV in UTF-8: {exc}") from exc
    if "label" not in fields or not ("label_id" in fields or {"prompt_id", "arm"} <= fields):
        raise DataError(
            f"{path} needs the columns label, and label_id or prompt_id and arm; it has {sorted(fields)}"
        )
    return rows


def _key(row: Mapping[str, str], known: set[Key], by_id: Mapping[str, Key], *, where: str) -> Key:
    if row.get("label_id"):
        key = by_id.get(row["label_id"].strip())
    else:
        repeat = row.get("repeat", "").strip() or "0"
        key = (row["prompt_id"], row["arm"], int(repeat) if repeat.isdecimal() else -1)
    if key is None or key not in known:
        named = row.get("label_id") or f"{row.get('prompt_id')} of {row.get('arm')}"
        raise DataError(f"{where}: the answer {named!r} is not one of this run")
    return key


def _number(label: str, *, where: str) -> float:
    word = label.strip().casefold()
    try:
        number = _WORDS[word] if word in _WORDS else float(word)
    except ValueError:
        number = float("nan")
    if not 0.0 <= number <= 1.0:
        raise DataError(
            f"{where}: {label[:40]!r} is no label; write a number from 0 to 1, or {', '.join(_WORDS)}"
        )
    return number


def _cell(text: str) -> str:
    """Text for a spreadsheet: printable, not too long, and never a formula."""
    shown = shortened(text, limit=_MOST_CHARACTERS)
    return f"'{shown}" if shown.lstrip(" \n").startswith(_FORMULA) else shown


def _bare(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell
