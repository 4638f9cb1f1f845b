"""What every store does, wherever it keeps its answers."""

import asyncio
from dataclasses import replace

import pytest

from calling import PROMPT, serving
from faults import TEXT
from workbench.cache import Source, Store, encode, key_of
from workbench.cache import entry as entries
from workbench.providers.cache import Cached
from workbench.providers.chat_completions import ChatCompletions
from workbench.types import Completion, Decoding, Prompt, Tool, Usage

pytestmark = pytest.mark.anyio

SOURCE = Source("one", "http://127.0.0.1/v1/chat/completions", "ChatCompletionsWire")
OTHER_CALLS = {
    "temperature": {"decoding": Decoding(temperature=0.5, seed=1)},
    "system": {"prompt": replace(PROMPT, system="Be brief.")},
    "tools": {"decoding": Decoding(tools=(Tool("add"),))},
    "model": {"model": "other"},
    "base-url": {"source": replace(SOURCE, url="http://127.0.0.2/v1/chat/completions")},
    "tenant": {"namespace": "a"},
    "another-tenant": {"namespace": "b"},
}
COMPLETION = Completion("4", "small", "small", "one", Usage(1, 1), latency_s=0.1, finish_reason="stop")


def key(**changes: object) -> str:
    call: dict = {"source": SOURCE, "model": "small", "prompt": PROMPT, "decoding": Decoding()} | changes
    return key_of(call.pop("source"), call.pop("model"), call.pop("prompt"), call.pop("decoding"), **call)


async def ask(store: Store, url: str, *, namespace: str = "") -> Completion:
    provider = Cached(ChatCompletions("one", url), store, namespace=namespace)
    try:
        return await provider.complete("small", PROMPT, Decoding(), deadline_s=5.0)
    finally:
        await provider.aclose()


async def test_what_was_put_comes_back_byte_by_byte(store: Store) -> None:
    content = bytes(range(256)) * 100 + b"\r\n"
    await store.put("a", content)
    assert (await store.get("a"), await store.get("b")) == (content, None)
    assert (store.statistics.n_stores, store.statistics.n_failures) == (1, 0)


async def test_what_is_put_again_is_replaced(store: Store) -> None:
    await store.put("a", b"1")
    await store.put("a", b"22")
    assert await store.get("a") == b"22"


async def test_what_was_deleted_is_gone(store: Store) -> None:
    await store.put("a", b"1")
    await store.delete("a")
    await store.delete("a")
    assert (await store.get("a"), store.statistics.n_failures) == (None, 0)


async def test_what_is_older_than_asked_for_is_forgotten(store: Store) -> None:
    await store.put("a", b"1")
    await asyncio.sleep(0.05)
    assert await store.get("a", max_age_s=60.0) == b"1"
    assert await store.get("a", max_age_s=0.04) is None
    assert await store.get("a") is None


async def test_a_store_that_was_closed_opens_again(store: Store) -> None:
    await store.put("a", b"1")
    await store.aclose()
    await store.aclose()
    assert await store.get("a") == b"1"


async def test_two_hundred_calls_at_once_each_get_their_own(store: Store) -> None:
    names = [str(number) for number in range(200)]
    await asyncio.gather(*(store.put(name, name.encode() * 50) for name in names))
    found = await asyncio.gather(*(store.get(name) for name in names))
    assert found == [name.encode() * 50 for name in names]


async def test_calls_that_differ_in_anything_share_no_entry(store: Store) -> None:
    await store.put(key(), b"the first")
    for name, changes in OTHER_CALLS.items():
        assert await store.get(key(**changes)) is None, name
        await store.put(key(**changes), name.encode())
    found = [await store.get(key(**changes)) for changes in ({}, *OTHER_CALLS.values())]
    assert found == [b"the first", *(name.encode() for name in OTHER_CALLS)]


async def test_a_tenant_never_gets_the_answer_of_another(store: Store) -> None:
    async with serving("ok") as [server]:
        answers = [await ask(store, server.url, namespace=name) for name in ("", "a", "b", "a")]
    assert [answer.is_cached for answer in answers] == [False, False, False, True]


def _with_checksum(kept: str, body: bytes) -> bytes:
    return entries._digest(kept, body) + body


POISONED = {
    "empty": lambda _: b"",
    "text": lambda _: b"The answer is 5.",
    "pickle": lambda _: b"cos\nsystem\n(S'touch unpickled'\ntR.",
    "torn": lambda kept: encode(kept, COMPLETION)[:-1],  # type: ignore[index]
    "of-another-call": lambda _: encode(key(namespace="a"), COMPLETION),
    "other-fields": lambda kept: _with_checksum(kept, b'{"answer": "5"}'),
    "fields-missing": lambda kept: _with_checksum(kept, b'{"text": "5"}'),
    "not-json": lambda kept: _with_checksum(kept, b"\x80\x04."),
}


@pytest.mark.parametrize("poison", POISONED.values(), ids=POISONED.keys())
async def test_a_poisoned_entry_is_deleted_and_the_model_is_asked(store: Store, poison, tmp_path) -> None:
    async with serving("ok") as [server]:
        provider = Cached(ChatCompletions("one", server.url), store)
        kept = provider._key("small", PROMPT, Decoding())
        assert kept is not None
        await store.put(kept, poison(kept))
        assert await provider.recall("small", PROMPT, Decoding()) is None
        assert await store.get(kept) is None
        answers = [await provider.complete("small", PROMPT, Decoding(), deadline_s=5.0) for _ in range(2)]
        await provider.aclose()
    assert [(answer.text, answer.is_cached) for answer in answers] == [(TEXT, False), (TEXT, True)]
    assert not (tmp_path / "unpickled").exists()


async def test_repeats_with_their_own_seeds_are_asked_one_by_one(store: Store) -> None:
    async with serving("ok") as [server]:
        provider = Cached(ChatCompletions("one", server.url), store)
        for seed in (0, 1, 2, 1, None, None):
            sampled = Decoding(temperature=1.0, seed=seed)
            await provider.complete("small", Prompt("p", "2 + 2?"), sampled, deadline_s=5.0)
        await provider.aclose()
    assert len(server.requests) == 5
