"""From an outcome table to a verdict: what each arm did, how they differ, and what may be said about it."""

from collections.abc import Iterator, Sequence

import pandas as pd

from workbench.errors import ConfigError, InsufficientDataError
from workbench.experiment.analysis import Analysis, Comparison, from_json, to_json
from workbench.experiment.analysis_plan import PLAIN, AnalysisPlan
from workbench.experiment.arm_summary import summaries
from workbench.experiment.comparison import compared, concluded
from workbench.experiment.margins import corrected
from workbench.experiment.scores import Scores, scores
from workbench.experiment.subgroups import by_task
from workbench.experiment.wording import printable
from workbench.stats.multiplicity import holm

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
    return Analysis(
        question=question,
        metric=metric,
        alpha=alpha,
        control=control,
        arms=summaries(observed, alpha=alpha),
        comparisons=tuple(
            concluded(draft, p, margin, alpha=alpha, n_comparisons=len(drafts))
            for draft, p, margin in zip(drafts, adjusted, margins, strict=True)
        ),
        warnings=(*observed.warnings, *_warnings(drafts, plan)),
        is_randomised=plan.is_randomised,
        n_planned=plan.n_planned,
    )


def _check_arms(observed: Scores, control: str) -> None:
    if control not in observed.arms:
        raise ConfigError(f"the control {control!r} is not an arm; the arms are {', '.join(observed.arms)}")
    for arm in observed.arms:
        if observed.n_prompts(arm) == 0:
            raise InsufficientDataError(
                f"no answer of arm {printable(arm)} has a score; score it, or leave it out"
            )


def _warnings(drafts: Sequence[Comparison], plan: AnalysisPlan) -> Iterator[str]:
    if plan.covariate is not None and drafts and not any(draft.adjusted for draft in drafts):
        reason = (
            "it is not known for all prompts, or never varies"
            if plan.is_randomised
            else "both arms were asked the same prompts, and its mean over a larger pool is not known"
        )
        yield f"the covariate {printable(plan.covariate)} makes nothing more exact: {reason}"
