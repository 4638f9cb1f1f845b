"""The log of a router that served prompts, made ready to say what another one would have achieved.

It is an outcome table whose rows have a `propensity`. Dimensions: N rows of it, M models.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.errors import DataError, InsufficientDataError
from workbench.outcomes import prompt_groups, validate
from workbench.routing.training_data import TrainingData, parts_by_group
from workbench.routing.training_table import from_table
from workbench.stats.policy_log import Floats, PolicyLog
from workbench.types import Prompt

_COLUMNS = ("prompt", "provider", "model", "quality", "propensity")


class Rewards(Protocol):
    """[N, M] what is expected of each model for each prompt; NaN: not known."""

    @property
    def quality(self) -> Floats:
        """In [0, 1]."""
        ...

    @property
    def cost_usd(self) -> Floats:
        """US dollars a call."""
        ...


RewardModel = Callable[[Sequence[Prompt]], Rewards]
FitRewards = Callable[[TrainingData], RewardModel]
"""Fitted on some prompts, asked about others; the columns are the training data's models."""


@dataclass(frozen=True, slots=True)
class MeanRewards:
    """Each model's mean over the training rows, whatever the prompt; [N, M]."""

    quality: Floats
    cost_usd: Floats


@dataclass(frozen=True, slots=True, eq=False)
class ServedLog:
    """A log made ready: what was asked, what was chosen, and a reward model's cross-fitted predictions.

    `candidates` are what a router may choose from, `models` [M] these and all others that were logged. `cost`
    is None where the cost of some row is not known. `notes` say which rows were left out.
    """

    prompts: tuple[Prompt, ...]
    candidates: tuple[str, ...]
    models: tuple[str, ...]
    quality: PolicyLog
    cost: PolicyLog | None
    expected_quality: Floats
    expected_cost_usd: Floats
    notes: tuple[str, ...]


def served_log(
    table: pd.DataFrame,
    *,
    candidates: Sequence[str] | None = None,
    fit_rewards: FitRewards | None = None,
    n_folds: int = 5,
    seed: int = 0,
) -> ServedLog:
    """The rows of `table` that a router chose, made ready for `value_of` any number of routers.

    An error counts as quality 0. Rows of one prompt, its duplicates or its cluster are one cluster, and in
    one fold of the reward model.

    Args:
        candidates: `provider/model` ids; None: all models of the log.
        fit_rewards: such as `lambda data: fit("knn", data).forecast`; None: `mean_rewards`.
    Raises:
        DataError: a column is absent, or a chosen row has no prompt, provider or model.
        InsufficientDataError: fewer than two prompts were chosen for and scored.
    """
    rows, notes = _chosen_rows(table)
    logged = rows["provider"] + "/" + rows["model"]
    offered = tuple(dict.fromkeys(candidates)) if candidates else tuple(sorted(logged.unique()))
    models = offered + tuple(sorted(set(logged.unique()) - set(offered)))
    action = pd.Categorical(logged, categories=list(models)).codes.astype(np.int64)
    clusters = _clusters(rows)
    costs = rows["cost_usd"].to_numpy(dtype=np.float64) if "cost_usd" in rows else np.full(len(rows), np.nan)
    if np.isnan(costs).any():
        notes += (f"no cost: {int(np.isnan(costs).sum())} of {len(rows)} rows have no cost_usd",)
    expected = _cross_fitted(rows, models, fit_rewards or mean_rewards, n_folds=n_folds, seed=seed)
    propensity = rows["propensity"].to_numpy(dtype=np.float64)
    quality = rows["quality"].to_numpy(dtype=np.float64)
    return ServedLog(
        prompts=_prompts(rows),
        candidates=offered,
        models=models,
        quality=PolicyLog(action, propensity, quality, clusters),
        cost=(
            None if np.isnan(costs).any() else PolicyLog(action, propensity, costs, clusters, (0.0, np.inf))
        ),
        expected_quality=expected.quality,
        expected_cost_usd=expected.cost_usd,
        notes=notes,
    )


