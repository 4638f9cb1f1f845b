"""What a spec asks of the outcomes, with what only the plan of its run knows."""

import numpy as np
import pandas as pd

from workbench.experiment.analysis_plan import AnalysisPlan
from workbench.experiment.plan import Plan

PREDICTED_QUALITY = "predicted_quality"
"""The covariate that the first router among the arms makes: what it expects of its own choice."""


def planned_analysis(plan: Plan, table: pd.DataFrame) -> tuple[AnalysisPlan, pd.DataFrame]:
    """The analysis that the spec asks for, and `table` with the covariate as a column, where it names one."""
    spec, asked = plan.spec, plan.spec.analysis
    table, covariate_mean = _with_covariate(plan, table)
    is_sequential = spec.stopping.is_sequential
    order = list(dict.fromkeys(call.prompt.prompt_id for call in plan.calls)) if is_sequential else None
    return AnalysisPlan(
        non_inferiority_margin=asked.non_inferiority_margin,
        equivalence_margin=asked.equivalence_margin,
        covariate=asked.covariate,
        covariate_mean=covariate_mean,
        is_randomised=spec.design.kind == "randomised",
        shares=spec.design.shares,
        order=order,
        n_planned=len(plan.prompts),
    ), table


def _with_covariate(plan: Plan, table: pd.DataFrame) -> tuple[pd.DataFrame, float | None]:
    """The table with what was predicted, and its mean over the planned prompts where not all were asked."""
    if plan.spec.analysis.covariate != PREDICTED_QUALITY or PREDICTED_QUALITY in table:
        return table, None
    predicted = _predicted_quality(plan)
    values = np.array([predicted.get(name, np.nan) for name in table["prompt_id"]])
    is_sample = table["prompt_id"].nunique() < len(plan.prompts)
    mean = float(np.mean(list(predicted.values()))) if predicted and is_sample else None
    return table.assign(**{PREDICTED_QUALITY: values}), mean


def _predicted_quality(plan: Plan) -> dict[str, float]:
    """By prompt, what the first router that makes predictions expects of its choice; empty without one."""
    for arm in (arm for arm in plan.arms if arm.is_routed):
        said = {prompt.prompt_id: arm.decide(prompt).predicted_quality for prompt in plan.prompts}
        known = {name: quality for name, quality in said.items() if quality is not None}
        if len(known) == len(said):
            return known
    return {}
