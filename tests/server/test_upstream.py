"""What goes through the server to a provider and back: tools, vectors, failures, keys."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from openai import APIStatusError, AsyncOpenAI

from loopback import serving
from server.conftest import Running, running
from workbench.server.config import ProviderConfig, ServerConfig

pytestmark = pytest.mark.anyio

CANARY = "sk-canary-of-the-provider-0123456789"
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


async def upstream(request: web.Request) -> web.StreamResponse:
    """Calls a tool where it has one, in pieces where it is streamed; fails where it is told to."""
    body = await request.json()
    if body["model"] == "broken":
        return web.json_response(
            {"error": {"message": f"no, {request.headers.get('authorization')}"}}, status=500
        )
    call = {"index": 0, "id": "call-1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    if not body.get("stream"):
        call["function"]["arguments"] = "{}"
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
        return web.json_response({"id": "c", "model": "m", "choices": [choice], "usage": {}})
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    arguments = [{"index": 0, "function": {"arguments": piece}} for piece in ('{"a"', ": 1}")]
    deltas = [{"tool_calls": [one]} for one in (call, *arguments)]
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "tool_calls"})
    for choice in choices:
        await response.write(
            f"data: {json.dumps({'id': 'c', 'model': 'm', 'choices': [choice]})}\n\n".encode()
        )
    await response.write(b"data: [DONE]\n\n")
    return response


async def vectors(request: web.Request) -> web.StreamResponse:
    texts = (await request.json())["input"]
    data = [{"index": i, "embedding": [float(len(text)), 0.5]} for i, text in enumerate(texts)]
    return web.json_response(
        {"data": data, "model": "embed", "usage": {"prompt_tokens": 7, "total_tokens": 7}}
    )


@pytest.fixture
async def server(config: ServerConfig, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    monkeypatch.setenv("LAB_KEY", CANARY)
    routes = ("POST", "/v1/chat/completions", upstream), ("POST", "/v1/embeddings", vectors)
    async with serving(*routes) as url:
        lab = ProviderConfig(base_url=f"{url}/v1", key_var="LAB_KEY")
        models = ("lab/tools", "lab/broken", "lab/embed")
        changed = {"providers": {"lab": lab}, "models": models}
        async with running(config.model_copy(update=changed)) as found:
            yield found


def client_of(server: Running) -> AsyncOpenAI:
    key = server.caller["authorization"].removeprefix("Bearer ")
    return AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key=key, max_retries=0)


async def test_tool_calls_go_through_whole_and_in_pieces(server: Running) -> None:
    asked = {"model": "lab/tools", "messages": [{"role": "user", "content": "?"}], "tools": [TOOL]}
    async with client_of(server) as client:
        whole = await client.chat.completions.create(**asked)
        chunks = [chunk async for chunk in await client.chat.completions.create(**asked, stream=True)]
    [call] = whole.choices[0].message.tool_calls
    assert (whole.choices[0].finish_reason, call.function.name) == ("tool_calls", "weather")
    pieces = [chunk.choices[0].delta.tool_calls[0] for chunk in chunks if chunk.choices[0].delta.tool_calls]
    assert "".join(piece.function.arguments for piece in pieces) == '{"a": 1}'
    assert (pieces[0].id, pieces[0].function.name) == ("call-1", "weather")


async def test_vectors_come_in_order_and_as_the_official_client_packs_them(server: Running) -> None:
    async with client_of(server) as client:
        found = await client.embeddings.create(model="lab/embed", input=["a", "abc"])
        plain = await client.embeddings.create(model="lab/embed", input="ab", encoding_format="float")
    assert [one.embedding for one in found.data] == [[1.0, 0.5], [3.0, 0.5]]
    assert plain.data[0].embedding == [2.0, 0.5]
    assert found.usage.prompt_tokens == 7


async def test_a_failure_of_the_provider_is_told_without_what_it_wrote(
    server: Running, config: ServerConfig
) -> None:
    async with client_of(server) as client:
        with pytest.raises(APIStatusError) as caught:
            await client.chat.completions.create(
                model="lab/broken", messages=[{"role": "user", "content": "?"}]
            )
    assert caught.value.status_code == 502
    assert "canary" not in caught.value.response.text
    metrics = (await server.http.get("/metrics", headers=server.admin)).text
    assert 'error="ServerError"' in metrics
    assert CANARY not in metrics
    kept = [path.read_bytes() for path in Path(config.folder).iterdir() if path.is_file()]
    assert not any(CANARY.encode() in content for content in kept)
