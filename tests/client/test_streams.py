"""Streams: retried until the first text, never joined, closed when left."""

import asyncio
from contextlib import suppress

import pytest

from calling import COST_USD, PROMPT, client_of, serving, streamed
from faults import DONE, HALVES, TEXT, delta, stream
from workbench import errors
from workbench.budget import Budget
from workbench.client import Limits

pytestmark = pytest.mark.anyio


async def test_a_stream_is_priced_and_listed() -> None:
    async with serving("stream-ok") as [server], client_of(server) as client:
        completion = await streamed(client)
    assert completion.text == TEXT
    assert completion.cost_usd == pytest.approx(COST_USD)
    assert len(completion.attempts) == 1


@pytest.mark.parametrize("fault", ["error-first-event", "503", "429", "reset", "stream-empty", "sse-html"])
async def test_a_stream_that_fails_before_its_first_text_is_tried_again_unseen(fault: str) -> None:
    async with serving([fault, "stream-ok"]) as [server], client_of(server) as client:
        completion = await streamed(client)
    assert (completion.text, len(completion.attempts)) == (TEXT, 2)


async def test_a_stream_that_fails_before_its_first_text_falls_back_unseen() -> None:
    async with serving("401", "stream-ok") as servers, client_of(*servers) as client:
        completion = await streamed(client, fallbacks=["two/small"])
    assert completion.model_id == "two/small"


@pytest.mark.parametrize("fault", ["stream-eof", "reset-midstream", "error-midstream", "sse-malformed"])
async def test_a_stream_that_breaks_after_text_is_never_continued_by_another(fault: str) -> None:
    async with serving(fault, "stream-ok") as servers, client_of(*servers) as client:
        with pytest.raises(errors.ProviderError) as caught:
            await streamed(client, ["two/small"])
    assert caught.value.partial_text.startswith("The answer ")
    assert (caught.value.attempts, caught.value.cost_usd) == (1, client.ledger[0].cost_usd)
    assert len(servers[0].requests) == 1
    assert servers[1].requests == []


async def test_a_stream_that_breaks_is_settled_at_what_came() -> None:
    budget = Budget(1.0)
    async with serving("reset-midstream") as [server], client_of(server, budget=budget) as client:
        with suppress(errors.StreamTruncatedError):
            await streamed(client)
    [attempt] = client.ledger
    assert attempt.error == "StreamTruncatedError"
    assert attempt.usage is not None
    assert (attempt.usage.output_tokens, attempt.usage.is_estimated) == (len("The answer "), True)
    assert budget.spent_usd == attempt.cost_usd


async def test_leaving_a_stream_closes_its_connection_and_keeps_what_it_cost() -> None:
    endless = stream(HALVES[0], end=(60.0,))
    budget = Budget(1.0)
    async with serving(endless) as [server], client_of(server, budget=budget) as client:
        async for _ in client.stream("one/small", PROMPT):
            break
        await server.all_gone(1.0)
        [attempt] = client.ledger
    assert attempt.error == "CancelledError"
    assert attempt.cost_usd == budget.spent_usd > 0.0
    assert budget.reserved_usd == 0.0


@pytest.mark.parametrize("is_streamed", [False, True], ids=["unary", "streamed"])
async def test_a_cancelled_call_closes_its_connection(is_streamed: bool) -> None:
    endless = stream(HALVES[0], end=(60.0,)) if is_streamed else "hang"
    budget = Budget(1.0)
    async with serving(endless) as [server], client_of(server, budget=budget) as client:
        call = streamed(client) if is_streamed else client.complete("one/small", PROMPT)
        task = asyncio.create_task(call)
        await asyncio.sleep(0.1)
        assert server.n_open == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.all_gone(1.0)
        assert [attempt.error for attempt in client.ledger] == ["CancelledError"]
    assert budget.spent_usd > 0.0


async def test_a_slot_is_free_again_after_a_stream_was_left() -> None:
    limits = Limits(concurrency=1, deadline_s=5.0)
    async with serving("stream-ok") as [server], client_of(server, limits=limits) as client:
        for _ in range(3):
            async for _piece in client.stream("one/small", PROMPT):
                break
        assert (await streamed(client)).text == TEXT


async def test_a_stream_without_usage_is_priced_from_above() -> None:
    script = stream(*HALVES, delta(finish="stop"), DONE)
    async with serving(script) as [server], client_of(server) as client:
        completion = await streamed(client)
    assert completion.usage.is_estimated
    assert completion.cost_usd is not None
    assert completion.cost_usd > 0.0
