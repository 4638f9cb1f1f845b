"""What a router expects of each model for each prompt: quality, cost and latency, and how sure it is.

Dimensions: N prompts, M models.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.routing.fields import require

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class KnownModels:
    """What the training rows say of each model without looking at the prompt.

    `quality`, `cost_usd` and `latency_s` [M] are means; NaN: none was recorded.
    """

    model_ids: tuple[str, ...]
    quality: Floats
    cost_usd: Floats
    latency_s: Floats

    def __post_init__(self) -> None:
        require(len(self.model_ids) > 0, "models")
        for means in (self.quality, self.cost_usd, self.latency_s):
            require(means.shape == (len(self.model_ids),), "models")


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a router expects of each model for each prompt; NaN: not known.

    `quality` in [0, 1], `cost_usd` and `latency_s` are [N, M]. `spread` [N, M] is the standard deviation of
    the router's own error in `quality`, which grows away from the training prompts; 0 where it makes no
    statement. `familiarity` [N] is 1 for a prompt like the training prompts, 0 for one unlike any; NaN where
    the router makes no statement.
    """

    quality: Floats
    cost_usd: Floats
    latency_s: Floats
    spread: Floats
    familiarity: Floats

    def __len__(self) -> int:
        """N, the number of prompts."""
        return len(self.quality)

    def rows(self, index: NDArray[np.int64] | slice) -> "Forecast":
        """What is expected for some of the prompts, by position."""
        return Forecast(
            quality=self.quality[index],
            cost_usd=self.cost_usd[index],
            latency_s=self.latency_s[index],
            spread=self.spread[index],
            familiarity=self.familiarity[index],
        )

    def columns(self, index: NDArray[np.int64]) -> "Forecast":
        """What is expected of some of the models, by position."""
        return Forecast(
            quality=self.quality[:, index],
            cost_usd=self.cost_usd[:, index],
            latency_s=self.latency_s[:, index],
            spread=self.spread[:, index],
            familiarity=self.familiarity,
        )


def with_mean_costs(quality: Floats, models: KnownModels) -> Forecast:
    """`quality` [N, M] with each model's mean cost and latency, whatever the prompt.

    A model that was never seen has no quality either.
    """
    return Forecast(
        quality=np.where(np.isnan(models.quality), np.nan, quality),
        cost_usd=np.broadcast_to(models.cost_usd, quality.shape),
        latency_s=np.broadcast_to(models.latency_s, quality.shape),
        spread=np.zeros_like(quality),
        familiarity=np.full(len(quality), np.nan),
    )


def pooled(forecasts: Sequence[Forecast]) -> Forecast:
    """Forecasts of different prompts for the same models, one after the other."""
    if len(forecasts) == 1:
        return forecasts[0]
    return Forecast(
        quality=np.concatenate([forecast.quality for forecast in forecasts]),
        cost_usd=np.concatenate([forecast.cost_usd for forecast in forecasts]),
        latency_s=np.concatenate([forecast.latency_s for forecast in forecasts]),
        spread=np.concatenate([forecast.spread for forecast in forecasts]),
        familiarity=np.concatenate([forecast.familiarity for forecast in forecasts]),
    )
