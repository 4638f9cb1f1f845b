"""What can be seen of a run while it goes on."""

from collections.abc import Callable
from dataclasses import dataclass

from workbench.experiment.stopping import Stopping
from workbench.stats.estimate import Estimate


@dataclass(frozen=True, slots=True)
class RunningComparison:
    """An arm against the control so far. The interval is always valid: looking at it costs nothing."""

    arm: str
    control: str
    n_prompts: int
    difference: Estimate | None


@dataclass(frozen=True, slots=True)
class Progress:
    """A snapshot of a run: calls made (or found in the journal), money spent, time, and the comparisons.

    `experiment` is the name of the spec that is running. `bound_usd` is the most that the calls of this
    session can cost at one request each, and `expected_usd` what they are expected to, told where there is a
    budget. `stopping` is of a sequential run;
    when that is decided, `n_total` falls.
    """

    n_done: int
    n_total: int
    n_resumed: int
    n_errors: int
    spent_usd: float
    budget_usd: float | None
    elapsed_s: float
    comparisons: tuple[RunningComparison, ...] = ()
    experiment: str = ""
    bound_usd: float | None = None
    expected_usd: float | None = None
    stopping: Stopping | None = None

    @property
    def rate(self) -> float | None:
        """Calls a second in this session; None before the first ended."""
        n_made = self.n_done - self.n_resumed
        return n_made / self.elapsed_s if n_made and self.elapsed_s > 0.0 else None

    @property
    def remaining_s(self) -> float | None:
        """Seconds to go at the rate so far; None before the first call of this session ended."""
        n_made = self.n_done - self.n_resumed
        return self.elapsed_s / n_made * (self.n_total - self.n_done) if n_made else None


Observer = Callable[[Progress], None]
