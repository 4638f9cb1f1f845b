"""What can be wrong with a simulated server: it is down, slow, or has had enough of a key."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong; by default nothing.

    `status`: every request is refused with it. `keys_without_credit`: requests with these keys are refused
    with 402. `requests_per_minute`: how often each key may ask; one more is refused with 429, and told when
    to come back. `delay_s`: what every answer takes longer.
    """

    status: int | None = None
    keys_without_credit: frozenset[str] = frozenset()
    requests_per_minute: float | None = None
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A status, and the seconds after which to come back, None: it does not say."""

    status: int
    retry_after_s: float | None = None


class Gate:
    """Refuses what a server in trouble would; remembers how often each key asked.

    A key may ask once every minute's share: what comes earlier is refused, and does not count.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next: dict[str, float] = {}

    def refusal(self, trouble: Trouble, key: str) -> Refusal | None:
        """Why a request with `key` is refused now; None: it is not."""
        if trouble.status is not None:
            return Refusal(trouble.status)
        if key in trouble.keys_without_credit:
            return Refusal(402)
        if trouble.requests_per_minute is None:
            return None
        now = self._clock()
        wait_s = self._next.get(key, -math.inf) - now
        if wait_s > 0.0:
            return Refusal(429, wait_s)
        self._next[key] = now + 60.0 / trouble.requests_per_minute
        return None
