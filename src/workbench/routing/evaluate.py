"""A leaderboard of routers: each fitted on the other folds, scored on the held-out one.

Dimensions: N prompts, M models.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from workbench.errors import ConfigError, DataError, InsufficientDataError
from workbench.features import FeatureConfig
from workbench.routing.base import Router
from workbench.routing.cost_curve import (
    CostCurve,
    aiq_log,
    no_information_curve,
    router_curve,
    saving_at_parity,
)
from workbench.routing.decide import Predictor, by_score
from workbench.routing.forecast import Floats, Forecast, KnownModels, pooled, with_mean_costs
from workbench.routing.metrics import brier, calibration_error, mean_with_interval, pair_metrics
from workbench.routing.registry import fit
from workbench.routing.training_data import TrainingData, from_table, parts_by_group

ORACLE = "oracle"


@dataclass(frozen=True, slots=True)
class Contender:
    """A router to be fitted on each fold; `label` is its line in the table, else the router's own name."""

    kind: str
    label: str | None = None
    cost_weight: float = 0.0
    latency_weight: float = 0.0
    options: Mapping[str, object] = field(default_factory=dict)


BASELINES = tuple(Contender(kind) for kind in ("random", "cheapest", "best_single", "knn", "controller"))


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the leaderboard. None: it has no meaning for this table or this router.

    `quality` and `cost_usd` are means over prompts of what the chosen model did. APGR and CPT are for a pair
    of models; `aiqlog` and `saving` for more than two with costs. `fit_s` is for all folds together.
    """

    router: str
    kind: str
    n_prompts: int
    quality: float
    quality_low: float
    quality_high: float
    cost_usd: float | None = None
    apgr: float | None = None
    apgr_low: float | None = None
    apgr_high: float | None = None
    cpt50: float | None = None
    cpt80: float | None = None
    ece: float | None = None
    brier: float | None = None
    aiqlog: float | None = None
    saving: float | None = None
    fit_s: float = 0.0


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """What one contender said of prompts that it was not fitted on.

    `forecast` of N prompts and M models: NaN as the quality of a router that makes no prediction, with each
    model's mean cost and latency on the training folds. `choice` [N] is the column it chose.
    """

    router: str
    kind: str
    forecast: Forecast
    choice: NDArray[np.int64]
    fit_s: float

    @property
    def predicted(self) -> Floats:
        """[N, M] predicted quality; NaN where the router makes no prediction."""
        return self.forecast.quality


@dataclass(frozen=True, slots=True)
class Scored:
    """The prompts that are scored, those that every model answered: [N] folds, [N, M] quality and cost."""

    data: TrainingData
    fold: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Results in the order of the contenders, the oracle last, and the predictions behind them."""

    results: tuple[Result, ...]
    predictions: tuple[OutOfFold, ...]
    scored: Scored

    @property
    def table(self) -> pd.DataFrame:
        """One row a router, one column a field of `Result`."""
        return pd.DataFrame([asdict(result) for result in self.results])


def cross_validate(
    table: pd.DataFrame,
    *,
    folds: str | int = 5,
    contenders: Sequence[Contender] = BASELINES,
    seed: int = 0,
    n_resamples: int = 1000,
    feature_config: FeatureConfig | None = None,
) -> Leaderboard:
    """Fit each contender on all folds but one, score it on that one, and pool the folds.

    `folds` names a column of the table (rows without a value are left out), or is a number of folds to
    make, in which prompts of one group stay together. Features are extracted once, for all contenders.

    Raises:
        ConfigError: there is no such column, or too few folds.
        InsufficientDataError: no prompt was answered by every model.
    """
    data, fold = _with_folds(table, folds, seed, feature_config)
    is_complete: NDArray[np.bool_] = np.asarray(np.isfinite(data.quality).all(axis=1))
    if is_complete.sum() < 2:
        raise InsufficientDataError(
            f"only {int(is_complete.sum())} prompts were answered by all {len(data.model_ids)} models"
        )
    scored = Scored(data.rows(np.flatnonzero(is_complete)), fold[is_complete])
    predictions = [_out_of_fold(contender, data, fold, is_complete, seed) for contender in contenders]
    predictions.append(_oracle(scored.data))
    results = tuple(_result(p, scored, n_resamples=n_resamples, seed=seed) for p in predictions)
    return Leaderboard(results, tuple(predictions), scored)


