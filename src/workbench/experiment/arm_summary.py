"""What one arm did: its quality, costs, latencies and errors, over all of its own prompts."""

import numpy as np

from workbench.experiment.analysis import ArmSummary
from workbench.experiment.scores import Scores
from workbench.stats.estimate import Estimate
from workbench.stats.paired import paired_mean
from workbench.stats.proportions import wilson


def summary(observed: Scores, arm: str, *, alpha: float) -> ArmSummary:
    """One line of the result table, with intervals at level 1 - `alpha`."""
    rows = observed.rows[observed.rows["arm"] == arm]
    cost = observed.cost_usd[arm].dropna() if observed.cost_usd is not None else None
    is_priced = cost is not None and bool(rows["cost_usd"].notna().all())
    latency_s = rows.loc[rows["error"].isna(), "latency_s"].dropna()
    p50, p95 = (float(q) for q in latency_s.quantile([0.5, 0.95])) if len(latency_s) else (None, None)
    return ArmSummary(
        arm=arm,
        n_prompts=observed.n_prompts(arm),
        n_calls=len(rows),
        n_errors=int(rows["error"].notna().sum()),
        quality=quality_of(observed, arm, alpha=alpha),
        usd_per_1k_prompts=1000.0 * float(cost.mean()) if cost is not None and is_priced else None,
        total_cost_usd=float(rows["cost_usd"].sum()) if is_priced else None,
        latency_p50_s=p50,
        latency_p95_s=p95,
    )


def quality_of(observed: Scores, arm: str, *, alpha: float) -> Estimate:
    """The mean score of an arm: Wilson's interval where scores are 0 or 1, else that of t."""
    values = observed.quality[arm].dropna()
    if observed.is_binary and observed.clusters is None:
        return wilson(int(values.sum()), len(values), alpha=alpha)
    clusters = None if observed.clusters is None else observed.clusters[values.index].to_numpy()
    if len(values) < 2 or (clusters is not None and len(np.unique(clusters)) < 2):
        return Estimate(float(values.mean()), 0.0, 1.0)  # one unit says nothing about the spread of others
    return paired_mean(values.to_numpy(), clusters, bounds=(0.0, 1.0)).interval(alpha)
