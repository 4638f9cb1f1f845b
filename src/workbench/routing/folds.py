"""Which prompts are in which fold, and which of them are scored.

Dimensions: N prompts, M models, F folds.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.errors import ConfigError, DataError, InsufficientDataError
from workbench.features import FeatureConfig
from workbench.routing.forecast import Floats
from workbench.routing.training_data import TrainingData, column_means, parts_by_group
from workbench.routing.training_table import from_table

Integers = NDArray[np.int64]

_MAX_BLOCKS = 5
_MANY_PROMPTS = 6_000
_FEWEST_COMPLETE = 0.5


@dataclass(frozen=True, slots=True)
class Inner:
    """A fit inside the training folds: on the prompts at `learned`, to forecast those at `asked`.

    `left_out` are all that are not learned from: `asked`, and the held-out fold with those of its block.
    """

    learned: Integers
    left_out: Integers
    asked: Integers


@dataclass(frozen=True, slots=True)
class Folded:
    """Prompts with the fold of each, 0 to F - 1. `notes` say what of the table was left out, and why."""

    data: TrainingData
    fold: Integers
    notes: tuple[str, ...] = ()

    @property
    def n_folds(self) -> int:
        """F."""
        return int(self.fold.max()) + 1

    def training(self, held_out: int) -> Integers:
        """Positions of the prompts that a router for the fold `held_out` is fitted on."""
        return np.flatnonzero(self.fold != held_out)

    def inner(self, held_out: int, *, seed: int) -> Iterator[Inner]:
        """Fits that together forecast the training prompts of `held_out`, and see nothing of it.

        Whole folds are left out beside it, so that what is found on them holds where tasks are held out too.
        More than five folds are put together into five; of two, each is halved. Of many prompts two other
        folds are enough.
        """
        if self.n_folds == 2:
            half = parts_by_group(self.data.groups, 2, seed=seed)
            block, own = 2 * self.fold + half, {2 * held_out, 2 * held_out + 1}
        else:
            block, own = self.fold % _MAX_BLOCKS, {held_out % _MAX_BLOCKS}
        others = sorted(set(block.tolist()) - own)
        if len(block) > _MANY_PROMPTS and self.n_folds > 2:
            n_blocks = len(others) + 1
            others = [b for b in others if (b - held_out) % n_blocks in (1, n_blocks - 1)]
        for other in others:
            left_out = np.isin(block, [*own, other])
            yield Inner(*map(np.flatnonzero, (~left_out, left_out, block == other)))


@dataclass(frozen=True, slots=True)
class Scored:
    """The prompts that are scored, and what each model made of them.

    `fold` [N]. Where not every model answered each of them, a router chooses among those that did:
    `answered` [N, M]. `cost_usd` [N, M] is that of each answer, or the model's mean where it is not known;
    None: nothing is known of the cost of a model.
    """

    data: TrainingData
    fold: Integers
    answered: NDArray[np.bool_]
    cost_usd: Floats | None
    notes: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every model answered every prompt."""
        return bool(self.answered.all())

    def did(self, values: Floats, choice: Integers) -> Floats:
        """[N] what the chosen columns of [N, M] have."""
        found: Floats = values[np.arange(len(choice)), choice]
        return found

    def single(self, order: Integers) -> Integers:
        """[N] the first model in `order` [M] that answered the prompt."""
        first: Integers = order[np.argmax(self.answered[:, order], axis=1)]
        return first

    def single_models(self) -> Integers:
        """[M, N] for each model what asking it alone chooses, or the best that answered."""
        by_quality = np.argsort(-np.nan_to_num(column_means(self.data.quality), nan=-1.0), kind="stable")
        orders = [np.append(model, by_quality[by_quality != model]) for model in range(len(by_quality))]
        return np.stack([self.single(order) for order in orders])


