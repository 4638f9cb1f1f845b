"""Five protocols against aimock, a server by others: https://github.com/CopilotKit/aimock."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dialects import DIALECTS, Dialect
from peers.servers import DECODING, KEY, PROMPTS, asked, free_port, installed, running
from wires import TOOLS
from workbench.errors import ProviderError, RateLimitError, ServerError, StreamTruncatedError
from workbench.providers.chat_completions import ChatCompletions
from workbench.providers.embeddings import embedder_of
from workbench.providers.ollama import OllamaWire
from workbench.providers.wire import HttpProvider
from workbench.settings import Secret
from workbench.types import Message, Prompt

pytestmark = pytest.mark.anyio

ROOTS = {"chat_completions": "/v1", "responses": "/v1", "anthropic": "/v1", "gemini": "/v1beta", "ollama": ""}
WEATHER = Prompt("weather", "What is the weather in Zürich?")
THOUGHT = Prompt("thought", "Think first: 2 + 2?")
LIMITED = Prompt("limited", "Refuse this as one too many.")
BROKEN = Prompt("broken", "Fail at this.")
CUT = Prompt("cut", "Break off in the middle.")
CALL = {"id": "call_a", "name": "weather", "arguments": {"city": "Zürich"}}

VECTOR = (0.25, -0.5, 0.125)


def answer_to(prompt: Prompt) -> str:
    return f"Naïve 🙂 reasoning about {prompt.prompt_id}.\nAnswer: {prompt.reference}"


def fixtures() -> dict[str, Any]:
    """What aimock is to say, in its own form: the first that matches is said."""
    usage = {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150}
    said = [
        ({"userMessage": p.text}, {"content": answer_to(p), "usage": usage, "id": p.prompt_id})
        for p in PROMPTS
    ]
    special = [
        ({"userMessage": WEATHER.text, "hasToolResult": True}, {"content": "It rains in Zürich."}),
        ({"userMessage": WEATHER.text}, {"toolCalls": [CALL]}),
        ({"userMessage": THOUGHT.text}, {"content": "4", "reasoning": "Two and two."}),
        ({"userMessage": BROKEN.text}, {"error": {"message": "overloaded"}, "status": 503}),
        (
            {"userMessage": LIMITED.text},
            {"error": {"message": "too many", "type": "rate_limit_error"}, "status": 429, "retryAfter": 7},
        ),
    ]
    listed = [{"match": match, "response": response} for match, response in (*said, *special)]
    vector = {"match": {"inputText": "vector of"}, "response": {"embedding": VECTOR}}
    # The pause lets the pieces out before the connection is dropped.
    cut = {
        "match": {"userMessage": CUT.text},
        "response": {"content": "word " * 50},
        "truncateAfterChunks": 8,
        "latency": 10,
    }
    return {"fixtures": [*listed, vector, cut]}


@pytest.fixture(scope="module")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    cli = installed(Path("aimock/node_modules/@copilotkit/aimock/dist/cli.js"))
    folder, port = tmp_path_factory.mktemp("aimock"), free_port()
    (folder / "fixtures.json").write_text(json.dumps(fixtures()))
    command = ["node", cli, "-p", str(port), "-f", folder / "fixtures.json", "--strict", "--validate-on-load"]
    log = folder / "log.txt"
    with running(command, port=port, health="/health", environment={}, log=log) as origin:
        yield origin


@pytest.fixture(params=DIALECTS, ids=[one.name for one in DIALECTS])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    one: Dialect = request.param
    return one


@pytest.fixture
async def provider(aimock: str, dialect: Dialect) -> AsyncIterator[HttpProvider]:
    url = aimock + ROOTS[dialect.name]
    provider = HttpProvider("peer", url, wire=dialect.wire, key=Secret(KEY))
    yield provider
    await provider.aclose()


async def test_every_prompt_is_answered_with_its_own_answer(
    provider: HttpProvider, is_streamed: bool
) -> None:
    for prompt in PROMPTS:
        completion = await asked(provider, "small", prompt, is_streamed=is_streamed)
        assert completion.text == answer_to(prompt)
        assert (completion.finish_reason, completion.served_model) == ("stop", "small")


async def test_tools_are_called_and_their_results_are_read(provider: HttpProvider, is_streamed: bool) -> None:
    decoding = replace(DECODING, tools=TOOLS[:1])
    first = await asked(provider, "small", WEATHER, is_streamed=is_streamed, decoding=decoding)
    (call,) = first.tool_calls
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Zürich"})
    # aimock ends Gemini's with FUNCTION_CALL, which Google's reference does not have.
    assert first.finish_reason == ("other" if first.raw_finish_reason == "FUNCTION_CALL" else "tool_calls")
    turns = (
        Message("user", WEATHER.text),
        Message("assistant", "", tool_calls=(call,)),
        Message("tool", "rain", tool_call_id=call.call_id),
    )
    second = Prompt("p2", "", history=turns)
    answer = await asked(provider, "small", second, is_streamed=is_streamed, decoding=decoding)
    assert answer.text == "It rains in Zürich."


async def test_a_refusal_is_typed(provider: HttpProvider, is_streamed: bool) -> None:
    for prompt, kind in ((LIMITED, RateLimitError), (BROKEN, ServerError)):
        with pytest.raises(ProviderError) as caught:
            await asked(provider, "small", prompt, is_streamed=is_streamed)
        assert type(caught.value) is kind
        assert caught.value.retryable


async def test_a_stream_that_breaks_off_is_truncated(provider: HttpProvider) -> None:
    with pytest.raises(ProviderError) as caught:
        await asked(provider, "small", CUT, is_streamed=True)
    assert type(caught.value) is StreamTruncatedError
    assert caught.value.partial_text.startswith("word ")


async def test_usage_is_what_the_server_counted(provider: HttpProvider, is_streamed: bool) -> None:
    completion = await asked(provider, "small", PROMPTS[0], is_streamed=is_streamed)
    usage = completion.usage
    if isinstance(provider.wire, OllamaWire):  # aimock says that Ollama counted nothing, which cannot be
        assert usage.is_estimated
        assert min(usage.input_tokens, usage.output_tokens) > 0
    else:
        assert (usage.input_tokens, usage.output_tokens, usage.is_estimated) == (120, 30, False)


async def test_thoughts_are_kept_apart(provider: HttpProvider, is_streamed: bool) -> None:
    completion = await asked(provider, "small", THOUGHT, is_streamed=is_streamed)
    # aimock does not show the thoughts of Ollama's models.
    thought = "" if isinstance(provider.wire, OllamaWire) else "Two and two."
    assert (completion.text, completion.reasoning) == ("4", thought)


async def test_texts_become_vectors(aimock: str) -> None:
    embedder = embedder_of(ChatCompletions("peer", f"{aimock}/v1", key=Secret(KEY)))
    texts = [f"vector of {number}" for number in range(20)]
    try:
        embeddings = await embedder.embed("small", texts, deadline_s=20.0)
    finally:
        await embedder.aclose()
    assert embeddings.vectors == (VECTOR,) * len(texts)
