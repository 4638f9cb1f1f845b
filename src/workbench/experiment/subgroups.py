"""The arms on each task: their quality there, and whether their difference is the same on all."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from workbench.errors import InsufficientDataError
from workbench.experiment.analysis import Heterogeneity, TaskEffect
from workbench.experiment.arm_summary import quality_of
from workbench.experiment.contrast import Contrast, Effect, effect_of
from workbench.experiment.scores import Scores, scores
from workbench.experiment.verdict import finding_of
from workbench.stats.multiplicity import holm
from workbench.stats.subgroups import subgroup_effects

_MOST_TASKS = 100
"""More are no tasks but names of single prompts."""


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
            quality = quality_of(observed, arm, alpha=alpha)
            rows.append((task, arm, observed.n_prompts(arm), quality.value, quality.low, quality.high))
    return pd.DataFrame(rows, columns=columns)


def task_effects(
    observed: Scores, contrast: Contrast, *, alpha: float
) -> tuple[tuple[TaskEffect, ...], Heterogeneity | None]:
    """The difference on each task, in order of their names, and the test that it is the same on all.

    A task with fewer than two prompts (clusters) of an arm is left out; with fewer than two tasks there are
    none. The tests look once: they hold for a run that looked oftener only as far as it went to its end.
    """
    if observed.tasks is None or not 2 <= observed.tasks.nunique() <= _MOST_TASKS:
        return (), None
    found: list[tuple[int, str, Contrast, Effect]] = []
    codes, tasks = pd.factorize(observed.tasks, sort=True)
    for code, task in enumerate(tasks):
        part = contrast.on(codes == code)
        try:
            found.append((code, str(task), part, effect_of(part, alpha=alpha)))
        except InsufficientDataError:
            continue
    if len(found) < 2:
        return (), None
    adjusted = holm([effect.p_value for *_, effect in found])
    effects = tuple(
        _task_effect(task, part, effect, p, alpha=alpha)
        for (_, task, part, effect), p in zip(found, adjusted, strict=True)
    )
    return effects, _heterogeneity(contrast, codes, [code for code, *_ in found])


def _heterogeneity(contrast: Contrast, codes: np.ndarray, kept: Sequence[int]) -> Heterogeneity | None:
    """Of the tasks that were compared; None for two samples, or where a task has no variance."""
    if not contrast.is_paired:
        return None
    part = contrast.on(np.isin(codes, kept))
    try:
        found = subgroup_effects(part.differences, codes[part.treatment_rows], part.treatment_clusters)
    except InsufficientDataError:  # the clusters of a task
        return None
    if found.welch_f is None or found.df2 is None or found.heterogeneity_p_value is None:
        return None
    return Heterogeneity(found.welch_f, found.df1, found.df2, found.heterogeneity_p_value)


def _task_effect(task: str, part: Contrast, effect: Effect, p_adjusted: float, *, alpha: float) -> TaskEffect:
    n_prompts = len(part.treatment) + (0 if part.is_paired else len(part.control))
    finding = finding_of(effect.difference.value, p_adjusted, alpha=alpha)
    return TaskEffect(task, n_prompts, effect.difference, effect.p_value, p_adjusted, finding)
