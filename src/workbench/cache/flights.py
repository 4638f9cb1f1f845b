"""Flights: what is being asked for now, so that who asks for the same waits instead of paying again."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from workbench.types import Completion


class Flight:
    """One call that others may wait for. `completion` None: it is not over, or had no answer."""

    def __init__(self) -> None:
        self.completion: Completion | None = None
        self._is_over = asyncio.Event()

    async def wait(self) -> Completion | None:
        """What came of it, as soon as it is over."""
        await self._is_over.wait()
        return self.completion

    def end(self) -> None:
        """Tell all who wait."""
        self._is_over.set()


class Flights:
    """At most one flight for each key. Whoever finds none leads one, in the same step of the event loop."""

    def __init__(self) -> None:
        self._under_way: dict[str, Flight] = {}

    def of(self, key: str) -> Flight | None:
        """The flight to wait for; None: there is none."""
        return self._under_way.get(key)

    @contextmanager
    def led(self, key: str) -> Iterator[Flight]:
        """A flight while the block runs; however it ends, nobody waits any longer."""
        flight = self._under_way[key] = Flight()
        try:
            yield flight
        finally:
            del self._under_way[key]
            flight.end()
