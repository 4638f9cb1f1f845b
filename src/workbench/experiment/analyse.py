"""From an outcome table to a verdict: what each arm did, how they differ, and what may be said about it."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from workbench.errors import ConfigError, InsufficientDataError
from workbench.experiment.analysis import Analysis, Comparison, from_json, to_json
from workbench.experiment.analysis_plan import PLAIN, AnalysisPlan
from workbench.experiment.arm_summary import summaries
from workbench.experiment.comparison import compared, concluded
from workbench.experiment.factors import factor_effects
from workbench.experiment.front import with_front
from workbench.experiment.margins import corrected
from workbench.experiment.scores import Scores, scores
from workbench.experiment.subgroups import by_task
from workbench.experiment.wording import p_value, printable
from workbench.stats.multiplicity import holm
from workbench.stats.sample_ratio import SampleRatio, sample_ratio

__all__ = ["Analysis", "analyse", "by_task", "from_json", "to_json"]


def analyse(
    table: pd.DataFrame,
    *,
    question: str,
    control: str,
    alpha: float = 0.05,
    metric: str = "quality",
    arms: Sequence[str] | None = None,
    plan: AnalysisPlan = PLAIN,
) -> Analysis:
    """Compare every arm with `control` on the prompts that both saw.

    An error counts as quality 0. Repeats are averaged within the prompt, which is the unit (the
    cluster is, where the table has one). See docs/statistics.md for each number's method.

    Args:
        table: an outcome table.
        metric: the column to compare, in [0, 1].
        arms: which arms, in which order; None: all, in order of first appearance.
        plan: what else to ask, and what the table does not tell of how it came about.
    Raises:
        ConfigError: an arm, the control, the metric or the covariate is not in the table.
        DataError: the table is not an outcome table.
        InsufficientDataError: no rows, an arm without scores, or fewer than two prompts shared with the
            control.
    """
    if not 0.0 < alpha < 1.0:
        raise ConfigError(f"alpha is {alpha}; it must be between 0 and 1, such as 0.05")
    observed = scores(table, metric=metric, arms=arms, covariate=plan.covariate)
    _check_arms(observed, control)
    drafts = [
        compared(observed, arm, control, plan=plan, alpha=alpha) for arm in observed.arms if arm != control
    ]
    adjusted = holm([draft.p_value for draft in drafts])
    margins = corrected([draft.margin for draft in drafts], alpha=alpha)
    arms_found = summaries(observed, alpha=alpha)
    if not plan.is_randomised:
        arms_found = with_front(arms_found, observed, alpha=alpha)
    ratio = _sample_ratio(observed, plan)
    return Analysis(
        question=question,
        metric=metric,
        alpha=alpha,
        control=control,
        arms=arms_found,
        comparisons=tuple(
            concluded(draft, p, margin, alpha=alpha, n_comparisons=len(drafts))
            for draft, p, margin in zip(drafts, adjusted, margins, strict=True)
        ),
        warnings=(*observed.warnings, *_warnings(drafts, plan, ratio, alpha=alpha)),
        is_randomised=plan.is_randomised,
        n_planned=plan.n_planned,
        factors=() if plan.is_randomised else factor_effects(table, observed, alpha=alpha),
        sample_ratio=ratio,
    )


def _check_arms(observed: Scores, control: str) -> None:
    if control not in observed.arms:
        raise ConfigError(f"the control {control!r} is not an arm; the arms are {', '.join(observed.arms)}")
    for arm in observed.arms:
        if observed.n_prompts(arm) == 0:
            raise InsufficientDataError(
                f"no answer of arm {printable(arm)} has a score; score it, or leave it out"
            )


def _sample_ratio(observed: Scores, plan: AnalysisPlan) -> SampleRatio | None:
    """Whether prompts fell to the arms as they were meant to; None where all arms had all prompts."""
    if not plan.is_randomised or len(observed.arms) < 2:
        return None
    counts = np.array(
        [observed.rows.loc[observed.rows["arm"] == arm, "prompt_id"].nunique() for arm in observed.arms]
    )
    shares = np.array([plan.shares[arm] for arm in observed.arms]) if plan.shares else None
    return sample_ratio(counts, shares)


def _warnings(
    drafts: Sequence[Comparison], plan: AnalysisPlan, ratio: SampleRatio | None, *, alpha: float
) -> Iterator[str]:
    if ratio is not None and ratio.is_mismatch:
        counts = ", ".join(
            f"{seen:,} for {meant:,.0f}" for seen, meant in zip(ratio.observed, ratio.expected, strict=True)
        )
        yield (
            f"prompts did not fall to the arms as meant ({counts}): something kept them away; "
            "trust no difference"
        )
    for draft in drafts:
        if draft.errors_p is not None and draft.errors_p <= alpha:
            yield (
                f"{printable(draft.arm)} and {printable(draft.control)} do not fail alike "
                f"({p_value(draft.errors_p)}): part of their difference is in errors, which count as 0"
            )
    if plan.covariate is not None and drafts and not any(draft.adjusted for draft in drafts):
        reason = (
            "it is not known for all prompts, or never varies"
            if plan.is_randomised
            else "both arms were asked the same prompts, and its mean over a larger pool is not known"
        )
        yield f"the covariate {printable(plan.covariate)} makes nothing more exact: {reason}"
