"""The arms on each task: their quality there, and whether their difference is the same on all."""

from collections.abc import Sequence

import pandas as pd

from workbench.experiment.arm_summary import quality_of
from workbench.experiment.scores import scores


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
