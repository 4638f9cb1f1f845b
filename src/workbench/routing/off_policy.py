"""What any router would have achieved on the prompts that another one served, from the log of that one alone.

Dimensions: N rows of the log, M models, K candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.routing.base import Router
from workbench.routing.randomised import choice_probabilities
from workbench.routing.served_log import FitRewards, ServedLog, served_log
from workbench.stats.off_policy import PolicyValue, doubly_robust, ips, snips
from workbench.stats.policy_log import Floats, PolicyLog
from workbench.types import Prompt


@dataclass(frozen=True, slots=True)
class Estimates:
    """One value by three estimators; where they disagree beyond their intervals, trust none."""

    ips: PolicyValue
    snips: PolicyValue
    doubly_robust: PolicyValue


@dataclass(frozen=True, slots=True)
class RouterValue:
    """Mean quality and mean cost of a call had `router` chosen; `cost_usd` is None where unknown."""

    router: str
    quality: Estimates
    cost_usd: Estimates | None
    notes: tuple[str, ...]

    @property
    def table(self) -> pd.DataFrame:
        """One row a measure and estimator."""
        return pd.DataFrame(
            [
                {
                    "router": self.router,
                    "measure": measure,
                    "estimator": name,
                    "value": value.estimate.value,
                    "low": value.estimate.low,
                    "high": value.estimate.high,
                    "effective_rows": value.effective_rows,
                    "warning": value.warning,
                }
                for measure, estimates in (("quality", self.quality), ("cost_usd", self.cost_usd))
                if estimates is not None
                for name in ("ips", "snips", "doubly_robust")
                for value in [getattr(estimates, name)]
            ]
        )


def evaluate_off_policy(
    router: Router,
    table: pd.DataFrame,
    *,
    candidates: Sequence[str] | None = None,
    fit_rewards: FitRewards | None = None,
    alpha: float = 0.05,
    seed: int = 0,
) -> RouterValue:
    """The quality and cost that `router` would have had on a log, had it chosen among `candidates`.

    The router must not have been fitted on these rows. Args and errors as in `served_log` and `value_of`.
    """
    log = served_log(table, candidates=candidates, fit_rewards=fit_rewards, seed=seed)
    return value_of(router, log, alpha=alpha)


def value_of(router: Router, log: ServedLog, *, alpha: float = 0.05) -> RouterValue:
    """The value of `router` by inverse propensities, self-normalised, and doubly robust.

    Two routers on one `ServedLog` are compared by `stats.off_policy.policy_difference`.

    Raises:
        RoutingError: it cannot decide, or draws its choice without saying its probabilities.
        InsufficientDataError: none of its choices is in the log.
    """
    target = target_probabilities(router, log)
    return RouterValue(
        router=router.name,
        quality=_estimates(log.quality, target, log.expected_quality, alpha),
        cost_usd=None if log.cost is None else _estimates(log.cost, target, log.expected_cost_usd, alpha),
        notes=log.notes,
    )


def target_probabilities(router: Router, log: ServedLog) -> Floats:
    """[N, M] the probability with which `router` would choose each model for each row.

    A draw alone would not do: a router that is evaluated on its own log draws what it drew then, and every
    row would seem to be its sole choice.

    Raises:
        RoutingError: as in `value_of`.
    """
    column = {model_id: i for i, model_id in enumerate(log.models)}
    target = np.zeros((len(log.prompts), len(log.models)))
    seen: dict[Prompt, Floats] = {}
    for row, prompt in enumerate(log.prompts):
        if prompt not in seen:
            seen[prompt] = choice_probabilities(router, prompt, log.candidates)
        target[row, [column[model_id] for model_id in log.candidates]] = seen[prompt]
    return target


def _estimates(log: PolicyLog, target: Floats, expected: Floats, alpha: float) -> Estimates:
    return Estimates(
        ips(log, target, alpha=alpha),
        snips(log, target, alpha=alpha),
        doubly_robust(log, target, model=expected, alpha=alpha),
    )
