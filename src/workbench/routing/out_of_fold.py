"""What routers say of prompts that they were not fitted on: each fold by a router fitted on the others.

Dimensions: N scored prompts, M models.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from workbench.routing.base import Router
from workbench.routing.decide import Predictor, by_score
from workbench.routing.folds import Folded, Integers
from workbench.routing.forecast import Floats, Forecast, KnownModels, pooled, with_mean_costs
from workbench.routing.registry import fit
from workbench.routing.training_data import TrainingData

_N_TIMED = 30


@dataclass(frozen=True, slots=True)
class Contender:
    """A router to be fitted on each fold; `label` is its line in the table, else the router's own name."""

    kind: str
    label: str | None = None
    cost_weight: float = 0.0
    latency_weight: float = 0.0
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """What one contender said of prompts that it was not fitted on.

    `forecast` of N prompts and M models: NaN as the quality of a router that makes no prediction, and of a
    model that cannot be chosen for a prompt, with each model's mean cost and latency on the training folds.
    `choice` [N] is the column it chose. `fit_s` is the mean time of a fit,
    `decide_ms` that of a decision; None: it takes none.
    """

    router: str
    kind: str
    forecast: Forecast
    choice: Integers
    fit_s: float | None = None
    decide_ms: float | None = None

    @property
    def predicted(self) -> Floats:
        """[N, M] predicted quality; NaN where the router makes no prediction."""
        return self.forecast.quality

    @property
    def is_predictor(self) -> bool:
        """Whether the router makes predictions."""
        return bool(np.isfinite(self.predicted).any())


def out_of_fold(
    contender: Contender, folded: Folded, rows: Integers, *, answered: NDArray[np.bool_], seed: int
) -> OutOfFold:
    """Fit and ask the contender fold by fold, about the prompts at `rows` and the models that `answered`.

    Raises:
        ConfigError, InsufficientDataError, RoutingError: it cannot be fitted.
    """
    parts: list[Forecast] = []
    asked: list[Integers] = []
    choice = np.zeros(len(rows), dtype=np.int64)
    name, fit_s, decide_ms = contender.kind, 0.0, 0.0
    held_out_folds = np.unique(folded.fold[rows])
    for held_out in held_out_folds:
        training = folded.data.rows(folded.training(held_out))
        started_s = time.perf_counter()
        router = fitted(contender, training, seed)
        fit_s += (time.perf_counter() - started_s) / len(held_out_folds)
        name = router.name
        places = np.flatnonzero(folded.fold[rows] == held_out)
        forecast, choice[places] = _ask(
            router, folded.data, rows[places], known=training.models, answered=answered[places]
        )
        decide_ms += _time_of_decision(router, folded.data, rows[places]) / len(held_out_folds)
        parts.append(forecast)
        asked.append(places)
    in_order = np.argsort(np.concatenate(asked), kind="stable")
    return OutOfFold(
        router=contender.label or name,
        kind=contender.kind,
        forecast=pooled(parts).rows(in_order),
        choice=choice,
        fit_s=fit_s,
        decide_ms=decide_ms,
    )


@dataclass(frozen=True, slots=True)
class Inside:
    """What was said inside the training folds of one fold: a forecast of the scored prompts at `places`.

    `best_single` [n] is the model that was best on the prompts that the forecast was learned from: like the
    forecast, it was chosen without the answers to the prompt.
    """

    places: Integers
    forecast: Forecast
    best_single: Integers

    def some(self, places: Integers) -> "Inside":
        """That of the prompts which are among `places`."""
        is_meant = np.isin(self.places, places)
        forecast = self.forecast.rows(np.flatnonzero(is_meant))
        return Inside(self.places[is_meant], forecast, self.best_single[is_meant])


