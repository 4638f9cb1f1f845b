"""From a forecast to a decision: the same rule for every router.

The choice is the candidate with the highest quality - cost_weight x cost_usd - latency_weight x latency_s.
`cost_weight` is the quality one gives up to save a dollar, `latency_weight` to save a second: 0 and 0 ask
for quality alone. Equal scores go to the cheaper candidate, then to the one that was named first.
"""

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from workbench.errors import ConfigError, RoutingError
from workbench.features import PromptFeatures
from workbench.routing.forecast import Floats, Forecast, KnownModels
from workbench.types import Decision, Prompt


@runtime_checkable
class Predictor(Protocol):
    """A router that says beforehand how good each model's answer will be, and what it will take."""

    @property
    def name(self) -> str:
        """What tables and logs call it."""
        ...

    @property
    def models(self) -> KnownModels:
        """The models it can predict, in the order of its columns."""
        ...

    @property
    def cost_weight(self) -> float:
        """The quality it gives up to save a dollar."""
        ...

    @property
    def latency_weight(self) -> float:
        """The quality it gives up to save a second."""
        ...

    def forecast(self, prompts: Sequence[Prompt], *, features: PromptFeatures | None = None) -> Forecast:
        """What it expects of N prompts; `features` are theirs, where they have been extracted already."""
        ...

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """Choose one of `candidates`."""
        ...


def scores(forecast: Forecast, *, cost_weight: float, latency_weight: float = 0.0) -> Floats:
    """[N, M] what is maximised."""
    score = forecast.quality
    if cost_weight != 0.0:
        score = score - cost_weight * forecast.cost_usd
    if latency_weight != 0.0:
        score = score - latency_weight * forecast.latency_s
    return score


def by_score(forecast: Forecast, *, cost_weight: float, latency_weight: float = 0.0) -> NDArray[np.int64]:
    """[N, M] columns from the best to the worst for each prompt, ties to the cheaper."""
    score = scores(forecast, cost_weight=cost_weight, latency_weight=latency_weight)
    cost = np.nan_to_num(forecast.cost_usd, nan=np.inf)
    return np.lexsort((cost, -np.nan_to_num(score, nan=-np.inf)), axis=-1)


def decide(router: Predictor, prompt: Prompt, candidates: Sequence[str]) -> Decision:
    """The decision that follows from the router's forecast for `prompt`.

    A candidate that the router does not know comes last, and is chosen only where none is known.

    Raises:
        RoutingError: there are no candidates.
    """
    return decide_all(router, [prompt], candidates)[0]


def decide_all(router: Predictor, prompts: Sequence[Prompt], candidates: Sequence[str]) -> list[Decision]:
    """The decision for each of N prompts, from one forecast of them all, which takes far less time.

    Raises:
        RoutingError: there are no candidates.
    """
    names, models = distinct(candidates, router.name), router.models
    forecast = router.forecast(prompts)
    order = by_score(forecast, cost_weight=router.cost_weight, latency_weight=router.latency_weight)
    ranked = (ranked_candidates(names, [models.model_ids[i] for i in row]) for row in order.tolist())
    return [decision(router.name, one, forecast, models, row=row) for row, one in enumerate(ranked)]


def ranked_candidates(candidates: Sequence[str], model_ids: Sequence[str]) -> list[str]:
    """The candidates in the order of `model_ids`, those that are not among them last, in their own."""
    position = {model_id: place for place, model_id in enumerate(model_ids)}
    return sorted(candidates, key=lambda name: position.get(name, len(position)))


def decision(
    router: str, ranked: Sequence[str], forecast: Forecast, models: KnownModels, *, row: int = 0
) -> Decision:
    """The first of `ranked`, the others as fallbacks, with what a `row` of `forecast` says of it."""
    if ranked[0] not in models.model_ids:
        return Decision(ranked[0], router, tuple(ranked[1:]))
    best = models.model_ids.index(ranked[0])
    return Decision(
        model_id=ranked[0],
        router=router,
        fallbacks=tuple(ranked[1:]),
        predicted_quality=_known(forecast.quality[row, best]),
        predicted_cost_usd=_known(forecast.cost_usd[row, best]),
        predicted_latency_s=_known(forecast.latency_s[row, best]),
        familiarity=_known(forecast.familiarity[row]),
    )


def distinct(candidates: Sequence[str], router: str) -> list[str]:
    """The candidates in order, each once.

    Raises:
        RoutingError: there are none.
    """
    if not candidates:
        raise RoutingError(f"router {router} was given no candidates; name one provider/model or more")
    return list(dict.fromkeys(candidates))


def check_weights(models: KnownModels, *, cost_weight: float = 0.0, latency_weight: float = 0.0) -> None:
    """Nothing, if both weights are finite numbers >= 0 and what they weigh is known of every model.

    Raises:
        ConfigError: one is not, or a model has no recorded cost or latency.
    """
    _check_weight("cost_weight", cost_weight, "cost_usd", models)
    _check_weight("latency_weight", latency_weight, "latency_s", models)


def _check_weight(name: str, weight: float, column: str, models: KnownModels) -> None:
    if not (math.isfinite(weight) and weight >= 0.0):
        unit = {"cost_usd": "USD", "latency_s": "second"}[column]
        raise ConfigError(f"{name} is {weight}; it must be a finite number >= 0 (quality per {unit})")
    means = models.cost_usd if column == "cost_usd" else models.latency_s
    unknown = [model_id for model_id, mean in zip(models.model_ids, means, strict=True) if np.isnan(mean)]
    if weight > 0.0 and unknown:
        raise ConfigError(f"{name} is {weight}, but the training rows have no {column} for {unknown[0]}")


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
