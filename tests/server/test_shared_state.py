"""What several workers share in a real Redis, and that they keep to it when it is killed or hangs."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from redis_server import RedisServer, serving
from workbench.client.breaker import Breaker
from workbench.client.channel import ChannelKey
from workbench.errors import BudgetError
from workbench.server.redis_link import RedisLink
from workbench.server.shared_budget import SharedBudget
from workbench.server.shared_state import SharedState
from workbench.settings import Secret

pytestmark = pytest.mark.anyio

CHANNEL = ChannelKey("lab", "m", "")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with serving(tmp_path / "redis") as server:
        yield server


@asynccontextmanager
async def workers(redis: RedisServer, n: int, *, patience_s: float = 1.0) -> AsyncIterator[list[SharedState]]:
    """Workers that beat by themselves; patient, for a machine that is busy with other tests."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(n):
            link = RedisLink(Secret(redis.url), patience_s=patience_s, away_s=0.1)
            state = SharedState(link, "test", n_workers=n, beat_s=0.05)
            stack.push_async_callback(state.aclose)
            made.append(state)
        for _ in range(2):
            for state in made:
                await state.beat()
        for state in made:
            beating = asyncio.create_task(state.live())
            stack.callback(beating.cancel)
        yield made


def budgets(states: list[SharedState], whole_usd: float, *, before_usd: float = 0.0) -> list[SharedBudget]:
    return [state.budget("key:a", whole_usd, spent_before=lambda: before_usd) for state in states]


async def spend(budget: SharedBudget, cost_usd: float) -> bool:
    """One call of this price; False: the budget did not allow it."""
    await budget.ensure(cost_usd)
    try:
        reservation = budget.reserve(cost_usd)
    except BudgetError:
        return False
    await asyncio.sleep(0.001)
    reservation.settle(cost_usd)
    return True


async def spend_on(budget: SharedBudget, cost_usd: float, *, until: float) -> int:
    """How many calls one worker makes, one after another."""
    n_calls = 0
    while time.monotonic() < until:
        n_calls += await spend(budget, cost_usd)
        await asyncio.sleep(0.005)
    return n_calls


async def test_two_workers_spend_the_whole_budget_and_no_more(redis: RedisServer) -> None:
    async with workers(redis, 2) as states:
        both = budgets(states, 1.0)
        calls = [spend(both[number % 2], 0.1) for number in range(50)]
        assert sum(await asyncio.gather(*calls)) == 10


async def test_one_worker_may_spend_what_another_holds_and_does_not_need(redis: RedisServer) -> None:
    async with workers(redis, 2) as states:
        one, other = budgets(states, 1.0)
        assert await spend(other, 0.1)
        await asyncio.sleep(0.2)
        assert other.limit_usd > 0.2
        assert [await spend(one, 0.1) for _ in range(10)] == [True] * 9 + [False]


async def test_what_was_spent_before_counts(redis: RedisServer) -> None:
    async with workers(redis, 2) as states:
        one, _ = budgets(states, 1.0, before_usd=0.75)
        assert [await spend(one, 0.1) for _ in range(3)] == [True, True, False]


async def test_a_redis_that_is_killed_in_the_middle_lets_nobody_spend_too_much(redis: RedisServer) -> None:
    async with workers(redis, 3) as states:
        each = budgets(states, 1.0)
        until = time.monotonic() + 1.0
        spending = [asyncio.create_task(spend_on(one, 0.002, until=until)) for one in each]
        await asyncio.sleep(0.1)
        redis.kill()
        counts = await asyncio.gather(*spending)
        assert all(state.link.is_away for state in states)
        assert 100 < sum(counts) <= 500


async def test_money_is_not_spent_twice_when_redis_comes_back_empty(redis: RedisServer) -> None:
    kept = [0.0]  # as the database has it
    async with workers(redis, 2) as states:
        one, other = (state.budget("key:a", 1.0, spent_before=lambda: kept[0]) for state in states)

        async def pay(budget: SharedBudget) -> bool:
            is_paid = await spend(budget, 0.1)
            kept[0] += 0.1 * is_paid
            return is_paid

        paid = [await pay(budget) for budget in (one, other, one)]
        redis.kill()
        paid += [await pay(budget) for budget in (one, other)]
        redis.start()
        await asyncio.sleep(0.6)
        for _ in range(10):
            paid += [await pay(one), await pay(other)]
    assert sum(paid) == 10


async def test_a_worker_that_dies_gives_back_what_it_reserved(redis: RedisServer) -> None:
    async with workers(redis, 1) as [living]:
        [own] = budgets([living], 1.0)
        dead = SharedState(RedisLink(Secret(redis.url), patience_s=1.0), "test", n_workers=1)
        await dead.beat()
        await dead.beat()
        [lost] = budgets([dead], 1.0)
        await lost.ensure(0.9)
        lost.reserve(0.7)
        lost.reserve(0.2).settle(0.2)
        await dead.beat()
        assert not await spend(own, 0.5)
        redis.command("ZADD", "workbench:server:1:test:workers", "0", dead._worker)  # silent since long ago
        await asyncio.sleep(0.2)
        assert await spend(own, 0.5)
        assert [await spend(own, 0.1) for _ in range(4)] == [True, True, True, False]
        await dead.link.aclose()


async def test_a_redis_that_hangs_costs_each_call_little_and_then_nothing(redis: RedisServer) -> None:
    link = RedisLink(Secret(redis.url))
    assert await link.run("return 1", [], []) == 1
    with redis.stopped():
        started_s = time.monotonic()
        assert await link.run("return 1", [], []) is None
        first_s = time.monotonic() - started_s
        for _ in range(100):
            assert await link.run("return 1", [], []) is None
        assert first_s < 0.5  # 0.05 on a machine that is not busy
        assert time.monotonic() - started_s < first_s + 0.1
    await asyncio.sleep(1.1)
    assert await link.run("return 1", [], [], is_probe=True) == 1
    assert not link.is_away
    await link.aclose()


async def test_a_rate_is_kept_by_all_workers_together(redis: RedisServer) -> None:
    async with workers(redis, 2) as states:
        rates = [state.rate("key:a", 10.0) for state in states]
        waits = [await rates[number % 2].wait_s() for number in range(14)]
        assert sum(wait_s == 0.0 for wait_s in waits) == 10
        assert 0.0 < waits[-1] <= 6.0


async def test_each_worker_keeps_to_its_share_of_a_rate_while_redis_is_away(redis: RedisServer) -> None:
    async with workers(redis, 2) as states:
        rates = [state.rate("key:a", 1200.0) for state in states]  # 10 a second each
        redis.kill()
        await asyncio.sleep(0.3)
        began_s = time.monotonic()
        n_taken = 0
        while time.monotonic() < began_s + 0.5:
            n_taken += sum([await rate.wait_s() == 0.0 for rate in rates])
            await asyncio.sleep(0.005)
        assert 5 <= n_taken <= 2 * 10 * (time.monotonic() - began_s + 0.6) + 2


async def test_a_breaker_that_one_worker_opens_is_open_for_all_and_closes_for_all(redis: RedisServer) -> None:
    async with workers(redis, 2) as states:
        breakers = [Breaker(n_failures=1, open_s=30.0) for _ in states]
        for state, breaker in zip(states, breakers, strict=True):
            state._breakers = lambda breaker=breaker: {CHANNEL: breaker}
        breakers[0].fail()
        await asyncio.sleep(0.3)
        assert [breaker.state for breaker in breakers] == ["open", "open"]
        breakers[1].answer()
        await asyncio.sleep(0.3)
        assert [breaker.state for breaker in breakers] == ["closed", "closed"]
