"""What a router learns from: prompts, their features, and what each model made of them.

Dimensions: N prompts, M models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.errors import DataError, InsufficientDataError
from workbench.features import FeatureConfig, PromptFeatures, extract
from workbench.outcomes import pivot, prompt_groups, validate
from workbench.routing.forecast import Floats, KnownModels
from workbench.types import Prompt

_NUMBERS: tuple[Literal["cost_usd", "latency_s", "input_tokens", "output_tokens"], ...] = (
    "cost_usd",
    "latency_s",
    "input_tokens",
    "output_tokens",
)


@dataclass(frozen=True, slots=True)
class TrainingData:
    """An outcome table as matrices. NaN: the model did not see the prompt, or the number is not known.

    `quality`, `cost_usd`, `latency_s`, `input_tokens` and `output_tokens` are [N, M], means over repeats;
    `answers` [N, M] are the texts of the first repeat that has one, or None, and None where the table has no
    responses. Prompts with the same of `groups` [N] must stay in one part of any split. `features` were made
    with `feature_config`.

    Raises:
        InsufficientDataError: fewer than two prompts, or no quality at all.
        DataError: a quality outside [0, 1], or another number that is negative or infinite; names the prompt.
    """

    prompts: tuple[Prompt, ...]
    groups: NDArray[np.int64]
    model_ids: tuple[str, ...]
    quality: Floats
    cost_usd: Floats
    latency_s: Floats
    input_tokens: Floats
    output_tokens: Floats
    answers: NDArray[np.object_] | None
    features: PromptFeatures
    feature_config: FeatureConfig

    def __post_init__(self) -> None:
        self._reject("quality", self.quality, (self.quality < 0.0) | (self.quality > 1.0), "in [0, 1]")
        for column in _NUMBERS:
            values = getattr(self, column)
            self._reject(column, values, (values < 0.0) | np.isinf(values), "a finite number >= 0")
        if len(self.prompts) < 2 or not np.isfinite(self.quality).any():
            raise InsufficientDataError(
                f"a router cannot be fitted on {len(self.prompts)} prompts with "
                f"{int(np.isfinite(self.quality).sum())} scored answers; it needs two prompts or more"
            )

    @property
    def models(self) -> KnownModels:
        """What is known of each model without looking at the prompt."""
        return KnownModels(
            model_ids=self.model_ids,
            quality=column_means(self.quality),
            cost_usd=column_means(self.cost_usd),
            latency_s=column_means(self.latency_s),
        )

    def rows(self, chosen: NDArray[np.int64]) -> "TrainingData":
        """The same models on some of the prompts, by position."""
        return TrainingData(
            prompts=tuple(self.prompts[i] for i in chosen),
            groups=self.groups[chosen],
            model_ids=self.model_ids,
            quality=self.quality[chosen],
            cost_usd=self.cost_usd[chosen],
            latency_s=self.latency_s[chosen],
            input_tokens=self.input_tokens[chosen],
            output_tokens=self.output_tokens[chosen],
            answers=None if self.answers is None else self.answers[chosen],
            features=self.features.rows(chosen),
            feature_config=self.feature_config,
        )

    def _reject(self, column: str, values: Floats, is_bad: NDArray[np.bool_], allowed: str) -> None:
        if not is_bad.any():
            return
        row, model = np.argwhere(is_bad)[0]
        raise DataError(
            f"{column} of {self.model_ids[model]} for prompt {self.prompts[row].prompt_id!r} is "
            f"{values[row, model]}; it must be {allowed}"
        )


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
        for column in _NUMBERS
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


def parts_by_group(groups: NDArray[np.int64], n_parts: int, *, seed: int) -> NDArray[np.int64]:
    """[N] the part, 0 to n_parts - 1, of each prompt; those of one group are in one part."""
    _, codes = np.unique(groups, return_inverse=True)
    order = np.random.default_rng(seed).permutation(int(codes.max()) + 1)
    return (order % n_parts)[codes]


def _reject_infinite(table: pd.DataFrame) -> None:
    """Before the schema's own check, which would name the row and not the prompt."""
    for column in ("quality", *_NUMBERS):
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


def column_means(values: Floats) -> Floats:
    """[M] the mean of what was seen; NaN for a column of which nothing was."""
    seen = np.isfinite(values)
    totals, counts = np.where(seen, values, 0.0).sum(axis=0), seen.sum(axis=0)
    means: Floats = np.divide(totals, counts, out=np.full(values.shape[1], np.nan), where=counts > 0)
    return means