def folded(
    table: pd.DataFrame, folds: str | int, *, seed: int = 0, feature_config: FeatureConfig | None = None
) -> Folded:
    """`folds` names a column (rows without a value are left out), or is a number of folds to make.

    Prompts of one group stay together in folds that are made. Rows without a text are left out too.

    Raises:
        ConfigError: there is no such column, or too few folds.
        DataError: a prompt is in several folds.
        InsufficientDataError: fewer than two models, or groups than folds.
    """
    notes: list[str] = []
    if isinstance(folds, str):
        if folds not in table:
            known = ", ".join(map(str, table.columns))
            raise ConfigError(f"the table has no column {folds!r} to take the folds from; it has {known}")
        table = _with_known(table, folds, f"no value in {folds!r}", notes)
    elif folds < 2:
        raise ConfigError(f"folds is {folds}; there must be 2 or more")
    if "prompt" in table:
        table = _with_known(table, "prompt", "no text", notes)
    if isinstance(folds, str) and table.empty:
        raise ConfigError(f"column {folds!r} has 0 folds; there must be 2 or more")
    data = from_table(table, feature_config=feature_config)
    if len(data.model_ids) < 2:
        raise InsufficientDataError(
            f"the table has one model, {data.model_ids[0]}; a router chooses between two or more"
        )
    if isinstance(folds, str):
        return Folded(data, _fold_of_column(table, folds, data, notes), tuple(notes))
    if folds > (n_groups := len(np.unique(data.groups))):
        raise InsufficientDataError(
            f"{n_groups} different prompts cannot make {folds} folds; record more, or name a column of folds"
        )
    return Folded(data, parts_by_group(data.groups, folds, seed=seed), tuple(notes))


def scored(folded: Folded) -> tuple[Scored, Integers]:
    """What is scored, and where those prompts are: those that every model answered, if they are half or more.

    Else all that two models answered; a router is then asked to choose between the models that did.

    Raises:
        InsufficientDataError: too few prompts were answered by two models.
    """
    data, answered = folded.data, np.isfinite(folded.data.quality)
    is_scored: NDArray[np.bool_] = np.asarray(answered.all(axis=1))
    n_all, n_models = len(is_scored), answered.shape[1]
    notes = []
    if is_scored.mean() >= _FEWEST_COMPLETE:
        if not is_scored.all():
            notes.append(
                f"{n_all - int(is_scored.sum()):,} of {n_all:,} prompts, which not all {n_models} models "
                "answered, are learned from but not scored"
            )
    else:
        n_complete, is_scored = int(is_scored.sum()), answered.sum(axis=1) >= 2
        notes.append(
            f"all {n_models} models answered {n_complete:,} of {n_all:,} prompts; scored are the "
            f"{int(is_scored.sum()):,} that two or more answered, each router choosing between those that did"
        )
    rows = np.flatnonzero(is_scored).astype(np.int64)
    if len(rows) < 2:
        raise InsufficientDataError(
            f"only {len(rows)} prompts were answered by two of the {n_models} models or more"
        )
    part = data.rows(rows)
    cost = _costs(part, answered[rows], notes)
    return Scored(part, folded.fold[rows], answered[rows], cost, tuple(notes)), rows


def _with_known(table: pd.DataFrame, column: str, why: str, notes: list[str]) -> pd.DataFrame:
    is_known = table[column].notna()
    if not is_known.all():
        n_prompts = table.loc[~is_known, "prompt_id"].nunique()
        notes.append(f"{int((~is_known).sum()):,} rows of {n_prompts:,} prompts have {why}: left out")
    return table[is_known]


def _fold_of_column(table: pd.DataFrame, column: str, data: TrainingData, notes: list[str]) -> Integers:
    fold_of = table.groupby("prompt_id")[column]
    divided = fold_of.nunique()
    if (divided > 1).any():
        raise DataError(f"prompt {divided.idxmax()!r} is in {divided.max()} folds of {column!r}")
    named = fold_of.first().loc[[prompt.prompt_id for prompt in data.prompts]]
    codes, names = pd.factorize(named, sort=True)
    if len(names) < 2:
        raise ConfigError(f"column {column!r} has {len(names)} folds; there must be 2 or more")
    per_group = pd.Series(codes).groupby(data.groups).nunique()
    if (n_divided := int((per_group > 1).sum())) > 0:
        notes.append(
            f"{n_divided:,} groups of prompts with the same text or cluster are divided between folds of "
            f"{column!r}: what was learned from one is scored on the other"
        )
    return codes.astype(np.int64)


def _costs(data: TrainingData, answered: NDArray[np.bool_], notes: list[str]) -> Floats | None:
    mean = column_means(np.where(answered, data.cost_usd, np.nan))
    if not np.isfinite(mean).all():
        return None
    is_missing = answered & np.isnan(data.cost_usd)
    if is_missing.any():
        notes.append(
            f"the cost of {int(is_missing.sum()):,} answers is not known: their model's mean is taken"
        )
    return np.where(np.isfinite(data.cost_usd), data.cost_usd, mean)
