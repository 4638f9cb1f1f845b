"""Verdicts of a pairwise judge as arrays: who beat whom, and who was shown first."""

import pandas as pd
import pytest

from workbench.errors import InsufficientDataError
from workbench.experiment.pairwise import verdicts
from workbench.stats.ranking import bradley_terry


def table() -> pd.DataFrame:
    rows = [
        ("p1", "control", None, None),
        ("p1", "b", 1.0, 0.0),
        ("p1", "c", 0.0, 0.0),
        ("p2", "b", 0.5, 1.0),
        ("p2", "c", None, 1.0),
    ]
    return pd.DataFrame(rows, columns=["prompt_id", "arm", "as_first", "as_second"])


def test_each_verdict_is_one_row_with_its_order() -> None:
    found = verdicts(table(), against="control")
    names = [found.players[place] for place in found.winner]
    losers = [found.players[place] for place in found.loser]
    rows = sorted(zip(found.prompt_id, names, losers, found.is_tie, found.winner_was_first, strict=True))
    assert [(str(p), w, lost, bool(tie), bool(first)) for p, w, lost, tie, first in rows] == [
        ("p1", "b", "control", False, True),
        ("p1", "control", "b", False, True),
        ("p1", "control", "c", False, False),
        ("p1", "control", "c", False, True),
        ("p2", "b", "control", False, False),
        ("p2", "b", "control", True, True),
        ("p2", "c", "control", False, False),
    ]


def test_they_are_what_a_model_of_strengths_takes() -> None:
    found = verdicts(table(), against="control")
    ranked = bradley_terry(found.winner, found.loser, is_tie=found.is_tie)
    assert ranked.strength[1] > ranked.strength[2]


def test_a_table_of_another_scorer_has_none() -> None:
    with pytest.raises(InsufficientDataError, match="of a pairwise judge"):
        verdicts(table().drop(columns="as_first"), against="control")
