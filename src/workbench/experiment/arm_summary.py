"""What one arm did: its quality, costs, latencies and errors, over all of its own prompts."""

import math

import numpy as np
import pandas as pd

from workbench.errors import InsufficientDataError
from workbench.experiment.analysis import ArmSummary
from workbench.experiment.scores import Scores
from workbench.stats.estimate import Estimate
from workbench.stats.paired import paired_mean
from workbench.stats.proportions import wilson
from workbench.stats.quantiles import quantile
from workbench.stats.ratios import cost_per_correct


def summaries(observed: Scores, *, alpha: float) -> tuple[ArmSummary, ...]:
    """One line of the result table an arm, with intervals at level 1 - `alpha`."""
    return tuple(_summary(observed, arm, alpha=alpha) for arm in observed.arms)


def quality_of(observed: Scores, arm: str, *, alpha: float) -> Estimate:
    """The mean score of an arm: Wilson's interval where scores are 0 or 1, else that of t."""
    values = observed.quality[arm].dropna()
    if observed.is_binary and observed.clusters is None:
        return wilson(int(values.sum()), len(values), alpha=alpha)
    clusters = None if observed.clusters is None else observed.clusters[values.index].to_numpy()
    if len(values) < 2 or (clusters is not None and len(np.unique(clusters)) < 2):
        return Estimate(float(values.mean()), 0.0, 1.0)  # one unit says nothing about the spread of others
    return paired_mean(values.to_numpy(), clusters, bounds=(0.0, 1.0)).interval(alpha)


def _summary(observed: Scores, arm: str, *, alpha: float) -> ArmSummary:
    rows = observed.rows[observed.rows["arm"] == arm]
    cost = observed.cost_usd[arm].dropna() if observed.cost_usd is not None else None
    is_priced = cost is not None and bool(rows["cost_usd"].notna().all())
    answered = rows["error"].isna()
    latency_s = rows.loc[answered, "latency_s"].dropna()
    p50, p95 = (_quantile(latency_s, q, alpha=alpha) for q in (0.5, 0.95))
    return ArmSummary(
        arm=arm,
        n_prompts=observed.n_prompts(arm),
        n_calls=len(rows),
        n_errors=int((~answered).sum()),
        quality=quality_of(observed, arm, alpha=alpha),
        usd_per_1k_prompts=1000.0 * float(cost.mean()) if cost is not None and is_priced else None,
        total_cost_usd=float(rows["cost_usd"].sum()) if is_priced else None,
        latency_p50_s=None if p50 is None else p50[0],
        latency_p95_s=None if p95 is None else p95[0],
        latency_p50_interval_s=None if p50 is None else p50[1],
        latency_p95_interval_s=None if p95 is None else p95[1],
        usd_per_1k_interval=_usd_per_1k(observed, arm, alpha=alpha) if is_priced else None,
        usd_per_correct=_usd_per_correct(observed, arm, alpha=alpha) if is_priced else None,
        n_unscored=int((answered & rows["quality"].isna()).sum()),
    )


def _quantile(latency_s: pd.Series, q: float, *, alpha: float) -> tuple[float, Estimate | None] | None:
    """The quantile, and its interval where there are calls enough for one; None without calls."""
    if latency_s.empty:
        return None
    found = quantile(latency_s.to_numpy(), q, alpha=alpha)
    is_bounded = math.isfinite(found.low) and math.isfinite(found.high)
    return found.value, Estimate(found.value, found.low, found.high) if is_bounded else None


def _usd_per_correct(observed: Scores, arm: str, *, alpha: float) -> Estimate | None:
    """What a right answer costs (quality 1, or its worth of partial ones); None where nothing bounds it."""
    if observed.cost_usd is None:
        return None
    known = pd.DataFrame({"usd": observed.cost_usd[arm], "quality": observed.quality[arm]}).dropna()
    clusters = None if observed.clusters is None else observed.clusters[known.index].to_numpy()
    try:
        found = cost_per_correct(known["usd"].to_numpy(), known["quality"].to_numpy(), clusters)
    except InsufficientDataError:
        return None
    interval = found.fieller(alpha)
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return None
    return Estimate(found.ratio, interval.low, interval.high)


def _usd_per_1k(observed: Scores, arm: str, *, alpha: float) -> Estimate | None:
    """What 1,000 prompts cost, by t; None where one prompt says nothing of others."""
    if observed.cost_usd is None:
        return None
    usd = 1000.0 * observed.cost_usd[arm].dropna()
    clusters = None
    if observed.clusters is not None:
        clusters = observed.clusters.reindex(usd.index).to_numpy()
    try:
        found = paired_mean(usd.to_numpy(), clusters, bounds=(0.0, math.inf))
    except InsufficientDataError:
        return None
    return found.interval(alpha) if found.t is not None else None
