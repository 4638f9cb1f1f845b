"""How many requests are under way: shared fairly between models, and found out where a server says 429."""

import asyncio
from collections.abc import Iterator

import pytest

from calling import CATALOG, PROMPT, client_of, serving
from faults import Step, answer, response
from workbench.client import Limits
from workbench.client.slots import AdaptiveSlots, FairSlots

pytestmark = pytest.mark.anyio


class Busy:
    """A script that answers after a while, and refuses what is more than `most` at once."""

    def __init__(self, most: int, *, seconds: float) -> None:
        self.n_under_way = 0
        self.high_water: list[int] = []
        self._most, self._seconds = most, seconds

    def __call__(self) -> Iterator[Step]:
        self.n_under_way += 1
        self.high_water.append(self.n_under_way)
        try:
            if self.n_under_way > self._most:
                yield response(b"{}", status="429 Too Many")
            else:
                yield self._seconds
                yield response(answer())
        finally:
            self.n_under_way -= 1


async def test_a_client_finds_out_how_many_requests_a_server_takes() -> None:
    """After the first half it neither asks for much more than the server takes, nor for much less."""
    n_calls, busy = 240, Busy(8, seconds=0.03)
    limits = Limits(concurrency=32, deadline_s=30.0, backoff_s=0.02)
    async with serving(busy) as [server], client_of(server, limits=limits) as client:
        await asyncio.gather(*(client.complete("one/small", PROMPT) for _ in range(n_calls)))
    settled = busy.high_water[n_calls // 2 :]
    assert max(settled) <= 10
    assert min(max(settled[begin : begin + 20]) for begin in range(len(settled) - 20)) >= 0.8 * 8
    assert len(busy.high_water) <= 1.3 * n_calls


async def test_a_burst_settles_at_what_was_accepted_of_it() -> None:
    slots = AdaptiveSlots(32)
    for _ in range(32):
        await slots.acquire()
    sent_in = slots.round
    for _ in range(24):
        slots.refuse(sent_in)
        slots.release()
    assert slots.limit == 8.0


async def test_one_refusal_takes_a_few_slots_and_answers_bring_them_back() -> None:
    slots = AdaptiveSlots(10)
    for _ in range(10):
        await slots.acquire()
    slots.refuse(slots.round)
    assert slots.limit == pytest.approx(8.5)
    for _ in range(20):
        slots.answer()
    assert slots.limit == 10.0


async def test_answers_to_a_few_requests_say_nothing_of_room_for_more() -> None:
    slots = AdaptiveSlots(10)
    for _ in range(10):
        await slots.acquire()
    slots.refuse(slots.round)
    for _ in range(8):
        slots.release()
    for _ in range(20):
        slots.answer()
    assert slots.limit == pytest.approx(8.5)


async def test_models_take_turns_when_slots_are_few() -> None:
    order: list[str] = []
    slots = FairSlots(2)

    async def work(group: str) -> None:
        await slots.acquire(group)
        order.append(group)
        await asyncio.sleep(0)
        slots.release(group)

    slow = [work("slow") for _ in range(20)]
    await asyncio.gather(*slow, *(work("fast") for _ in range(5)))
    assert [order[:14].count(group) for group in ("slow", "fast")] == [9, 5]


async def test_a_slow_arm_does_not_keep_a_fast_one_waiting() -> None:
    def slowly() -> list[bytes | float]:
        return [0.1, response(answer())]

    limits = Limits(concurrency=4)
    async with serving(slowly, "ok") as servers, client_of(*servers, limits=limits) as client:
        slow = [asyncio.create_task(client.complete("one/small", PROMPT)) for _ in range(24)]
        fast = [asyncio.create_task(client.complete("two/small", PROMPT)) for _ in range(24)]
        await asyncio.wait(fast)
        assert sum(task.done() for task in slow) <= 12
        await asyncio.wait(slow)


@pytest.mark.parametrize("kind", ["fair", "adaptive"])
async def test_cancelled_waiters_lose_no_slot(kind: str) -> None:
    slots = FairSlots(1) if kind == "fair" else AdaptiveSlots(1)
    group = ("one",) if kind == "fair" else ()
    await slots.acquire(*group)
    waiting = [asyncio.create_task(slots.acquire(*group)) for _ in range(5)]
    await asyncio.sleep(0)
    slots.release(*group)  # the first waiter has the slot now, and is cancelled with the others
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    async with asyncio.timeout(1.0):
        await slots.acquire(*group)


async def test_a_storm_of_cancellations_leaves_nothing_behind() -> None:
    limits = Limits(concurrency=300, deadline_s=30.0)
    n_tasks = len(asyncio.all_tasks())
    async with (
        serving("hang", "ok") as servers,
        client_of(*servers, limits=limits, catalog=CATALOG) as client,
    ):
        tasks = [asyncio.create_task(client.complete("one/small", PROMPT)) for _ in range(1_000)]
        while servers[0].n_open < 100:
            await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)
        await servers[0].all_gone(2.0)
        calls = [client.complete("two/small", PROMPT) for _ in range(300)]
        assert len(await asyncio.gather(*calls)) == 300
    await asyncio.sleep(0.05)
    assert len(asyncio.all_tasks()) <= n_tasks
