"""Vectors of texts: in order, counted, checked, and asked for as each protocol wants it."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from faults import BAD_BODIES, CANARY, FaultServer, Received, Script, error, response, whole
from wires import any_json, fixture
from workbench.errors import (
    AuthError,
    BadResponseError,
    ConfigError,
    ConnectError,
    ContextTooLongError,
    DataError,
    ModelNotFoundError,
    ProviderError,
    ProviderTimeoutError,
    RateLimitError,
    ServerError,
)
from workbench.providers import registry
from workbench.providers.chat_completions import ChatCompletionsWire
from workbench.providers.embeddings import Embedder, embedder_of
from workbench.providers.gemini import GeminiWire
from workbench.providers.ollama import OllamaWire
from workbench.providers.wire import HttpProvider, Wire
from workbench.settings import Secret
from workbench.types import Embeddings, Usage

pytestmark = pytest.mark.anyio

OPENAI, GEMINI, OLLAMA = ChatCompletionsWire(), GeminiWire(), OllamaWire()
VECTORS = ((0.0023064255, -0.009327292, 1.0), (0.5, -0.25, 0.0))
TEXTS = ("a cat", "ein Zürcher")


async def embed(
    wire: Wire,
    *scripts: str | Script,
    texts: Sequence[str] = TEXTS,
    model: str = "small",
    deadline_s: float = 5.0,
) -> tuple[Embeddings, list[Received]]:
    """The vectors, and the requests as they came."""
    async with FaultServer(*scripts) as server:
        embedder = embedder_of(HttpProvider("faulty", server.url, wire=wire, key=Secret(CANARY)))
        try:
            found = await embedder.embed(model, texts, deadline_s=deadline_s)
        finally:
            await embedder.aclose()
    return found, server.requests


def answer(*vectors: object, **changes: Any) -> Script:
    """An answer of OpenAI's protocol."""
    entries = [{"index": number, "embedding": vector} for number, vector in enumerate(vectors)]
    body = {"data": entries, "model": "small", "usage": {"prompt_tokens": 3}} | changes
    return whole(json.dumps(body).replace("Infinity", "1e999").encode())


