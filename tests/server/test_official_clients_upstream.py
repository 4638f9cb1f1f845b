"""The official Python clients, through the server to a model that calls tools, keeps to schemas, dawdles."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from pydantic import BaseModel

from loopback import serving
from server.conftest import Running, running
from server.upstreams import Upstream
from workbench.server.config import ProviderConfig, ServerConfig

pytestmark = pytest.mark.anyio

PICTURE = "iVBORw0KGgo="
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


class Prime(BaseModel):
    number: int
    is_prime: bool


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
def models_file(tmp_path: Path) -> Path:
    columns = "provider,model,date,input_usd_per_mtok,output_usd_per_mtok,source,checked,context_tokens"
    rows = [f"lab,{name},2026-01-01,1.0,2.0,made up,2026-01-01,32000" for name in ("tools", "slow")]
    (tmp_path / "models.csv").write_text("\n".join([columns, *rows]))
    return tmp_path / "models.csv"


@pytest.fixture
async def server(config: ServerConfig, upstream: Upstream, models_file: Path) -> AsyncIterator[Running]:
    async with serving(("POST", "/v1/chat/completions", upstream.answer)) as url:
        providers = {"lab": ProviderConfig(base_url=f"{url}/v1")}
        changed = {"providers": providers, "models": ("lab/tools", "lab/slow"), "models_file": models_file}
        async with running(config.model_copy(update=changed)) as found:
            yield found


def token_of(server: Running) -> str:
    return server.caller["authorization"].removeprefix("Bearer ")


def openai_of(server: Running, **settings: object) -> AsyncOpenAI:
    key = settings.pop("api_key", token_of(server))
    return AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key=key, **{"max_retries": 0} | settings)


async def test_openais_client_goes_round_a_tool_loop(server: Running) -> None:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
    turns = [{"role": "user", "content": "Which weather?"}]
    async with openai_of(server) as client:
        first = await client.chat.completions.create(model="lab/tools", messages=turns, tools=tools)
        message = first.choices[0].message
        turns += [message.model_dump(exclude_none=True),
                  {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}]  # fmt: skip
        last = await client.chat.completions.create(model="lab/tools", messages=turns, tools=tools)
    assert json.loads(message.tool_calls[0].function.arguments) == {"city": "Paris"}
    assert last.choices[0].message.content == "you said sunny"


async def test_openais_client_parses_answers_that_follow_a_schema(
    server: Running, upstream: Upstream
) -> None:
    asked = {"model": "lab/tools", "messages": [{"role": "user", "content": "A prime over 100?"}]}
    async with openai_of(server) as client:
        parsed = await client.chat.completions.parse(**asked, response_format=Prime)
        responded = await client.responses.parse(model="lab/tools", input="?", text_format=Prime)
        anything = await client.chat.completions.create(**asked, response_format={"type": "json_object"})
    assert parsed.choices[0].message.parsed == Prime(number=101, is_prime=True) == responded.output_parsed
    assert upstream.bodies[0]["response_format"]["json_schema"]["schema"]["required"] == [
        "number",
        "is_prime",
    ]
    assert json.loads(anything.choices[0].message.content) == {"any": "object"}
    assert upstream.bodies[2]["response_format"] == {"type": "json_object"}


async def test_pictures_go_to_the_provider_as_they_came_and_are_fetched_by_nobody(
    server: Running, upstream: Upstream
) -> None:
    urls = [f"data:image/png;base64,{PICTURE}", "https://pictures.invalid/cat.png"]
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    turns = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, *parts]}]
    async with openai_of(server) as client:
        await client.chat.completions.create(model="lab/tools", messages=turns)
    sent = upstream.bodies[0]["messages"][-1]["content"]
    assert [part["image_url"]["url"] for part in sent if part["type"] == "image_url"] == urls


async def test_anthropics_client_goes_round_a_tool_loop_whole_and_streamed(server: Running) -> None:
    tools = [{"name": "weather", "input_schema": WEATHER}]
    turns = [{"role": "user", "content": "Which weather?"}]
    asked = {"model": "lab/tools", "max_tokens": 99, "tools": tools}
    async with AsyncAnthropic(base_url=server.base_url, api_key=token_of(server), max_retries=0) as client:
        first = await client.messages.create(**asked, messages=turns)
        async with client.messages.stream(**asked, messages=turns) as stream:
            streamed = await stream.get_final_message()
        [use] = [block for block in first.content if block.type == "tool_use"]
        result = {"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}
        turns += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
        last = await client.messages.create(**asked, messages=turns)
    assert (first.stop_reason, use.name, use.input) == ("tool_use", "weather", {"city": "Paris"})
    assert [block.input for block in streamed.content if block.type == "tool_use"] == [use.input]
    assert last.content[0].text == "you said sunny"


async def test_a_cancelled_stream_ends_at_the_provider_within_a_second(
    server: Running, upstream: Upstream
) -> None:
    async with openai_of(server) as client:
        asked = {"model": "lab/slow", "messages": [{"role": "user", "content": "?"}], "stream": True}

        async def read() -> None:
            async for _ in await client.chat.completions.create(**asked):
                reading.set()

        reading = asyncio.Event()
        task = asyncio.create_task(read())
        await asyncio.wait_for(reading.wait(), 10)
        task.cancel()
        started_s = time.monotonic()
        await asyncio.wait_for(upstream.left.wait(), 5)
        assert time.monotonic() - started_s < 1.0
    await asyncio.sleep(0.6)
    [kept] = (await server.http.get("/admin/usage", headers=server.admin)).json()
    assert (kept["n_requests"], kept["n_errors"]) == (1, 1)
    n_bytes = len("word ") * upstream.n_words
    assert 0 < kept["cost_usd"] <= 100e-6 + (n_bytes + 200) * 2e-6


async def test_the_clients_wait_as_long_as_a_refusal_says(server: Running) -> None:
    limits = {"name": "slow", "requests_per_minute": 20}
    made = (await server.http.post("/admin/keys", json=limits, headers=server.admin)).json()
    turns = [{"role": "user", "content": "?"}]
    async with openai_of(server, api_key=made["token"], max_retries=2) as client:
        await asyncio.gather(
            *(client.chat.completions.create(model="lab/tools", messages=turns) for _ in range(20))
        )
        refused = await server.http.post(
            "/v1/chat/completions",
            json={"model": "lab/tools", "messages": turns},
            headers={"authorization": f"Bearer {made['token']}"},
        )
        started_s = time.monotonic()
        answered = await client.chat.completions.create(model="lab/tools", messages=turns)
        waited_s = time.monotonic() - started_s
    assert refused.status_code == 429
    told_s = int(refused.headers["retry-after"])  # of 3 s, less what the requests before took
    assert 1 <= told_s <= 3
    assert answered.choices[0].message.content == "you said ?"
    assert max(1.0, told_s - 1.0) <= waited_s < 8.0  # the client is refused later, and told a second less


async def test_the_clients_find_a_model_by_its_name(server: Running) -> None:
    async with openai_of(server, organization="org-x", project="proj-x") as client:
        found = await client.models.retrieve("lab/tools")
    assert (found.id, found.owned_by) == ("lab/tools", "lab")
    for path in ("/v1/models", "/v1/models/lab/tools"):
        head = await server.http.head(path, headers=server.caller)
        assert (head.status_code, head.content) == (200, b"")


async def test_the_callers_own_request_id_is_not_believed(server: Running) -> None:
    response = await server.ask(model="lab/tools", seed=1)
    named = await server.http.post(
        "/v1/chat/completions",
        json={"model": "lab/tools", "messages": [{"role": "user", "content": "?"}]},
        headers=server.caller | {"x-request-id": response.headers["x-request-id"]},
    )
    assert named.headers["x-request-id"] != response.headers["x-request-id"]


async def test_counting_tokens_is_not_served_and_says_so_in_anthropics_shape(server: Running) -> None:
    response = await server.http.post("/v1/messages/count_tokens", json={}, headers=server.caller)
    assert (response.status_code, response.json()["error"]["type"]) == (404, "not_found_error")
