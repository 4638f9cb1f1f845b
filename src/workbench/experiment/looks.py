"""A comparison that was looked at while it ran: what holds at every look, and the way there."""

import numpy as np
import pandas as pd

from workbench.experiment.analysis import Looks, MarginTest, Path
from workbench.experiment.analysis_plan import AnalysisPlan
from workbench.experiment.contrast import Contrast, Effect
from workbench.stats.always_valid import AlwaysValid, always_valid, non_inferiority, unit_means
from workbench.stats.estimate import Estimate

_MOST_POINTS = 200
ALWAYS_VALID = "always-valid test"


def watched(
    contrast: Contrast, prompts: pd.Index, plan: AnalysisPlan, *, alpha: float
) -> tuple[Effect, Looks] | None:
    """The effect of a contrast whose prompts came in the plan's order; None where it looked once.

    `prompts` has the names of all prompts, which the rows of the contrast refer to.
    """
    if plan.order is None or not contrast.is_paired:
        return None
    differences, units = _in_order(contrast, prompts, plan)
    found = always_valid(differences, units, alpha=alpha)
    effect = Effect(
        Estimate(found.estimate, found.low, found.high),
        found.p_value,
        ALWAYS_VALID,
        "always-valid",
        None if units is None else found.n,
        None,
    )
    return effect, Looks(found.method, found.n, found.decided_at, _path(found))


def watched_margin(
    contrast: Contrast, prompts: pd.Index, plan: AnalysisPlan, *, alpha: float
) -> MarginTest | None:
    """The margin of the plan, tested so that it holds at every look; None where there is none."""
    differences, units = _in_order(contrast, prompts, plan)
    rows = differences if units is None else unit_means(differences, units)
    if plan.non_inferiority_margin is not None:
        margin = plan.non_inferiority_margin
        p_value = non_inferiority(rows, margin=margin, alpha=alpha / 2.0).p_value
        found = always_valid(rows, alpha=alpha)
        return MarginTest("non-inferiority", margin, Estimate(found.estimate, found.low, found.high), p_value)
    if plan.equivalence_margin is not None:
        margin = plan.equivalence_margin
        p_value = max(non_inferiority(side, margin=margin, alpha=alpha).p_value for side in (rows, -rows))
        found = always_valid(rows, alpha=2.0 * alpha)
        return MarginTest("equivalence", margin, Estimate(found.estimate, found.low, found.high), p_value)
    return None


def _in_order(
    contrast: Contrast, prompts: pd.Index, plan: AnalysisPlan
) -> tuple[np.ndarray, np.ndarray | None]:
    """[N] differences, and [N] units where prompts do not stand alone, as the run took them."""
    places = pd.Index(plan.order or ()).get_indexer(prompts[contrast.treatment_rows])
    taken = np.argsort(np.where(places < 0, len(prompts), places), kind="stable")
    clusters = contrast.treatment_clusters
    return contrast.differences[taken], None if clusters is None else clusters[taken].astype(np.int64)


def _path(found: AlwaysValid) -> Path:
    """At most 200 points of the way, evenly spaced, the last one among them."""
    way = found.trajectory
    kept = np.unique(np.linspace(0, len(way.n) - 1, min(len(way.n), _MOST_POINTS)).round().astype(int))
    return Path(
        tuple(int(n) for n in way.n[kept]),
        *(tuple(float(x) for x in line[kept]) for line in (way.mean, way.low, way.high)),
    )
