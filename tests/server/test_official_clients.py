"""The official clients of OpenAI and Anthropic, against the server over real HTTP."""

import pytest
from anthropic import AsyncAnthropic
from anthropic import NotFoundError as AnthropicNotFound
from openai import AsyncOpenAI, AuthenticationError, NotFoundError

from server.conftest import MODELS, Running

pytestmark = pytest.mark.anyio

ASKED = [{"role": "user", "content": "What is 2 + 2?"}]


def openai_of(server: Running, token: str | None = None) -> AsyncOpenAI:
    key = token or server.caller["authorization"].removeprefix("Bearer ")
    return AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key=key, max_retries=0)


def anthropic_of(server: Running) -> AsyncAnthropic:
    key = server.caller["authorization"].removeprefix("Bearer ")
    return AsyncAnthropic(base_url=server.base_url, api_key=key, max_retries=0)


async def test_openai_lists_and_asks_and_streams(server: Running) -> None:
    async with openai_of(server) as client:
        assert [model.id async for model in client.models.list()] == list(MODELS)
        whole = await client.chat.completions.create(model=MODELS[1], messages=ASKED, seed=1)
        stream = await client.chat.completions.create(
            model=MODELS[1], messages=ASKED, seed=1, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage


async def test_openai_responses_are_answered_and_streamed(server: Running) -> None:
    async with openai_of(server) as client:
        whole = await client.responses.create(model=MODELS[1], input="What is 2 + 2?")
        async with client.responses.stream(model=MODELS[1], input="What is 2 + 2?") as stream:
            kinds = [event.type async for event in stream]
            final = await stream.get_final_response()
    assert whole.status == "completed"
    assert final.output_text == whole.output_text != ""
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"


async def test_anthropic_asks_and_streams(server: Running) -> None:
    async with anthropic_of(server) as client:
        whole = await client.messages.create(model=MODELS[1], max_tokens=200, messages=ASKED)
        async with client.messages.stream(model=MODELS[1], max_tokens=200, messages=ASKED) as stream:
            text = "".join([piece async for piece in stream.text_stream])
            final = await stream.get_final_message()
    assert (whole.stop_reason, whole.content[0].text) == ("end_turn", text)
    assert final.usage.output_tokens == whole.usage.output_tokens > 0


async def test_errors_are_the_clients_own_types(server: Running) -> None:
    async with openai_of(server) as client:
        with pytest.raises(NotFoundError, match="there is no model"):
            await client.chat.completions.create(model="none/none", messages=ASKED)
    async with openai_of(server, token="wrong") as client:
        with pytest.raises(AuthenticationError):
            await client.models.list()
    async with anthropic_of(server) as client:
        with pytest.raises(AnthropicNotFound):
            await client.messages.create(model="none/none", max_tokens=9, messages=ASKED)
