"""From predicted quality and expected cost to a decision: the same rule for every router.

The choice is the candidate with the highest quality - cost_weight x cost_usd. `cost_weight` is the
quality one gives up to save a dollar: 0 asks for quality alone. Equal scores go to the cheaper
candidate, then to the one that was named first.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from workbench.errors import ConfigError, RoutingError
from workbench.types import Decision, Prompt

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class KnownModels:
    """What the training rows say of each model without looking at the prompt.

    `quality` [M] and `cost_usd` [M] are means; NaN: none was recorded.
    """

    model_ids: tuple[str, ...]
    quality: Floats
    cost_usd: Floats


@runtime_checkable
class Predictor(Protocol):
    """A router that says beforehand how good each model's answer will be."""

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

    def predict(self, prompts: Sequence[Prompt], *, features: csr_array | None = None) -> Floats:
        """[N, M] predicted quality; `features` [N, D] where the prompts have been hashed already."""
        ...

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """Choose one of `candidates`."""
        ...


def scores(quality: Floats, cost_usd: Floats, cost_weight: float) -> Floats:
    """[N, M] what is maximised: quality [N, M] - cost_weight x cost_usd [M]."""
    return quality if cost_weight == 0.0 else quality - cost_weight * cost_usd


def by_score(quality: Floats, models: KnownModels, cost_weight: float) -> NDArray[np.int64]:
    """[N, M] columns from the best to the worst for each prompt, ties to the cheaper."""
    score = np.nan_to_num(scores(quality, models.cost_usd, cost_weight), nan=-np.inf)
    cost = np.broadcast_to(np.nan_to_num(models.cost_usd, nan=np.inf), score.shape)
    return np.lexsort((cost, -score), axis=-1)


def decide(
    router: str, quality: Floats, candidates: Sequence[str], *, models: KnownModels, cost_weight: float
) -> Decision:
    """The decision for one prompt whose predicted quality is `quality` [M].

    A candidate that the router does not know comes last, and is chosen only where none is known.

    Raises:
        RoutingError: there are no candidates.
    """
    names = distinct(candidates, router)
    column = {model_id: i for i, model_id in enumerate(models.model_ids)}
    position = {int(i): place for place, i in enumerate(by_score(quality[None, :], models, cost_weight)[0])}
    known = sorted((n for n in names if n in column), key=lambda name: position[column[name]])
    ranked = known + [name for name in names if name not in column]
    best = column.get(ranked[0])
    return Decision(
        model_id=ranked[0],
        router=router,
        fallbacks=tuple(ranked[1:]),
        predicted_quality=None if best is None else _known(quality[best]),
        predicted_cost_usd=None if best is None else _known(models.cost_usd[best]),
    )


def distinct(candidates: Sequence[str], router: str) -> list[str]:
    """The candidates in order, each once.

    Raises:
        RoutingError: there are none.
    """
    if not candidates:
        raise RoutingError(f"router {router} was given no candidates; name one provider/model or more")
    return list(dict.fromkeys(candidates))


def check_cost_weight(cost_weight: float, models: KnownModels) -> float:
    """`cost_weight`, if it is a finite number >= 0 and the costs it needs are known.

    Raises:
        ConfigError: it is not, or a model has no recorded cost.
    """
    if not (math.isfinite(cost_weight) and cost_weight >= 0.0):
        raise ConfigError(f"cost_weight is {cost_weight}; it must be a finite number >= 0 (quality per USD)")
    unpriced = [name for name, cost in zip(models.model_ids, models.cost_usd, strict=True) if np.isnan(cost)]
    if cost_weight > 0.0 and unpriced:
        raise ConfigError(
            f"cost_weight is {cost_weight}, but the training rows have no cost_usd for {unpriced[0]}"
        )
    return cost_weight


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
