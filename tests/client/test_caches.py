"""A client with a cache: a hit costs nothing, waits for nothing, and is not taken for a sign of health."""

import asyncio

import pytest

from calling import CATALOG, COST_USD, PROMPT, QUICK, serving
from faults import FAULTS, TEXT
from workbench import errors
from workbench.budget import Budget
from workbench.cache import MemoryStore, Statistics
from workbench.client import Account, Client, Limits, connect
from workbench.providers.cache import Cached
from workbench.providers.chat_completions import ChatCompletions
from workbench.types import Decoding, Prompt

pytestmark = pytest.mark.anyio


def client_of(
    url: str, store: MemoryStore, *, limits: Limits = QUICK, budget: Budget | None = None
) -> Client:
    provider = Cached(ChatCompletions("one", url), store, catalog=CATALOG)
    return Client([provider], catalog=CATALOG, limits=limits, budget=budget)


async def test_a_hit_costs_nothing_and_is_in_no_ledger() -> None:
    budget, store = Budget(1.0), MemoryStore()
    async with serving("ok") as [server], client_of(server.url, store, budget=budget) as client:
        first = await client.complete("one/small", PROMPT)
        second = await client.complete("one/small", PROMPT)
        assert (client.ledger.total.n_attempts, client.spent_usd) == (1, pytest.approx(COST_USD))
    assert first.cost_usd == pytest.approx(COST_USD)
    assert (second.text, second.cost_usd, second.is_cached, second.attempts) == (TEXT, 0.0, True, ())
    assert budget.spent_usd == pytest.approx(COST_USD)
    assert store.statistics.saved_usd == pytest.approx(COST_USD)
    assert (store.statistics.n_hits, store.statistics.n_misses) == (1, 1)


async def test_a_client_adds_up_its_stores_and_counts_each_once() -> None:
    one, other = MemoryStore(), MemoryStore()
    async with serving("ok", "ok", "ok") as servers:
        names, stores = ("one", "two", "three"), (one, one, other)
        providers = [
            Cached(ChatCompletions(name, server.url), store, catalog=CATALOG)
            for name, server, store in zip(names, servers, stores, strict=True)
        ]
        async with Client(providers, catalog=CATALOG, limits=QUICK) as client:
            for model_id in ("one/small", "two/small", "three/large") * 2:
                await client.complete(model_id, PROMPT)
            found = client.cache_statistics
    assert (found.n_hits, found.n_misses, found.n_stores) == (3, 3, 3)
    assert found.saved_usd == pytest.approx(3 * COST_USD)


async def test_a_client_without_a_store_has_nothing_to_count() -> None:
    async with serving("ok") as [server], Client([ChatCompletions("one", server.url)]) as client:
        assert client.cache_statistics == Statistics()


async def test_a_budget_that_is_spent_still_lets_a_hit_through() -> None:
    budget = Budget(CATALOG["one/small"].cost_bound_usd(PROMPT, Decoding()))
    async with serving("ok") as [server], client_of(server.url, MemoryStore(), budget=budget) as client:
        await client.complete("one/small", PROMPT)
        assert (await client.complete("one/small", PROMPT)).is_cached
        with pytest.raises(errors.BudgetError):
            await client.complete("one/small", Prompt("p2", "2 + 3?"))
    assert budget.reserved_usd == 0.0


async def test_a_hit_does_not_wait_for_a_slot() -> None:
    limits = Limits(concurrency=1, deadline_s=5.0)
    async with (
        serving(["ok", "hang"]) as [server],
        client_of(server.url, MemoryStore(), limits=limits) as client,
    ):
        await client.complete("one/small", PROMPT)
        slow = asyncio.create_task(client.complete("one/small", Prompt("p2", "slow")))
        while len(server.requests) < 2:
            await asyncio.sleep(0.01)
        async with asyncio.timeout(1.0):
            assert (await client.complete("one/small", PROMPT)).is_cached
        slow.cancel()


async def test_a_stream_of_a_hit_has_its_text_and_its_completion() -> None:
    async with serving("stream-ok") as [server], client_of(server.url, MemoryStore()) as client:
        for is_cached in (False, True):
            deltas = [delta async for delta in client.stream("one/small", PROMPT)]
            completion = deltas[-1].completion
            assert completion is not None
            assert "".join(delta.text for delta in deltas) == completion.text == TEXT
            assert completion.is_cached == is_cached
    assert completion.cost_usd == 0.0
    assert len(server.requests) == 1


async def test_identical_calls_at_once_are_paid_once() -> None:
    budget = Budget(1.0)
    async with (
        serving(lambda: [0.1, *FAULTS["ok"]()]) as [server],
        client_of(server.url, MemoryStore(), budget=budget) as client,
    ):
        completions = await asyncio.gather(*(client.complete("one/small", PROMPT) for _ in range(20)))
    assert len(server.requests) == 1
    assert sum(completion.cost_usd or 0.0 for completion in completions) == pytest.approx(COST_USD)
    assert (budget.spent_usd, budget.reserved_usd) == (pytest.approx(COST_USD), pytest.approx(0.0))


async def test_when_the_first_fails_the_client_tries_again_once_for_all() -> None:
    async with serving(["500", "ok"]) as [server], client_of(server.url, MemoryStore()) as client:
        completions = await asyncio.gather(*(client.complete("one/small", PROMPT) for _ in range(10)))
    assert {completion.text for completion in completions} == {TEXT}
    assert len(server.requests) == 2


async def test_the_answer_of_a_fallback_is_kept_as_its_own() -> None:
    store = MemoryStore()
    async with serving("404", "ok") as servers:
        providers = [
            Cached(ChatCompletions(name, server.url), store, catalog=CATALOG)
            for name, server in zip(("one", "two"), servers, strict=True)
        ]
        async with Client(providers, catalog=CATALOG, limits=QUICK) as client:
            for n_asked in (1, 2):
                completion = await client.complete("one/small", PROMPT, fallbacks=["two/small"])
                assert (completion.model_id, completion.is_cached) == ("two/small", n_asked == 2)
                assert [len(server.requests) for server in servers] == [n_asked, 1]


async def test_accounts_share_what_one_of_them_paid_for() -> None:
    store = MemoryStore()
    async with serving("ok") as [server]:
        accounts = [
            Account(Cached(ChatCompletions("one", server.url), store, catalog=CATALOG), alias)
            for alias in "ab"
        ]
        async with Client(accounts, catalog=CATALOG, limits=QUICK) as client:
            for _ in range(4):
                await client.complete("one/small", PROMPT)
    assert len(server.requests) == 1


async def test_connecting_with_a_cache_serves_the_next_client_too(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    async with serving("ok") as [server]:
        monkeypatch.setenv("WORKBENCH_BASE_URL", server.url)
        for is_cached in (False, True):
            async with connect(["custom/small"], cache=store) as client:
                assert (await client.complete("custom/small", PROMPT)).is_cached == is_cached
    assert len(server.requests) == 1


async def test_without_a_cache_every_call_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving("ok") as [server]:
        monkeypatch.setenv("WORKBENCH_BASE_URL", server.url)
        async with connect(["custom/small"]) as client:
            completions = [await client.complete("custom/small", PROMPT) for _ in range(2)]
    assert not any(completion.is_cached for completion in completions)
    assert len(server.requests) == 2
