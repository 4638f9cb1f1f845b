"""The leaderboard: what each router did with prompts that it had not seen, as numbers with intervals.

Dimensions: N scored prompts, M models, R resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Literal

import numpy as np
import pandas as pd

from workbench.routing.folds import Scored
from workbench.routing.metrics import brier, calibration_error
from workbench.routing.out_of_fold import OutOfFold
from workbench.stats.estimate import Estimate

Kind = Literal["baseline", "learned", "cascade"]

BASELINE_KINDS = frozenset(
    {"fixed", "random", "cheapest", "best_single", "no_information", "label_oracle", "oracle"}
)
"""Kinds of router that learn nothing from what a prompt says."""


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the leaderboard. None: it has no meaning for this table or this router.

    `quality` and `cost_usd` are means over prompts of what was chosen for quality alone, or with the weights
    that the contender has. APGR and CPT are for a pair of models, `aiqlog` and `saving` for known costs.
    The changes are those of the honest operating point against the best single model of the training folds;
    `over_knn` and `over_no_information` are differences in AIQlog, in APGR of a pair, else in quality.
    `fit_s` is the mean time of a fit on the training folds, `decide_ms` that of a single decision.
    """

    router: str
    kind: Kind
    n_prompts: int
    quality: Estimate
    cost_usd: float | None = None
    apgr: Estimate | None = None
    cpt50: float | None = None
    cpt80: float | None = None
    aiqlog: Estimate | None = None
    saving: Estimate | None = None
    honest_quality_change: Estimate | None = None
    honest_cost_change: Estimate | None = None
    over_knn: Estimate | None = None
    over_no_information: Estimate | None = None
    ece: float | None = None
    brier: float | None = None
    fit_s: float | None = None
    decide_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Single:
    """A model asked alone, on the scored prompts."""

    model_id: str
    quality: float
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Results in the order of the contenders, then those of hindsight; and the predictions behind them.

    `notes` say what of the table was left out, which router could not be fitted, and why.
    """

    results: tuple[Result, ...]
    predictions: tuple[OutOfFold, ...]
    scored: Scored
    notes: tuple[str, ...] = field(default=())

    @property
    def table(self) -> pd.DataFrame:
        """One row a router, one column a field of `Result`; of an interval also `_low` and `_high`."""
        return pd.DataFrame([_flat(result) for result in self.results])

    @property
    def best_single(self) -> Single:
        """The model that is best on average over the scored prompts."""
        singles = self.scored.single_models()
        quality = [self.scored.did(self.scored.data.quality, choice).mean() for choice in singles]
        best = int(np.argmax(quality))
        cost = self.scored.cost_usd
        cost_usd = None if cost is None else float(self.scored.did(cost, singles[best]).mean())
        return Single(self.scored.data.model_ids[best], float(quality[best]), cost_usd)

    @property
    def by_task(self) -> pd.DataFrame:
        """A row for each router and task: quality, its change against the best single, cost, ECE, Brier."""
        tasks = np.array([prompt.task or "" for prompt in self.scored.data.prompts], dtype=object)
        names: Sequence[str] = sorted(set(tasks.tolist()))
        return pd.DataFrame([self._of_task(said, tasks, name) for said in self.predictions for name in names])

    def _of_task(self, said: OutOfFold, tasks: np.ndarray, name: str) -> dict[str, object]:
        rows = np.flatnonzero(tasks == name)
        scored, data = self.scored, self.scored.data
        quality = scored.did(data.quality, said.choice)[rows]
        alone = scored.did(
            data.quality, scored.single_models()[data.model_ids.index(self.best_single.model_id)]
        )
        cost = None if scored.cost_usd is None else scored.did(scored.cost_usd, said.choice)[rows].mean()
        return {
            "router": said.router,
            "task": name or None,
            "n_prompts": len(rows),
            "quality": quality.mean(),
            "quality_change": (quality - alone[rows]).mean(),
            "cost_usd": cost,
            "ece": calibration_error(said.predicted[rows], data.quality[rows]),
            "brier": brier(said.predicted[rows], data.quality[rows]),
        }


def _flat(result: Result) -> dict[str, object]:
    row: dict[str, object] = {}
    for column in fields(Result):
        value = getattr(result, column.name)
        is_estimate = column.name in _ESTIMATES
        row[column.name] = value.value if isinstance(value, Estimate) else value
        if is_estimate:
            row[f"{column.name}_low"] = value.low if isinstance(value, Estimate) else None
            row[f"{column.name}_high"] = value.high if isinstance(value, Estimate) else None
    return row


_ESTIMATES = frozenset(column.name for column in fields(Result) if "Estimate" in str(column.type))