def _with_folds(
    table: pd.DataFrame, folds: str | int, seed: int, feature_config: FeatureConfig | None
) -> tuple[TrainingData, NDArray[np.int64]]:
    if isinstance(folds, int):
        if folds < 2:
            raise ConfigError(f"folds is {folds}; there must be 2 or more")
        data = from_table(table, feature_config=feature_config)
        if folds > (n_groups := len(np.unique(data.groups))):
            raise InsufficientDataError(f"{n_groups} groups of prompts cannot make {folds} folds")
        return data, parts_by_group(data.groups, folds, seed=seed)
    if folds not in table:
        raise ConfigError(f"the table has no column {folds!r} to take the folds from")
    table = table[table[folds].notna()]
    data = from_table(table, feature_config=feature_config)
    fold_of = table.groupby("prompt_id")[folds]
    divided = fold_of.nunique()
    if (divided > 1).any():
        raise DataError(f"prompt {divided.idxmax()!r} is in {divided.max()} folds of {folds!r}")
    named = fold_of.first().loc[[prompt.prompt_id for prompt in data.prompts]]
    codes, names = pd.factorize(named, sort=True)
    if len(names) < 2:
        raise ConfigError(f"column {folds!r} has {len(names)} folds; there must be 2 or more")
    return data, codes.astype(np.int64)


def _out_of_fold(
    contender: Contender,
    data: TrainingData,
    fold: NDArray[np.int64],
    is_scored: NDArray[np.bool_],
    seed: int,
) -> OutOfFold:
    parts, asked = [], []
    choice = np.zeros(len(data.prompts), dtype=np.int64)
    name, fit_s = contender.kind, 0.0
    for held_out in np.unique(fold):
        training = data.rows(np.flatnonzero(fold != held_out))
        started_s = time.perf_counter()
        router = _fitted(contender, training, seed)
        fit_s += time.perf_counter() - started_s
        rows = np.flatnonzero((fold == held_out) & is_scored)
        name = router.name
        forecast, choice[rows] = _ask(router, data, rows, training.models)
        parts.append(forecast)
        asked.append(rows)
    in_order = np.argsort(np.concatenate(asked), kind="stable")
    return OutOfFold(
        router=contender.label or name,
        kind=contender.kind,
        forecast=pooled(parts).rows(in_order),
        choice=choice[is_scored],
        fit_s=fit_s,
    )


def _fitted(contender: Contender, training: TrainingData, seed: int) -> Router:
    return fit(
        contender.kind,
        training,
        seed=seed,
        cost_weight=contender.cost_weight,
        latency_weight=contender.latency_weight,
        **contender.options,
    )


def _ask(
    router: Router, data: TrainingData, rows: NDArray[np.int64], known: KnownModels
) -> tuple[Forecast, NDArray[np.int64]]:
    """What a router expects, NaN of one that makes no prediction, and the [n] columns that it chooses."""
    prompts = [data.prompts[i] for i in rows]
    if isinstance(router, Predictor):
        forecast = router.forecast(prompts, features=data.features.rows(rows))
        weights = {"cost_weight": router.cost_weight, "latency_weight": router.latency_weight}
        return forecast, by_score(forecast, **weights)[:, 0]
    column = {model_id: i for i, model_id in enumerate(known.model_ids)}
    chosen = [column[router.route(prompt, known.model_ids).model_id] for prompt in prompts]
    nothing = np.full((len(rows), len(column)), np.nan)
    return with_mean_costs(nothing, known), np.array(chosen, dtype=np.int64)


def _oracle(data: TrainingData) -> OutOfFold:
    """Knows what each model will do, and takes the cheapest of the best."""
    cost = np.nan_to_num(data.cost_usd, nan=0.0)
    choice = np.lexsort((cost, -data.quality), axis=-1)[:, 0]
    forecast = Forecast(
        quality=data.quality,
        cost_usd=data.cost_usd,
        latency_s=data.latency_s,
        spread=np.zeros_like(data.quality),
        familiarity=np.ones(len(choice)),
    )
    return OutOfFold(ORACLE, ORACLE, forecast, choice, 0.0)


