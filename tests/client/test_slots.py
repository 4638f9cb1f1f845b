"""How many requests are under way: shared fairly between models, and found out where a server says 429."""

import asyncio
from collections.abc import Iterator

import pytest

from calling import CATALOG, PROMPT, client_of, serving
from faults import Step, answer, response
from workbench.client import Limits
from workbench.client.slots import AdaptiveSlots, FairSlots
from workbench.providers.trouble import Gate, Trouble

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


@pytest.mark.parametrize("concurrency", [16, 64])
async def test_a_client_finds_out_how_many_requests_a_server_takes(concurrency: int) -> None:
    """After the first half it neither asks for much more than the server takes, nor for much less."""
    n_calls, busy = 240, Busy(8, seconds=0.02)
    limits = Limits(concurrency=concurrency, deadline_s=30.0)
    async with serving(busy) as [server], client_of(server, limits=limits) as client:
        await asyncio.gather(*(client.complete("one/small", PROMPT) for _ in range(n_calls)))
    settled = busy.high_water[len(busy.high_water) // 2 :]
    assert max(settled) <= 10
    assert min(max(settled[begin : begin + 20]) for begin in range(len(settled) - 20)) >= 0.8 * 8
    assert len(busy.high_water) <= 1.1 * n_calls + concurrency


async def test_no_answer_is_lost_where_a_crowd_meets_a_limit_that_nobody_told() -> None:
    """40 requests a second, one at a time, are taken; most calls of the crowd are refused several times."""
    gate, trouble = Gate(), Trouble(requests_per_minute=2_400.0)

    def limited() -> list[bytes]:
        refusal = gate.refusal(trouble, "")
        if refusal is None:
            return [response(answer())]
        return [response(b"{}", status="429 No", retry_after_ms=str(1e3 * (refusal.retry_after_s or 0.0)))]

    limits = Limits(concurrency=32, deadline_s=10.0)
    async with serving(limited) as [server], client_of(server, limits=limits) as client:
        answers = await asyncio.gather(*(client.complete("one/small", PROMPT) for _ in range(70)))
    assert len(answers) == 70
    assert len(server.requests) <= 3 * 70


async def filled(n_slots: int) -> tuple[AdaptiveSlots, list[int]]:
    """All of `n_slots` slots taken, and their tickets."""
    slots = AdaptiveSlots(n_slots)
    return slots, [await slots.acquire() for _ in range(n_slots)]


def answered(slots: AdaptiveSlots, *, until: float) -> int:
    """How many answers to full slots it takes until the limit is `until`."""
    n_answers = 0
    while slots.limit < until:
        slots.answer()
        n_answers += 1
    return n_answers


async def test_a_burst_settles_at_what_was_accepted_of_it() -> None:
    slots, tickets = await filled(32)
    for ticket in tickets[8:]:
        slots.refuse(ticket)
        slots.release(ticket)
    assert slots.limit == 8.0


async def test_a_burst_is_one_refusal_where_all_of_it_was_one_too_many() -> None:
    slots, tickets = await filled(100)
    for ticket in tickets[98:]:
        slots.refuse(ticket)
    assert slots.limit == pytest.approx(90.0)


async def test_the_limit_that_was_met_is_approached_more_slowly_each_time() -> None:
    slots, tickets = await filled(9)
    n_answers = []
    for _ in range(3):
        slots.refuse(tickets[-1])
        assert slots.limit == pytest.approx(8.0, abs=0.2)
        slots.release(tickets.pop())
        n_answers.append(answered(slots, until=9.0))
        tickets.append(await slots.acquire())
    assert [n / 64 for n in n_answers] == pytest.approx([1.0, 2.0, 4.0], rel=0.15)


async def test_a_limit_that_was_raised_is_followed_a_slot_a_round() -> None:
    slots, tickets = await filled(20)
    for ticket in tickets[8:]:
        slots.refuse(ticket)
        slots.release(ticket)
    answered(slots, until=9.0)
    while slots.n_held < 9:
        await slots.acquire()
    assert answered(slots, until=9.999) <= 10


async def test_a_refusal_of_the_only_request_says_nothing_of_how_many_there_may_be() -> None:
    slots, tickets = await filled(10)
    for ticket in tickets[:-1]:
        slots.release(ticket)
    slots.refuse(tickets[-1])
    assert slots.limit == pytest.approx(9.0)


async def test_answers_to_a_few_requests_say_nothing_of_room_for_more() -> None:
    slots, tickets = await filled(10)
    slots.refuse(tickets[-1])
    for ticket in tickets[:8]:
        slots.release(ticket)
    for _ in range(200):
        slots.answer()
    assert slots.limit == pytest.approx(9.0)


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


async def test_cancelled_waiters_lose_no_fair_slot() -> None:
    slots = FairSlots(1)
    await slots.acquire("one")
    waiting = [asyncio.create_task(slots.acquire("one")) for _ in range(5)]
    await asyncio.sleep(0)
    slots.release("one")  # the first waiter has the slot now, and is cancelled with the others
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    async with asyncio.timeout(1.0):
        await slots.acquire("one")


async def test_cancelled_waiters_lose_no_adaptive_slot() -> None:
    slots, [ticket] = await filled(1)
    waiting = [asyncio.create_task(slots.acquire()) for _ in range(5)]
    await asyncio.sleep(0)
    slots.release(ticket)  # the first waiter has the slot now, and is cancelled with the others
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    async with asyncio.timeout(1.0):
        await slots.acquire()


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
