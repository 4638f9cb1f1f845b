"""What a policy adds to its router, as JSON: the weights, the hard constraints, and what was promised."""

import math
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from workbench.catalog import Catalog, ModelSpec
from workbench.errors import ConfigError, DataError
from workbench.routing.base import Router
from workbench.routing.constraints import Constraints
from workbench.routing.decide import Predictor
from workbench.routing.fields import Settings, require
from workbench.routing.policy import Policy
from workbench.routing.promise import Promise
from workbench.types import Decoding


@dataclass(frozen=True, slots=True)
class Held:
    """A policy without its router; `models` are the catalog's, as it was when the policy was saved."""

    cost_weight: float
    latency_weight: float
    allowed: frozenset[str] | None
    needs: frozenset[str]
    decoding: Decoding
    models: tuple[ModelSpec, ...]
    promised: Promise | None


def written(policy: Policy) -> Settings:
    """What JSON can say of it."""
    held = Held(
        cost_weight=policy.cost_weight,
        latency_weight=policy.latency_weight,
        allowed=policy.constraints.allowed,
        needs=policy.constraints.needs,
        decoding=policy.constraints.decoding,
        models=tuple(policy.constraints.catalog),
        promised=policy.promised,
    )
    said: Settings = TypeAdapter(Held).dump_python(held, mode="json")
    return said


def read(said: Any, router: Router) -> Policy:
    """The policy that `written` took apart, around its router.

    Raises:
        ValueError, TypeError: something is missing, of another type, or does not fit together.
    """
    if not isinstance(router, Predictor):
        raise ValueError(f"router {router.name} makes no predictions, and no policy holds it")
    try:
        held = TypeAdapter(Held).validate_python(said)
        constraints = Constraints(Catalog(held.models), held.allowed, held.needs, held.decoding)
    except (ConfigError, DataError) as exc:
        raise ValueError(str(exc)) from exc
    for weight in (held.cost_weight, held.latency_weight):
        require(math.isfinite(weight) and weight >= 0.0, "weights")
    return Policy(router, held.cost_weight, held.latency_weight, constraints, held.promised)
