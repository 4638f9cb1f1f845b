"""The outcome table as the analysis needs it: one number a prompt and arm, and what had to be decided."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench import outcomes
from workbench.errors import ConfigError, InsufficientDataError
from workbench.experiment.wording import count, printable

_NEEDED = ("prompt_id", "arm", "task", "cluster", "cost_usd", "latency_s", "error", "repeat")
_FEW_CLUSTERS = 20


@dataclass(frozen=True, slots=True)
class Scores:
    """What was observed, per prompt.

    `rows` are the calls of the arms, errors with quality 0. `quality`, `cost_usd`, `latency_s` and
    `errors` (the share of calls) are [prompts x arms] means over repeats, NaN where an arm has none (for a
    cost: where that of one of its calls is unknown; for a latency: where all were errors), and None where
    none is known.
    `clusters` is [prompts] a number for each prompt, None where prompts stand alone; `tasks` are names and
    `covariate` numbers of the prompts, None where there are none. `is_binary`: every score is 0 or 1, of
    one call.
    """

    arms: tuple[str, ...]
    rows: pd.DataFrame
    quality: pd.DataFrame
    cost_usd: pd.DataFrame | None
    clusters: pd.Series | None
    is_binary: bool
    warnings: tuple[str, ...]
    latency_s: pd.DataFrame | None = None
    errors: pd.DataFrame | None = None
    covariate: pd.Series | None = None
    tasks: pd.Series | None = None

    def shared(self, arm: str, control: str) -> pd.Index:
        """The prompts that both have a score for."""
        return self.quality.index[self.quality[arm].notna() & self.quality[control].notna()]

    def n_prompts(self, arm: str) -> int:
        """How many prompts `arm` has a score for."""
        return int(self.quality[arm].notna().sum())


def scores(
    table: pd.DataFrame, *, metric: str, arms: Sequence[str] | None, covariate: str | None = None
) -> Scores:
    """Clean `table` and average repeats.

    Raises:
        ConfigError: an arm, the metric or the covariate is not in the table.
        DataError: the table is not an outcome table, or the metric is not in [0, 1].
        InsufficientDataError: it has no rows.
    """
    rows = _rows(table, metric=metric, covariate=covariate)
    names = _arm_names(rows, arms)
    rows = rows[rows["arm"].isin(names)]
    is_error, is_unscored = rows["error"].notna(), rows["error"].isna() & rows["quality"].isna()
    notes = [*_noted(rows[is_error], names, _ERRORS), *_noted(rows[is_unscored], names, _UNSCORED)]
    rows = rows.assign(quality=rows["quality"].mask(is_error, 0.0))
    grid = _Grid.of(rows, names)
    quality = grid.mean(rows["quality"]).dropna(how="all")
    clusters = _clusters(rows, quality.index)
    is_repeated = bool((grid.n_calls > 1).any())
    return Scores(
        arms=names,
        rows=rows,
        quality=quality,
        cost_usd=_known(grid.mean(rows["cost_usd"], is_whole=True)),
        clusters=clusters,
        is_binary=not is_repeated and bool(rows["quality"].dropna().isin([0.0, 1.0]).all()),
        warnings=(*notes, *_unshared(quality), *_unpriced(rows, names), *_few(clusters)),
        errors=grid.mean(is_error.astype(float)).loc[quality.index] if is_error.any() else None,
        latency_s=_known(grid.mean(rows["latency_s"].mask(is_error))),
        covariate=None if covariate is None else grid.mean(rows[_COVARIATE]).mean(axis=1)[quality.index],
        tasks=_tasks(rows, quality.index),
    )


_ERRORS = "counted as quality 0 because of an error"
_UNSCORED = "left out because the answer was not scored"


_COVARIATE = "covariate"


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """Where each row stands in [prompts x arms]; prompts in order of first appearance."""

    cells: np.ndarray
    prompts: pd.Index
    arms: tuple[str, ...]

    @classmethod
    def of(cls, rows: pd.DataFrame, arms: tuple[str, ...]) -> "_Grid":
        codes, prompts = pd.factorize(rows["prompt_id"])
        columns = pd.Index(arms).get_indexer(pd.Index(rows["arm"]))
        return cls(codes * len(arms) + columns, pd.Index(prompts, name="prompt_id"), arms)

    @property
    def n_calls(self) -> np.ndarray:
        return np.bincount(self.cells, minlength=len(self.prompts) * len(self.arms))

    def mean(self, values: pd.Series, *, is_whole: bool = False) -> pd.DataFrame:
        """[prompts x arms] over the calls that have a value; `is_whole`: NaN unless all have one.

        A mean over the repeats whose cost is known would be too low a cost for the prompt.
        """
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        is_known = ~np.isnan(numbers)
        size = len(self.prompts) * len(self.arms)
        counts = np.bincount(self.cells[is_known], minlength=size)
        sums = np.bincount(self.cells[is_known], weights=numbers[is_known], minlength=size)
        is_given = (counts > 0) & ((counts == self.n_calls) if is_whole else True)
        means = np.divide(sums, counts, out=np.full(size, np.nan), where=is_given)
        shaped = means.reshape(len(self.prompts), len(self.arms))
        return pd.DataFrame(shaped, index=self.prompts, columns=pd.Index(self.arms, name="arm"))


def _rows(table: pd.DataFrame, *, metric: str, covariate: str | None) -> pd.DataFrame:
    for column, purpose in ((metric, "compare"), (covariate, "explain scores by")):
        if column is not None and column not in table:
            raise ConfigError(
                f"the table has no column {column!r} to {purpose}; it has {', '.join(map(str, table))}"
            )
    if table.empty:
        raise InsufficientDataError("the outcome table has no rows, so there is nothing to analyse")
    kept = table[[column for column in _NEEDED if column in table and column != metric]]
    kept = kept.assign(quality=table[metric])
    if covariate is not None:
        kept[_COVARIATE] = pd.to_numeric(table[covariate], errors="coerce")
    rows = outcomes.validate(kept)
    absent = [name for name in ("cost_usd", "latency_s", "error") if name not in rows]
    return rows.assign(**dict.fromkeys(absent, np.nan))


def _arm_names(rows: pd.DataFrame, arms: Sequence[str] | None) -> tuple[str, ...]:
    present = tuple(str(arm) for arm in rows["arm"].unique())
    unknown = [arm for arm in arms or () if arm not in present]
    if unknown:
        raise ConfigError(
            f"no rows of arm {unknown[0]!r}; the arms in the table are {', '.join(map(printable, present))}"
        )
    return present if arms is None else tuple(dict.fromkeys(arms))


def _clusters(rows: pd.DataFrame, prompts: pd.Index) -> pd.Series | None:
    """[prompts] a number from 0 for each cluster; a prompt without one is a cluster of its own."""
    if "cluster" not in rows or rows["cluster"].isna().all():
        return None
    first = rows.dropna(subset=["cluster"]).drop_duplicates("prompt_id").set_index("prompt_id")["cluster"]
    codes, names = pd.factorize(first.reindex(prompts))
    alone = codes < 0
    codes[alone] = len(names) + np.arange(alone.sum())
    return pd.Series(codes, index=prompts) if len(np.unique(codes)) < len(prompts) else None


def _tasks(rows: pd.DataFrame, prompts: pd.Index) -> pd.Series | None:
    """[prompts] the task of each; None where no prompt has one."""
    if "task" not in rows or rows["task"].isna().all():
        return None
    return rows.drop_duplicates("prompt_id").set_index("prompt_id")["task"].reindex(prompts)


def _known(values: pd.DataFrame) -> pd.DataFrame | None:
    return None if values.isna().all(axis=None) else values


def _noted(rows: pd.DataFrame, arms: tuple[str, ...], what: str) -> list[str]:
    counts = rows["arm"].value_counts()
    said = [f"{count(int(counts[arm]), 'call')} of {printable(arm)}" for arm in arms if arm in counts]
    return [f"{what}: {', '.join(said)}"] if said else []


def _unpriced(rows: pd.DataFrame, arms: tuple[str, ...]) -> list[str]:
    """A note for an arm whose cost is known in part; where none is known, the table shows it."""
    notes = []
    for arm in arms:
        is_unknown = rows.loc[rows["arm"] == arm, "cost_usd"].isna()
        if is_unknown.any() and not is_unknown.all():
            share = f"{int(is_unknown.sum()):,} of {count(len(is_unknown), 'call')}"
            notes.append(f"the cost of {share} of {printable(arm)} is unknown, so no cost is given for it")
    return notes


def _unshared(quality: pd.DataFrame) -> list[str]:
    seen = quality.notna().sum()
    if (seen == len(quality)).all():
        return []
    counts = ", ".join(f"{printable(str(arm))} {n:,}" for arm, n in seen.items())
    return [
        f"the arms have scores for different prompts (of {len(quality):,}: {counts}); "
        "a comparison uses those that both have"
    ]


def _few(clusters: pd.Series | None) -> list[str]:
    if clusters is None or clusters.nunique() >= _FEW_CLUSTERS:
        return []
    return [
        f"there are only {clusters.nunique()} clusters; intervals from fewer than {_FEW_CLUSTERS} are rough"
    ]
