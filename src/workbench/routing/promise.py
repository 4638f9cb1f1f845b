"""What a policy is expected to do. It is saved with the policy, and read without what found it."""

from dataclasses import dataclass

from workbench.routing.aim import Aim
from workbench.stats.estimate import Estimate


@dataclass(frozen=True, slots=True)
class Promise:
    """What the chosen point did with `n_prompts` that its router was not fitted on.

    Each end of an interval holds with probability 1 - alpha, for this point by itself. That the limits of
    `aim` are kept was tested with all points in mind that were looked at. The change of quality is against
    `best_single`, the model that is best on average. None: no cost or no latency is known.
    """

    aim: Aim
    n_prompts: int
    best_single: str
    quality: Estimate
    quality_change_points: Estimate
    usd_per_1000: Estimate | None
    best_single_usd_per_1000: float | None
    p95_s: Estimate | None

    def __str__(self) -> str:
        """The figures with their intervals, in one line."""
        said = [
            f"quality {_shown(self.quality)}",
            f"{_shown(self.quality_change_points, sign='+')} points against {self.best_single}",
        ]
        if self.usd_per_1000 is not None:
            alone = f" (alone {self.best_single_usd_per_1000:.3g})" if self.best_single_usd_per_1000 else ""
            said.append(f"{_shown(self.usd_per_1000)} USD per 1,000 prompts{alone}")
        if self.p95_s is not None:
            said.append(f"p95 {_shown(self.p95_s)} s")
        return ", ".join(said)


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """The weights of `decide`, and what was expected of them when they were chosen."""

    cost_weight: float
    latency_weight: float
    promised: Promise


def _shown(estimate: Estimate, *, sign: str = "") -> str:
    return f"{estimate.value:{sign}.3g} [{estimate.low:{sign}.3g}, {estimate.high:{sign}.3g}]"
