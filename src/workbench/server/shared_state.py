"""What the workers of a server share in Redis: budgets, rates and breakers. Else each keeps to a share.

| | Redis answers | it does not |
|---|---|---|
| budgets | a worker takes a part before it spends it | it spends the part that it holds |
| rates | one bucket for all | a bucket of `rate / workers`, empty when Redis went away |
| breakers | what one opens, all open | each has its own |
"""

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Mapping

from workbench.client import Client
from workbench.client.breaker import Breaker
from workbench.client.channel import ChannelKey
from workbench.server.redis_link import RedisLink
from workbench.server.shared_budget import NANO, SharedBudget, nano
from workbench.server.shared_scripts import BEAT, CLAIM, LEAVE, OPEN, TAKE

PREFIX = "workbench:server:1:"
BEAT_S = 0.25
_WINDOW_S = 60.0


class SharedState:
    """This worker's side of what all share.

    Args:
        link: the way to Redis.
        name: of the server; servers of different names share nothing.
        n_workers: how many there are, when all are well.
    """

    def __init__(self, link: RedisLink, name: str, *, n_workers: int, beat_s: float = BEAT_S) -> None:
        self.link = link
        self.beat_s = beat_s
        self._prefix = f"{PREFIX}{name}:"
        self._worker = secrets.token_hex(8)
        self._n_workers = n_workers
        self._n_alive = n_workers
        self._generation = ""
        self._told_generation = ""
        self._is_open = False
        self._n_asked = 0
        self._budgets: dict[str, SharedBudget] = {}
        self._breakers: Callable[[], Mapping[ChannelKey, Breaker]] = dict
        self._open_here: set[str] = set()
        self._away_since_s = time.monotonic()
        self._n_changes_here = 0
        self._n_changes = 0
        self.on_change: Callable[[], None] = lambda: None
        """Reads the keys again, in a thread: another worker made or revoked one."""

    @property
    def n_workers(self) -> int:
        """How many workers there may be."""
        return max(self._n_workers, self._n_alive)

    @property
    def away_since_s(self) -> float | None:
        """Since when Redis does not answer, on the monotonic clock; None: it does."""
        return self._away_since_s if self.link.is_away or not self._generation else None

    def changed(self) -> None:
        """A key was made or revoked here: the others read them again at their next beats."""
        self._n_changes_here += 1

    def watch(self, client: Client) -> None:
        """Share the breakers of `client` from now on."""
        self._breakers = lambda: client.breakers

    def budget(self, name: str, whole_usd: float, *, spent_before: Callable[[], float]) -> SharedBudget:
        """This worker's part of a budget; nothing is held of one that is new."""
        if name not in self._budgets:
            self._budgets[name] = SharedBudget(name, whole_usd, spent_before=spent_before, claims=self)
        self._budgets[name].whole_usd = whole_usd
        return self._budgets[name]

    def rate(self, name: str, per_minute: float) -> "SharedRate":
        """A rate that all workers keep to together."""
        return SharedRate(self, name, per_minute)

    async def live(self) -> None:
        """Beat for ever."""
        while True:
            await self.beat()
            await asyncio.sleep(self.beat_s)

    async def aclose(self) -> None:
        """Give back what is held, and close the connections."""
        for budget in self._budgets.values():
            await budget.give_back()
        await self.link.run(LEAVE, self._keys("workers", "joined"), (self._worker,))
        await self.link.aclose()

    async def beat(self) -> None:
        """Say that this worker lives, and take over what the others found out and ask for."""
        was_away = self.link.is_away
        new_name = secrets.token_hex(8)
        n_changes_here = self._n_changes_here
        arguments = (
            self._worker,
            self._n_workers,
            int(not self._generation),
            new_name,
            self._told_generation,
            n_changes_here,
        )
        keys = self._keys("workers", "generation", "wanted", "breakers", "joined")
        heard = await self.link.run(BEAT, keys, arguments, is_probe=True)
        if heard is None:
            if not was_away:
                self._away_since_s = time.monotonic()
            return
        generation, self._n_alive, is_open, wanted, opened, n_changes = heard
        self._n_changes_here -= n_changes_here
        if n_changes != self._n_changes:
            self._n_changes = n_changes
            await asyncio.to_thread(self.on_change)
        self._is_open = bool(is_open)
        if generation.decode() != self._generation:
            await self._begin(generation.decode())
        elif self._is_open:
            await self._renew_budgets({name.decode() for name in wanted})
        channels = {opened[i].decode(): float(opened[i + 1]) for i in range(0, len(opened), 2)}
        await self._share_breakers(channels)

    async def _begin(self, generation: str) -> None:
        """Redis has forgotten everything, or this worker is new: say what is held before more is taken."""
        self._generation, self._is_open = generation, False
        for budget in list(self._budgets.values()):
            await budget.begin_anew()
        if not self.link.is_away:
            self._told_generation = generation

    async def claim(self, budget: SharedBudget, needed_usd: float) -> bool:
        """Take a part of a budget, as `shared_budget` describes it."""
        if not self._is_open:
            return not self.link.is_away
        status, held = await self._claimed(budget, needed_usd)
        if status == -1:
            before_usd = await asyncio.to_thread(budget.spent_before)
            status, held = await self._claimed(budget, needed_usd, base=str(nano(before_usd)))
        if status >= 0:
            budget.limit_usd = max(budget.limit_usd, held / NANO)
        return status == 2

    async def tell(self, budget: SharedBudget) -> None:
        """Say what is held and spent, and take no more."""
        await self._claimed(budget, budget.needed_usd, may_take=False)

    async def _claimed(
        self, budget: SharedBudget, needed_usd: float, *, base: str = "", may_take: bool = True
    ) -> tuple[int, int]:
        self._n_asked += 1
        generation = self._generation
        spent_usd, key = budget.spent_usd, budget.key
        arguments = (
            self._worker,
            self._generation,
            self._n_asked,
            nano(budget.whole_usd),
            nano(budget.limit_usd),
            nano(spent_usd),
            nano(needed_usd),
            key,
            base,
            int(may_take),
        )
        keys = self._keys(f"budget:{self._generation}:{key}", "workers", "generation", "wanted")
        heard = await self.link.run(CLAIM, keys, arguments)
        if heard is None or generation != self._generation:
            return -3, 0
        budget.told_usd = spent_usd
        return int(heard[0]), int(heard[1])

    async def take(self, name: str, per_minute: float, *, is_spent: bool) -> float | None:
        """Take one request of a rate: seconds until there is one, 0: it was taken; None: Redis is away."""
        keys = self._keys(f"rate:{name}", "generation")
        waits = await self.link.run(TAKE, keys, (per_minute, int(is_spent)))
        return None if waits is None else float(waits)

    async def _renew_budgets(self, wanted: set[str]) -> None:
        for budget in list(self._budgets.values()):
            if budget.key in wanted or budget.told_usd != budget.spent_usd:
                await budget.renew(is_wanted=budget.key in wanted)

    async def _share_breakers(self, opened: Mapping[str, float]) -> None:
        """Publish what opened or closed here since the last beat, and do the same as the others did."""
        here = {json.dumps(key): breaker for key, breaker in self._breakers().items()}
        open_now = {name for name, breaker in here.items() if breaker.state != "closed"}
        for name, breaker in here.items():
            if breaker.has_news:
                breaker.has_news = False
                await self.link.run(OPEN, self._keys("breakers"), (name, breaker.left_s or 0))
            elif name in opened and breaker.state == "closed":
                breaker.follow(opened[name])
            elif name in self._open_here and name not in opened and breaker.state == "open":
                breaker.follow(None)
        self._open_here = open_now

    def _keys(self, *names: str) -> list[str]:
        return [self._prefix + name for name in names]


class SharedRate:
    """Requests per minute that all workers keep to together."""

    def __init__(self, shared: SharedState, name: str, per_minute: float) -> None:
        self._shared = shared
        self._name = name
        self._per_minute = per_minute
        self._level = 0.0
        self._filled_s = 0.0
        self._is_spent = False

    async def wait_s(self) -> float:
        """Count a request: 0.0; or the seconds until there is room for it."""
        waits = None
        if self._shared.away_since_s is None:
            waits = await self._shared.take(self._name, self._per_minute, is_spent=self._is_spent)
        if waits is not None:
            self._is_spent = False
            return waits
        return self._of_the_share()

    def _of_the_share(self) -> float:
        """The same, of this worker's share alone, which begins empty: the common one may be used up."""
        now_s, since_s = time.monotonic(), self._shared.away_since_s
        if not self._is_spent:
            self._level, self._filled_s, self._is_spent = 0.0, now_s if since_s is None else since_s, True
        share = self._per_minute / self._shared.n_workers
        self._level = min(max(1.0, share), self._level + (now_s - self._filled_s) * share / _WINDOW_S)
        self._filled_s = now_s
        if self._level < 1.0:
            return (1.0 - self._level) * _WINDOW_S / share
        self._level -= 1.0
        return 0.0
