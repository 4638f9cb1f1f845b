"""Google's Gemini protocol: what is asked, and what is made of the answers."""

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
from workbench.providers.gemini import GeminiWire
from workbench.settings import Secret
from workbench.types import Decoding, Message, Prompt, TokenLogprob, ToolCall, Usage

pytestmark = pytest.mark.anyio

WIRE = GeminiWire()
WHOLE = fixture("gemini/answer.json")
STREAM = fixture("gemini/stream.sse")
EVENTS = STREAM.replace(b"\n\n", b"\n\n\0").split(b"\0")[:-1]
CALLS = (ToolCall("fc1", "weather", '{"city": "Zürich"}'), ToolCall("call_1", "clock", "{}"))
MODEL = "gemini-3-flash-preview"


def part(text: str, *, reason: str | None = None, **fields: Any) -> bytes:
    """One event of a stream."""
    candidate = {"index": 0, "content": {"role": "model", "parts": [{"text": text}]}, "finishReason": reason}
    return event(json.dumps({"candidates": [candidate], **fields}, ensure_ascii=False))


def finished(reason: str, **fields: Any) -> bytes:
    """A whole answer that ended for `reason`."""
    candidate = {"content": {"parts": [{"text": TEXT}]}, "finishReason": reason, "index": 0, **fields}
    return changed("gemini/answer.json", candidates=[candidate])


def failure(code: int, status: str, text: str, *details: dict[str, Any]) -> Script:
    body = {"error": {"code": code, "message": text, "status": status, "details": list(details)}}
    return lambda: [response(json.dumps(body).encode(), status=f"{code} No")]


async def sent(prompt: Prompt = PROMPT, *, model: str = MODEL, **asked: Any) -> dict[str, Any]:
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
    decoding = everything(top_logprobs=2, reasoning_effort="low")
    _, received = await ask(WIRE, whole(WHOLE), prompt=prompt, model=MODEL, decoding=decoding)
    assert received.body == json.loads(fixture("gemini/request.json"))


async def test_the_key_travels_in_a_header_and_the_model_in_the_path() -> None:
    _, received = await ask(WIRE, whole(WHOLE), model=MODEL, key=Secret(CANARY))
    assert received.head.startswith(f"POST /v1/models/{MODEL}:generateContent HTTP/1.1\r\n")
    assert received.header("x-goog-api-key") == CANARY
    assert received.header("authorization") is None


async def test_a_stream_is_asked_for_as_events() -> None:
    _, _, received = await read_stream(WIRE, stream(*EVENTS), model=MODEL)
    assert received.head.startswith(f"POST /v1/models/{MODEL}:streamGenerateContent?alt=sse HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "model", ["../files", "..", "a/b", "a?key=1", "a#b", "a%2fb", "models/x", "a:b", "a b", "", "a\n"]
)
async def test_a_model_that_is_no_name_is_not_put_in_a_path(model: str) -> None:
    with pytest.raises(ConfigError):
        await sent(model=model)


async def test_what_was_not_asked_is_left_to_the_provider() -> None:
    assert await sent(Prompt("p", "Hi"), temperature=None) == {
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "generationConfig": {"maxOutputTokens": 2000},
    }


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ("weather", {"mode": "ANY", "allowedFunctionNames": ["weather"]}),
    ],
)
async def test_a_tool_is_chosen(choice: str, expected: dict[str, object]) -> None:
    body = await sent(tools=everything().tools, tool_choice=choice)
    assert body["toolConfig"] == {"functionCallingConfig": expected}


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-flash", "medium", {"includeThoughts": True, "thinkingBudget": 8192}),
        ("gemini-3-pro", "none", {"thinkingLevel": "MINIMAL"}),
        ("gemini-4-argon", "high", {"includeThoughts": True, "thinkingLevel": "HIGH"}),
    ],
)
async def test_effort_is_asked_for_as_the_model_knows_it(model: str, effort: str, expected: object) -> None:
    assert (await sent(model=model, reasoning_effort=effort))["generationConfig"][
        "thinkingConfig"
    ] == expected


async def test_a_model_before_signatures_is_sent_none() -> None:
    body = await sent(conversation("Where?"), model="gemini-2.5-flash")
    assert "thoughtSignature" not in json.dumps(body)


async def test_the_result_of_no_call_is_not_sent() -> None:
    lost = Prompt("p", "Hi", history=(Message("tool", "rain", tool_call_id="c"),))
    with pytest.raises(DataError, match="prompt 'p' has the result of a call 'c' that nobody made"):
        await sent(lost)


