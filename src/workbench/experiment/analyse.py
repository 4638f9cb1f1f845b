"""From an outcome table to a verdict: what each arm did, how they differ, and what may be said about it."""

from collections.abc import Sequence

import pandas as pd

from workbench.errors import ConfigError, InsufficientDataError
from workbench.experiment.analysis import Analysis, from_json, to_json
from workbench.experiment.arm_summary import summary
from workbench.experiment.comparison import compared, concluded
from workbench.experiment.scores import scores
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
    drafts = [compared(observed, arm, control, alpha=alpha) for arm in observed.arms if arm != control]
    adjusted = holm([draft.p_value for draft in drafts])
    return Analysis(
        question=question,
        metric=metric,
        alpha=alpha,
        control=control,
        arms=tuple(summary(observed, arm, alpha=alpha) for arm in observed.arms),
        comparisons=tuple(
            concluded(draft, p, alpha=alpha, n_comparisons=len(drafts))
            for draft, p in zip(drafts, adjusted, strict=True)
        ),
        warnings=observed.warnings,
    )
