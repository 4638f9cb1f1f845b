"""Anthropic's messages protocol: what is asked, and what is made of the answers."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faults import CANARY, TEXT, Script, event, response, stream, whole
from wires import (
    ANY_CUTS,
    LINKED,
    PNG,
    PROMPT,
    SHORT,
    any_json,
    ask,
    changed,
    conversation,
    cut,
    everything,
    fixture,
    read_stream,
)
from workbench.errors import (
    AuthError,
    BadResponseError,
    ConfigError,
    ContextTooLongError,
    DataError,
    EmptyCompletionError,
    ModelNotFoundError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
    RequestError,
    ServerError,
    StreamTruncatedError,
    TooLargeError,
)
from workbench.providers.anthropic import AnthropicWire
from workbench.settings import Secret
from workbench.types import ANY_OBJECT, Decoding, Message, Prompt, ToolCall, Usage

pytestmark = pytest.mark.anyio

WIRE = AnthropicWire()
WHOLE = fixture("anthropic/message.json")
STREAM = fixture("anthropic/stream.sse")
EVENTS = STREAM.replace(b"\n\n", b"\n\n\0").split(b"\0")[:-1]
CALLS = (
    ToolCall("toolu_01T1x1fJ34qAmk2tNTrN7Up6", "weather", '{"city": "Zürich"}'),
    ToolCall("toolu_02", "clock", "{}"),
)


def said(name: str, **fields: Any) -> bytes:
    """One event of a stream."""
    data = json.dumps({"type": name, **fields}, ensure_ascii=False)
    return f"event: {name}\ndata: {data}\n\n".encode()


def piece(text: str) -> bytes:
    return said("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


def end(reason: str = "end_turn", **usage: Any) -> bytes:
    return said("message_delta", delta={"stop_reason": reason}, usage=usage or {"output_tokens": 5})


START = said("message_start", message={"id": "m", "model": "small", "usage": {"input_tokens": 10}})
STOP = said("message_stop")


def failure(status: str, kind: str, text: str, **headers: str) -> Script:
    body = {"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_1"}
    return lambda: [response(json.dumps(body).encode(), status=status, **headers)]


async def sent(prompt: Prompt = PROMPT, *, model: str = "claude-haiku-4-5", **asked: Any) -> dict[str, Any]:
    """The body of the request."""
    decoding = Decoding(**{"max_output_tokens": 2000, **asked})
    _, received = await ask(WIRE, whole(WHOLE), prompt=prompt, model=model, decoding=decoding)
    return received.body


async def error_of(script: Script, *, is_streamed: bool = False) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await (read_stream(WIRE, script) if is_streamed else ask(WIRE, script))
    return caught.value


async def test_a_request_says_all_that_was_asked() -> None:
    prompt = conversation("Which cities are these?", PNG, LINKED)
    _, received = await ask(
        WIRE, whole(WHOLE), prompt=prompt, model="claude-haiku-4-5", decoding=everything()
    )
    assert received.body == json.loads(fixture("anthropic/request.json"))


async def test_the_key_and_the_version_travel_in_headers() -> None:
    _, received = await ask(WIRE, whole(WHOLE), key=Secret(CANARY))
    assert received.head.startswith("POST /v1/messages HTTP/1.1\r\n")
    assert received.header("x-api-key") == CANARY
    assert received.header("anthropic-version") == "2023-06-01"
    assert received.header("authorization") is None


async def test_what_was_not_asked_is_left_to_the_provider() -> None:
    body = await sent(Prompt("p", "Hi"), temperature=None)
    assert body == {
        "model": "claude-haiku-4-5",
        "max_tokens": 2000,
        "messages": [{"role": "user", "content": "Hi"}],
    }


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ("weather", {"type": "tool", "name": "weather"}),
    ],
)
async def test_a_tool_is_chosen(choice: str, expected: dict[str, str]) -> None:
    assert (await sent(tools=everything().tools, tool_choice=choice))["tool_choice"] == expected


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "output_config"),
    [
        ("claude-opus-4-8", "none", {"type": "disabled"}, None),
        ("claude-opus-4-8", "high", {"type": "adaptive", "display": "summarized"}, {"effort": "high"}),
        ("claude-sonnet-4-6", "low", {"type": "adaptive", "display": "summarized"}, {"effort": "low"}),
        ("claude-haiku-4-5", "low", {"type": "enabled", "budget_tokens": 1024}, None),
        ("claude-haiku-4-5", "high", {"type": "enabled", "budget_tokens": 1999}, None),
    ],
)
async def test_effort_is_asked_for_as_the_model_knows_it(
    model: str, effort: str, thinking: object, output_config: object
) -> None:
    body = await sent(model=model, reasoning_effort=effort)
    assert (body.get("thinking"), body.get("output_config")) == (thinking, output_config)


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [
        ("claude-haiku-4-5", None, 0.0),
        ("claude-3-5-haiku-20241022", None, 0.0),
        ("claude-haiku-4-5", "low", None),
        ("claude-opus-4-7", None, None),
        ("claude-sonnet-5", None, None),
        ("claude-haiku-5-5-20260901", None, None),
    ],
)
async def test_a_model_that_takes_no_temperature_is_sent_none(
    model: str, effort: str | None, expected: float | None
) -> None:
    assert (await sent(model=model, reasoning_effort=effort)).get("temperature") == expected


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ({"temperature": 0.7}, "samples as it does, always"),
        ({"top_p": 0.9}, "samples as it does"),
        ({"top_logprobs": 2}, "no log-probabilities"),
        ({"json_schema": "[]"}, "schema"),
        ({"json_schema": ANY_OBJECT}, "no JSON without a schema"),
    ],
)
async def test_what_cannot_be_had_is_refused_before_sending(asked: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        await sent(model="claude-opus-5", **asked)


async def test_an_older_model_needs_room_to_think() -> None:
    with pytest.raises(ConfigError, match="1024 tokens or more"):
        await sent(reasoning_effort="low", max_output_tokens=1024)


async def test_arguments_that_are_no_object_are_not_sent() -> None:
    wrong = Message("assistant", "", tool_calls=(ToolCall("c", "weather", '{"city'),))
    with pytest.raises(DataError, match="prompt 'p' has the arguments of the call 'c' of 'weather'"):
        await sent(Prompt("p", "Hi", history=(wrong,)))


async def test_a_message_is_read_whole() -> None:
    completion, _ = await ask(WIRE, whole(WHOLE))
    assert (completion.text, completion.reasoning) == (TEXT, "Two and two.")
    assert completion.served_model == "claude-haiku-4-5-20251001"
    assert (completion.finish_reason, completion.raw_finish_reason) == ("stop", "end_turn")
    assert completion.request_id == "msg_013Zva2CMHLNnXjNJJKqJ2EF"


async def test_tokens_from_and_for_a_cache_are_input() -> None:
    completion, _ = await ask(WIRE, whole(WHOLE))
    assert completion.usage == Usage(330, 25, 300, 15, cache_write_tokens=20)


async def test_calls_of_tools_are_read_whole() -> None:
    completion, _ = await ask(WIRE, whole(fixture("anthropic/tool_use.json")))
    assert completion.text == "Let me look."
    assert completion.finish_reason == "tool_calls"
    assert [(call.name, call.arguments) for call in completion.tool_calls] == [
        ("weather", '{"city": "Zürich"}'),
        ("clock", "{}"),
    ]


@pytest.mark.parametrize("said", [b"Let me look.", "Zürich".encode(), b"claude-haiku-4-5-20251001"])
async def test_a_key_that_comes_back_is_masked(said: bytes) -> None:
    echoed = fixture("anthropic/tool_use.json").replace(said, CANARY.encode())
    completion, _ = await ask(WIRE, whole(echoed), key=Secret(CANARY))
    assert CANARY not in repr(completion)


async def test_a_stream_adds_up_to_its_completion() -> None:
    _, completion, received = await read_stream(WIRE, stream(*EVENTS))
    assert received.body["stream"] is True
    assert (completion.text, completion.reasoning) == ("Let me look: 🌦", "Which city? Zürich.")
    assert completion.tool_calls == CALLS
    assert (completion.finish_reason, completion.raw_finish_reason) == ("tool_calls", "tool_use")
    assert completion.usage == Usage(472, 89, 400, 12)
    assert completion.first_token_s is not None


@given(cuts=ANY_CUTS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_stream_cut_anywhere_is_the_same(cuts: list[int]) -> None:
    _, completion, _ = await read_stream(WIRE, cut(STREAM, cuts))
    assert (completion.text, completion.reasoning) == ("Let me look: 🌦", "Which city? Zürich.")
    assert completion.tool_calls == CALLS


@given(n_bytes=st.integers(1, STREAM.index(b"event: message_delta")))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_stream_that_breaks_off_is_truncated(n_bytes: int) -> None:
    error = await error_of(stream(STREAM[:n_bytes]), is_streamed=True)
    assert isinstance(error, StreamTruncatedError)
    assert "Let me look: 🌦".startswith(error.partial_text)


@pytest.mark.parametrize(
    ("raw", "known"),
    [
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("pause_turn", "other"),
        ("banana", "other"),
    ],
)
async def test_the_reason_to_stop_is_kept_raw_and_sorted(raw: str, known: str) -> None:
    completion, _ = await ask(WIRE, whole(changed("anthropic/message.json", stop_reason=raw)))
    assert (completion.finish_reason, completion.raw_finish_reason) == (known, raw)


async def test_a_refusal_may_come_without_text() -> None:
    refused = changed("anthropic/message.json", stop_reason="refusal", content=[])
    completion, _ = await ask(WIRE, whole(refused))
    assert (completion.text, completion.finish_reason) == ("", "content_filter")


@pytest.mark.parametrize(
    ("script", "kind", "retryable"),
    [
        (failure("529 Overloaded", "overloaded_error", "Overloaded"), ServerError, True),
        (failure("500 No", "api_error", "Internal server error"), ServerError, True),
        (failure("504 No", "timeout_error", "Timed out"), ServerError, True),
        (failure("429 No", "rate_limit_error", "slow down"), RateLimitError, True),
        (failure("401 No", "authentication_error", "invalid x-api-key"), AuthError, False),
        (failure("403 No", "permission_error", "not yours"), AuthError, False),
        (failure("404 No", "not_found_error", "model: claude-9"), ModelNotFoundError, False),
        (failure("413 No", "request_too_large", "Request exceeds the maximum size"), RequestError, False),
        (failure("400 No", "invalid_request_error", "temperature: range"), RequestError, False),
        (
            failure("400 No", "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
            ContextTooLongError,
            False,
        ),
        (
            failure(
                "400 No", "invalid_request_error", "input length and `max_tokens` exceed context limit: 9"
            ),
            ContextTooLongError,
            False,
        ),
        (
            failure("400 No", "invalid_request_error", "Your credit balance is too low to access the API"),
            QuotaExceededError,
            False,
        ),
        (failure("402 No", "billing_error", "pay"), QuotaExceededError, False),
    ],
)
async def test_an_error_has_its_class(script: Script, kind: type[ProviderError], retryable: bool) -> None:
    error = await error_of(script)
    assert (type(error), error.retryable) == (kind, retryable)


async def test_an_error_says_when_to_come_back_and_what_it_was() -> None:
    error = await error_of(failure("429 No", "rate_limit_error", "slow", Retry_After="7", request_id="req_8"))
    assert (error.retry_after_s, error.request_id) == (7.0, "req_8")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("overloaded_error", ServerError), ("rate_limit_error", RateLimitError), ("odd", BadResponseError)],
)
async def test_an_error_in_a_stream_has_its_class_and_the_text_so_far(
    kind: str, expected: type[ProviderError]
) -> None:
    broken = stream(START, piece("The "), said("error", error={"type": kind, "message": "Overloaded"}))
    error = await error_of(broken, is_streamed=True)
    assert (type(error), error.partial_text, error.retryable) == (expected, "The ", True)


async def test_an_error_before_the_first_piece_leaves_no_text() -> None:
    overloaded = said("error", error={"type": "overloaded_error", "message": "Overloaded"})
    error = await error_of(stream(overloaded), is_streamed=True)
    assert (type(error), error.status, error.partial_text) == (ServerError, 529, "")


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        ([], StreamTruncatedError),
        ([START, piece("a"), STOP], StreamTruncatedError),
        ([START, piece("a"), said("message_delta", delta={"stop_reason": None})], StreamTruncatedError),
        ([START, piece("a"), event('{"type": ')], BadResponseError),
        ([START, piece("a"), b"data: \xff\xfe\n\n"], BadResponseError),
        ([START, end(), STOP], EmptyCompletionError),
        ([START, piece("more " * 10_000)], TooLargeError),
    ],
    ids=["empty", "no-reason", "null-reason", "malformed", "not-utf8", "no-text", "endless"],
)
async def test_a_stream_of_something_else_is_typed(events: list[bytes], kind: type[ProviderError]) -> None:
    assert type(await error_of(stream(*events), is_streamed=True)) is kind


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"{}",
        changed("anthropic/message.json", content=...),
        changed("anthropic/message.json", stop_reason=None),
    ],
    ids=["malformed", "array", "nothing", "no-content", "no-reason"],
)
async def test_an_answer_of_something_else_is_a_bad_response(body: bytes) -> None:
    assert isinstance(await error_of(whole(body)), BadResponseError)


async def test_unknown_events_and_blocks_are_passed_over() -> None:
    odd = [
        said("content_block_start", index=0, content_block={"type": "server_tool_use", "name": "no"}),
        said("content_block_delta", index=0, delta={"type": "citations_delta", "citation": {}}),
        said("content_block_delta", index=7, delta={"type": "input_json_delta", "partial_json": "no"}),
        said("vellum", text="no"),
    ]
    _, completion, _ = await read_stream(WIRE, stream(START, *odd, piece(TEXT), end(), STOP))
    assert (completion.text, completion.tool_calls) == (TEXT, ())


async def test_a_stream_that_ends_after_the_reason_is_whole() -> None:
    _, completion, _ = await read_stream(WIRE, stream(START, piece(TEXT), end()))
    assert completion.text == TEXT


async def test_the_first_count_of_output_is_not_the_last() -> None:
    start = said("message_start", message={"usage": {"input_tokens": 10, "output_tokens": 1}})
    bare = said("message_delta", delta={"stop_reason": "end_turn"})
    _, completion, _ = await read_stream(WIRE, stream(start, piece(TEXT), bare, STOP))
    assert completion.usage == Usage(10, len(TEXT), is_estimated=True)


@pytest.mark.parametrize("count", [-5, 10**12, "12", None, 1.5, True, [], {}])
@pytest.mark.parametrize("name", ["input_tokens", "cache_read_input_tokens", "output_tokens"])
async def test_a_count_that_cannot_be_is_replaced_by_a_bound(name: str, count: object) -> None:
    usage = {"input_tokens": 10, "cache_read_input_tokens": 0, "output_tokens": 5} | {name: count}
    completion, _ = await ask(WIRE, whole(changed("anthropic/message.json", usage=usage)))
    assert completion.usage.is_estimated == (name != "cache_read_input_tokens" or count is not None)
    assert 0 < completion.usage.input_tokens < 1000
    assert 0 < completion.usage.output_tokens <= SHORT.max_output_tokens


@given(
    value=any_json(
        "type", "message", "content", "content_block", "delta", "usage", "index", "text", "stop_reason"
    ),
    kind=st.sampled_from(["message_start", "content_block_start", "content_block_delta", "message_delta"]),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_json_at_all_is_an_answer_or_a_typed_error(value: object, kind: str) -> None:
    fields = {name: item for name, item in value.items() if name != "type"} if isinstance(value, dict) else {}
    with suppress(ProviderError):
        await ask(WIRE, whole(json.dumps(value).encode()))
    with suppress(ProviderError):
        await read_stream(WIRE, stream(START, said(kind, **fields), piece("a"), end(), STOP))
