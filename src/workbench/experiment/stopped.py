"""Why a run ended before its planned size, as the journal keeps it."""

from dataclasses import dataclass
from typing import Literal

StopReason = Literal["decided", "futile"]


@dataclass(frozen=True, slots=True)
class Stopped:
    """The decision was taken on the first `n_prompts` prompts of the plan.

    By then `n_begun` prompts had been begun, which are finished and kept.
    """

    reason: StopReason
    n_prompts: int
    n_begun: int
