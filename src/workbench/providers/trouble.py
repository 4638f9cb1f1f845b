"""What can be wrong with a simulated server: it is down, slow, has had enough of a key, or does not count."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong; by default nothing.

    `status`: every request is refused with it. `keys_without_credit`: requests with these keys are refused
    with 402. `requests_per_minute`: how often each key may ask; one more is refused with 429, and told when
    to come back. `delay_s`: what every answer takes longer. `is_uncounted`: answers say that they took no
    tokens.
    """

    status: int | None = None
    keys_without_credit: frozenset[str] = frozenset()
    requests_per_minute: float | None = None
    delay_s: float = 0.0
    is_uncounted: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """A status, and the seconds after which to come back, None: it does not say."""

    status: int
    retry_after_s: float | None = None


class Gate:
    """Refuses what a server in trouble would; remembers how often each key asked.

    A key may send a second's worth at once, and then as many as its rate allows; what is refused does not
    count.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due: dict[str, float] = {}

    def refusal(self, trouble: Trouble, key: str) -> Refusal | None:
        """Why a request with `key` is refused now; None: it is not."""
        if trouble.status is not None:
            return Refusal(trouble.status)
        if key in trouble.keys_without_credit:
            return Refusal(402)
        if trouble.requests_per_minute is None:
            return None
        now, gap_s = self._clock(), 60.0 / trouble.requests_per_minute
        due = max(now, self._due.get(key, -math.inf))
        wait_s = due - now - max(0.0, 1.0 - gap_s)
        if wait_s > 0.0:
            return Refusal(429, wait_s)
        self._due[key] = due + gap_s
        return None
