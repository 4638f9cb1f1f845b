"""The ledger: totals of every attempt for ever, and the last attempts one by one."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from workbench.types import Attempt

if TYPE_CHECKING:  # a client loads no pandas
    import pandas as pd

By = Literal["model", "provider", "account"]


@dataclass(slots=True)
class Totals:
    """What a number of attempts came to. `cost_usd` leaves out those whose models have no price."""

    n_attempts: int = 0
    n_errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    latency_s: float = 0.0

    def add(self, attempt: Attempt) -> None:
        """Count one more."""
        self.n_attempts += 1
        self.n_errors += attempt.error is not None
        if attempt.usage is not None:
            self.input_tokens += attempt.usage.input_tokens
            self.output_tokens += attempt.usage.output_tokens
        self.cost_usd += attempt.cost_usd or 0.0
        self.latency_s += attempt.latency_s

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(
            self.n_attempts + other.n_attempts,
            self.n_errors + other.n_errors,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost_usd + other.cost_usd,
            self.latency_s + other.latency_s,
        )


class Ledger:
    """Every attempt counts in the totals; the last `size` are kept, as a sequence, oldest first.

    So a client that lives for weeks does not grow. `on_attempt` is given every attempt as it ends; it is
    called between the attempt and its answer, so it should be quick, and what it raises is raised to the
    caller. None: nobody is told.
    """

    def __init__(self, size: int, *, on_attempt: Callable[[Attempt], object] | None = None) -> None:
        self.on_attempt = on_attempt
        self.total = Totals()
        self._totals: dict[tuple[str, str], Totals] = {}
        self._last: deque[Attempt] = deque(maxlen=size)

    def __len__(self) -> int:
        return len(self._last)

    def __iter__(self) -> Iterator[Attempt]:
        return iter(self._last)

    def __getitem__(self, number: int) -> Attempt:
        return self._last[number]

    def __repr__(self) -> str:
        return f"<Ledger of {self.total.n_attempts} attempts, {self.total.cost_usd:.6f} USD>"

    def add(self, attempt: Attempt) -> None:
        """Enter an attempt that has ended."""
        self.total.add(attempt)
        key = attempt.model_id, attempt.account
        if key not in self._totals:
            self._totals[key] = Totals()
        self._totals[key].add(attempt)
        self._last.append(attempt)
        if self.on_attempt is not None:
            self.on_attempt(attempt)

    def totals(self, by: By = "model") -> Mapping[str, Totals]:
        """The totals of each model, provider, or account (`provider:alias`)."""
        summed: dict[str, Totals] = {}
        for (model_id, account), totals in self._totals.items():
            provider = model_id.partition("/")[0]
            name = {"model": model_id, "provider": provider, "account": f"{provider}:{account}"}[by]
            summed[name] = summed.get(name, Totals()) + totals
        return summed

    def table(self) -> "pd.DataFrame":
        """The attempts that are kept, one row each; `ledger_table.COLUMNS` are its columns."""
        from workbench.client.ledger_table import table_of  # here, so that a client loads no pandas

        return table_of(self)
