"""How many requests are under way at once: a fixed number shared fairly, and a number that is found out."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable

_DECREASE = 0.85


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

    Additive increase, multiplicative decrease: one slot more for each round of answers to full slots, 15 %
    fewer at the first refusal of a round; and never more than were under way beside one that was refused,
    so that a burst settles at once at what was accepted of it.

    `on_refused` is given the new limit after a refusal; None: nobody is told.

    Source: Chiu & Jain (1989), Analysis of the Increase and Decrease Algorithms for Congestion Avoidance.
    """

    def __init__(self, most: int) -> None:
        self.limit = float(most)
        self.n_held = 0
        self.round = 0
        self.on_refused: Callable[[float], object] | None = None
        self._most = float(most)
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> None:
        """Take a slot; `round` is then the round in which its request is sent."""
        if self._is_free and not self._waiting:
            self.n_held += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Give a slot back."""
        self.n_held -= 1
        while self._waiting and self._is_free:
            turn = self._waiting.popleft()
            if not turn.done():
                self.n_held += 1
                turn.set_result(None)

    def answer(self) -> None:
        """A request was answered, its slot still held: if all were full, there may be room for more."""
        if self.limit < self._most and self.n_held >= int(self.limit):
            self.limit = min(self._most, self.limit + 1.0 / self.limit)

    def refuse(self, sent_in: int) -> None:
        """A request that was sent in this round was refused as one too many; its slot is still held."""
        if sent_in == self.round:
            self.round += 1
            self.limit *= _DECREASE
        self.limit = max(1.0, min(self.limit, self.n_held - 1.0))
        if self.on_refused is not None:
            self.on_refused(self.limit)

    @property
    def _is_free(self) -> bool:
        return self.n_held < int(self.limit)