def inside_training(
    contender: Contender, folded: Folded, rows: Integers, *, answered: NDArray[np.bool_], seed: int
) -> dict[int, Inside]:
    """By held-out fold, forecasts of its training prompts by routers that saw neither these nor the fold.

    One fit serves two folds where it leaves out both. Empty for a router that makes no predictions.

    Raises:
        ConfigError, InsufficientDataError, RoutingError: it cannot be fitted.
    """
    place_of = np.full(len(folded.fold), -1)
    place_of[rows] = np.arange(len(rows))
    said: dict[bytes, Inside] = {}
    found: dict[int, Inside] = {}
    for held_out in np.unique(folded.fold[rows]).tolist():
        parts = []
        for inner in folded.inner(held_out, seed=seed):
            key = inner.learned.tobytes()
            if key not in said:
                left_out = inner.left_out[place_of[inner.left_out] >= 0]
                forecast = _forecast_of(contender, folded.data, inner.learned, left_out, seed=seed)
                if forecast is None:
                    return {}
                best = int(np.nanargmax(folded.data.rows(inner.learned).models.quality))
                said[key] = Inside(place_of[left_out], forecast, np.full(len(left_out), best))
            parts.append(said[key].some(place_of[inner.asked]))
        found[held_out] = _joined(parts, answered)
    return found


def _joined(parts: Sequence[Inside], answered: NDArray[np.bool_]) -> Inside:
    places = np.concatenate([part.places for part in parts])
    forecast = pooled([part.forecast for part in parts])
    quality = np.where(answered[places], forecast.quality, np.nan)
    best_single = np.concatenate([part.best_single for part in parts])
    return Inside(places, replace(forecast, quality=quality), best_single)


def fitted(contender: Contender, training: TrainingData, seed: int) -> Router:
    """The contender's router, fitted."""
    return fit(
        contender.kind,
        training,
        seed=seed,
        cost_weight=contender.cost_weight,
        latency_weight=contender.latency_weight,
        **contender.options,
    )


def _forecast_of(
    contender: Contender, data: TrainingData, learned: Integers, asked: Integers, *, seed: int
) -> Forecast | None:
    """Of the prompts at `asked`, by a router fitted on those at `learned`; None: it makes no predictions."""
    router = fitted(contender, data.rows(learned), seed)
    if not isinstance(router, Predictor):
        return None
    prompts = [data.prompts[i] for i in asked]
    return router.forecast(prompts, features=data.features.rows(asked))


def _ask(
    router: Router,
    data: TrainingData,
    rows: Integers,
    *,
    known: KnownModels,
    answered: NDArray[np.bool_],
) -> tuple[Forecast, Integers]:
    """What a router expects, NaN of one that makes no prediction, and the [n] columns that it chooses."""
    prompts = [data.prompts[i] for i in rows]
    if isinstance(router, Predictor):
        forecast = router.forecast(prompts, features=data.features.rows(rows))
        forecast = replace(forecast, quality=np.where(answered, forecast.quality, np.nan))
        weights = {"cost_weight": router.cost_weight, "latency_weight": router.latency_weight}
        return forecast, by_score(forecast, **weights)[:, 0]
    column = {model_id: i for i, model_id in enumerate(known.model_ids)}
    models = np.array(known.model_ids, dtype=object)
    chosen = [
        column[router.route(prompt, models[seen].tolist()).model_id]
        for prompt, seen in zip(prompts, answered, strict=True)
    ]
    nothing = np.full((len(rows), len(column)), np.nan)
    return with_mean_costs(nothing, known), np.array(chosen, dtype=np.int64)


def _time_of_decision(router: Router, data: TrainingData, rows: Integers) -> float:
    """Mean milliseconds of one decision, over some prompts that the router did not see."""
    some = rows[:: max(1, len(rows) // _N_TIMED)][:_N_TIMED]
    prompts = [data.prompts[i] for i in some]
    router.route(prompts[0], data.model_ids)
    started_s = time.perf_counter()
    for prompt in prompts:
        router.route(prompt, data.model_ids)
    return 1000.0 * (time.perf_counter() - started_s) / len(prompts)
