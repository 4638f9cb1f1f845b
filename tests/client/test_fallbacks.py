"""Fallbacks: who is asked next, and who is not."""

import time
from contextlib import AsyncExitStack

import pytest

from calling import CATALOG, PRICE, PROMPT, client_of, failure, serving
from faults import refusing_port, response
from workbench import errors
from workbench.catalog import Catalog, ModelSpec
from workbench.client import Client, Limits
from workbench.providers.chat_completions import ChatCompletions

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "fault",
    ["401", "402", "404", "429-quota", "429", "500", "malformed", "error-in-200", "null-content", "reset"],
)
async def test_the_next_candidate_is_asked_when_one_fails(fault: str) -> None:
    async with serving(fault, "ok") as servers, client_of(*servers) as client:
        completion = await client.complete("one/small", PROMPT, fallbacks=["two/small"])
    assert completion.model_id == "two/small"
    assert [attempt.is_fallback for attempt in completion.attempts][-1] is True
    assert completion.attempts[0].model_id == "one/small"


async def test_a_refused_connection_falls_back_without_a_wait() -> None:
    limits = Limits(backoff_s=5.0, deadline_s=20.0)
    async with serving("ok") as [server], AsyncExitStack() as stack:
        port = stack.enter_context(refusing_port())
        dead = ChatCompletions("one", f"http://127.0.0.1:{port}/v1")
        providers = [dead, ChatCompletions("two", server.url)]
        client = await stack.enter_async_context(Client(providers, catalog=CATALOG, limits=limits))
        started = time.monotonic()
        completion = await client.complete("one/small", PROMPT, fallbacks=["two/small"])
    assert [attempt.error for attempt in completion.attempts] == ["ConnectError", None]
    assert time.monotonic() - started < 1.0


async def test_a_candidate_that_hangs_leaves_time_for_the_next() -> None:
    limits = Limits(deadline_s=0.6)
    async with serving("hang", "ok") as servers, client_of(*servers, limits=limits) as client:
        completion = await client.complete("one/small", PROMPT, fallbacks=["two/small"])
    assert completion.model_id == "two/small"


async def test_when_all_fail_each_cause_is_listed() -> None:
    async with serving("401", "503", "404") as servers, client_of(*servers) as client:
        caught = await failure(client, fallbacks=["two/small", "three/large"])
    assert isinstance(caught, errors.AllProvidersFailedError)
    assert [type(c) for c in caught.causes] == [
        errors.AuthError,
        errors.ServerError,
        errors.ModelNotFoundError,
    ]
    assert caught.attempts == 1 + 3 + 1 == len(client.ledger)
    assert caught.cost_usd == 0.0


async def test_a_prompt_too_long_goes_only_to_a_longer_window() -> None:
    async with serving("400-context", "ok", "ok") as servers, client_of(*servers) as client:
        completion = await client.complete("one/small", PROMPT, fallbacks=["two/small", "three/large"])
    assert completion.model_id == "three/large"
    assert servers[1].requests == []


async def test_a_provider_that_refused_the_key_is_not_asked_for_another_model() -> None:
    catalog = CATALOG | Catalog([ModelSpec("one", "other", PRICE)])
    async with serving("401", "ok") as servers, client_of(*servers, catalog=catalog) as client:
        completion = await client.complete("one/small", PROMPT, fallbacks=["one/other", "two/small"])
    assert completion.model_id == "two/small"
    assert len(servers[0].requests) == 1


async def test_the_latency_counts_from_the_first_attempt() -> None:
    def slow_failure() -> list[bytes | float]:
        return [0.2, response(b"{}", status="500 No")]

    async with serving([slow_failure, "ok"]) as [server], client_of(server) as client:
        completion = await client.complete("one/small", PROMPT)
    assert completion.latency_s >= 0.2
