"""A router held to an aim and to constraints: of the candidates that may be asked, the best by the aim."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from workbench.errors import ConfigError
from workbench.features import PromptFeatures
from workbench.routing.aim import Aim
from workbench.routing.base import Router
from workbench.routing.constraints import ANY_TIME, Constraints, Now
from workbench.routing.decide import Predictor, decide, distinct
from workbench.routing.forecast import Forecast, KnownModels
from workbench.routing.limits import Happened
from workbench.routing.operating_point import OperatingPoint, Promise, operating_point
from workbench.types import Decision, Prompt


@dataclass(frozen=True, slots=True)
class Policy:
    """`router` with weights of its own, among the candidates that `constraints` let through.

    `promised` is what was expected when the weights were chosen; None: they were set by hand.
    """

    router: Predictor
    cost_weight: float = 0.0
    latency_weight: float = 0.0
    constraints: Constraints = field(default_factory=Constraints)
    promised: Promise | None = None

    @property
    def name(self) -> str:
        """That of the router."""
        return self.router.name

    @property
    def models(self) -> KnownModels:
        """Those of the router."""
        return self.router.models

    def forecast(self, prompts: Sequence[Prompt], *, features: PromptFeatures | None = None) -> Forecast:
        """That of the router."""
        return self.router.forecast(prompts, features=features)

    def route(self, prompt: Prompt, candidates: Sequence[str], *, now: Now = ANY_TIME) -> Decision:
        """The best candidate that may be asked this `now`; only those that may be are fallbacks.

        Raises:
            RoutingError: there are no candidates, or none may be asked; says of each why not.
        """
        names = distinct(candidates, self.name)
        return decide(self, prompt, self.constraints.possible(prompt, names, now))


def at_point(router: Router, point: OperatingPoint) -> Policy:
    """The router with the weights of `point`, and its promise.

    Raises:
        ConfigError: the router makes no predictions that weights could be applied to.
    """
    if not isinstance(router, Predictor):
        raise ConfigError(f"router {router.name} makes no predictions that could be weighed for an aim")
    return Policy(router, point.cost_weight, point.latency_weight, promised=point.promised)


def policy_for(
    router: Predictor,
    aim: Aim,
    *,
    forecast: Forecast,
    happened: Happened,
    constraints: Constraints | None = None,
    alpha: float = 0.05,
) -> Policy:
    """`router` at the operating point that keeps `aim` with probability 1 - alpha on prompts like these.

    Args:
        forecast: of the prompts of `happened`, each by a router of this kind that was not fitted on it.
        constraints: models that these rule out for every prompt are left out of the choice as well.
    Raises:
        ConfigError: the columns are not the router's models, none of these is allowed, or the aim is about a
            cost or latency that was not recorded.
        RoutingError: no point is known to keep the aim; names the nearest, and the limits that would do.
    """
    constraints = constraints or Constraints()
    if happened.model_ids != router.models.model_ids:
        raise ConfigError(
            f"what happened is of {happened.model_ids}, the router of {router.models.model_ids}"
        )
    admitted = np.flatnonzero([constraints.admits(model_id) for model_id in happened.model_ids])
    if len(admitted) == 0:
        raise ConfigError(f"the constraints let none of the models through: {', '.join(happened.model_ids)}")
    point = operating_point(forecast.columns(admitted), happened.columns(admitted), aim, alpha=alpha)
    return Policy(router, point.cost_weight, point.latency_weight, constraints, point.promised)
