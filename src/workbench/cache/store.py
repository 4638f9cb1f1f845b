"""What a store of answers is, and how well it does."""

from dataclasses import dataclass, fields
from typing import Protocol

from workbench.cache.flights import Flights


@dataclass(slots=True)
class Statistics:
    """What a store did since it was made.

    A call that waited for the same call of another is a hit. `n_failures` counts what the store could not
    read or write, all of which are misses; `saved_usd` leaves out models without a price.
    """

    n_hits: int = 0
    n_misses: int = 0
    n_stores: int = 0
    n_evictions: int = 0
    n_failures: int = 0
    saved_usd: float = 0.0

    @property
    def hit_rate(self) -> float | None:
        """Share of the calls that were not sent; None: there were none that may be kept.

        >>> Statistics(n_hits=3, n_misses=1).hit_rate
        0.75
        """
        n_calls = self.n_hits + self.n_misses
        return self.n_hits / n_calls if n_calls else None

    def __add__(self, other: "Statistics") -> "Statistics":
        """Both stores as one."""
        counts = (getattr(self, field.name) + getattr(other, field.name) for field in fields(self))
        return Statistics(*counts)


class Store(Protocol):
    """Where answers are kept, by key. A store that fails has no answer: it never raises.

    It is used in one event loop at a time, by any number of providers.
    """

    @property
    def statistics(self) -> Statistics:
        """Written by the store and by those who use it."""
        ...

    @property
    def flights(self) -> Flights:
        """What is being asked for now, by this process."""
        ...

    async def get(self, key: str, *, max_age_s: float | None = None) -> bytes | None:
        """What was put there, unless it is older than `max_age_s` seconds (None: of any age)."""
        ...

    async def put(self, key: str, content: bytes) -> None:
        """Keep `content`, for as long as there is room."""
        ...

    async def delete(self, key: str) -> None:
        """Forget what is there."""
        ...

    async def aclose(self) -> None:
        """Let go of files and connections."""
        ...
