"""What an experiment will cost, how long it will take, and what it can find: all before the first call."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from workbench.errors import ConfigError
from workbench.experiment.arm_spec import TableSpec
from workbench.experiment.detectable import DISCORDANT_SHARE, LARGEST_SD, Detectable, detectable
from workbench.experiment.plan import Plan
from workbench.experiment.spending import LATENCY_S, OUTPUT_TOKENS, Rate, rates
from workbench.experiment.tables import read_table
from workbench.settings import Settings


@dataclass(frozen=True, slots=True)
class ArmOutlook:
    """Of one arm: calls, and what they are expected to cost and can cost at most; None: no price is known."""

    arm: str
    n_calls: int
    expected_usd: float | None
    most_usd: float | None


@dataclass(frozen=True, slots=True)
class Outlook:
    """An experiment before it is run. `duration_s` is at the concurrency of the spec.

    `assumptions` say what the numbers rest on.
    """

    arms: tuple[ArmOutlook, ...]
    duration_s: float
    budget_usd: float | None
    detectable: tuple[Detectable, ...]
    assumptions: tuple[str, ...]

    @property
    def n_calls(self) -> int:
        """Calls of all arms; those of a panel count once."""
        return sum(arm.n_calls for arm in self.arms)

    @property
    def expected_usd(self) -> float | None:
        """Of all arms; None: a price is not known."""
        return _total([arm.expected_usd for arm in self.arms])

    @property
    def most_usd(self) -> float | None:
        """Of all arms; None: a price is not known."""
        return _total([arm.most_usd for arm in self.arms])

    @property
    def exceeds_budget(self) -> bool:
        """Whether the run is expected to be ended by its budget."""
        expected_usd = self.expected_usd
        return self.budget_usd is not None and expected_usd is not None and expected_usd > self.budget_usd


def outlook(plan: Plan, settings: Settings) -> Outlook:
    """What is to be expected of `plan`, from the pilot that its spec names, or from its assumptions.

    Raises:
        ConfigError: the pilot lacks an arm. DataError, StorageError: the pilot cannot be read.
    """
    pilot = _pilot(plan, settings)
    by_arm = rates(plan, pilot)
    n_calls = Counter(call.arm.name for call in plan.calls)
    most_usd: defaultdict[str, float] = defaultdict(float)
    for call in plan.calls:
        most_usd[call.arm.name] += plan.dearest(call)[0]
    arms = [
        ArmOutlook(
            arm.name,
            n_calls[arm.name],
            _times(by_arm[arm.name].cost_usd, n_calls[arm.name]),
            None if by_arm[arm.name].cost_usd is None else most_usd[arm.name],
        )
        for arm in plan.arms
    ]
    work_s = sum(by_arm[name].latency_s * n for name, n in n_calls.items())
    return Outlook(
        arms=tuple(arms),
        duration_s=work_s / min(plan.spec.concurrency, max(1, len(plan.calls))),
        budget_usd=plan.spec.budget_usd,
        detectable=tuple(detectable(plan, pilot)),
        assumptions=tuple(_assumptions(plan, pilot, by_arm)),
    )


def _pilot(plan: Plan, settings: Settings) -> pd.DataFrame | None:
    written = plan.spec.design.pilot
    if written is None:
        return None
    table = read_table(TableSpec(outcomes=written), folder=plan.spec.folder, settings=settings)
    missing = [arm.name for arm in plan.arms if arm.name not in set(table["arm"])]
    if missing:
        raise ConfigError(
            f"design.pilot: {written} has no rows of arm {missing[0]!r}; it has "
            f"{', '.join(table['arm'].unique())}"
        )
    return table


def _assumptions(plan: Plan, pilot: pd.DataFrame | None, by_arm: dict[str, Rate]) -> Iterator[str]:
    design = plan.spec.design
    if pilot is not None:
        n = pilot["prompt_id"].nunique()
        yield (
            f"costs, times and variance are those of the pilot, {n:,} prompts of {design.pilot}; "
            "the variance at its upper limit"
        )
        return
    n_tokens, latency_s = design.output_tokens or OUTPUT_TOKENS, design.latency_s or LATENCY_S
    yield f"an answer has {n_tokens} tokens and takes {latency_s:g} s"
    if any(rate.cost_usd is None for rate in by_arm.values()):
        yield "no price is known for an arm whose cost is not given"
    if design.kind == "randomised":
        yield f"scores of an arm have a standard deviation of {design.sd or LARGEST_SD:g}"
    elif design.sd is not None:
        yield f"differences of prompts have a standard deviation of {design.sd:g}"
    else:
        yield f"the arms differ on {100 * (design.discordant_share or DISCORDANT_SHARE):g} % of the prompts"
    if design.icc is not None:
        yield f"differences in one cluster correlate by {design.icc:g}"


def _times(cost_usd: float | None, n: int) -> float | None:
    return None if cost_usd is None else cost_usd * n


def _total(costs: list[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None
