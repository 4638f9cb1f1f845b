"""One arm against the control: how they differ on the prompts that both saw, and what that says."""

from dataclasses import replace

import numpy as np

from workbench.errors import InsufficientDataError
from workbench.experiment import looks, second_opinions
from workbench.experiment.analysis import Comparison, MarginTest
from workbench.experiment.analysis_plan import AnalysisPlan
from workbench.experiment.contrast import Contrast, contrast_of, effect_of, not_comparable
from workbench.experiment.margins import margin_test, worded
from workbench.experiment.scores import Scores
from workbench.experiment.subgroups import task_effects
from workbench.experiment.verdict import evidence, finding_of, sentence
from workbench.stats.estimate import Estimate
from workbench.stats.proportions import mcnemar
from workbench.stats.ratios import cost_ratio
from workbench.stats.relative import two_sample_relative_difference


def compared(observed: Scores, arm: str, control: str, *, plan: AnalysisPlan, alpha: float) -> Comparison:
    """The comparison before correction: its p-values, finding and verdict are not final.

    Raises:
        InsufficientDataError: fewer than two prompts or clusters.
    """
    contrast = contrast_of(observed, arm, control, is_randomised=plan.is_randomised)
    try:
        effect = effect_of(contrast, alpha=alpha)
        watched = looks.watched(contrast, observed.quality.index, plan, alpha=alpha)
    except InsufficientDataError as exc:
        raise not_comparable(arm, control, exc) from exc
    margin = margin_test(effect.tested, plan, alpha=alpha)
    seen = None
    if watched is not None:
        effect, seen = watched
        margin = looks.watched_margin(contrast, observed.quality.index, plan, alpha=alpha)
    n_better, n_worse = contrast.discordant
    draft = Comparison(
        arm=arm,
        control=control,
        n_prompts=len(contrast.treatment) if contrast.is_paired else _n_both(contrast),
        difference=effect.difference,
        p_value=effect.p_value,
        p_adjusted=1.0,
        mcnemar_p=mcnemar(n_better, n_worse) if contrast.is_paired and contrast.is_proportion else None,
        cost_ratio=_cost_ratio(observed, contrast, arm, control, alpha=alpha),
        finding="undecided",
        verdict="",
        test=effect.test,
        n_clusters=effect.n_clusters,
        n_better=n_better,
        n_worse=n_worse,
        interval=effect.interval,
        margin=margin,
        looks=seen,
    )
    return _with_second_opinions(draft, observed, contrast, plan=plan, alpha=alpha)


def concluded(
    draft: Comparison, p_adjusted: float, margin: MarginTest | None, *, alpha: float, n_comparisons: int
) -> Comparison:
    """The draft with its corrected p-values, its finding and its verdict."""
    finding = finding_of(draft.difference.value, p_adjusted, alpha=alpha)
    is_outside_zero = draft.difference.low > 0.0 or draft.difference.high < 0.0
    said = evidence(
        draft.n_prompts,
        p_adjusted,
        n_clusters=draft.n_clusters,
        n_comparisons=n_comparisons,
        test=draft.test,
        is_at_odds=is_outside_zero != (finding != "undecided"),
        margin_p=None if margin is None else margin.p_adjusted,
    )
    as_good, but = worded(margin, draft.control, finding)
    verdict = sentence(
        draft.arm,
        draft.control,
        finding=finding,
        difference=draft.difference,
        cost_ratio=draft.cost_ratio,
        evidence=said,
        as_good=as_good,
        but=but,
    )
    return replace(draft, p_adjusted=p_adjusted, margin=margin, finding=finding, verdict=verdict)


def _with_second_opinions(
    draft: Comparison, observed: Scores, contrast: Contrast, *, plan: AnalysisPlan, alpha: float
) -> Comparison:
    arm, control, is_paired = draft.arm, draft.control, contrast.is_paired
    tasks, heterogeneity = task_effects(observed, contrast, alpha=alpha)
    return replace(
        draft,
        latency_difference_s=second_opinions.latency_difference_s(
            observed, arm, control, is_paired=is_paired, alpha=alpha
        ),
        adjusted=second_opinions.adjusted(observed, contrast, plan=plan, alpha=alpha),
        permutation_p=second_opinions.permutation_p(contrast),
        posterior=second_opinions.posterior(contrast, alpha=alpha),
        missing=second_opinions.missing(observed, arm, control, alpha=alpha) if is_paired else None,
        errors_p=second_opinions.errors_p(observed, contrast, arm, control),
        tasks=tasks,
        heterogeneity=heterogeneity,
    )


def _n_both(contrast: Contrast) -> int:
    return len(contrast.treatment) + len(contrast.control)


def _cost_ratio(
    observed: Scores, contrast: Contrast, arm: str, control: str, *, alpha: float
) -> Estimate | None:
    """None where the cost of a prompt is unknown, or only one prompt or cluster cost anything."""
    if observed.cost_usd is None:
        return None
    costs = observed.cost_usd.reindex(observed.quality.index)
    treatment = costs[arm].to_numpy()[contrast.treatment_rows]
    baseline = costs[control].to_numpy()[contrast.control_rows]
    if np.isnan(treatment).any() or np.isnan(baseline).any() or not (treatment.sum() and baseline.sum()):
        return None
    clusters = contrast.treatment_clusters, contrast.control_clusters
    try:
        if contrast.is_paired:
            return cost_ratio(treatment, baseline, clusters[0]).ratio_interval(alpha)
        return two_sample_relative_difference(treatment, baseline, *clusters).ratio_interval(alpha)
    except InsufficientDataError:
        return None
