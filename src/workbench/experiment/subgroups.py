"""The arms on each task: their quality there, and whether their difference is the same on all."""

from collections.abc import Sequence

import pandas as pd

from workbench.errors import InsufficientDataError
from workbench.experiment.analysis import Heterogeneity, TaskEffect
from workbench.experiment.arm_summary import quality_of
from workbench.experiment.contrast import Contrast, Effect, effect_of
from workbench.experiment.scores import Scores, scores
from workbench.experiment.verdict import finding_of
from workbench.stats.multiplicity import holm

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
    found = []
    codes, tasks = pd.factorize(observed.tasks, sort=True)
    for code, task in enumerate(tasks):
        part = contrast.on(codes == code)
        try:
            found.append((str(task), part, effect_of(part, alpha=alpha)))
        except InsufficientDataError:
            continue
    if len(found) < 2:
        return (), None
    adjusted = holm([effect.p_value for _, _, effect in found])
    return tuple(
        _task_effect(task, part, effect, p, alpha=alpha)
        for (task, part, effect), p in zip(found, adjusted, strict=True)
    ), None


def _task_effect(task: str, part: Contrast, effect: Effect, p_adjusted: float, *, alpha: float) -> TaskEffect:
    n_prompts = len(part.treatment) + (0 if part.is_paired else len(part.control))
    finding = finding_of(effect.difference.value, p_adjusted, alpha=alpha)
    return TaskEffect(task, n_prompts, effect.difference, effect.p_value, p_adjusted, finding)
