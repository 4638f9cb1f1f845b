"""One conversation, and a server to hold it with: what the tests of every wire protocol share."""

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from faults import FaultServer, Received, Script, stream
from workbench.providers.wire import HttpProvider, Wire
from workbench.settings import Secret
from workbench.types import Completion, Decoding, Delta, Image, Message, Prompt, Tool, ToolCall

FIXTURES = Path(__file__).parent / "providers" / "fixtures"
PROMPT = Prompt("p1", "2 + 2?", system="Be brief.")
SHORT = Decoding(max_output_tokens=100)

CALLS = (ToolCall("call_a", "weather", '{"city": "Zürich"}'), ToolCall("call_b", "clock", ""))
RESULTS = (Message("tool", "rain", tool_call_id="call_a"), Message("tool", "12:00", tool_call_id="call_b"))
PNG = Image(b"png")
LINKED = Image(url="https://a.example/b.jpg", media_type="image/jpeg")
CITY = '{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}'
SCHEMA = (
    '{"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"], '
    '"additionalProperties": false}'
)
TOOLS = (Tool("weather", "The weather in a city", CITY), Tool("clock"))


def conversation(question: str, *images: Image) -> Prompt:
    """A question with images, two calls of tools, their results, and another question."""
    asked = Message("user", question, images)
    called = Message("assistant", "Let me look.", tool_calls=CALLS)
    return Prompt("p2", "And now?", system="Be brief.", history=(asked, called, *RESULTS))


def everything(**changes: Any) -> Decoding:
    """A decoding that asks for all there is, with fields changed."""
    asked: dict[str, Any] = {
        "max_output_tokens": 2000,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "stop": ("END",),
        "tools": TOOLS,
        "tool_choice": "required",
        "json_schema": SCHEMA,
    }
    return Decoding(**asked | changes)


def fixture(name: str) -> bytes:
    return (FIXTURES / name).read_bytes()


def changed(name: str, **changes: Any) -> bytes:
    """A fixture with fields changed, or left out by `...`."""
    body = json.loads(fixture(name)) | changes
    return json.dumps({key: value for key, value in body.items() if value is not ...}).encode()


async def ask(
    wire: Wire,
    script: Script,
    *,
    model: str = "small",
    prompt: Prompt = PROMPT,
    decoding: Decoding = SHORT,
    key: Secret | None = None,
) -> tuple[Completion, Received]:
    """The answer, and the request as it came."""
    async with FaultServer(script) as server:
        provider = HttpProvider("faulty", server.url, wire=wire, key=key)
        try:
            completion = await provider.complete(model, prompt, decoding, deadline_s=5.0)
        finally:
            await provider.aclose()
    return completion, server.requests[0]


async def read_stream(
    wire: Wire,
    script: Script,
    *,
    model: str = "small",
    prompt: Prompt = PROMPT,
    decoding: Decoding = SHORT,
) -> tuple[list[Delta], Completion, Received]:
    """The pieces of a stream, which must add up to its completion; that; and the request as it came."""
    async with FaultServer(script) as server:
        provider = HttpProvider("faulty", server.url, wire=wire)
        try:
            deltas = [d async for d in provider.stream(model, prompt, decoding, deadline_s=5.0)]
        finally:
            await provider.aclose()
    completion = deltas.pop().completion
    assert completion is not None
    assert "".join(one.text for one in deltas) == completion.text
    assert "".join(one.reasoning for one in deltas) == completion.reasoning
    assert calls_of(deltas) == list(completion.tool_calls)
    return deltas, completion, server.requests[0]


def calls_of(deltas: Iterable[Delta]) -> list[ToolCall]:
    """The tool calls that the pieces of a stream make up."""
    calls: dict[int, ToolCall] = {}
    for delta in filter(None, (one.tool_call for one in deltas)):
        known = calls.get(delta.index, ToolCall(delta.call_id, delta.name, ""))
        calls[delta.index] = ToolCall(known.call_id, known.name, known.arguments + delta.arguments)
    return [calls[index] for index in sorted(calls)]


def cut(body: bytes, cuts: Iterable[int]) -> Script:
    """A stream of these very bytes, in chunks that end where `cuts` say."""
    bounds = [0, *sorted(min(at, len(body)) for at in cuts), len(body)]
    return stream(*(body[start:end] for start, end in pairwise(bounds) if start < end))


ANY_CUTS = st.lists(st.integers(0, 5000), max_size=8)
"""Where a stream of a fixture may be cut."""


def any_json(*names: str) -> st.SearchStrategy[object]:
    """JSON of any shape, with objects whose fields have these names."""
    plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
    return st.recursive(
        plain,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(names), inner, max_size=4)
        ),
        max_leaves=12,
    )
