"""OpenAI's Responses protocol: what is asked, and what only it says."""

import json
from typing import Any

import pytest

from dialects import DIALECTS, TEXT
from faults import CANARY, Script, whole
from wires import CITY, LINKED, PNG, SCHEMA, ask, conversation, everything, read_stream
from workbench.errors import (
    BadResponseError,
    ConfigError,
    DataError,
    EmptyCompletionError,
    RateLimitError,
    StreamTruncatedError,
)
from workbench.providers.responses import ResponsesWire
from workbench.settings import Secret
from workbench.types import Decoding, Message, Prompt, ToolCall

pytestmark = pytest.mark.anyio

WIRE = ResponsesWire()
DIALECT = next(one for one in DIALECTS if one.name == "responses")
DATA_URL = "data:image/png;base64,cG5n"


def answered(**changes: Any) -> Script:
    """The good answer with fields changed."""
    return whole(json.dumps(DIALECT.body("answer") | changes).encode())


def said(*content: dict[str, Any], **changes: Any) -> Script:
    """An answer whose message has these parts."""
    return answered(output=[{"type": "message", "role": "assistant", "content": content}], **changes)


def event(kind: str, **fields: Any) -> bytes:
    return f"data: {json.dumps({'type': kind, **fields})}\n\n".encode()


def edited(old: bytes, new: bytes) -> Script:
    """The good stream with some bytes changed."""
    return DIALECT.streamed(*(one.replace(old, new) for one in DIALECT.events("stream")))


async def test_a_request_says_all_that_was_asked() -> None:
    decoding = everything(stop=(), top_logprobs=2, reasoning_effort="low")
    _, received = await ask(WIRE, answered(), prompt=conversation("Weather?", PNG, LINKED), decoding=decoding)
    function: dict[str, Any] = {"type": "function", "strict": False}
    assert received.body == {
        "model": "small",
        "instructions": "Be brief.",
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "Weather?"},
                    {"type": "input_image", "image_url": DATA_URL, "detail": "auto"},
                    {"type": "input_image", "image_url": "https://a.example/b.jpg", "detail": "auto"},
                ],
            },
            {"role": "assistant", "content": "Let me look."},
            {
                "type": "function_call",
                "call_id": "call_a",
                "name": "weather",
                "arguments": '{"city": "Zürich"}',
            },
            {"type": "function_call", "call_id": "call_b", "name": "clock", "arguments": ""},
            {"type": "function_call_output", "call_id": "call_a", "output": "rain"},
            {"type": "function_call_output", "call_id": "call_b", "output": "12:00"},
            {"role": "user", "content": "And now?"},
        ],
        "max_output_tokens": 2000,
        "temperature": 0.5,
        "top_p": 0.9,
        "tools": [
            function
            | {"name": "weather", "description": "The weather in a city", "parameters": json.loads(CITY)},
            function
            | {"name": "clock", "description": "", "parameters": {"type": "object", "properties": {}}},
        ],
        "tool_choice": "required",
        "text": {
            "format": {"type": "json_schema", "name": "answer", "schema": json.loads(SCHEMA), "strict": True}
        },
        "reasoning": {"effort": "low"},
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 2,
        "store": False,
    }


async def test_what_was_not_asked_is_left_to_the_provider() -> None:
    _, received = await ask(
        WIRE, answered(), prompt=Prompt("p1", "2 + 2?"), decoding=Decoding(temperature=None)
    )
    assert set(received.body) == {"model", "input", "max_output_tokens", "store"}


async def test_one_tool_is_asked_for_by_its_name() -> None:
    _, received = await ask(WIRE, answered(), decoding=everything(stop=(), tool_choice="clock"))
    assert received.body["tool_choice"] == {"type": "function", "name": "clock"}


async def test_a_call_without_words_is_no_message() -> None:
    called = Message("assistant", "", tool_calls=(ToolCall("c", "clock", "{}"),))
    prompt = Prompt("p1", "", history=(called, Message("tool", "12:00", tool_call_id="c")))
    _, received = await ask(WIRE, answered(), prompt=prompt)
    assert [item.get("type") for item in received.body["input"]] == ["function_call", "function_call_output"]


