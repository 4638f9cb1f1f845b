"""Answers kept in memory, the least recently used of which go first."""

import time
from collections import OrderedDict
from collections.abc import Callable

from workbench.cache.flights import Flights
from workbench.cache.store import Statistics
from workbench.errors import ConfigError


class MemoryStore:
    """At most `max_entries` answers of at most `max_bytes` in all, while the process lives.

    Args:
        clock: seconds, monotonic.

    Raises:
        ConfigError: there would be room for nothing.
    """

    def __init__(
        self,
        *,
        max_entries: int = 10_000,
        max_bytes: int = 64 * 2**20,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_entries < 1 or max_bytes < 1:
            raise ConfigError(f"a cache of {max_entries} entries and {max_bytes} bytes can keep nothing")
        self.statistics = Statistics()
        self.flights = Flights()
        self.n_bytes = 0
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    @property
    def n_entries(self) -> int:
        """How many answers there are."""
        return len(self._entries)

    async def get(self, key: str, *, max_age_s: float | None = None) -> bytes | None:
        """What was put there, unless it is older than `max_age_s` seconds (None: of any age)."""
        if key not in self._entries:
            return None
        stored_at, content = self._entries[key]
        if max_age_s is not None and self._clock() - stored_at > max_age_s:
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return content

    async def put(self, key: str, content: bytes) -> None:
        """Keep `content`; what alone would be too large is not kept."""
        self._remove(key)
        if len(content) > self._max_bytes:
            return
        self._entries[key] = (self._clock(), content)
        self.n_bytes += len(content)
        self.statistics.n_stores += 1
        while self.n_entries > self._max_entries or self.n_bytes > self._max_bytes:
            self._remove(next(iter(self._entries)))
            self.statistics.n_evictions += 1

    async def delete(self, key: str) -> None:
        """Forget what is there."""
        self._remove(key)

    async def aclose(self) -> None:
        """Nothing is open."""

    def _remove(self, key: str) -> None:
        _, content = self._entries.pop(key, (0.0, b""))
        self.n_bytes -= len(content)
