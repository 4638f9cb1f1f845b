"""What a scorer that takes its time says of one answer."""

from dataclasses import dataclass

TIE = 0.5
"""What an answer scores against one that is as good."""


@dataclass(frozen=True, slots=True)
class Score:
    """The quality of one answer in [0, 1]; None: it could not be scored, and `note` says why.

    `cost_usd` is what the judging model cost, beside what the answer did; None: no price is known.
    `as_first` and `as_second` are of a pairwise judge: 1 where the answer won when it was shown first
    (second), 0.5 for a tie, 0 where it lost; None where that was not found out.
    """

    quality: float | None
    cost_usd: float | None = 0.0
    note: str = ""
    as_first: float | None = None
    as_second: float | None = None

    @property
    def is_flipped(self) -> bool:
        """Whether the verdict of a pairwise judge followed the order, and not the answers."""
        both = (self.as_first, self.as_second)
        return None not in both and self.as_first != self.as_second
