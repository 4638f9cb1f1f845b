"""Where the money of a run went, and what a cache or an early end kept from being spent."""

from dataclasses import dataclass

from workbench.experiment.wording import ABSENT, usd


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a run cost beside the calls of its arms. None: there was no such thing.

    `spent_usd` is all that was paid, by every session of the run; `saved_usd` what answers from a cache
    would have cost; `n_not_made` the planned calls that were not made, and `unspent_usd` what they would
    have cost at the mean cost of their arm's other calls.
    """

    spent_usd: float
    budget_usd: float | None = None
    judge_usd: float | None = None
    saved_usd: float | None = None
    n_not_made: int = 0
    unspent_usd: float | None = None

    def lines(self) -> list[tuple[str, str, str]]:
        """Rows of name, calls and amount."""
        amounts = (
            ("judge", "", self.judge_usd),
            ("paid in all", "", self.spent_usd),
            ("budget", "", self.budget_usd),
            ("saved by the cache", "", self.saved_usd),
            ("not spent, as the run ended early", f"{self.n_not_made:,}", self.unspent_usd),
        )
        return [(name, calls or ABSENT, usd(amount)) for name, calls, amount in amounts if amount is not None]

    @property
    def note(self) -> str:
        """What the reader must know of the lines."""
        if self.unspent_usd is None:
            return ""
        return "What was not spent is an estimate: the calls not made, at the mean cost of those that were."
