"""How many requests are under way at once: a fixed number shared fairly, and a number that is found out."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Hashable

_DECREASE = 0.9
_CAUTION, _MOST_CAUTION = 8.0, 64.0


class FairSlots:
    """A fixed number of slots, for which groups take turns.

    A slot that becomes free goes to the waiting group that holds the fewest, so that a thousand calls of
    a slow model do not keep those of a fast one waiting. Within a group, first come is first served.
    """

    def __init__(self, n_slots: int) -> None:
        self._n_free = n_slots
        self._held: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    async def acquire(self, group: Hashable) -> None:
        """Take a slot, as soon as it is this group's turn."""
        if self._n_free > 0 and not self._waiting:
            self._n_free -= 1
            self._held[group] = self._held.get(group, 0) + 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(group, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(group)
            else:
                self._forget(group, turn)
            raise

    def release(self, group: Hashable) -> None:
        """Give a slot back."""
        self._held[group] -= 1
        if not self._held[group]:
            del self._held[group]
        self._n_free += 1
        self._hand_out()

    def _hand_out(self) -> None:
        while self._n_free > 0 and self._waiting:
            group = min(self._waiting, key=lambda one: self._held.get(one, 0))
            turn = self._waiting[group].popleft()
            # Goes to the end of the dictionary, so that groups that hold equally many take turns.
            others = self._waiting.pop(group)
            if others:
                self._waiting[group] = others
            if not turn.done():
                turn.set_result(None)
                self._n_free -= 1
                self._held[group] = self._held.get(group, 0) + 1

    def _forget(self, group: Hashable, turn: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(group)
        if waiting is not None and turn in waiting:
            waiting.remove(turn)
            if not waiting:
                del self._waiting[group]


class AdaptiveSlots:
    """As many requests at once as a server takes: more while all is well, fewer when it says 429.

    Additive increase: one slot more for each round of answers to full slots. Multiplicative decrease: 10 %
    fewer at the first refusal of those that were sent since the last decrease; and never more than were under
    way beside one that was refused, so that a burst settles at once at what was accepted of it. Above what
    was under way at the last refusal the increase is 8 times slower, and slower again each time that it
    meets the same limit, so that a limit that stands is tested seldom. A refusal of the only request under
    way says nothing of how many a server takes at once, and costs the 10 % alone.

    A slot is known by its ticket, a number that grows. `on_refused` is given the new limit after a refusal
    beside others; None: nobody is told.

    Source: Chiu & Jain (1989), Analysis of the Increase and Decrease Algorithms for Congestion Avoidance;
    the memory of the last limit is that of CUBIC, https://www.rfc-editor.org/rfc/rfc9438#section-4.
    """

    def __init__(self, most: int) -> None:
        self.limit = float(most)
        self.on_refused: Callable[[float], object] | None = None
        self._most = float(most)
        self._held: dict[int, None] = {}
        self._n_taken = 0
        self._waiting: deque[asyncio.Future[int]] = deque()
        self._decreased_at = 0
        self._limit_before = self.limit
        self._accepted = math.inf
        self._caution = _CAUTION

    @property
    def n_held(self) -> int:
        """How many requests are under way."""
        return len(self._held)

    async def acquire(self) -> int:
        """Take a slot, as soon as there is one, and its ticket."""
        if self._is_free and not self._waiting:
            return self._take()
        turn: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(turn.result())
            raise

    def release(self, ticket: int) -> None:
        """Give a slot back."""
        del self._held[ticket]
        while self._waiting and self._is_free:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(self._take())

    def is_oldest(self, ticket: int) -> bool:
        """Whether nothing that was sent earlier is still under way."""
        return next(iter(self._held)) == ticket

    def answer(self) -> None:
        """A request was answered, its slot still held: if all were full, there may be room for more."""
        if self.limit < self._most and self.n_held >= int(self.limit):
            is_known = self._accepted <= self.limit < self._accepted + 1.0
            step = 1.0 / (self.limit * (self._caution if is_known else 1.0))
            self.limit = min(self._most, self.limit + step)

    def refuse(self, ticket: int) -> None:
        """A request was refused as one too many; its slot is still held."""
        n_others = self.n_held - 1
        if ticket > self._decreased_at:
            is_same = n_others == self._accepted
            self._caution = min(_MOST_CAUTION, 2.0 * self._caution) if is_same else _CAUTION
            self._decreased_at, self._limit_before = self._n_taken, self.limit
            self.limit *= _DECREASE
        if n_others:
            self._accepted = float(n_others)
            self.limit = min(self.limit, self._accepted)
            if self.on_refused is not None:
                self.on_refused(self.limit)
        else:
            self.limit = max(1.0, self._limit_before * _DECREASE)

    def _take(self) -> int:
        self._n_taken += 1
        self._held[self._n_taken] = None
        return self._n_taken

    @property
    def _is_free(self) -> bool:
        return self.n_held < int(self.limit)
