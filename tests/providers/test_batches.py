"""Batches handed in and collected over real HTTP, in OpenAI's protocol and in Anthropic's."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from batch_server import Answer, BatchServer, Line, chat, chat_line, message, message_line
from workbench.errors import (
    AuthError,
    BadResponseError,
    ConfigError,
    EmptyCompletionError,
    ModelNotFoundError,
    ProviderError,
    ProviderTimeoutError,
    RateLimitError,
    RequestError,
    ServerError,
)
from workbench.providers.batch_api import BatchApi, BatchItem, Result
from workbench.providers.batches import batches
from workbench.settings import Secret
from workbench.types import Completion, Decoding, Prompt

pytestmark = pytest.mark.anyio

KEY = Secret("canary-7f3a9c51e0")
ITEMS = {f"t-{n}": BatchItem(f"t-{n}", Prompt(f"p{n}", f"What is {n}?"), Decoding()) for n in range(3)}


@asynccontextmanager
async def api_of(server: BatchServer, name: str = "openai") -> AsyncIterator[BatchApi]:
    async with server.serving() as url:
        api = batches(name, base_url=url, key=KEY)
        try:
            yield api
        finally:
            await api.aclose()


async def results_of(server: BatchServer, name: str = "openai") -> dict[str, Result]:
    """What comes of `ITEMS`, handed in and collected."""
    async with api_of(server, name) as api:
        lines = [api.line("gpt-x", item) for item in ITEMS.values()]
        job_id = await api.submit("gpt-x", lines, token="t")
        while not await api.has_ended(job_id):
            pass
        found = [pair async for pair in api.results(job_id, "gpt-x", ITEMS)]
    assert len(found) == len(dict(found))
    return dict(found)


def echo(custom_id: str, body: dict[str, object]) -> Line:
    return chat_line(custom_id, chat(json.dumps(body)))


def said(custom_id: str, params: dict[str, object]) -> Line:
    return message_line(custom_id, {"type": "succeeded", "message": message(json.dumps(params))})


@pytest.mark.parametrize(("name", "answer"), [("openai", echo), ("anthropic", said)])
async def test_each_answer_comes_back_to_its_prompt_whatever_the_order(name: str, answer: Answer) -> None:
    server = BatchServer(answer=answer, polls_to_end=3)
    found = await results_of(server, name)
    assert list(found) == ["t-2", "t-1", "t-0"]
    for custom_id, result in found.items():
        assert isinstance(result, Completion)
        asked = json.loads(result.text)
        assert asked["messages"][-1]["content"] == ITEMS[custom_id].prompt.text
        assert (asked["model"], result.model, result.provider) == ("gpt-x", "gpt-x", name)
        assert (result.usage.input_tokens, result.usage.output_tokens) == (100, 10)
    assert server.n_polls >= 3
    assert server.keys == {"Bearer canary-7f3a9c51e0" if name == "openai" else "canary-7f3a9c51e0"}


def openai_error(code: str) -> dict[str, object]:
    return {"custom_id": "t-1", "response": None, "error": {"code": code, "message": "no"}}


OPENAI_LINES: dict[str, tuple[Line | None, type[ProviderError]]] = {
    "refused": (chat_line("t-1", {"error": {"message": "bad"}}, status=400), RequestError),
    "limited": (chat_line("t-1", {"error": {"message": "slow"}}, status=429), RateLimitError),
    "failed": (chat_line("t-1", {"error": {"message": "canary-7f3a9c51e0"}}, status=500), ServerError),
    "error in 200": (chat_line("t-1", {"error": {"message": "x", "code": 503}}), ServerError),
    "expired": (openai_error("batch_expired"), ProviderTimeoutError),
    "cancelled": (openai_error("batch_cancelled"), ServerError),
    "timeout": (openai_error("request_timeout"), ProviderTimeoutError),
    "empty": (chat_line("t-1", chat("")), EmptyCompletionError),
    "no body": ({"custom_id": "t-1", "response": {"status_code": 200}}, BadResponseError),
    "malformed": (b'{"custom_id": "t-1", "resp', BadResponseError),
    "not text": (b'{"custom_id": "t-1", "x": "\xff"}', BadResponseError),
    "missing": (None, BadResponseError),
}


@pytest.mark.parametrize("case", OPENAI_LINES)
async def test_an_item_that_fails_is_one_error_and_leaves_its_neighbours(case: str) -> None:
    line, kind = OPENAI_LINES[case]
    server = BatchServer(answer=lambda name, _: line if name == "t-1" else chat_line(name, chat()))
    found = await results_of(server)
    assert type(found["t-1"]) is kind
    assert "canary" not in str(found["t-1"])
    assert isinstance(found["t-0"], Completion)
    assert isinstance(found["t-2"], Completion)


ANTHROPIC_RESULTS: dict[str, tuple[dict[str, object], type[ProviderError]]] = {
    "refused": (
        {
            "type": "errored",
            "error": {"type": "error", "error": {"type": "invalid_request_error", "message": "x"}},
        },
        RequestError,
    ),
    "overloaded": (
        {
            "type": "errored",
            "error": {"type": "error", "error": {"type": "overloaded_error", "message": "x"}},
        },
        ServerError,
    ),
    "expired": ({"type": "expired"}, ProviderTimeoutError),
    "canceled": ({"type": "canceled"}, ServerError),
    "unknown": ({"type": "surprise"}, BadResponseError),
    "no message": ({"type": "succeeded"}, BadResponseError),
}


@pytest.mark.parametrize("case", ANTHROPIC_RESULTS)
async def test_a_message_that_fails_is_one_error_and_leaves_its_neighbours(case: str) -> None:
    result, kind = ANTHROPIC_RESULTS[case]
    fine = {"type": "succeeded", "message": message()}
    server = BatchServer(answer=lambda name, _: message_line(name, result if name == "t-1" else fine))
    found = await results_of(server, "anthropic")
    assert type(found["t-1"]) is kind
    assert isinstance(found["t-0"], Completion)


@pytest.mark.parametrize(
    ("status", "kind", "what"),
    [
        ("expired", ProviderTimeoutError, "expired after 24h"),
        ("failed", RequestError, "line 1 is no request"),
        ("cancelled", RequestError, "its batch is cancelled"),
    ],
)
async def test_a_batch_that_ends_badly_is_an_error_for_each_call_without_an_answer(
    status: str, kind: type[ProviderError], what: str
) -> None:
    has_answer = status == "expired"
    server = BatchServer(
        answer=lambda name, _: chat_line(name, chat()) if name == "t-0" else None, status=status
    )
    found = await results_of(server)
    assert isinstance(found["t-0"], Completion) == has_answer
    assert type(found["t-1"]) is kind
    assert what in str(found["t-1"])


async def test_a_batch_is_found_again_by_our_name_of_it() -> None:
    async with api_of(BatchServer(answer=echo)) as api:
        lines = [api.line("gpt-x", ITEMS["t-0"])]
        await api.submit("gpt-x", lines, token="first")
        second = await api.submit("gpt-x", lines, token="second")
        assert await api.find("second") == second
        assert await api.find("third") is None


@pytest.mark.parametrize(("status", "kind"), [(401, AuthError), (429, RateLimitError), (503, ServerError)])
async def test_a_refused_batch_is_a_typed_error(status: int, kind: type[ProviderError]) -> None:
    server = BatchServer(answer=echo)
    server.failures = [status]
    async with api_of(server) as api:
        with pytest.raises(kind):
            await api.submit("gpt-x", [api.line("gpt-x", ITEMS["t-0"])], token="t")


async def test_a_batch_that_is_gone_is_an_error() -> None:
    async with api_of(BatchServer(answer=echo)) as api:
        with pytest.raises(ModelNotFoundError):
            await api.has_ended("batch_9")


@pytest.mark.parametrize("name", ["simulator", "ollama"])
def test_a_provider_without_batches_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="takes no offline batches"):
        batches(name, base_url="http://127.0.0.1:1/v1", key=KEY)
