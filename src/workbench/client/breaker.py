"""A circuit breaker: what keeps failing is not asked for a while, and then by one call to see."""

import time
from collections import deque
from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "half-open"]

_WINDOW = 20
_WORST_RATE = 0.5


class Breaker:
    """Closed, all may pass. Open, none; `open_s` seconds later half open: one probe, which decides.

    It opens after `n_failures` calls in a row that failed, or when at least half of the last 20 did. It
    only advises: the client asks an open one too when every candidate's is open. Any answer closes it.

    >>> breaker = Breaker(n_failures=2, open_s=30.0)
    >>> breaker.fail(); breaker.fail()
    >>> breaker.state, breaker.admits
    ('open', False)

    `on_change` is given the new state when it opens and when it closes; None: nobody is told.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(
        self, *, n_failures: int, open_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._n_failures = n_failures
        self._open_s = open_s
        self._clock = clock
        self._n_in_a_row = 0
        self._recent: deque[bool] = deque(maxlen=_WINDOW)
        self._opened: float | None = None
        self._is_probed = False
        self.on_change: Callable[[State], object] | None = None
        self.has_news = False
        """Whether it opened or closed by itself since somebody, who sets this back, last looked."""

    def __repr__(self) -> str:
        return f"<Breaker {self.state}, {self._n_in_a_row} failures in a row>"

    @property
    def state(self) -> State:
        """`half-open` from the moment that a probe is due."""
        if self._opened is None:
            return "closed"
        return "open" if self._clock() - self._opened < self._open_s else "half-open"

    @property
    def left_s(self) -> float | None:
        """Seconds until a probe is due; None: it is closed."""
        return None if self._opened is None else self._opened + self._open_s - self._clock()

    @property
    def admits(self) -> bool:
        """Whether a call may pass now."""
        return self._opened is None or (self.state == "half-open" and not self._is_probed)

    def enter(self) -> bool:
        """A call is sent; True: it is the probe. Exactly one of `answer`, `fail` and `leave` follows."""
        if self._opened is None or not self.admits:
            return False
        self._is_probed = True
        return True

    def answer(self) -> None:
        """A call was answered: what was open closes."""
        was_open = self._opened is not None
        if was_open:
            self._recent.clear()
        self._opened, self._is_probed, self._n_in_a_row = None, False, 0
        self._recent.append(True)
        if was_open:
            self._tell("closed")

    def fail(self, *, is_probe: bool = False) -> None:
        """A call failed in a way that says that the other side is not well."""
        self._n_in_a_row += 1
        self._recent.append(False)
        if is_probe or (self._opened is None and self._is_too_much):
            self._opened, self._is_probed = self._clock(), False
            self._tell("open")

    def leave(self, *, is_probe: bool = False) -> None:
        """A call ended in a way that says nothing, such as a cancellation."""
        if is_probe:
            self._is_probed = False

    def follow(self, left_s: float | None) -> None:
        """Do as another process did, which shares what it found out: open for `left_s`; None: close."""
        if left_s is None:
            self._recent.clear()
            self._opened, self._is_probed, self._n_in_a_row = None, False, 0
        else:
            self._opened, self._is_probed = self._clock() - self._open_s + min(left_s, self._open_s), False

    def _tell(self, state: State) -> None:
        self.has_news = True
        if self.on_change is not None:
            self.on_change(state)

    @property
    def _is_too_much(self) -> bool:
        n_failed = self._recent.count(False)
        return self._n_in_a_row >= self._n_failures or (
            len(self._recent) == _WINDOW and n_failed >= _WORST_RATE * _WINDOW
        )