async def test_a_result_may_have_an_image() -> None:
    called = Message("assistant", "", tool_calls=(ToolCall("c", "look", "{}"),))
    body = await sent(Prompt("p", "", history=(called, Message("tool", "a dog", (PNG,), tool_call_id="c"))))
    assert body["contents"][-1]["parts"][0]["functionResponse"]["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": "cG5n"}}
    ]


async def test_an_answer_is_read_whole() -> None:
    completion, _ = await ask(WIRE, whole(WHOLE))
    assert (completion.text, completion.reasoning) == (TEXT, "Two and two.")
    assert (completion.served_model, completion.request_id) == (MODEL, "mK9uaLbeEMe1nsEP0bqR8QU")
    assert (completion.finish_reason, completion.raw_finish_reason) == ("stop", "STOP")
    assert completion.logprobs == (
        TokenLogprob("The", -0.1, (("The", -0.1), ("It", -2.5))),
        TokenLogprob(" answer", 0.0, ((" answer", 0.0),)),
    )


@pytest.mark.parametrize("said", [b"The answer is 4.", b"Two and two.", b"STOP", b"mK9uaLbeEMe1nsEP0bqR8QU"])
async def test_a_key_that_comes_back_is_masked(said: bytes) -> None:
    echoed = fixture("gemini/answer.json").replace(said, CANARY.encode())
    completion, _ = await ask(WIRE, whole(echoed), key=Secret(CANARY))
    assert CANARY not in repr(completion)


async def test_thoughts_are_output_and_what_was_cached_is_input() -> None:
    completion, _ = await ask(WIRE, whole(WHOLE))
    assert completion.usage == Usage(300, 46, 256, 40)


async def test_a_stream_adds_up_to_its_completion() -> None:
    _, completion, _ = await read_stream(WIRE, stream(*EVENTS))
    assert (completion.text, completion.reasoning) == ("Let me look: 🌦", "Which city? Zürich.")
    assert completion.tool_calls == CALLS
    assert (completion.finish_reason, completion.raw_finish_reason) == ("tool_calls", "STOP")
    assert completion.usage == Usage(72, 57, 0, 16)


@given(cuts=ANY_CUTS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_stream_cut_anywhere_is_the_same(cuts: list[int]) -> None:
    _, completion, _ = await read_stream(WIRE, cut(STREAM, cuts))
    assert (completion.text, completion.reasoning) == ("Let me look: 🌦", "Which city? Zürich.")
    assert completion.tool_calls == CALLS


@given(n_bytes=st.integers(1, STREAM.index(b'{"text": ""}')))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_stream_that_breaks_off_is_truncated(n_bytes: int) -> None:
    error = await error_of(stream(STREAM[:n_bytes]), is_streamed=True)
    assert isinstance(error, StreamTruncatedError)
    assert "Let me look: 🌦".startswith(error.partial_text)


@pytest.mark.parametrize(
    ("raw", "known"),
    [
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("LANGUAGE", "other"),
        ("BANANA", "other"),
    ],
)
async def test_the_reason_to_finish_is_kept_raw_and_sorted(raw: str, known: str) -> None:
    completion, _ = await ask(WIRE, whole(finished(raw)))
    assert (completion.finish_reason, completion.raw_finish_reason) == (known, raw)


@pytest.mark.parametrize("is_streamed", [False, True], ids=["unary", "streamed"])
async def test_a_prompt_that_was_blocked_is_a_filtered_answer(is_streamed: bool) -> None:
    body = fixture("gemini/blocked.json")
    if is_streamed:
        _, completion, _ = await read_stream(WIRE, stream(event(json.dumps(json.loads(body)))))
    else:
        completion, _ = await ask(WIRE, whole(body))
    assert (completion.text, completion.finish_reason) == ("", "content_filter")
    assert completion.raw_finish_reason == "PROHIBITED_CONTENT"
    assert completion.usage == Usage(8, 0)


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3s"}


@pytest.mark.parametrize(
    ("script", "kind", "retryable"),
    [
        (failure(503, "UNAVAILABLE", "The model is overloaded."), ServerError, True),
        (failure(500, "INTERNAL", "An internal error has occurred."), ServerError, True),
        (failure(504, "DEADLINE_EXCEEDED", "too slow"), ServerError, True),
        (failure(403, "PERMISSION_DENIED", "no access"), AuthError, False),
        (failure(404, "NOT_FOUND", "models/gemini-9 is not found"), ModelNotFoundError, False),
        (failure(400, "INVALID_ARGUMENT", "Invalid value at 'contents'"), RequestError, False),
        (failure(400, "FAILED_PRECONDITION", "User location is not supported"), RequestError, False),
        (
            failure(
                400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number of tokens"
            ),
            ContextTooLongError,
            False,
        ),
        (
            failure(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."),
            QuotaExceededError,
            False,
        ),
        (lambda: [response(fixture("gemini/error_key.json"), status="400 No")], AuthError, False),
        (lambda: [response(fixture("gemini/error_429.json"), status="429 No")], RateLimitError, True),
    ],
)
async def test_an_error_has_its_class(script: Script, kind: type[ProviderError], retryable: bool) -> None:
    error = await error_of(script)
    assert (type(error), error.retryable) == (kind, retryable)


@pytest.mark.parametrize(
    ("delay", "expected_s"), [("17.6s", 17.6), ("3s", 3.0), ("soon", None), ("-3s", None), (3, None)]
)
async def test_when_to_come_back_is_read_from_the_details(delay: object, expected_s: float | None) -> None:
    error = await error_of(failure(429, "RESOURCE_EXHAUSTED", "slow", RETRY_INFO | {"retryDelay": delay}))
    assert error.retry_after_s == expected_s


async def test_an_error_in_a_stream_has_its_class_and_the_text_so_far() -> None:
    inner = {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}
    error = await error_of(stream(part("The "), event(json.dumps(inner))), is_streamed=True)
    assert (type(error), error.status, error.partial_text) == (ServerError, 503, "The ")


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        ([], StreamTruncatedError),
        ([part("a", reason="FINISH_REASON_UNSPECIFIED")], StreamTruncatedError),
        ([part("a"), event('{"candidates": [')], BadResponseError),
        ([part("a"), b"data: \xff\xfe\n\n"], BadResponseError),
        ([part("", reason="STOP")], EmptyCompletionError),
        ([part("", reason="MALFORMED_FUNCTION_CALL")], EmptyCompletionError),
        ([part("more " * 10_000)], TooLargeError),
    ],
    ids=["empty", "no-reason", "malformed", "not-utf8", "no-text", "bad-call", "endless"],
)
async def test_a_stream_of_something_else_is_typed(events: list[bytes], kind: type[ProviderError]) -> None:
    assert type(await error_of(stream(*events), is_streamed=True)) is kind


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"{}", changed("gemini/answer.json", candidates=[]), finished("")],
    ids=["malformed", "array", "nothing", "no-candidates", "no-reason"],
)
async def test_an_answer_of_something_else_is_a_bad_response(body: bytes) -> None:
    assert isinstance(await error_of(whole(body)), BadResponseError)


