"""Which arms are worth their cost: the front of quality and cost, and how surely an arm is on it."""

from dataclasses import replace

from workbench.errors import InsufficientDataError
from workbench.experiment.analysis import ArmSummary
from workbench.experiment.scores import Scores
from workbench.stats.pareto import pareto_front


def with_front(arms: tuple[ArmSummary, ...], observed: Scores, *, alpha: float) -> tuple[ArmSummary, ...]:
    """The arms with their place on the front: of those whose cost is known, on the prompts that all saw.

    Unchanged where there are fewer than two of them, or of these prompts.
    """
    names = [arm.arm for arm in arms if arm.usd_per_1k_prompts is not None]
    if observed.cost_usd is None or len(names) < 2:
        return arms
    quality, cost_usd = observed.quality[names], observed.cost_usd[names].reindex(observed.quality.index)
    is_whole = (quality.notna() & cost_usd.notna()).all(axis=1).to_numpy()
    clusters = None if observed.clusters is None else observed.clusters.to_numpy()[is_whole]
    try:
        front = pareto_front(
            quality.to_numpy()[is_whole], cost_usd.to_numpy()[is_whole], clusters=clusters, alpha=alpha
        )
    except InsufficientDataError:
        return arms
    places = {name: place for place, name in enumerate(names)}
    return tuple(
        replace(
            arm,
            on_front=bool(front.is_on_front[places[arm.arm]]),
            p_on_front=float(front.front_probability[places[arm.arm]]),
        )
        if arm.arm in places
        else arm
        for arm in arms
    )
