"""A cached provider: what it asks, what it answers from its store, and who waits for whom."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date

import pytest

from calling import PROMPT, serving
from faults import FAULTS, TEXT, FaultServer, Script, message
from faults import whole as whole_answer
from workbench import errors
from workbench.cache import MemoryStore
from workbench.catalog import Catalog, ModelSpec, Price
from workbench.errors import ConfigError
from workbench.providers.base import Provider
from workbench.providers.cache import Cached
from workbench.providers.chat_completions import ChatCompletions
from workbench.providers.recorder import Recorder
from workbench.providers.registry import provider as registered
from workbench.types import Completion, Decoding, Delta, Prompt

pytestmark = pytest.mark.anyio

CATALOG = Catalog([ModelSpec("one", "small", Price(1.0, 2.0, "made up for tests", date(2026, 11, 1)))])
COST_USD = (10 * 1.0 + 5 * 2.0) / 1e6
SAMPLED = Decoding(temperature=1.0)


def after(seconds: float, name: str = "ok") -> Script:
    """The fault `name`, after a while."""
    return lambda: [seconds, *FAULTS[name]()]


@asynccontextmanager
async def cached(
    *scripts: str | Script, store: MemoryStore | None = None, **settings: object
) -> AsyncIterator[tuple[Cached, FaultServer, MemoryStore]]:
    store = MemoryStore() if store is None else store
    async with serving(scripts) as [server]:
        provider = Cached(ChatCompletions("one", server.url), store, catalog=CATALOG, **settings)  # type: ignore[arg-type]
        try:
            yield provider, server, store
        finally:
            await provider.aclose()


async def ask(
    provider: Provider,
    prompt: Prompt = PROMPT,
    decoding: Decoding = Decoding(),  # noqa: B008 - frozen
    deadline_s: float = 5.0,
) -> Completion:
    return await provider.complete("small", prompt, decoding, deadline_s=deadline_s)


async def stream(
    provider: Provider,
    prompt: Prompt = PROMPT,
    decoding: Decoding = Decoding(),  # noqa: B008 - frozen
) -> list[Delta]:
    return [delta async for delta in provider.stream("small", prompt, decoding, deadline_s=5.0)]


async def test_the_same_is_asked_once_and_costs_once() -> None:
    async with cached("ok") as (provider, server, store):
        first, second = await ask(provider), await ask(provider)
    assert len(server.requests) == 1
    assert (first.is_cached, first.cost_usd) == (False, None)
    assert (second.is_cached, second.cost_usd, second.first_token_s) == (True, 0.0, None)
    assert second.latency_s < 0.1
    assert replace(second, is_cached=False, cost_usd=None, latency_s=first.latency_s) == first
    assert (store.statistics.n_hits, store.statistics.n_misses, store.statistics.n_stores) == (1, 1, 1)
    assert store.statistics.saved_usd == pytest.approx(COST_USD)


async def test_it_is_a_provider_of_the_same_name() -> None:
    async with cached("ok") as (provider, _, _):
        assert isinstance(provider, Provider)
        assert provider.name == "one"


async def test_a_hit_streams_its_text_as_one_piece_and_then_the_completion() -> None:
    async with cached("stream-ok") as (provider, server, _):
        live, again = await stream(provider), await stream(provider)
    assert len(server.requests) == 1
    assert [delta.text for delta in live] == ["The answer ", "is 4.", ""]
    assert [delta.text for delta in again] == [TEXT, ""]
    completion = again[-1].completion
    assert completion is not None
    assert (completion.text, completion.is_cached, completion.cost_usd) == (TEXT, True, 0.0)
    assert completion.first_token_s == completion.latency_s


async def test_a_hit_streams_reasoning_and_tool_calls_too() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    said = {"content": TEXT, "reasoning_content": "Two and two.", "tool_calls": [call]}
    async with cached(whole_answer(message(message=said, finish_reason="tool_calls"))) as (
        provider,
        server,
        _,
    ):
        first = await ask(provider)
        deltas = await stream(provider)
    assert len(server.requests) == 1
    assert (first.reasoning, first.tool_calls[0].name) == ("Two and two.", "add")
    assert [delta.reasoning for delta in deltas] == ["Two and two.", "", "", ""]
    assert deltas[2].tool_call is not None
    assert (deltas[2].tool_call.name, deltas[2].tool_call.arguments) == ("add", '{"a": 1}')


async def test_what_was_streamed_answers_a_whole_call_and_the_other_way_round() -> None:
    async with cached("stream-ok") as (provider, server, _):
        await stream(provider)
        assert (await ask(provider)).is_cached
    async with cached("ok") as (provider, server, _):
        await ask(provider)
        assert (await stream(provider))[-1].completion.is_cached  # type: ignore[union-attr]
        assert len(server.requests) == 1


@pytest.mark.parametrize("fault", ["500", "429", "malformed", "close"])
async def test_an_error_is_not_kept(fault: str) -> None:
    async with cached(fault, "ok") as (provider, server, store):
        with pytest.raises(errors.ProviderError):
            await ask(provider)
        assert not (await ask(provider)).is_cached
    assert (len(server.requests), store.n_entries) == (2, 1)


@pytest.mark.parametrize("fault", ["stream-eof", "reset-midstream", "error-midstream"])
async def test_a_stream_that_broke_off_is_not_kept(fault: str) -> None:
    async with cached(fault, "stream-ok") as (provider, server, store):
        with pytest.raises(errors.ProviderError):
            await stream(provider)
        assert store.n_entries == 0
        assert (await stream(provider))[-1].completion.text == TEXT  # type: ignore[union-attr]
    assert len(server.requests) == 2


async def test_a_stream_that_was_left_is_not_kept_and_blocks_nobody() -> None:
    async with cached("stream-ok") as (provider, server, store):
        deltas = provider.stream("small", PROMPT, Decoding(), deadline_s=5.0)
        await anext(deltas)
        await deltas.aclose()
        assert store.n_entries == 0
        assert not (await stream(provider))[-1].completion.is_cached  # type: ignore[union-attr]
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("reason", "is_kept"), [("stop", True), ("length", True), ("content_filter", False), ("banana", False)]
)
async def test_the_finish_reason_says_whether_an_answer_is_kept(reason: str, is_kept: bool) -> None:
    script = whole_answer(message(message={"content": TEXT}, finish_reason=reason))
    async with cached(script) as (provider, server, _):
        await ask(provider)
        again = await ask(provider)
    assert (again.is_cached, again.raw_finish_reason) == (is_kept, reason)
    assert len(server.requests) == 2 - is_kept


@pytest.mark.parametrize("decoding", [SAMPLED, Decoding(temperature=None)], ids=["warm", "provider's own"])
async def test_a_sampled_answer_is_neither_kept_nor_given(decoding: Decoding) -> None:
    async with cached("ok") as (provider, server, store):
        await ask(provider, decoding=decoding)
        await ask(provider, decoding=decoding)
        await stream(provider, decoding=decoding)
    assert (len(server.requests), store.n_entries, store.statistics.n_misses) == (3, 0, 0)


async def test_a_sampled_answer_is_kept_where_that_is_asked_for() -> None:
    async with cached("ok", cache_sampled=True) as (provider, server, _):
        await ask(provider, decoding=SAMPLED)
        assert (await ask(provider, decoding=SAMPLED)).is_cached
    assert len(server.requests) == 1


async def test_repeats_of_an_experiment_are_never_one_answer() -> None:
    async with cached("ok") as (provider, server, _):
        for seed in (0, 1, 2, 1):
            await ask(provider, decoding=Decoding(temperature=1.0, seed=seed))
    assert len(server.requests) == 3


async def test_what_is_too_old_is_asked_again() -> None:
    now = [0.0]
    async with cached("ok", store=MemoryStore(clock=lambda: now[0]), ttl_s=60.0) as (provider, server, _):
        await ask(provider)
        now[0] = 59.0
        assert (await ask(provider)).is_cached
        now[0] = 61.0
        assert not (await ask(provider)).is_cached
    assert len(server.requests) == 2


@pytest.mark.parametrize("ttl_s", [0.0, -1.0, float("nan")])
async def test_an_age_that_is_none_is_refused(ttl_s: float) -> None:
    with pytest.raises(ConfigError, match="ttl_s"):
        Cached(ChatCompletions("one", "http://127.0.0.1:9/v1"), MemoryStore(), ttl_s=ttl_s)


async def test_tenants_do_not_share_answers() -> None:
    async with serving("ok") as [server]:
        store, http = MemoryStore(), ChatCompletions("one", server.url)
        for namespace in ("", "a", "b", "a"):
            await ask(Cached(http, store, namespace=namespace))
        await http.aclose()
    assert len(server.requests) == 3


async def test_servers_do_not_share_answers_though_their_names_and_models_are_the_same() -> None:
    async with serving("ok", "ok") as servers:
        store = MemoryStore()
        for server in servers:
            http = ChatCompletions("one", server.url)
            assert not (await ask(Cached(http, store))).is_cached
            await http.aclose()


async def test_protocols_do_not_share_answers() -> None:
    async with serving("ok") as [server]:
        store = MemoryStore()
        for name in ("vllm", "ollama"):
            http = registered(name, base_url=server.url)
            assert await Cached(http, store).recall("small", PROMPT, Decoding()) is None
            if name == "vllm":
                await ask(Cached(http, store))
            await http.aclose()
    assert store.n_entries == 1


async def test_a_recorder_in_between_changes_no_key() -> None:
    async with serving("ok") as [server]:
        store, http = MemoryStore(), ChatCompletions("one", server.url)
        await ask(Cached(http, store))
        recorder = Recorder(http)
        assert (await ask(Cached(recorder, store))).is_cached
        await http.aclose()
    assert recorder.outcomes == ()


@pytest.mark.parametrize("content", [b"", b"poison", b"\x80\x04."], ids=["empty", "text", "pickle"])
async def test_an_entry_that_cannot_be_trusted_is_deleted_and_asked_for_again(content: bytes) -> None:
    async with cached("ok") as (provider, server, store):
        await ask(provider)
        [key] = store._entries
        await store.put(key, content)
        assert await provider.recall("small", PROMPT, Decoding()) is None
        assert store.n_entries == 0
        assert (await ask(provider)).text == TEXT
    assert len(server.requests) == 2


async def test_fifty_identical_calls_at_once_are_one_request() -> None:
    async with cached(after(0.1)) as (provider, server, store):
        completions = await asyncio.gather(*(ask(provider) for _ in range(50)))
    assert len(server.requests) == 1
    assert {completion.text for completion in completions} == {TEXT}
    assert sum(not completion.is_cached for completion in completions) == 1
    assert (store.statistics.n_hits, store.statistics.n_misses) == (49, 1)


async def test_accounts_of_one_provider_share_a_request() -> None:
    async with serving(after(0.1)) as [server]:
        store = MemoryStore()
        accounts = [Cached(ChatCompletions("one", server.url), store) for _ in range(2)]
        await asyncio.gather(*(ask(account) for account in accounts))
        for account in accounts:
            await account.aclose()
    assert len(server.requests) == 1


async def test_a_stream_and_a_whole_call_share_a_request() -> None:
    async with cached(after(0.1, "stream-ok")) as (provider, server, _):
        deltas, completion = await asyncio.gather(stream(provider), ask(provider))
    assert len(server.requests) == 1
    assert (deltas[-1].completion.text, completion.is_cached) == (TEXT, True)  # type: ignore[union-attr]


async def test_different_calls_at_once_do_not_wait_for_each_other() -> None:
    async with cached("hang", "ok") as (provider, server, _):
        slow = asyncio.create_task(ask(provider, Prompt("p", "slow")))
        while not server.requests:
            await asyncio.sleep(0.01)
        assert (await ask(provider, Prompt("p", "fast"), deadline_s=1.0)).text == TEXT
        slow.cancel()


async def test_when_the_first_fails_one_of_those_who_wait_asks_next() -> None:
    async with cached(after(0.05, "500"), after(0.05)) as (provider, server, _):
        results = await asyncio.gather(*(ask(provider) for _ in range(10)), return_exceptions=True)
    assert len(server.requests) == 2
    assert [isinstance(result, errors.ServerError) for result in results] == [True] + [False] * 9


async def test_when_the_first_is_cancelled_one_of_those_who_wait_asks_next() -> None:
    async with cached("hang", "ok") as (provider, server, _):
        first = asyncio.create_task(ask(provider))
        while not server.requests:
            await asyncio.sleep(0.01)
        others = [asyncio.create_task(ask(provider)) for _ in range(10)]
        await asyncio.sleep(0.02)
        first.cancel()
        async with asyncio.timeout(2.0):
            completions = await asyncio.gather(*others)
    assert len(server.requests) == 2
    assert sum(completion.is_cached for completion in completions) == 9


async def test_one_who_waits_and_is_cancelled_disturbs_nobody() -> None:
    async with cached(after(0.1)) as (provider, server, _):
        first, second, third = (asyncio.create_task(ask(provider)) for _ in range(3))
        await asyncio.sleep(0.02)
        second.cancel()
        assert (await first).text == (await third).text == TEXT
    assert len(server.requests) == 1


async def test_one_who_waits_does_so_until_its_own_deadline() -> None:
    async with cached("hang") as (provider, server, _):
        first = asyncio.create_task(ask(provider))
        while not server.requests:
            await asyncio.sleep(0.01)
        with pytest.raises(errors.ProviderTimeoutError, match="the same call") as caught:
            await ask(provider, deadline_s=0.1)
        first.cancel()
    assert not caught.value.was_sent


async def test_no_flight_is_left_behind() -> None:
    async with cached("500", "ok", "429") as (provider, _, store):
        calls = [ask(provider, Prompt("p", str(n % 4))) for n in range(40)]
        await asyncio.gather(*calls, return_exceptions=True)
        assert store.flights._under_way == {}
