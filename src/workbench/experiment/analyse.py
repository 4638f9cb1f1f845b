"""From an outcome table to a verdict: what each arm did, how they differ, and what may be said about it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from workbench.errors import ConfigError, DataError, InsufficientDataError
from workbench.experiment.scores import Scores, scores
from workbench.experiment.verdict import Finding, evidence, finding_of, sentence
from workbench.experiment.wording import printable
from workbench.stats.bootstrap import bootstrap_ratio
from workbench.stats.estimate import Estimate
from workbench.stats.multiplicity import holm
from workbench.stats.paired import PairedMean, paired_mean
from workbench.stats.proportions import mcnemar, wilson

_FEW_DISCORDANT = 25
"""Below so many discordant pairs the exact McNemar test is used: Fleiss, Levin & Paik (2003), sec. 13.1."""


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """One line of the result table. Absent numbers (no price, no latency, no answer) are None."""

    arm: str
    n_prompts: int
    n_calls: int
    n_errors: int
    quality: Estimate
    usd_per_1k_prompts: float | None
    total_cost_usd: float | None
    latency_p50_s: float | None
    latency_p95_s: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One arm against the control, on the prompts that both saw.

    `difference` is treatment minus control in quality; `p_adjusted` is corrected for all comparisons
    of the analysis (Holm); `mcnemar_p` is the exact test, None where the scores are not 0 or 1.
    `test` names where `p_value` comes from; `n_clusters` is None where prompts stand alone;
    `n_better` and `n_worse` count the prompts on which the arm scored above and below the control.
    """

    arm: str
    control: str
    n_prompts: int
    difference: Estimate
    p_value: float
    p_adjusted: float
    mcnemar_p: float | None
    cost_ratio: Estimate | None
    finding: Finding
    verdict: str
    test: str = "paired t"
    n_clusters: int | None = None
    n_better: int = 0
    n_worse: int = 0


@dataclass(frozen=True, slots=True)
class Analysis:
    """What an experiment found."""

    question: str
    metric: str
    alpha: float
    control: str
    arms: tuple[ArmSummary, ...]
    comparisons: tuple[Comparison, ...]
    warnings: tuple[str, ...] = ()


def analyse(
    table: pd.DataFrame,
    *,
    question: str,
    control: str,
    alpha: float = 0.05,
    metric: str = "quality",
    arms: Sequence[str] | None = None,
) -> Analysis:
    """Compare every arm with `control` on the prompts that both saw.

    An error counts as quality 0. Repeats are averaged within the prompt, which is the unit (the
    cluster is, where the table has one). See docs/statistics.md for each number's method.

    Args:
        table: an outcome table.
        metric: the column to compare, in [0, 1].
        arms: which arms, in which order; None: all, in order of first appearance.
    Raises:
        ConfigError: an arm, the control or the metric is not in the table.
        DataError: the table is not an outcome table.
        InsufficientDataError: no rows, an arm without scores, or fewer than two prompts shared with the
            control.
    """
    if not 0.0 < alpha < 1.0:
        raise ConfigError(f"alpha is {alpha}; it must be between 0 and 1, such as 0.05")
    observed = scores(table, metric=metric, arms=arms)
    if control not in observed.arms:
        raise ConfigError(f"the control {control!r} is not an arm; the arms are {', '.join(observed.arms)}")
    for arm in observed.arms:
        if observed.n_prompts(arm) == 0:
            raise InsufficientDataError(
                f"no answer of arm {printable(arm)} has a score; score it, or leave it out"
            )
    drafts = [_compared(observed, arm, control, alpha=alpha) for arm in observed.arms if arm != control]
    adjusted = holm([draft.p_value for draft in drafts])
    return Analysis(
        question=question,
        metric=metric,
        alpha=alpha,
        control=control,
        arms=tuple(_summary(observed, arm, alpha=alpha) for arm in observed.arms),
        comparisons=tuple(
            _concluded(draft, p, alpha=alpha, n_comparisons=len(drafts))
            for draft, p in zip(drafts, adjusted, strict=True)
        ),
        warnings=observed.warnings,
    )


def by_task(
    table: pd.DataFrame, *, alpha: float = 0.05, metric: str = "quality", arms: Sequence[str] | None = None
) -> pd.DataFrame:
    """Quality with its interval of each arm on each task: columns task, arm, n_prompts, quality, low, high.

    Rows are in order of the tasks' names and of the arms. Prompts without a task are left out; without
    any task the result has no rows. Errors and intervals are as in `analyse`.
    """
    columns = ["task", "arm", "n_prompts", "quality", "low", "high"]
    if "task" not in table or table["task"].isna().all():
        return pd.DataFrame(columns=columns)
    names = list(arms) if arms is not None else list(table["arm"].unique())
    rows = []
    for task, part in table.groupby("task", sort=True):
        present = [arm for arm in names if (part["arm"] == arm).any()]
        observed = scores(part, metric=metric, arms=present)
        for arm in (name for name in observed.arms if observed.n_prompts(name)):
            quality = _quality(observed, arm, alpha=alpha)
            rows.append((task, arm, observed.n_prompts(arm), quality.value, quality.low, quality.high))
    return pd.DataFrame(rows, columns=columns)


