"""What is asked of the outcomes, beside which arm is better; and how the prompts met the arms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AnalysisPlan:
    """What an analysis must know that the outcome table does not tell.

    The margins are differences in quality: with `non_inferiority_margin` 0.02 an arm is as good as the
    control if it is shown to lose less than 2 points. `covariate` is a numeric column known before an answer
    was; `pool` has its mean over all prompts of which those asked are a sample, arm by arm. `is_randomised`:
    each prompt was asked of one arm. `order` has the prompts in the order in which a run took them that
    looked after each whether to stop; None: it looked once, at its end. `n_planned` counts its prompts.
    """

    non_inferiority_margin: float | None = None
    equivalence_margin: float | None = None
    covariate: str | None = None
    pool: Mapping[str, float] = field(default_factory=dict)
    is_randomised: bool = False
    order: Sequence[str] | None = None
    n_planned: int | None = None


PLAIN = AnalysisPlan()
"""Pairs, looked at once."""
