"""Hedging: one more request for a slow answer, and none that goes on unseen."""

import asyncio
import time

import pytest

from calling import COST_USD, PROMPT, client_of, serving
from faults import TEXT, answer, response
from workbench import errors
from workbench.budget import Budget
from workbench.client import DECODING, Limits

pytestmark = pytest.mark.anyio

HEDGED = Limits(deadline_s=5.0, hedge_after_s=0.1, backoff_s=0.01)


def slowly() -> list[bytes | float]:
    return [1.0, response(answer())]


async def test_a_slow_answer_is_overtaken_by_one_more_request() -> None:
    budget = Budget(1.0)
    started = time.monotonic()
    async with serving([slowly, "ok"]) as [server], client_of(server, limits=HEDGED, budget=budget) as client:
        completion = await client.complete("one/small", PROMPT)
        took_s = time.monotonic() - started
        async with asyncio.timeout(0.5):  # the loser's connection is closed
            while server.n_open > 1:
                await asyncio.sleep(0.01)
        assert len(server.requests) == 2
    assert completion.text == TEXT
    assert took_s < 0.9
    assert [attempt.error for attempt in completion.attempts] == [None, "CancelledError"]
    assert completion.cost_usd == budget.spent_usd > COST_USD
    assert budget.reserved_usd == 0.0


async def test_never_more_than_one_more() -> None:
    async with serving(slowly) as [server], client_of(server, limits=HEDGED) as client:
        await client.complete("one/small", PROMPT)
    assert len(server.requests) == 2


async def test_a_quick_answer_is_not_hedged() -> None:
    async with serving("ok") as [server], client_of(server, limits=HEDGED) as client:
        await client.complete("one/small", PROMPT)
    assert len(server.requests) == 1


async def test_no_call_is_hedged_where_nobody_asks_for_it() -> None:
    def a_while() -> list[bytes | float]:
        return [0.3, response(answer())]

    async with serving(a_while) as [server], client_of(server) as client:
        await client.complete("one/small", PROMPT)
    assert len(server.requests) == 1


async def test_a_hedge_that_fails_does_not_end_the_call() -> None:
    def a_while() -> list[bytes | float]:
        return [0.3, response(answer())]

    async with serving([a_while, "400-context"]) as [server], client_of(server, limits=HEDGED) as client:
        completion = await client.complete("one/small", PROMPT)
    assert [attempt.error for attempt in completion.attempts] == ["ContextTooLongError", None]


async def test_a_hedge_that_the_budget_cannot_pay_is_not_sent() -> None:
    def a_while() -> list[bytes | float]:
        return [0.3, response(answer())]

    async with serving(a_while) as [server]:
        async with client_of(server, limits=HEDGED) as client:
            bound_usd = client.catalog["one/small"].cost_bound_usd(PROMPT, DECODING)
        budget = Budget(bound_usd * 1.5)
        async with client_of(server, limits=HEDGED, budget=budget) as client:
            assert (await client.complete("one/small", PROMPT)).text == TEXT
    assert len(server.requests) == 1


async def test_a_cancelled_call_cancels_both() -> None:
    async with serving(slowly) as [server], client_of(server, limits=HEDGED) as client:
        task = asyncio.create_task(client.complete("one/small", PROMPT))
        while len(server.requests) < 2:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.all_gone(1.0)
        assert [attempt.error for attempt in client.ledger] == ["CancelledError"] * 2


async def test_when_both_fail_the_first_failure_counts() -> None:
    limits = Limits(deadline_s=5.0, hedge_after_s=0.05, max_attempts=1)

    def late_refusal() -> list[bytes | float]:
        return [0.2, response(b"{}", status="404 Not Found")]

    async with serving([late_refusal, "503"]) as [server], client_of(server, limits=limits) as client:
        with pytest.raises(errors.ModelNotFoundError):
            await client.complete("one/small", PROMPT)
