"""What observers are told of calls, in which order, and that nobody is told unless somebody listens."""

import asyncio
from contextlib import aclosing

import pytest

from calling import CATALOG, COST_USD, PROMPT, client_of, failure, serving, streamed
from faults import FaultServer, answer, whole
from workbench import errors
from workbench.cache import MemoryStore
from workbench.client import Client, Limits
from workbench.client.events import (
    AttemptFinished,
    BreakerChanged,
    CallFinished,
    CallStarted,
    Event,
    FallbackTaken,
    LimitLearned,
    RetryPlanned,
    observe_everywhere,
)
from workbench.providers.cache import Cached
from workbench.providers.chat_completions import ChatCompletions

pytestmark = pytest.mark.anyio
QUICK = Limits(deadline_s=5.0, backoff_s=0.01, max_backoff_s=0.02)


def heard_by(events: list[Event], *servers: FaultServer, limits: Limits = QUICK) -> Client:
    """A client of providers `one`, `two` at `servers` that puts every event into `events`."""
    providers = [
        ChatCompletions(name, server.url) for name, server in zip(("one", "two"), servers, strict=False)
    ]
    return Client(providers, catalog=CATALOG, limits=limits, observers=[events.append])


def kinds(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


async def test_a_retried_call_is_told_step_by_step() -> None:
    events: list[Event] = []
    async with serving(["500", "ok"]) as [server], heard_by(events, server) as client:
        completion = await client.complete("one/small", PROMPT)
    assert kinds(events) == [
        "CallStarted", "AttemptFinished", "RetryPlanned", "AttemptFinished", "CallFinished",
    ]  # fmt: skip
    started, failed, planned, answered, finished = events
    assert isinstance(started, CallStarted)
    assert started.prompt is PROMPT
    assert isinstance(failed, AttemptFinished)
    assert isinstance(failed.failure, errors.ServerError)
    assert failed.failure.status == 500
    assert isinstance(planned, RetryPlanned)
    assert planned.failure is failed.failure
    assert isinstance(answered, AttemptFinished)
    assert answered.attempt is completion.attempts[-1]
    assert answered.attempt.cost_usd == pytest.approx(COST_USD)
    assert isinstance(finished, CallFinished)
    assert finished.completion is completion
    assert len({event.call_id for event in (started, failed, planned, answered, finished)}) == 1


async def test_a_fallback_is_told_with_its_reason() -> None:
    events: list[Event] = []
    async with serving("401", "ok") as servers, heard_by(events, *servers) as client:
        await client.complete("one/small", PROMPT, fallbacks=["two/small"])
    taken = next(event for event in events if isinstance(event, FallbackTaken))
    assert (taken.model_id, taken.reason) == ("two/small", "AuthError")


async def test_a_call_that_fails_ends_with_its_failure() -> None:
    events: list[Event] = []
    async with serving("400") as [server], heard_by(events, server) as client:
        raised = await failure(client)
    finished = events[-1]
    assert isinstance(finished, CallFinished)
    assert finished.failure is raised
    assert finished.completion is None


async def test_a_call_that_the_budget_refuses_ends_without_an_attempt() -> None:
    events: list[Event] = []
    limits = Limits(max_call_cost_usd=1e-9)
    async with serving("ok") as [server], heard_by(events, server, limits=limits) as client:
        with pytest.raises(errors.BudgetError):
            await client.complete("one/small", PROMPT)
    assert kinds(events) == ["CallStarted", "CallFinished"]


async def test_a_stream_ends_with_its_completion() -> None:
    events: list[Event] = []
    async with serving("stream-ok") as [server], heard_by(events, server) as client:
        completion = await streamed(client)
    answered, finished = events[-2:]
    assert isinstance(answered, AttemptFinished)
    assert answered.attempt.first_token_s is not None
    assert isinstance(finished, CallFinished)
    assert finished.completion is completion


async def test_a_stream_that_is_left_is_told_as_left() -> None:
    events: list[Event] = []
    async with (
        serving("stream-ok") as [server],
        heard_by(events, server) as client,
        aclosing(client.stream("one/small", PROMPT)) as deltas,
    ):
        await anext(deltas)
    answered, finished = events[-2:]
    assert isinstance(answered, AttemptFinished)
    assert isinstance(answered.failure, GeneratorExit)
    assert isinstance(finished, CallFinished)
    assert isinstance(finished.failure, GeneratorExit)


async def test_a_cancelled_call_is_told_as_cancelled() -> None:
    events: list[Event] = []
    async with serving("hang") as [server], heard_by(events, server) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.complete("one/small", PROMPT)
    assert isinstance(events[-1], CallFinished)
    assert isinstance(events[-1].failure, asyncio.CancelledError)


async def test_an_answer_from_the_cache_has_no_attempt() -> None:
    events: list[Event] = []
    async with serving("ok") as [server]:
        cached = Cached(ChatCompletions("one", server.url), MemoryStore(), catalog=CATALOG)
        async with Client([cached], catalog=CATALOG, observers=[events.append]) as client:
            await client.complete("one/small", PROMPT)
            events.clear()
            await client.complete("one/small", PROMPT)
    assert kinds(events) == ["CallStarted", "CallFinished"]
    assert isinstance(events[-1], CallFinished)
    assert events[-1].completion is not None
    assert events[-1].completion.is_cached


async def test_breakers_are_told_when_they_open_and_close() -> None:
    events: list[Event] = []
    limits = Limits(deadline_s=5.0, max_attempts=1, breaker_failures=2, breaker_open_s=0.01)
    async with serving(["500", "500", "ok"]) as [server], heard_by(events, server, limits=limits) as client:
        for _ in range(2):
            await failure(client)
        await asyncio.sleep(0.02)
        await client.complete("one/small", PROMPT)
    changes = [event for event in events if isinstance(event, BreakerChanged)]
    assert [(change.channel.model, change.state) for change in changes] == [
        ("small", "open"),
        ("small", "closed"),
    ]


async def test_a_limit_that_a_server_tells_is_told_once() -> None:
    events: list[Event] = []
    told = {
        "X_RateLimit_Limit_Requests": "60",
        "X_RateLimit_Remaining_Requests": "50",
        "X_RateLimit_Reset_Requests": "10s",
    }
    async with serving(whole(answer(), **told)) as [server], heard_by(events, server) as client:
        for _ in range(2):
            await client.complete("one/small", PROMPT)
    assert [(e.kind, e.limit) for e in events if isinstance(e, LimitLearned)] == [("requests", 60.0)]


async def test_a_refusal_of_one_request_too_many_is_told() -> None:
    events: list[Event] = []
    async with serving(["429", "ok"]) as [server], heard_by(events, server) as client:
        await asyncio.gather(*(client.complete("one/small", PROMPT) for _ in range(2)))
    learned = [event for event in events if isinstance(event, LimitLearned)]
    assert (learned[0].kind, learned[0].limit) == ("concurrency", 1.0)


async def test_an_observer_of_everything_hears_clients_that_are_made_later() -> None:
    events: list[Event] = []
    async with serving("ok") as [server]:
        observe_everywhere("test", events.append)
        try:
            async with client_of(server) as client:
                await client.complete("one/small", PROMPT)
        finally:
            observe_everywhere("test", None)
        async with client_of(server) as client:
            await client.complete("one/small", PROMPT)
            assert client.observer is None
    assert kinds(events) == ["CallStarted", "AttemptFinished", "CallFinished"]
