"""The outcome table as the analysis needs it: one number a prompt and arm, and what had to be decided."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench import outcomes
from workbench.errors import ConfigError, InsufficientDataError
from workbench.experiment.wording import count, printable

_NEEDED = ("prompt_id", "arm", "cluster", "cost_usd", "latency_s", "error", "repeat")
_FEW_CLUSTERS = 20


@dataclass(frozen=True, slots=True)
class Scores:
    """What was observed, per prompt.

    `rows` are the calls of the arms, errors with quality 0. `quality` and `cost_usd` are [prompts x
    arms] means over repeats, NaN where an arm has none (for a cost: where that of one of its calls is
    unknown); `cost_usd` is None where no cost is known. `clusters` is [prompts] a number for each
    prompt, None where prompts stand alone. `is_binary`: every score is 0 or 1, of one call.
    """

    arms: tuple[str, ...]
    rows: pd.DataFrame
    quality: pd.DataFrame
    cost_usd: pd.DataFrame | None
    clusters: pd.Series | None
    is_binary: bool
    warnings: tuple[str, ...]

    def shared(self, arm: str, control: str) -> pd.Index:
        """The prompts that both have a score for."""
        return self.quality.index[self.quality[arm].notna() & self.quality[control].notna()]

    def n_prompts(self, arm: str) -> int:
        """How many prompts `arm` has a score for."""
        return int(self.quality[arm].notna().sum())


def scores(table: pd.DataFrame, *, metric: str, arms: Sequence[str] | None) -> Scores:
    """Clean `table` and average repeats.

    Raises:
        ConfigError: an arm or the metric is not in the table.
        DataError: the table is not an outcome table, or the metric is not in [0, 1].
        InsufficientDataError: it has no rows.
    """
    rows = _rows(table, metric=metric)
    names = _arm_names(rows, arms)
    rows = rows[rows["arm"].isin(names)]
    is_error, is_unscored = rows["error"].notna(), rows["error"].isna() & rows["quality"].isna()
    notes = [*_noted(rows[is_error], names, _ERRORS), *_noted(rows[is_unscored], names, _UNSCORED)]
    rows = rows.assign(quality=rows["quality"].mask(is_error, 0.0))
    quality = outcomes.pivot(rows)[list(names)].dropna(how="all")
    clusters = _clusters(rows, quality.index)
    return Scores(
        arms=names,
        rows=rows,
        quality=quality,
        cost_usd=_costs(rows, names),
        clusters=clusters,
        is_binary=not rows.duplicated(["prompt_id", "arm"]).any()
        and bool(rows["quality"].dropna().isin([0.0, 1.0]).all()),
        warnings=(*notes, *_unshared(quality), *_unpriced(rows, names), *_few(clusters)),
    )


_ERRORS = "counted as quality 0 because of an error"
_UNSCORED = "left out because the answer was not scored"


def _rows(table: pd.DataFrame, *, metric: str) -> pd.DataFrame:
    if metric not in table:
        raise ConfigError(
            f"the table has no column {metric!r} to compare; it has {', '.join(map(str, table))}"
        )
    if table.empty:
        raise InsufficientDataError("the outcome table has no rows, so there is nothing to analyse")
    kept = table[[column for column in _NEEDED if column in table and column != metric]]
    rows = outcomes.validate(kept.assign(quality=table[metric]))
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


def _costs(rows: pd.DataFrame, arms: tuple[str, ...]) -> pd.DataFrame | None:
    if rows["cost_usd"].isna().all():
        return None
    # A mean over the repeats whose cost is known would be too low a cost for the prompt.
    known = rows.groupby(["prompt_id", "arm"], sort=False)["cost_usd"].transform("count")
    calls = rows.groupby(["prompt_id", "arm"], sort=False)["arm"].transform("size")
    whole = rows.assign(cost_usd=rows["cost_usd"].mask(known < calls))
    return outcomes.pivot(whole, "cost_usd")[list(arms)]


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
