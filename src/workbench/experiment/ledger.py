"""Where the money of a run went, and what a cache or an early end kept from being spent."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from workbench.experiment.wording import ABSENT, usd
from workbench.types import Outcome


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


def unspent_usd(outcomes: Iterable[Outcome], n_planned: Mapping[str, int]) -> float | None:
    """What the planned calls that were not made would have cost, at the mean cost of their arm's others.

    None where all were made, or where a cost is not known. `n_planned` counts the calls by arm.
    """
    costs: dict[str, list[float | None]] = {arm: [] for arm in n_planned}
    for outcome in outcomes:
        costs[outcome.arm].append(outcome.cost_usd)
    total, n_left = 0.0, 0
    for arm, paid in costs.items():
        n_missing = n_planned[arm] - len(paid)
        known = [cost for cost in paid if cost is not None]
        if n_missing and not known:
            return None
        total += n_missing * sum(known) / max(1, len(known))
        n_left += n_missing
    return total if n_left else None
