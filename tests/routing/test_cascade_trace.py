"""Cascades on folds: a rule worked by hand, and a point that is chosen on the training prompts."""

import numpy as np
import pandas as pd
import pytest

from workbench.routing.cascade_trace import agreement_rule
from workbench.routing.folds import folded, scored
from workbench.routing.resamples import resamples
from workbench.routing.scorecard import scorecard


def recorded(n_prompts: int = 60) -> pd.DataFrame:
    """Two cheap models that are right together on half of the prompts and differ on the rest; a dear one."""
    rows = []
    for number in range(n_prompts):
        is_easy = number % 2 == 0
        for model, cost in (("one", 1.0), ("two", 1.0), ("dear", 10.0)):
            text = "right" if is_easy or model == "dear" else f"wrong of {model}"
            rows.append(
                {
                    "prompt_id": f"p{number}",
                    "prompt": f"number {number}",
                    "arm": model,
                    "quality": float(text == "right"),
                    "cost_usd": cost,
                    "response": text,
                }
            )
    return pd.DataFrame(rows)


def test_a_rule_of_two_that_agree_costs_what_it_must() -> None:
    divided = folded(recorded(), 3)
    found, rows = scored(divided)
    trace = agreement_rule(divided, found, rows, margin=0.0)
    assert trace.chosen is not None
    assert trace.chosen.quality.tolist() == [1.0] * 60
    # two cheap ones for all, the dear one for the half on which they differ
    assert trace.chosen.cost_usd.mean() == pytest.approx(2.0 + 10.0 / 2)
    assert trace.chosen.single_cost_usd.tolist() == [10.0] * 60
    line = scorecard(found, resamples(found.data.groups, n_resamples=50), margin=0.0).traced(trace).result
    assert line.kind == "cascade"
    assert line.saving is not None
    assert line.saving.value == pytest.approx(0.3)


def test_where_no_rule_is_cheaper_the_best_single_model_is_asked() -> None:
    dear = recorded()
    dear["cost_usd"] = np.where(dear["arm"] == "dear", 2.5, 1.0)
    divided = folded(dear, 3)
    found, rows = scored(divided)
    trace = agreement_rule(divided, found, rows, margin=0.0)
    assert trace.chosen is not None
    assert trace.chosen.cost_usd.tolist() == trace.chosen.single_cost_usd.tolist()
