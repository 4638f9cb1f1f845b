"""A router held to an aim and to constraints: of the candidates that may be asked, the best by the aim."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from workbench.errors import ConfigError
from workbench.features import PromptFeatures
from workbench.routing.base import Router
from workbench.routing.constraints import ANY_TIME, Constraints, Now
from workbench.routing.decide import Predictor, decide, distinct
from workbench.routing.forecast import Forecast, KnownModels
from workbench.routing.promise import OperatingPoint, Promise
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