@pytest.mark.parametrize(
    ("decoding", "words"),
    [
        (Decoding(stop=("END",)), "no stop sequences"),
        (Decoding(json_schema="{"), "the schema of the answer is not JSON"),
        (Decoding(json_schema="[]"), "an array where an object belongs"),
    ],
    ids=["stop", "broken-schema", "list-schema"],
)
async def test_what_cannot_be_asked_is_refused(decoding: Decoding, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        await ask(WIRE, answered(), decoding=decoding)


@pytest.mark.parametrize(
    "message", [Message("assistant", "", (PNG,)), Message("tool", "12:00")], ids=["image", "result"]
)
async def test_what_cannot_be_said_is_refused(message: Message) -> None:
    with pytest.raises(DataError, match="prompt 'p1'"):
        await ask(WIRE, answered(), prompt=Prompt("p1", "And?", history=(message,)))


async def test_thoughts_are_kept_apart_from_the_answer() -> None:
    completion, _ = await ask(WIRE, answered())
    _, streamed, _ = await read_stream(WIRE, DIALECT.streamed(*DIALECT.events("stream")))
    assert streamed.reasoning == completion.reasoning == "Two and two.\n\nThat is four."
    assert (streamed.usage.cached_input_tokens, streamed.usage.reasoning_tokens) == (8, 4)


@pytest.mark.parametrize(
    ("reason", "known"),
    [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("banana", "other")],
)
async def test_why_an_answer_is_incomplete_is_kept_raw_and_sorted(reason: str, known: str) -> None:
    completion, _ = await ask(WIRE, answered(status="incomplete", incomplete_details={"reason": reason}))
    assert (completion.finish_reason, completion.raw_finish_reason) == (known, reason)


async def test_an_incomplete_stream_has_its_reason() -> None:
    end = DIALECT.body("answer") | {
        "status": "incomplete",
        "incomplete_details": {"reason": "content_filter"},
    }
    events = [*DIALECT.events("stream")[:-1], event("response.incomplete", response=end)]
    _, completion, _ = await read_stream(WIRE, DIALECT.streamed(*events))
    assert (completion.text, completion.finish_reason) == (TEXT, "content_filter")


@pytest.mark.parametrize("status", ["in_progress", "queued", "cancelled", None, 3])
async def test_an_answer_that_is_not_finished_is_none(status: object) -> None:
    with pytest.raises(BadResponseError, match="no finish reason"):
        await ask(WIRE, answered(status=status))
    end = event("response.completed", response=DIALECT.body("answer") | {"status": status})
    with pytest.raises(StreamTruncatedError):
        await read_stream(WIRE, DIALECT.streamed(*DIALECT.events("stream")[:-1], end))


async def test_a_refusal_is_a_filtered_answer() -> None:
    completion, _ = await ask(WIRE, said({"type": "refusal", "refusal": "I may not."}))
    assert (completion.text, completion.finish_reason) == ("I may not.", "content_filter")
    events = [event("response.refusal.delta", delta="I may "), event("response.refusal.delta", delta="not.")]
    end = event("response.completed", response=DIALECT.body("answer") | {"output": []})
    _, streamed, _ = await read_stream(WIRE, DIALECT.streamed(*events, end))
    assert (streamed.text, streamed.finish_reason) == ("I may not.", "content_filter")


@pytest.mark.parametrize("output", [[], [{"type": "web_search_call", "id": "ws_1"}], None, ["text"]], ids=str)
async def test_output_without_an_answer_is_empty(output: object) -> None:
    with pytest.raises(EmptyCompletionError):
        await ask(WIRE, answered(output=output))


async def test_an_event_that_comes_twice_is_taken_once() -> None:
    events = DIALECT.events("stream")
    script = DIALECT.streamed(*(one for event in events for one in (event, event)))
    _, completion, _ = await read_stream(WIRE, script)
    assert completion.text == TEXT


async def test_events_without_numbers_are_all_taken() -> None:
    bare = [json.loads(one.partition(b"data: ")[2]) for one in DIALECT.events("stream")]
    events = [event(one.pop("type"), **one | {"sequence_number": 0}) for one in bare]
    _, completion, _ = await read_stream(WIRE, DIALECT.streamed(*events))
    assert completion.text == TEXT


@pytest.mark.parametrize("lost", ["The answer", "naïve"])
async def test_a_stream_that_lost_a_piece_is_no_answer(lost: str) -> None:
    events = [
        one
        for one in DIALECT.events("stream")
        if not (lost.encode() in one and b"response.output_text.delta" in one)
    ]
    with pytest.raises(BadResponseError, match="not its answer"):
        await read_stream(WIRE, DIALECT.streamed(*events))


async def test_a_tool_call_that_lost_a_piece_is_no_call() -> None:
    events = [one for one in DIALECT.events("tools") if b'"delta": " \\"Oslo' not in one]
    assert len(events) == len(DIALECT.events("tools")) - 1
    with pytest.raises(BadResponseError, match="not the call"):
        await read_stream(WIRE, DIALECT.streamed(*events))


async def test_a_stream_without_pieces_has_the_answer_of_its_end() -> None:
    for fixture in ("stream", "tools"):
        deltas, completion, _ = await read_stream(WIRE, DIALECT.streamed(DIALECT.events(fixture)[-1]))
        assert deltas
        assert completion.text or completion.tool_calls


async def test_a_character_cut_between_two_pieces_is_whole() -> None:
    pieces = [event("response.output_text.delta", delta=half) for half in ("\ud83d", "\ude00!")]
    output = [{"type": "message", "content": [{"type": "output_text", "text": "\U0001f600!"}]}]
    end = event("response.completed", response=DIALECT.body("answer") | {"output": output})
    _, completion, _ = await read_stream(WIRE, DIALECT.streamed(*pieces, end))
    assert completion.text == "\U0001f600!"


async def test_log_probabilities_are_read() -> None:
    top = [{"token": "4", "logprob": -0.1}, {"token": "5", "logprob": -3.0}]
    logprobs = [{"token": "4", "logprob": -0.1, "bytes": [52], "top_logprobs": top}, {"token": "?"}]
    completion, _ = await ask(WIRE, said({"type": "output_text", "text": "4", "logprobs": logprobs}))
    piece = event("response.output_text.delta", delta="4", logprobs=logprobs)
    end = event("response.completed", response=DIALECT.body("answer") | {"output": []})
    _, streamed, _ = await read_stream(WIRE, DIALECT.streamed(piece, end))
    assert streamed.logprobs == completion.logprobs
    assert [(one.token, one.logprob, one.top) for one in completion.logprobs] == [
        ("4", -0.1, (("4", -0.1), ("5", -3.0)))
    ]


async def test_tokens_that_spell_our_key_are_not_kept() -> None:
    logprobs = [{"token": letter, "logprob": -1.0} for letter in CANARY]
    part = {"type": "output_text", "text": f"It is {CANARY}", "logprobs": logprobs}
    completion, _ = await ask(WIRE, said(part), key=Secret(CANARY))
    assert (completion.text, completion.logprobs) == ("It is **********", ())


async def test_a_failure_in_a_stream_is_typed_by_its_code() -> None:
    failed = DIALECT.body("error") | {"error": {"code": "rate_limit_exceeded", "message": "slow down"}}
    with pytest.raises(RateLimitError, match="slow down"):
        await read_stream(WIRE, DIALECT.streamed(event("response.failed", response=failed)))


async def test_another_model_in_the_end_is_recorded() -> None:
    _, completion, _ = await read_stream(WIRE, edited(b"small-2026-11-01", b"other"))
    assert (completion.model, completion.served_model) == ("small", "other")


async def test_arguments_of_a_call_that_did_not_begin_are_refused() -> None:
    stray = event("response.function_call_arguments.delta", output_index=3, delta="{}")
    with pytest.raises(BadResponseError, match="did not begin"):
        await read_stream(WIRE, DIALECT.streamed(stray))