def mean_rewards(data: TrainingData) -> RewardModel:
    """The simplest reward model: each model's mean quality and cost."""
    known = data.models

    def expect(prompts: Sequence[Prompt]) -> Rewards:
        shape = (len(prompts), len(known.model_ids))
        return MeanRewards(np.broadcast_to(known.quality, shape), np.broadcast_to(known.cost_usd, shape))

    return expect


def _chosen_rows(table: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows that a router chose and that have a score, and what was left out."""
    table = validate(table)
    missing = [column for column in _COLUMNS if column not in table]
    if missing:
        raise DataError(f"a log to evaluate a router on needs the column {missing[0]!r}; this table has none")
    chosen = table[table["propensity"].notna()]
    for column in ("prompt", "provider", "model"):
        absent = chosen.index[chosen[column].isna()]
        if len(absent):
            raise DataError(f"row {absent[0]} was chosen by a router, but its {column!r} is absent")
    if "error" in chosen:
        failed = chosen["error"].notna() & chosen["quality"].isna()
        chosen = chosen.assign(quality=chosen["quality"].mask(failed, 0.0))
    scored = chosen[chosen["quality"].notna()].reset_index(drop=True)
    if scored["prompt_id"].nunique() < 2:
        raise InsufficientDataError(
            f"{len(scored)} rows have a propensity and a quality; to evaluate a router takes two prompts"
        )
    return scored, _left_out(table, chosen, scored)


def _left_out(table: pd.DataFrame, chosen: pd.DataFrame, scored: pd.DataFrame) -> tuple[str, ...]:
    counts = {
        "were not chosen by a router (no propensity)": len(table) - len(chosen),
        "were not scored (no quality)": len(chosen) - len(scored),
    }
    return tuple(f"left out: {n} of {len(table)} rows {why}" for why, n in counts.items() if n)


def _clusters(rows: pd.DataFrame) -> NDArray[np.int64] | None:
    codes, names = pd.factorize(prompt_groups(rows))
    return codes.astype(np.int64) if len(names) < len(rows) else None


def _prompts(rows: pd.DataFrame) -> tuple[Prompt, ...]:
    tasks = rows["task"] if "task" in rows else pd.Series(pd.NA, index=rows.index)
    return tuple(
        Prompt(str(prompt_id), str(text), task=None if pd.isna(task) else str(task))
        for prompt_id, text, task in zip(rows["prompt_id"], rows["prompt"], tasks, strict=True)
    )


def _cross_fitted(
    rows: pd.DataFrame, models: tuple[str, ...], fit_rewards: FitRewards, *, n_folds: int, seed: int
) -> MeanRewards:
    """[N, M] of each row, by a reward model that was fitted on the other folds."""
    data = from_table(rows)
    fold = parts_by_group(data.groups, min(n_folds, len(np.unique(data.groups))), seed=seed)
    quality, cost = (np.full((len(data.prompts), len(models)), np.nan) for _ in range(2))
    columns = np.array([models.index(model_id) for model_id in data.model_ids])
    for held_out in np.unique(fold):
        training = data.rows(np.flatnonzero(fold != held_out))
        asked = np.flatnonzero(fold == held_out)
        said = fit_rewards(training)([data.prompts[i] for i in asked])
        quality[np.ix_(asked, columns)] = said.quality
        cost[np.ix_(asked, columns)] = said.cost_usd
        quality[asked] = _filled(quality[asked], training.quality)
        cost[asked] = _filled(cost[asked], training.cost_usd)
    position = {prompt.prompt_id: i for i, prompt in enumerate(data.prompts)}
    of_row = [position[prompt_id] for prompt_id in rows["prompt_id"]]
    return MeanRewards(quality[of_row], cost[of_row])


def _filled(expected: Floats, seen: Floats) -> Floats:
    """A model that the training folds lack is taken for an average one."""
    mean = float(seen[np.isfinite(seen)].mean()) if np.isfinite(seen).any() else np.nan
    return np.where(np.isfinite(expected), expected, mean)
