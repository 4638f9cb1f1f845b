"""Where a prompt lies, in few dimensions: what a bandit learns each model's surprises from.

The learned controller's own patterns are its last layer: one score each, whatever the number of models. Of
any other router, what it expects of each model serves.

Dimensions: N prompts, M models, R patterns, K dimensions of the context.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from workbench.errors import RoutingError
from workbench.features import PromptFeatures
from workbench.routing.decide import Predictor
from workbench.routing.forecast import Floats, Forecast
from workbench.types import Prompt


@runtime_checkable
class Contextual(Protocol):
    """A router that says itself where a prompt lies."""

    def context(self, prompts: Sequence[Prompt], *, features: PromptFeatures | None = None) -> Floats:
        """[N, K] finite numbers of about 1 in size; a column of ones lets a model be better everywhere."""
        ...


class Patterns(Protocol):
    """Few patterns of quality that the models share, as `model_space.ModelSpace`."""

    def scores(self, quality: Floats) -> Floats:
        """[N, R] how much of each pattern is in [N, M] quality."""
        ...


@runtime_checkable
class Patterned(Protocol):
    """A router whose forecasts are mixes of patterns, as the learned controller's."""

    @property
    def space(self) -> Patterns:
        """The patterns."""
        ...


def context_of(router: Predictor, prompts: Sequence[Prompt], forecast: Forecast) -> Floats:
    """[N, K] where the prompts lie, given what `router` forecast of them.

    The router's own `context`, where it has one. Else 1 and the scores of its patterns; else 1 and how much
    better than usual it expects each model to be.

    Raises:
        RoutingError: the router's own context is not a row of finite numbers a prompt.
    """
    if isinstance(router, Contextual):
        said = np.asarray(router.context(prompts), dtype=np.float64)
        if said.ndim != 2 or len(said) != len(prompts) or not np.isfinite(said).all():
            raise RoutingError(f"the context of router {router.name} must be [N, K] finite numbers")
        return said
    if isinstance(router, Patterned):
        return _with_ones(router.space.scores(forecast.quality))
    return _with_ones(np.nan_to_num(forecast.quality - router.models.quality))


def _with_ones(columns: Floats) -> Floats:
    return np.column_stack([np.ones(len(columns)), columns])
