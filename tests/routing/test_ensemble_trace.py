"""Ensembles on folds: three cheap models that are never wrong together, and a dear one."""

import pandas as pd
import pytest

from workbench.errors import DataError
from workbench.routing.ensemble_trace import SHARES, ensembles
from workbench.routing.evaluate import evaluate
from workbench.routing.folds import folded, scored
from workbench.routing.out_of_fold import Contender
from workbench.routing.resamples import resamples
from workbench.routing.scorecard import Trace, scorecard

NAMES = ["majority_vote", "weighted_vote", "best_of_n"]


def recorded(n_prompts: int = 60) -> pd.DataFrame:
    """Each cheap model is wrong on another third of the prompts, the dear one on every tenth."""
    rows = []
    for number in range(n_prompts):
        for place, model in enumerate(("one", "two", "three", "dear")):
            is_wrong = number % 10 == 0 if model == "dear" else number % 3 == place
            rows.append(
                {
                    "prompt_id": f"p{number}",
                    "prompt": f"number {number}",
                    "arm": model,
                    "quality": float(not is_wrong),
                    "cost_usd": 10.0 if model == "dear" else 1.0,
                    "response": f"wrong of {model}" if is_wrong else "right",
                }
            )
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def traces() -> dict[str, Trace]:
    divided = folded(recorded(), 3)
    found, rows = scored(divided)
    return {trace.name: trace for trace in ensembles(divided, found, rows, margin=0.0, seed=0)}


@pytest.mark.parametrize("name", NAMES)
def test_the_three_cheap_ones_beat_the_dear_one_and_all_of_them_are_paid(
    traces: dict[str, Trace], name: str
) -> None:
    chosen = traces[name].chosen
    assert chosen is not None
    assert chosen.quality.tolist() == [1.0] * 60
    assert chosen.cost_usd.tolist() == [3.0] * 60
    assert chosen.single_cost_usd.tolist() == [10.0] * 60
    assert chosen.single_quality.mean() == pytest.approx(0.9)


def test_every_limit_on_cost_is_a_point_and_is_kept(traces: dict[str, Trace]) -> None:
    costs = [cost_usd.mean() for _, cost_usd in traces["majority_vote"].points]
    assert len(costs) == len(SHARES)
    assert all(cost <= 10.0 * share for cost, share in zip(costs, SHARES, strict=True))
    assert costs[SHARES.index(0.2)] == 1.0  # one cheap model, as a second alone never outvotes it


def test_their_lines_are_those_of_what_looks_at_answers(traces: dict[str, Trace]) -> None:
    found, _ = scored(folded(recorded(), 3))
    card = scorecard(found, resamples(found.data.groups, n_resamples=50), margin=0.0)
    line = card.traced(traces["majority_vote"]).result
    assert (line.kind, line.ece, line.apgr) == ("cascade", None, None)
    assert line.saving is not None
    # between one (right for 2 in 3, 1 USD) and three (always right, 3 USD), 0.9 is reached for 2.4 of 10 USD
    assert line.saving.value == pytest.approx(0.76)


def test_the_leaderboard_has_them_where_there_are_responses() -> None:
    board = evaluate(folded(recorded(), 3), [Contender("best_single"), Contender("cascade")], margin=0.0)
    assert [line.router for line in board.results if line.kind == "cascade"] == [
        "cascade",
        "agreement_rule",
        *NAMES,
    ]


def test_without_responses_there_is_nothing_to_vote_on() -> None:
    divided = folded(recorded().drop(columns="response"), 3)
    found, rows = scored(divided)
    with pytest.raises(DataError, match="no column 'response'"):
        next(ensembles(divided, found, rows, margin=0.0, seed=0))
