"""An outcome table as what a router learns from. Dimensions: N prompts, M models."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.errors import DataError, InsufficientDataError
from workbench.features import FeatureConfig, extract
from workbench.outcomes import pivot, prompt_groups, validate
from workbench.routing.training_data import NUMBERS, TrainingData
from workbench.types import Prompt


def from_table(
    table: pd.DataFrame,
    *,
    model_ids: Mapping[str, str] | None = None,
    feature_config: FeatureConfig | None = None,
) -> TrainingData:
    """What an outcome table teaches: the mean of a model's repeats, an error counting as quality 0.

    A row's model is `provider/model` where the table has both, else `replay/<arm>`; `model_ids` gives
    the id of an arm by name and goes before either.

    Raises:
        InsufficientDataError: the table is empty, or has one prompt.
        DataError: there is no prompt text or quality, or a row of them cannot be used.
    """
    _reject_infinite(table)
    table = _scored(validate(table)) if not table.empty else table
    if table.empty:
        raise InsufficientDataError("the outcome table has no scored row to learn from")
    table = table.assign(arm=_row_model_ids(table, model_ids or {}))
    quality = pivot(table, "quality")
    numbers = {
        column: (pivot(table, column) if column in table else quality * np.nan).to_numpy(dtype=np.float64)
        for column in NUMBERS
    }
    prompts = _prompts(table)
    config = feature_config or FeatureConfig()
    return TrainingData(
        prompts=prompts,
        groups=_first_of_prompt(prompt_groups(table), table),
        model_ids=tuple(str(name) for name in quality.columns),
        quality=quality.to_numpy(dtype=np.float64),
        answers=_answers(table, quality),
        features=extract([prompt.text for prompt in prompts], config),
        feature_config=config,
        **numbers,
    )


def _reject_infinite(table: pd.DataFrame) -> None:
    """Before the schema's own check, which would name the row and not the prompt."""
    for column in ("quality", *NUMBERS):
        if column not in table or "prompt_id" not in table:
            continue
        is_infinite = np.isinf(pd.to_numeric(table[column], errors="coerce").astype("float64"))
        if is_infinite.any():
            prompt_id = table.loc[is_infinite, "prompt_id"].iloc[0]
            raise DataError(f"{column} of prompt {prompt_id!r} is infinite; correct or drop the row")


def _scored(table: pd.DataFrame) -> pd.DataFrame:
    missing = [column for column in ("prompt", "quality") if column not in table]
    if missing:
        raise DataError(f"a router learns from prompts and their quality; this table has no {missing[0]!r}")
    if "error" in table:
        failed = table["error"].notna() & table["quality"].isna()
        table = table.assign(quality=table["quality"].mask(failed, 0.0))
    table = table[table["quality"].notna()]
    without_text = table.loc[table["prompt"].isna(), "prompt_id"]
    if len(without_text):
        raise DataError(
            f"prompt {without_text.iloc[0]!r} has no text to learn from (column 'prompt'); drop its rows"
        )
    return table


def _row_model_ids(table: pd.DataFrame, model_ids: Mapping[str, str]) -> pd.Series:
    named = table["arm"].map(lambda arm: model_ids.get(arm, pd.NA)).astype("string")
    if {"provider", "model"} <= set(table.columns):
        named = named.fillna(table["provider"] + "/" + table["model"])
    return named.fillna("replay/" + table["arm"])


def _prompts(table: pd.DataFrame) -> tuple[Prompt, ...]:
    first = table.drop_duplicates("prompt_id")
    tasks: Sequence[str | None] = (
        first["task"].astype(object).where(first["task"].notna(), None).tolist()
        if "task" in first
        else [None] * len(first)
    )
    return tuple(
        Prompt(str(prompt_id), str(text), task=task)
        for prompt_id, text, task in zip(first["prompt_id"], first["prompt"], tasks, strict=True)
    )


def _answers(table: pd.DataFrame, quality: pd.DataFrame) -> NDArray[np.object_] | None:
    """[N, M] in the order of `quality`; None where no row has a response."""
    if "response" not in table or table["response"].isna().all():
        return None
    given = table[table["response"].notna()].sort_values("repeat", kind="stable")
    first = given.drop_duplicates(["prompt_id", "arm"]).pivot(
        index="prompt_id", columns="arm", values="response"
    )
    answers: NDArray[np.object_] = first.reindex(index=quality.index, columns=quality.columns).to_numpy(
        dtype=object, copy=True
    )
    answers[pd.isna(answers)] = None
    return answers


def _first_of_prompt(groups: pd.Series, table: pd.DataFrame) -> NDArray[np.int64]:
    codes, _ = pd.factorize(groups[~table["prompt_id"].duplicated()])
    return codes.astype(np.int64)