async def error_of(script: str | Script, wire: Wire = OPENAI, **asked: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await embed(wire, script, **asked)
    return caught.value


@pytest.mark.parametrize(
    ("wire", "name", "path", "body", "served"),
    [
        (
            OPENAI,
            "openai",
            "embeddings",
            {"model": "small", "input": list(TEXTS), "encoding_format": "float"},
            "text-embedding-3-small",
        ),
        (
            GEMINI,
            "gemini",
            "models/small:batchEmbedContents",
            {
                "requests": [
                    {"model": "models/small", "content": {"parts": [{"text": text}]}} for text in TEXTS
                ]
            },
            "small",
        ),
        (
            OLLAMA,
            "ollama",
            "api/embed",
            {"model": "small", "input": list(TEXTS), "truncate": False},
            "all-minilm",
        ),
    ],
    ids=["openai", "gemini", "ollama"],
)
async def test_texts_become_vectors_in_their_order(
    wire: Wire, name: str, path: str, body: object, served: str
) -> None:
    found, requests = await embed(wire, whole(fixture(f"embeddings/{name}.json")))
    assert (found.vectors, found.usage, found.served_model) == (VECTORS, Usage(8, 0), served)
    assert (found.model, found.provider, found.cost_usd) == ("small", "faulty", None)
    assert requests[0].head.startswith(f"POST /v1/{path} HTTP/1.1\r\n")
    assert requests[0].body == body


@pytest.mark.parametrize(
    ("wire", "header", "expected"),
    [(OPENAI, "authorization", f"Bearer {CANARY}"), (GEMINI, "x-goog-api-key", CANARY)],
    ids=["openai", "gemini"],
)
async def test_the_key_travels_in_a_header(wire: Wire, header: str, expected: str) -> None:
    name = "openai" if wire is OPENAI else "gemini"
    _, requests = await embed(wire, whole(fixture(f"embeddings/{name}.json")))
    assert requests[0].header(header) == expected
    assert requests[0].head.count(CANARY) == 1


async def test_no_texts_are_no_request() -> None:
    found, requests = await embed(OPENAI, "500", texts=())
    assert (found.vectors, found.usage, requests) == ((), Usage(0, 0), [])


def test_it_is_an_embedder() -> None:
    assert isinstance(embedder_of(HttpProvider("faulty", "http://127.0.0.1:1", wire=OPENAI)), Embedder)


@pytest.mark.parametrize(
    ("texts", "sizes"),
    [
        (["a"] * 64, [64]),
        (["a"] * 65, [64, 1]),
        (["é" * 75_000] * 3, [2, 1]),
        (["a" * 400_000, "b", "c"], [1, 2]),
    ],
    ids=["one", "two", "by-bytes", "one-too-long"],
)
async def test_many_texts_go_out_in_batches(texts: list[str], sizes: list[int]) -> None:
    scripts = [answer(*([[float(number)]] * size)) for number, size in enumerate(sizes)]
    found, requests = await embed(OPENAI, *scripts, texts=texts)
    assert [len(request.body["input"]) for request in requests] == sizes
    assert [text for request in requests for text in request.body["input"]] == texts
    assert [vector[0] for vector in found.vectors] == [n for n, size in enumerate(sizes) for _ in range(size)]
    assert found.usage == Usage(3 * len(sizes), 0)


@pytest.mark.parametrize(
    "script",
    [
        answer(),
        answer([1.0]),
        answer([1.0], [1.0], [1.0]),
        answer(data=[{"index": 0, "embedding": [1.0]}] * 2),
        answer(data=[{"index": 1, "embedding": [1.0]}, {"index": 2, "embedding": [1.0]}]),
        answer([1.0], [1.0, 2.0]),
        answer([1.0], []),
        answer([1.0], None),
        answer([1.0], "AACAPw=="),
        answer([1.0], [float("inf")]),
        answer([1.0], [-float("inf")]),
        answer([1.0], [10**400]),
        answer([1.0], [float("nan")]),
        answer([1.0], ["1.0"]),
        answer([1.0], [True]),
        answer([1.0], [None]),
        answer([1.0], [[1.0]]),
    ],
    ids=[
        "none", "one-less", "one-more", "same-number", "wrong-numbers", "lengths", "empty", "null", "base64",
        "infinite", "minus-infinite", "too-large", "nan", "text", "boolean", "null-number", "nested",
    ],
)  # fmt: skip
async def test_vectors_that_are_none_are_a_bad_response(script: Script) -> None:
    found = await error_of(script)
    assert type(found) is BadResponseError
    assert found.retryable


@pytest.mark.parametrize("usage", [..., {}, {"prompt_tokens": -1}, {"prompt_tokens": 10**9}])
async def test_no_usage_is_estimated_from_above(usage: object) -> None:
    script = answer([1.0], [2.0], **({"usage": usage} if usage is not ... else {"usage": None}))
    found, _ = await embed(OPENAI, script)
    assert found.usage.is_estimated
    assert len("".join(TEXTS).encode()) <= found.usage.input_tokens < 100


@pytest.mark.parametrize(
    ("script", "kind", "retryable"),
    [
        ("401-echo-key", AuthError, False),
        ("404", ModelNotFoundError, False),
        ("400-context", ContextTooLongError, False),
        ("429", RateLimitError, True),
        ("503", ServerError, True),
        ("error-in-200", ServerError, True),
        ("reset", ConnectError, True),
    ],
)
async def test_an_error_has_its_class_and_no_key(
    script: str, kind: type[ProviderError], retryable: bool
) -> None:
    found = await error_of(script)
    assert (type(found), found.retryable) == (kind, retryable)
    assert CANARY not in str(found)


@pytest.mark.parametrize("script", BAD_BODIES)
async def test_a_body_of_something_else_is_typed(script: str) -> None:
    assert isinstance(await error_of(script), BadResponseError | ConnectError)


async def test_all_batches_end_by_one_deadline() -> None:
    def slow() -> list[bytes | float]:
        return [0.15, response(json.dumps({"data": [{"index": 0, "embedding": [1.0]}]}).encode())]

    with pytest.raises(ProviderTimeoutError):
        await embed(OPENAI, slow, texts=["a" * 300_000] * 3, deadline_s=0.2)


async def test_an_error_of_a_later_batch_is_the_whole_call_s() -> None:
    with pytest.raises(ServerError):
        await embed(OPENAI, answer(*([[1.0]] * 64)), error("500 No"), texts=["a"] * 65)


@pytest.mark.parametrize("model", ["a/b", "..", "a%2fb", "a?b", "a\r\nb"])
async def test_a_model_that_is_no_name_is_not_put_in_a_path(model: str) -> None:
    with pytest.raises(ConfigError):
        await embed(GEMINI, "ok", model=model)


async def test_half_of_a_surrogate_pair_is_not_sent() -> None:
    with pytest.raises(DataError, match="half of a surrogate pair"):
        await embed(OPENAI, "ok", texts=["a", "\ud83d"])


async def test_the_registry_knows_who_embeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
    with pytest.raises(ConfigError, match="anthropic offers no embeddings"):
        registry.embedder("anthropic")
    async with FaultServer(whole(fixture("embeddings/ollama.json"))) as server:
        embedder = registry.embedder("ollama", base_url=server.url)
        found = await embedder.embed("all-minilm", TEXTS, deadline_s=5.0)
        await embedder.aclose()
    assert (found.vectors, embedder.name) == (VECTORS, "ollama")


async def test_a_server_without_a_row_embeds_too() -> None:
    async with FaultServer(whole(fixture("embeddings/openai.json"))) as server:
        embedder = registry.embedder("mine", base_url=server.url)
        found = await embedder.embed("e5", TEXTS, deadline_s=5.0)
        await embedder.aclose()
    assert (found.vectors, found.provider) == (VECTORS, "mine")


@given(value=any_json("data", "index", "embedding", "usage", "prompt_tokens", "error", "model"))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_json_at_all_is_vectors_or_a_typed_error(value: object) -> None:
    with pytest.raises(ProviderError):
        await embed(OPENAI, whole(json.dumps(value).encode()))
