"""What a router learns from: prompts, their features, and what each model made of them.

Arrays only: a router that serves needs no pandas. `training_table` makes it from an outcome table.
Dimensions: N prompts, M models.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError, InsufficientDataError
from workbench.features import FeatureConfig, PromptFeatures
from workbench.routing.forecast import Floats, KnownModels
from workbench.types import Prompt

NumberColumn = Literal["cost_usd", "latency_s", "input_tokens", "output_tokens"]
NUMBERS: tuple[NumberColumn, ...] = ("cost_usd", "latency_s", "input_tokens", "output_tokens")
"""Columns of an outcome table that say what an answer took."""


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
        for column in NUMBERS:
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


def parts_by_group(groups: NDArray[np.int64], n_parts: int, *, seed: int) -> NDArray[np.int64]:
    """[N] the part, 0 to n_parts - 1, of each prompt; those of one group are in one part."""
    _, codes = np.unique(groups, return_inverse=True)
    order = np.random.default_rng(seed).permutation(int(codes.max()) + 1)
    return (order % n_parts)[codes]


def column_means(values: Floats) -> Floats:
    """[M] the mean of what was seen; NaN for a column of which nothing was."""
    seen = np.isfinite(values)
    totals, counts = np.where(seen, values, 0.0).sum(axis=0), seen.sum(axis=0)
    means: Floats = np.divide(totals, counts, out=np.full(values.shape[1], np.nan), where=counts > 0)
    return means
