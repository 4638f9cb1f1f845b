"""Columns of a run's table for an outcome's place in the design: its block, its factors' levels."""

from collections.abc import Sequence

import pandas as pd

from workbench.experiment.calls import Call

BLOCK = "block"
FACTOR = "factor."
"""Before the name of a factor: `factor.model` is the level of the factor model, and `model` who answered."""


def with_design(table: pd.DataFrame, calls: Sequence[Call]) -> pd.DataFrame:
    """`table`, whose rows are the outcomes of `calls`, with the columns that their design has."""
    added: dict[str, pd.Series] = {}
    if any(call.block is not None for call in calls):
        added[BLOCK] = pd.Series([call.block for call in calls], index=table.index, dtype="Int64")
    for factor in dict.fromkeys(name for call in calls for name in call.arm.levels):
        levels = [call.arm.levels.get(factor) for call in calls]
        added[f"{FACTOR}{factor}"] = pd.Series(levels, index=table.index, dtype="string")
    return table.assign(**added)


def factors_of(table: pd.DataFrame) -> list[str]:
    """The factors whose levels `table` has."""
    return [str(name).removeprefix(FACTOR) for name in table if str(name).startswith(FACTOR)]
