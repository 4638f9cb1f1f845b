"""A policy for an aim: a router at the operating point that keeps it."""

import numpy as np

from workbench.errors import ConfigError
from workbench.routing.aim import Aim
from workbench.routing.constraints import Constraints
from workbench.routing.decide import Predictor
from workbench.routing.forecast import Forecast
from workbench.routing.limits import Happened
from workbench.routing.operating_point import operating_point
from workbench.routing.policy import Policy


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
