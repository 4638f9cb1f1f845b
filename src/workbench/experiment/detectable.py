"""What the planned size of an experiment can find, and the size that an effect needs."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench import outcomes
from workbench.experiment.plan import Plan
from workbench.stats import power
from workbench.stats.power import PairedMeans, TwoMeans, from_pilot, least_effect, n_for, power_of
from workbench.stats.power_proportions import EarlyStop, PairedProportions, early_stop

DISCORDANT_SHARE = 0.2
"""Assumed where nothing is: the arms differ on every fifth prompt."""
LARGEST_SD = 0.5
"""Of one score in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Detectable:
    """What the planned size can find of one arm against the control.

    `n_planned` counts prompts (a randomised design: of an arm). `least_effect` is the smallest difference in
    quality that is found with `power`, None where no possible one is. `n_needed` and `power_at_planned` are
    for the `effect` that the spec names, None where it names none. `early` is of a sequential run with that
    effect, or the least, and `early_null` of one without a difference.
    """

    arm: str
    n_planned: int
    power: float
    least_effect: float | None
    effect: float | None = None
    n_needed: int | None = None
    power_at_planned: float | None = None
    early: EarlyStop | None = None
    early_null: EarlyStop | None = None


def detectable(plan: Plan, pilot: pd.DataFrame | None) -> Iterator[Detectable]:
    """One for each arm where a pilot tells them apart; else one for all."""
    arms = [arm.name for arm in plan.arms if arm.name != plan.spec.control_arm]
    for arm in arms if pilot is not None else arms[:1]:
        yield _found(
            plan, arm if pilot is not None or len(arms) == 1 else "each arm", _assumed(plan, arm, pilot)
        )


def _found(plan: Plan, arm: str, assumed: power.Plan) -> Detectable:
    design, spec = plan.spec.design, plan.spec
    n_planned = len(plan.prompts) if design.kind != "randomised" else _smallest_arm(plan)
    n_comparisons = max(1, len(plan.arms) - 1)
    least = least_effect(
        assumed, n_planned, power=design.power, alpha=spec.alpha, n_comparisons=n_comparisons
    )
    effect = design.effect
    needed = at_planned = None
    if effect is not None:
        needed = n_for(assumed, effect, power=design.power, alpha=spec.alpha, n_comparisons=n_comparisons)
        at_planned = power_of(assumed, effect, n_planned, alpha=spec.alpha, n_comparisons=n_comparisons)
    early, early_null = _early(plan, assumed, effect or least, n_planned, n_comparisons)
    return Detectable(arm, n_planned, design.power, least, effect, needed, at_planned, early, early_null)


def _early(
    plan: Plan, assumed: power.Plan, effect: float | None, n_planned: int, n_comparisons: int
) -> tuple[EarlyStop | None, EarlyStop | None]:
    if not plan.spec.stopping.is_sequential or effect is None or _n_clusters(plan) < len(plan.prompts):
        return None, None
    if isinstance(assumed, PairedProportions):
        share = assumed.discordant
    else:
        share = min(1.0, assumed.sd**2 + effect**2) if isinstance(assumed, PairedMeans) else 1.0

    def simulated(size: float) -> EarlyStop:
        most = max(share, size)
        return early_stop(size, most, n_planned, alpha=plan.spec.alpha, n_comparisons=n_comparisons)

    return simulated(effect), simulated(0.0)


def _assumed(plan: Plan, arm: str, pilot: pd.DataFrame | None) -> power.Plan:
    """The variance: of the pilot at its upper limit, as written, or of scores of 0 and 1."""
    design = plan.spec.design
    size = len(plan.prompts) / _n_clusters(plan)
    if design.kind == "randomised":
        return _two_samples(plan, arm, pilot)
    if pilot is not None:
        return from_pilot(*_differences(plan, arm, pilot), repeats=plan.spec.repeats).high
    share = design.discordant_share or DISCORDANT_SHARE
    if design.sd is None and design.icc is None:
        return PairedProportions(share)
    return PairedMeans(design.sd or math.sqrt(share), icc=design.icc or 0.0, cluster_size=size)


def _two_samples(plan: Plan, arm: str, pilot: pd.DataFrame | None) -> TwoMeans:
    def sd(name: str) -> float:
        if pilot is None:
            return plan.spec.design.sd or LARGEST_SD
        return float(outcomes.pivot(_scored(pilot))[name].std()) or LARGEST_SD

    return TwoMeans(sd(arm), sd(plan.spec.control_arm))


def _differences(plan: Plan, arm: str, pilot: pd.DataFrame) -> tuple[np.ndarray, np.ndarray | None]:
    """[N, R] differences of the pilot, a column for each repeat; and [N] clusters, if there are any."""
    rows = _scored(pilot)
    wide = rows.pivot(index="prompt_id", columns=["arm", "repeat"], values="quality")
    repeats = [r for r in wide[arm].columns if r in wide[plan.spec.control_arm].columns]
    table = (wide[arm][repeats] - wide[plan.spec.control_arm][repeats]).dropna()
    if "cluster" not in rows or rows["cluster"].isna().all():
        return table.to_numpy(), None
    cluster = rows.drop_duplicates("prompt_id").set_index("prompt_id")["cluster"].reindex(table.index)
    return table.to_numpy(), pd.factorize(cluster.fillna(pd.Series(table.index, table.index)))[0]


def _scored(pilot: pd.DataFrame) -> pd.DataFrame:
    """The pilot with an error as quality 0."""
    rows = outcomes.validate(pilot)
    is_error = rows["error"].notna() if "error" in rows else pd.Series(False, rows.index)
    return rows.assign(quality=rows["quality"].mask(is_error, 0.0)).dropna(subset=["quality"])


def _n_clusters(plan: Plan) -> int:
    return len({prompt.cluster or f"\0{prompt.prompt_id}" for prompt in plan.prompts})


def _smallest_arm(plan: Plan) -> int:
    counts = Counter(call.arm.name for call in plan.calls if call.repeat == 0)
    return max(2, min(counts.get(arm.name, 0) for arm in plan.arms))