def _result(said: OutOfFold, scored: Scored, *, n_resamples: int, seed: int) -> Result:
    data, rows = scored.data, np.arange(len(said.choice))
    quality = mean_with_interval(data.quality[rows, said.choice], n_resamples=n_resamples, seed=seed)
    cost = data.cost_usd[rows, said.choice].mean()
    is_predictor = bool(np.isfinite(said.predicted).all())
    measures: dict[str, float | None] = {}
    if len(data.model_ids) == 2:
        measures |= _pair_measures(said, scored, n_resamples=n_resamples, seed=seed)
    elif is_predictor and np.isfinite(data.cost_usd).all():
        measures |= _curve_measures(said, data)
    if is_predictor:
        measures |= {
            "ece": calibration_error(said.predicted, data.quality),
            "brier": brier(said.predicted, data.quality),
        }
    return Result(
        router=said.router,
        kind=said.kind,
        n_prompts=len(rows),
        quality=quality.value,
        quality_low=quality.low,
        quality_high=quality.high,
        cost_usd=float(cost) if np.isfinite(cost) else None,
        fit_s=said.fit_s,
        **measures,
    )


def _pair_measures(
    said: OutOfFold, scored: Scored, *, n_resamples: int, seed: int
) -> dict[str, float | None]:
    quality = scored.data.quality
    strong, weak = np.argsort(-quality.mean(axis=0), kind="stable")
    if quality[:, strong].mean() == quality[:, weak].mean():
        return {}
    gain = _gain(said, strong, weak)
    found = pair_metrics(
        _ranked_within(gain, scored.fold),
        quality[:, strong],
        quality[:, weak],
        n_resamples=n_resamples,
        seed=seed,
    )
    return {
        "apgr": found.apgr.value,
        "apgr_low": found.apgr.low,
        "apgr_high": found.apgr.high,
        "cpt50": found.cpt50,
        "cpt80": found.cpt80,
    }


def _gain(said: OutOfFold, strong: int, weak: int) -> Floats:
    """[N] predicted gain; of a router without predictions, 1 where it chose the strong model, else 0."""
    gain: Floats = said.predicted[:, strong] - said.predicted[:, weak]
    return np.where(np.isfinite(gain), gain, (said.choice == strong).astype(np.float64))


def _ranked_within(gain: Floats, fold: NDArray[np.int64]) -> Floats:
    """[N] the share of the fold's prompts with a smaller gain, ties halved.

    A fold is one fitted router, whose threshold would be set for a share of its own calls. It also
    keeps a router that says the same of every prompt at exactly 0.5: pooled as they are, the folds' constants
    would rank a fold the lower, the more the strong model gains in it.
    """
    ranks = np.empty_like(gain)
    for name in np.unique(fold):
        rows = fold == name
        ranks[rows] = (rankdata(gain[rows], method="average") - 0.5) / rows.sum()
    return ranks


def _curve_measures(said: OutOfFold, data: TrainingData) -> dict[str, float | None]:
    mean_quality, mean_cost = data.quality.mean(axis=0), data.cost_usd.mean(axis=0)
    best = int(np.argmax(mean_quality))
    low, high = float(mean_cost.min()), float(mean_cost[best])
    if not 0.0 < low < high:
        return {}
    curve = _curve(said, data)
    saving = saving_at_parity(curve, quality=float(mean_quality[best]), cost_usd=high)
    return {
        "aiqlog": aiq_log(curve, low_usd=low, high_usd=high),
        "saving": saving if np.isfinite(saving) else None,
    }


def _curve(said: OutOfFold, data: TrainingData) -> CostCurve:
    if said.kind in ("best_single", "no_information"):
        return no_information_curve(data.quality, data.cost_usd)
    return router_curve(said.predicted, said.forecast.cost_usd, data.quality, data.cost_usd)
