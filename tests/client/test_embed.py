"""Vectors through the client: in order, batched, paid for once, and held to what every call is held to."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from calling import QUICK
from loopback import serving as routes
from workbench import errors
from workbench.budget import Budget
from workbench.cache import DiskStore, MemoryStore, Statistics, Store
from workbench.catalog import Catalog, ModelSpec, Price, default_catalog
from workbench.client import Account, Client
from workbench.client.channel import AccountInUse
from workbench.client.embedding import embedding_account
from workbench.providers.anthropic import AnthropicWire
from workbench.providers.base import Provider
from workbench.providers.cache import Cached
from workbench.providers.chat_completions import ChatCompletions
from workbench.providers.gemini import GeminiWire
from workbench.providers.ollama import OllamaWire
from workbench.providers.recorder import Recorder
from workbench.providers.wire import HttpProvider

pytestmark = pytest.mark.anyio

MODEL = "one/embed-3"
PRICE = Price(2.0, 0.0, "made up for tests", date(2026, 11, 1))
CATALOG = Catalog([ModelSpec("one", "embed-3", PRICE), ModelSpec("one", "unpriced")])
TEXTS = ["a cat", "ein Zürcher", "", "x" * 1000]


def vector_of(text: str) -> list[float]:
    """What the server of these tests says of a text."""
    return [float(len(text)), len(text) / 3.0]


def counted(texts: Sequence[str]) -> int:
    """Tokens of `texts`: one a letter, and one a text."""
    return sum(len(text) + 1 for text in texts)


class Server:
    """An embedding server that says what `vector_of` does; the requests that `fails` names are refused."""

    def __init__(self, *, fails: Sequence[int] = (), status: int = 500) -> None:
        self.batches: list[list[str]] = []
        self.n_requests = 0
        self._fails, self._status = fails, status

    async def respond(self, request: web.Request) -> web.StreamResponse:
        self.n_requests += 1
        if self.n_requests in self._fails:
            return web.json_response({"error": {"message": "no"}}, status=self._status)
        texts = (await request.json())["input"]
        self.batches.append(texts)
        vectors = [{"index": number, "embedding": vector_of(text)} for number, text in enumerate(texts)]
        usage = {"prompt_tokens": counted(texts)}
        return web.json_response({"data": vectors[::-1], "model": "embed-3-2026", "usage": usage})


@asynccontextmanager
async def client_of(server: Server, **settings: Any) -> AsyncIterator[Client]:
    async with (
        routes(("POST", "/embeddings", server.respond)) as url,
        Client([ChatCompletions("one", url)], **{"catalog": CATALOG, "limits": QUICK, **settings}) as client,
    ):
        yield client


async def test_vectors_come_in_the_order_of_the_texts_and_are_paid_for() -> None:
    async with client_of(Server()) as client:
        found = await client.embed(MODEL, TEXTS)
    assert [list(vector) for vector in found.vectors] == [vector_of(text) for text in TEXTS]
    assert (found.provider, found.model, found.served_model) == ("one", "embed-3", "embed-3-2026")
    assert found.usage.input_tokens == counted(TEXTS)
    assert found.cost_usd == pytest.approx(counted(TEXTS) * 2.0 / 1e6)
    assert client.spent_usd == pytest.approx(found.cost_usd)


async def test_a_long_list_goes_out_in_requests_that_the_provider_takes() -> None:
    server, texts = Server(), [f"text {number}" for number in range(1000)]
    async with client_of(server) as client:
        found = await client.embed(MODEL, texts)
    assert [list(vector) for vector in found.vectors] == [vector_of(text) for text in texts]
    assert sorted(map(len, server.batches)) == [40, *[64] * 15]
    assert len(client.ledger) == 16
    assert found.usage.input_tokens == client.ledger.total.input_tokens == counted(texts)


async def test_a_text_that_comes_twice_is_sent_once() -> None:
    server = Server()
    async with client_of(server) as client:
        found = await client.embed(MODEL, ["a", "bb", "a"])
    assert [vector[0] for vector in found.vectors] == [1.0, 2.0, 1.0]
    assert server.batches == [["a", "bb"]]


async def test_no_texts_are_no_request_and_cost_nothing() -> None:
    server = Server()
    async with client_of(server) as client:
        found = await client.embed(MODEL, [])
    assert (found.vectors, found.cost_usd, server.n_requests) == ((), 0.0, 0)


async def test_a_failure_that_may_pass_is_tried_again() -> None:
    async with client_of(Server(fails=(1,), status=503)) as client:
        found = await client.embed(MODEL, TEXTS)
    assert len(found.vectors) == len(TEXTS)
    assert [attempt.error for attempt in client.ledger] == ["ServerError", None]


async def test_after_a_refusal_no_other_request_is_begun() -> None:
    server = Server(fails=range(1, 100), status=400)
    async with client_of(server) as client:
        with pytest.raises(errors.RequestError):
            await client.embed(MODEL, [f"text {number}" for number in range(64 * 50)])
    assert 1 <= server.n_requests <= 8
    assert client.spent_usd == 0.0


async def test_a_model_without_a_price_is_refused_under_a_budget() -> None:
    server = Server()
    async with client_of(server, budget=Budget(1.0)) as client:
        with pytest.raises(errors.ConfigError, match="one/unpriced has no price"):
            await client.embed("one/unpriced", TEXTS)
    assert server.n_requests == 0


async def test_a_budget_is_reserved_for_before_and_settled_after() -> None:
    budget = Budget(1.0)
    async with client_of(Server(), budget=budget) as client:
        found = await client.embed(MODEL, TEXTS)
    assert (budget.spent_usd, budget.reserved_usd) == (pytest.approx(found.cost_usd), 0.0)


async def test_what_the_budget_does_not_allow_is_not_sent() -> None:
    server = Server()
    async with client_of(server, budget=Budget(0.001)) as client:
        with pytest.raises(errors.BudgetError):
            await client.embed(MODEL, ["x" * 1000])
    assert server.n_requests == 0


def test_the_limits_of_an_account_hold_for_its_embedder() -> None:
    account = AccountInUse(Account(ChatCompletions("one", "http://127.0.0.1:1"), "key"), QUICK)
    embedder = embedding_account(account)
    assert embedder.rate is account.rate
    assert (embedder.alias, account.provider.name) == ("key", "one")


@pytest.mark.parametrize("is_on_disk", [False, True], ids=["memory", "disk"])
async def test_a_vector_that_is_kept_is_not_paid_for_again(is_on_disk: bool, tmp_path: Path) -> None:
    server = Server()
    store: Store = DiskStore(tmp_path) if is_on_disk else MemoryStore()
    async with client_of(server) as client:
        client.vectors = store
        first = await client.embed(MODEL, TEXTS)
        again = await client.embed(MODEL, ["new", *reversed(TEXTS)])
    await store.aclose()
    assert again.vectors[:0:-1] == first.vectors
    assert server.batches == [TEXTS, ["new"]]
    assert again.usage.input_tokens == counted(["new"])
    assert (store.statistics.n_hits, store.statistics.n_misses) == (len(TEXTS), len(TEXTS) + 1)
    assert store.statistics.saved_usd == pytest.approx(first.cost_usd, rel=0.01)


async def test_the_vectors_of_a_provider_with_a_cache_are_kept_there_by_its_rules() -> None:
    server, store, now = Server(), MemoryStore(clock=lambda: now[0]), [1000.0]

    async def embedded(namespace: str) -> Statistics:
        async with routes(("POST", "/embeddings", server.respond)) as url:
            inner = Recorder(ChatCompletions("one", url), catalog=CATALOG)
            cached = Cached(inner, store, ttl_s=60.0, namespace=namespace, catalog=CATALOG)
            async with Client([Recorder(cached, catalog=CATALOG)], catalog=CATALOG, limits=QUICK) as client:
                await client.embed(MODEL, TEXTS)
                return client.cache_statistics

    await embedded("mine")
    await embedded("yours")
    assert server.n_requests == 2, "what is another's is never given"
    now[0] += 61.0
    statistics = await embedded("mine")
    assert server.n_requests == 3, "what is too old is not"
    assert (statistics.n_hits, statistics.n_misses) == (0, 3 * len(TEXTS))


async def test_what_was_paid_for_before_a_failure_is_kept() -> None:
    texts = [f"text {number}" for number in range(64 * 3)]
    server = Server(fails=(2,), status=400)
    async with client_of(server, limits=replace(QUICK, concurrency=1)) as client:
        client.vectors = MemoryStore()
        with pytest.raises(errors.RequestError):
            await client.embed(MODEL, texts)
        n_paid = sum(map(len, server.batches))
        await client.embed(MODEL, texts)
    assert n_paid >= 64
    assert sum(map(len, server.batches)) == len(texts)


def gemini(request: dict[str, Any]) -> dict[str, Any]:
    texts = [one["content"]["parts"][0]["text"] for one in request["requests"]]
    return {"embeddings": [{"values": vector_of(text)} for text in texts]}


def ollama(request: dict[str, Any]) -> dict[str, Any]:
    return {"embeddings": [vector_of(text) for text in request["input"]], "prompt_eval_count": 9}


@pytest.mark.parametrize(
    ("wire", "path", "answer"),
    [
        (GeminiWire(), "/models/embed-3:batchEmbedContents", gemini),
        (OllamaWire(), "/api/embed", ollama),
    ],
    ids=["gemini", "ollama"],
)
async def test_other_protocols_embed_through_the_client_too(wire: Any, path: str, answer: Any) -> None:
    async def respond(request: web.Request) -> web.StreamResponse:
        return web.json_response(answer(json.loads(await request.text())))

    async with (
        routes(("POST", path, respond)) as url,
        Client([HttpProvider("one", url, wire=wire)], catalog=CATALOG, limits=QUICK) as client,
    ):
        found = await client.embed(MODEL, TEXTS)
    assert [list(vector) for vector in found.vectors] == [vector_of(text) for text in TEXTS]
    assert found.cost_usd is not None


@pytest.mark.parametrize(
    ("provider", "model_id", "what"),
    [
        (HttpProvider("one", "http://127.0.0.1:1", wire=AnthropicWire()), MODEL, "offers no embeddings"),
        (ChatCompletions("one", "http://127.0.0.1:1"), "one/embed-4", "no model"),
        (ChatCompletions("one", "http://127.0.0.1:1"), "two/embed-3", "not connected"),
    ],
    ids=["no-embeddings", "misspelt", "not-connected"],
)
async def test_what_cannot_be_asked_is_refused(provider: Provider, model_id: str, what: str) -> None:
    async with Client([provider], catalog=CATALOG) as client:
        with pytest.raises(errors.ConfigError, match=what):
            await client.embed(model_id, TEXTS)


async def test_vectors_of_several_lengths_are_no_answer() -> None:
    lengths = iter([1, 2])

    async def respond(request: web.Request) -> web.StreamResponse:
        texts, length = (await request.json())["input"], next(lengths)
        return web.json_response(
            {"data": [{"index": number, "embedding": [1.0] * length} for number, _ in enumerate(texts)]}
        )

    async with (
        routes(("POST", "/embeddings", respond)) as url,
        Client([ChatCompletions("one", url)], catalog=CATALOG, limits=QUICK) as client,
    ):
        with pytest.raises(errors.BadResponseError, match="one length"):
            await client.embed(MODEL, [f"text {number}" for number in range(65)])


def test_an_embedding_model_of_the_package_is_paid_by_what_it_reads() -> None:
    price = default_catalog()["openai/text-embedding-3-small"].price_on()
    assert price is not None
    assert price.bound_usd(1_000_000, 0) == pytest.approx(0.02)