def to_json(analysis: Analysis) -> str:
    """The analysis as strict JSON (no NaN), indented; `from_json` reads it back unchanged."""
    return json.dumps(asdict(analysis), allow_nan=False, indent=2, ensure_ascii=False)


def from_json(text: str | bytes) -> Analysis:
    """What `to_json` wrote.

    Raises:
        DataError: it is not that.
    """
    try:
        return _ANALYSIS.validate_json(text)
    except ValidationError as exc:
        raise DataError(f"this is not an analysis: {exc.errors()[0]['msg']}; run the analysis again") from exc


_ANALYSIS = TypeAdapter(Analysis)


def _compared(observed: Scores, arm: str, control: str, *, alpha: float) -> Comparison:
    """The comparison before correction: its p-value, finding and verdict are not final."""
    shared = observed.shared(arm, control)
    treatment, baseline = observed.quality[arm][shared], observed.quality[control][shared]
    clusters = None if observed.clusters is None else observed.clusters[shared].to_numpy()
    try:
        paired = paired_mean((treatment - baseline).to_numpy(), clusters)
    except InsufficientDataError as exc:
        names = f"{printable(arm)} and {printable(control)}"
        raise InsufficientDataError(
            f"{names} cannot be compared on the prompts that both saw: {exc}"
        ) from exc
    n_better, n_worse = int((treatment > baseline).sum()), int((treatment < baseline).sum())
    exact = mcnemar(n_better, n_worse) if observed.is_binary and clusters is None else None
    is_exact = exact is not None and n_better + n_worse < _FEW_DISCORDANT
    return Comparison(
        arm=arm,
        control=control,
        n_prompts=paired.n,
        difference=paired.interval(alpha),
        p_value=exact if exact is not None and is_exact else paired.p_value,
        p_adjusted=1.0,
        mcnemar_p=exact,
        cost_ratio=_cost_ratio(observed, arm, control, alpha=alpha),
        finding="undecided",
        verdict="",
        test=_test_name(paired, is_exact=is_exact, is_clustered=clusters is not None),
        n_clusters=None if clusters is None else paired.n_clusters,
        n_better=n_better,
        n_worse=n_worse,
    )


def _concluded(draft: Comparison, p_adjusted: float, *, alpha: float, n_comparisons: int) -> Comparison:
    finding = finding_of(draft.difference.value, p_adjusted, alpha=alpha)
    is_outside_zero = draft.difference.low > 0.0 or draft.difference.high < 0.0
    said = evidence(
        draft.n_prompts,
        p_adjusted,
        n_clusters=draft.n_clusters,
        n_comparisons=n_comparisons,
        test=draft.test,
        is_at_odds=is_outside_zero != (finding != "undecided"),
    )
    verdict = sentence(
        draft.arm,
        draft.control,
        finding=finding,
        difference=draft.difference,
        cost_ratio=draft.cost_ratio,
        evidence=said,
    )
    return replace(draft, p_adjusted=p_adjusted, finding=finding, verdict=verdict)


def _test_name(paired: PairedMean, *, is_exact: bool, is_clustered: bool) -> str:
    if is_exact:
        return "exact McNemar"
    if paired.t is None:
        return "exact sign test"
    return "cluster-robust t" if is_clustered else "paired t"


def _cost_ratio(observed: Scores, arm: str, control: str, *, alpha: float) -> Estimate | None:
    """None where the cost of a shared prompt is unknown, or one of the arms is free."""
    if observed.cost_usd is None:
        return None
    shared = observed.shared(arm, control)
    costs = observed.cost_usd.loc[shared, [arm, control]]
    if costs.isna().any(axis=None) or (costs.sum() == 0.0).any():
        return None
    clusters = None if observed.clusters is None else observed.clusters[shared].to_numpy()
    return bootstrap_ratio(costs[arm].to_numpy(), costs[control].to_numpy(), clusters, alpha=alpha)


def _quality(observed: Scores, arm: str, *, alpha: float) -> Estimate:
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
    latency_s = rows.loc[rows["error"].isna(), "latency_s"].dropna()
    p50, p95 = (float(q) for q in latency_s.quantile([0.5, 0.95])) if len(latency_s) else (None, None)
    return ArmSummary(
        arm=arm,
        n_prompts=observed.n_prompts(arm),
        n_calls=len(rows),
        n_errors=int(rows["error"].notna().sum()),
        quality=_quality(observed, arm, alpha=alpha),
        usd_per_1k_prompts=1000.0 * float(cost.mean()) if cost is not None and is_priced else None,
        total_cost_usd=float(rows["cost_usd"].sum()) if is_priced else None,
        latency_p50_s=p50,
        latency_p95_s=p95,
    )
