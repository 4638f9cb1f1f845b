"""The verdicts of a pairwise judge as plain arrays, one of them for each time that it was asked."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.errors import InsufficientDataError
from workbench.experiment.later_scores import AS_FIRST, AS_SECOND


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """[N] verdicts: `winner` and `loser` are places in `players`, in either order where `is_tie`.

    `winner_was_first`: the winner was shown first. A model of strengths takes the first three arrays as they
    are (`stats.ranking`); that a judge prefers a position is seen in the last.
    """

    players: tuple[str, ...]
    winner: NDArray[np.int64]
    loser: NDArray[np.int64]
    is_tie: NDArray[np.bool_]
    winner_was_first: NDArray[np.bool_]
    prompt_id: NDArray[np.str_]


def verdicts(table: pd.DataFrame, *, against: str) -> Verdicts:
    """The verdicts in a run's table, whose pairwise judge held every arm against the arm `against`.

    Raises:
        InsufficientDataError: the table has no verdicts.
    """
    if AS_FIRST not in table or AS_SECOND not in table:
        raise InsufficientDataError(f"the table has no column {AS_FIRST!r}, of a pairwise judge")
    rows = table[table["arm"] != against]
    shown = pd.concat(
        [
            rows.assign(result=rows[AS_FIRST], arm_was_first=True),
            rows.assign(result=rows[AS_SECOND], arm_was_first=False),
        ]
    ).dropna(subset=["result"])
    if shown.empty:
        raise InsufficientDataError("no verdict of the pairwise judge could be read")
    players = (against, *dict.fromkeys(str(arm) for arm in shown["arm"]))
    arm = shown["arm"].map({name: place for place, name in enumerate(players)}).to_numpy(dtype=np.int64)
    has_won = shown["result"].to_numpy(dtype=float) >= 0.5
    return Verdicts(
        players=players,
        winner=np.where(has_won, arm, 0),
        loser=np.where(has_won, 0, arm),
        is_tie=shown["result"].to_numpy(dtype=float) == 0.5,
        winner_was_first=shown["arm_was_first"].to_numpy(dtype=bool) == has_won,
        prompt_id=shown["prompt_id"].to_numpy(dtype=np.str_),
    )