async def test_another_candidate_is_not_mixed_in() -> None:
    other = event(json.dumps({"candidates": [{"index": 1, "content": {"parts": [{"text": "no"}]}}]}))
    _, completion, _ = await read_stream(WIRE, stream(part("The "), other, part("end.", reason="STOP")))
    assert completion.text == "The end."


async def test_output_that_was_not_counted_is_estimated() -> None:
    usage = {"promptTokenCount": 10, "totalTokenCount": 10}
    completion, _ = await ask(WIRE, whole(changed("gemini/answer.json", usageMetadata=usage)))
    assert completion.usage.is_estimated
    assert completion.usage.output_tokens >= len(TEXT)


@pytest.mark.parametrize("count", [-5, 10**12, "12", None, 1.5, True, [], {}])
@pytest.mark.parametrize("name", ["promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount"])
async def test_a_count_that_cannot_be_is_replaced_by_a_bound(name: str, count: object) -> None:
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 5} | {name: count}
    completion, _ = await ask(WIRE, whole(changed("gemini/answer.json", usageMetadata=usage)))
    assert completion.usage.is_estimated
    assert 0 < completion.usage.input_tokens < 1000
    assert 0 < completion.usage.output_tokens <= SHORT.max_output_tokens


@pytest.mark.parametrize("value", [1e999, "x", None, True])
async def test_a_logprob_that_is_no_number_is_left_out(value: object) -> None:
    chosen = {"chosenCandidates": [{"token": "a", "logProbability": value}, {"token": "b"}]}
    body = finished("STOP", logprobsResult=chosen).replace(b"Infinity", b"1e999")
    completion, _ = await ask(WIRE, whole(body))
    assert completion.logprobs == ()


@given(
    value=any_json("candidates", "content", "parts", "text", "functionCall", "args", "usageMetadata", "index")
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_json_at_all_is_an_answer_or_a_typed_error(value: object) -> None:
    body = json.dumps(value)
    with suppress(ProviderError):
        await ask(WIRE, whole(body.encode()))
    with suppress(ProviderError):
        await read_stream(WIRE, stream(event(body), part("a", reason="STOP")))
