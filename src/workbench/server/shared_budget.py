"""A budget that several workers spend: each holds a part of it, and takes more from Redis in time.

What a worker holds nobody else can spend. So the sum is never more than the whole, also while Redis is away
and each goes on with the part that it holds.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Protocol

from workbench.budget import Budget

NANO = 1e9
_N_TRIES = 4


class Claims(Protocol):
    """Where parts of budgets come from."""

    beat_s: float

    async def claim(self, budget: "SharedBudget", needed_usd: float) -> bool:
        """Take what is needed in all; True: it is worth asking again soon, as others may give some back."""
        ...

    async def tell(self, budget: "SharedBudget") -> None:
        """Say what is held and spent, and take no more."""
        ...


class SharedBudget(Budget):
    """This worker's part: `limit_usd` is what it holds, and grows; `spent_usd` is what it spent itself.

    Args:
        whole_usd: the limit of all workers together.
        spent_before: what was spent before, as the database has it; asked when Redis does not know.
    """

    def __init__(
        self, name: str, whole_usd: float, *, spent_before: Callable[[], float], claims: Claims
    ) -> None:
        super().__init__(0.0)
        self.key = name
        self.whole_usd = whole_usd
        self.spent_before = spent_before
        self.n_asked = 0
        self.told_usd = -1.0
        """What was spent when Redis was last told."""
        self._claims = claims
        self._turn = asyncio.Lock()

    @property
    def needed_usd(self) -> float:
        """What is spent and reserved."""
        return self.spent_usd + self.reserved_usd

    async def ensure(self, bound_usd: float) -> None:
        """Take a larger part if `bound_usd` does not fit into what is held; `reserve` says if it does now."""
        if self._fits(bound_usd):
            return
        async with self._turn:
            for _ in range(_N_TRIES):
                if self._fits(bound_usd):
                    return
                is_promising = await self._claims.claim(self, self.needed_usd + bound_usd)
                if self._fits(bound_usd) or not is_promising:
                    return
                await asyncio.sleep(self._claims.beat_s)

    async def renew(self, *, is_wanted: bool) -> None:
        """Tell what was spent, and take a share to go on with; of what others want, give back the rest."""
        if self._turn.locked():
            return  # more is being asked for
        async with self._turn:
            if is_wanted:
                self.limit_usd = min(self.limit_usd, self.needed_usd)
            await self._claims.claim(self, self.needed_usd)

    async def begin_anew(self) -> None:
        """Redis has forgotten everything: what was spent until now will be read from the database."""
        self.limit_usd -= self.spent_usd
        self.spent_usd = 0.0
        await self._claims.tell(self)

    async def give_back(self) -> None:
        """Keep what is needed, and no more."""
        self.limit_usd = min(self.limit_usd, self.needed_usd)
        await self._claims.tell(self)

    def _fits(self, bound_usd: float) -> bool:
        return bound_usd <= self.limit_usd - self.needed_usd


def nano(usd: float) -> int:
    """US dollars as whole nano-dollars, never fewer."""
    return math.ceil(usd * NANO - 1e-3)
