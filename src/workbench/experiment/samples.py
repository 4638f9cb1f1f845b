"""The answers behind a difference: the prompts on which two arms differ most, side by side."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from workbench.experiment.analysis import Analysis, Comparison
from workbench.experiment.scores import Scores, scores
from workbench.experiment.wording import printable, shortened

_MOST, _MOST_PER_COMPARISON = 12, 4
_CHARACTERS = 900
NOT_KEPT = "(not kept)"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an arm said to a prompt the first time, shortened; the error's class where it failed."""

    arm: str
    quality: str
    text: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt, shortened, and the answers of the control and of the arm."""

    prompt_id: str
    prompt: str
    answers: tuple[Answer, Answer]


def samples(analysis: Analysis, table: pd.DataFrame) -> list[tuple[Comparison, list[Sample]]]:
    """For each comparison the prompts on which arm and control differ most, in both directions.

    Texts are printable and shortened, not escaped. Without kept responses, or differences, it is empty.
    """
    if "response" not in table or table["response"].isna().all():
        return []
    observed = scores(table, metric=analysis.metric, arms=[summary.arm for summary in analysis.arms])
    n = max(1, min(_MOST_PER_COMPARISON, _MOST // max(1, len(analysis.comparisons))))
    chosen = [(comparison, _most_different(observed, comparison, n=n)) for comparison in analysis.comparisons]
    wanted = {name for _, names in chosen for name in names}
    first = table[table["prompt_id"].isin(wanted)].drop_duplicates(["arm", "prompt_id"])
    records = {(row["arm"], row["prompt_id"]): row for row in first.to_dict("records")}
    return [
        (comparison, [_sample(records, comparison, name, metric=analysis.metric) for name in names])
        for comparison, names in chosen
        if names
    ]


def _most_different(observed: Scores, comparison: Comparison, *, n: int) -> list[str]:
    """Up to `n` prompt ids: where the arm is furthest above the control, then where furthest below."""
    difference = (observed.quality[comparison.arm] - observed.quality[comparison.control]).dropna()
    above = difference[difference > 0.0].sort_values(ascending=False, kind="stable").index
    below = difference[difference < 0.0].sort_values(kind="stable").index
    kept = list(above[: max((n + 1) // 2, n - len(below))])
    return [str(name) for name in [*kept, *below[: n - len(kept)]]]


_Row = Mapping[Hashable, Any]  # a row of a table whose columns are outcomes.COLUMNS


def _sample(
    records: Mapping[tuple[str, str], _Row], comparison: Comparison, prompt_id: str, *, metric: str
) -> Sample:
    control, arm = records[comparison.control, prompt_id], records[comparison.arm, prompt_id]
    return Sample(
        prompt_id=printable(prompt_id),
        prompt=_text(arm, "prompt"),
        answers=(_answer(control, metric=metric), _answer(arm, metric=metric)),
    )


def _answer(row: _Row, *, metric: str) -> Answer:
    arm = printable(str(row["arm"]))
    if "error" in row and pd.notna(row["error"]):
        return Answer(arm, "0 (error)", _text(row, "error"))
    quality: str = "not scored" if pd.isna(row[metric]) else f"{float(row[metric]):.2g}"
    return Answer(arm, quality, _text(row, "response"))


def _text(row: _Row, column: str) -> str:
    if column not in row or pd.isna(row[column]):
        return NOT_KEPT
    return shortened(str(row[column]), limit=_CHARACTERS)
