"""What is asked of the outcomes, beside which arm is better; and how the prompts met the arms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AnalysisPlan:
    """What an analysis must know that the outcome table does not tell.

    The margins are differences in quality: with `non_inferiority_margin` 0.02 an arm is as good as the
    control if it is shown to lose less than 2 points. `covariate` is a numeric column of prompts, known
    before an answer was; `covariate_mean` is its mean over all prompts of which those asked are a sample.
    `is_randomised`: each prompt was asked of one arm, drawn with its share (equal ones where there are no
    `shares`). `order` has the prompts in the order in which a run took them that
    looked after each whether to stop; None: it looked once, at its end. `n_planned` counts its prompts.
    """

    non_inferiority_margin: float | None = None
    equivalence_margin: float | None = None
    covariate: str | None = None
    covariate_mean: float | None = None
    is_randomised: bool = False
    shares: Mapping[str, float] = field(default_factory=dict)
    order: Sequence[str] | None = None
    n_planned: int | None = None


PLAIN = AnalysisPlan()
"""Pairs, looked at once."""
