"""Routers that draw their choice, and with what probability any router makes one. K candidates."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from workbench.errors import RoutingError
from workbench.routing.base import Router
from workbench.stats.policy_log import Floats
from workbench.types import Prompt


@runtime_checkable
class Randomised(Protocol):
    """A router that draws its choice, and says with what probabilities."""

    def probabilities(self, prompt: Prompt, candidates: Sequence[str]) -> Floats:
        """[K] the probability of each candidate, in their order."""
        ...


def choice_probabilities(router: Router, prompt: Prompt, candidates: Sequence[str]) -> Floats:
    """[K] the probability with which `router` would choose each candidate.

    Raises:
        RoutingError: it cannot decide, or draws without saying its probabilities.
    """
    if isinstance(router, Randomised):
        return router.probabilities(prompt, candidates)
    decision = router.route(prompt, candidates)
    if decision.propensity < 1.0:
        raise RoutingError(
            f"router {router.name} chose {decision.model_id} with probability {decision.propensity:g}, and "
            "does not say the others' probabilities; give it a method probabilities(prompt, candidates)"
        )
    return np.array([float(model_id == decision.model_id) for model_id in candidates])
