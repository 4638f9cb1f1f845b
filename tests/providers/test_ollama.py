"""Ollama's own chat protocol: what is asked, and what is made of the answers."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faults import CANARY, TEXT, Script, response, stream, whole
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
    BadResponseError,
    ConfigError,
    ContextTooLongError,
    DataError,
    EmptyCompletionError,
    ModelNotFoundError,
    ProviderError,
    RequestError,
    ServerError,
    StreamTruncatedError,
    TooLargeError,
)
from workbench.providers.ollama import OllamaWire
from workbench.settings import Secret
from workbench.types import Decoding, Prompt, TokenLogprob, ToolCall, Usage

pytestmark = pytest.mark.anyio

WIRE = OllamaWire()
WHOLE = fixture("ollama/answer.json")
STREAM = fixture("ollama/stream.ndjson")
LINES = STREAM.splitlines(keepends=True)
CALLS = (ToolCall("call_1", "weather", '{"city": "Zürich"}'), ToolCall("call_2", "clock", "{}"))


def line(text: str, **fields: Any) -> bytes:
    """One line of a stream."""
    body = {"model": "small", "message": {"role": "assistant", "content": text}, "done": False, **fields}
    return json.dumps(body, ensure_ascii=False).encode() + b"\n"


DONE = line("", done=True, done_reason="stop", prompt_eval_count=10, eval_count=5)


def failure(status: str, text: str) -> Script:
    return lambda: [response(json.dumps({"error": text}).encode(), status=status)]


async def sent(prompt: Prompt = PROMPT, **asked: Any) -> dict[str, Any]:
    """The body of the request."""
    decoding = Decoding(**{"max_output_tokens": 2000, **asked})
    _, received = await ask(WIRE, whole(WHOLE), prompt=prompt, model="qwen3", decoding=decoding)
    return received.body


async def error_of(script: Script, *, is_streamed: bool = False) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await (read_stream(WIRE, script) if is_streamed else ask(WIRE, script))
    return caught.value


async def test_a_request_says_all_that_was_asked() -> None:
    decoding = everything(tool_choice="auto", top_logprobs=2, reasoning_effort="low")
    prompt = conversation("Which city is this?", PNG)
    _, received = await ask(WIRE, whole(WHOLE), prompt=prompt, model="qwen3", decoding=decoding)
    assert received.body == json.loads(fixture("ollama/request.json"))
    assert received.head.startswith("POST /v1/api/chat HTTP/1.1\r\n")


async def test_a_key_is_sent_as_a_bearer_token() -> None:
    _, received = await ask(WIRE, whole(WHOLE), key=Secret(CANARY))
    assert received.header("authorization") == f"Bearer {CANARY}"


async def test_what_was_not_asked_is_left_to_the_provider() -> None:
    assert await sent(Prompt("p", "Hi"), temperature=None) == {
        "model": "qwen3",
        "messages": [{"role": "user", "content": "Hi"}],
        "options": {"num_predict": 2000},
        "truncate": False,
        "shift": False,
        "stream": False,
    }


async def test_tools_that_may_not_be_called_are_not_offered() -> None:
    assert "tools" not in await sent(tools=everything().tools, tool_choice="none")


@pytest.mark.parametrize("choice", ["required", "weather"])
async def test_a_tool_cannot_be_forced(choice: str) -> None:
    with pytest.raises(ConfigError, match=f"tool_choice cannot be '{choice}'"):
        await sent(tools=everything().tools, tool_choice=choice)


async def test_an_image_by_its_address_is_not_sent() -> None:
    with pytest.raises(DataError, match="prompt 'p' has an image by its address"):
        await sent(Prompt("p", "Look.", images=(LINKED,)))


@pytest.mark.parametrize(("effort", "expected"), [("none", False), ("low", "low"), ("high", "high")])
async def test_effort_is_asked_for(effort: str, expected: object) -> None:
    assert (await sent(reasoning_effort=effort))["think"] == expected


async def test_an_answer_is_read_whole() -> None:
    completion, _ = await ask(WIRE, whole(WHOLE))
    assert (completion.text, completion.reasoning) == (TEXT, "Two and two.")
    assert completion.served_model == "qwen3:8b"
    assert (completion.finish_reason, completion.raw_finish_reason) == ("stop", "stop")
    assert completion.usage == Usage(26, 46)
    assert completion.logprobs == (
        TokenLogprob("The", -0.1, (("The", -0.1), ("It", -2.5))),
        TokenLogprob(" answer", 0.0),
    )


@pytest.mark.parametrize("said", [b"The answer is 4.", b"Two and two.", b"qwen3:8b"])
async def test_a_key_that_comes_back_is_masked(said: bytes) -> None:
    echoed = fixture("ollama/answer.json").replace(said, CANARY.encode())
    completion, _ = await ask(WIRE, whole(echoed), key=Secret(CANARY))
    assert CANARY not in repr(completion)


async def test_a_stream_adds_up_to_its_completion() -> None:
    _, completion, received = await read_stream(WIRE, stream(*LINES))
    assert received.body["stream"] is True
    assert (completion.text, completion.reasoning) == ("Let me look: 🌦", "Which city? Zürich.")
    assert completion.tool_calls == CALLS
    assert completion.finish_reason == "tool_calls"
    assert completion.usage == Usage(72, 89)


async def test_a_last_line_without_its_end_is_read() -> None:
    _, completion, _ = await read_stream(WIRE, stream(STREAM.rstrip(b"\n")))
    assert completion.usage == Usage(72, 89)


@given(cuts=ANY_CUTS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_stream_cut_anywhere_is_the_same(cuts: list[int]) -> None:
    _, completion, _ = await read_stream(WIRE, cut(STREAM, cuts))
    assert (completion.text, completion.reasoning) == ("Let me look: 🌦", "Which city? Zürich.")
    assert completion.tool_calls == CALLS


@given(n_lines=st.integers(1, len(LINES) - 1), n_bytes=st.integers(0, 100))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_stream_that_breaks_off_is_no_answer(n_lines: int, n_bytes: int) -> None:
    """Half of a line is no JSON; between two lines, what is missing is the end."""
    half = LINES[n_lines][:n_bytes]
    error = await error_of(stream(b"".join([*LINES[:n_lines], half])), is_streamed=True)
    assert type(error) is (BadResponseError if half else StreamTruncatedError)
    assert "Let me look: 🌦".startswith(error.partial_text)


@pytest.mark.parametrize(
    ("raw", "known"), [("length", "length"), ("stop", "stop"), ("load", "other"), (None, "other")]
)
async def test_the_reason_to_finish_is_kept_raw_and_sorted(raw: str | None, known: str) -> None:
    completion, _ = await ask(WIRE, whole(changed("ollama/answer.json", done_reason=raw)))
    assert (completion.finish_reason, completion.raw_finish_reason) == (known, raw or "")


@pytest.mark.parametrize(
    ("script", "kind", "retryable"),
    [
        (failure("404 Not Found", "model 'small' not found"), ModelNotFoundError, False),
        (
            failure("400 Bad Request", "registry.ollama.ai/library/small does not support tools"),
            RequestError,
            False,
        ),
        (
            failure("400 Bad Request", "the prompt is longer than the context length currently available"),
            ContextTooLongError,
            False,
        ),
        (
            failure("400 Bad Request", "the input length exceeds the context length"),
            ContextTooLongError,
            False,
        ),
        (failure("500 Internal Server Error", "llama runner process has terminated"), ServerError, True),
        (failure("503 Service Unavailable", "server busy, please try again"), ServerError, True),
    ],
)
async def test_an_error_has_its_class(script: Script, kind: type[ProviderError], retryable: bool) -> None:
    error = await error_of(script)
    assert (type(error), error.retryable) == (kind, retryable)


async def test_an_error_in_a_stream_keeps_the_text_so_far() -> None:
    broken = stream(line("The "), b'{"error": "an error was encountered while running the model"}\n')
    error = await error_of(broken, is_streamed=True)
    assert isinstance(error, BadResponseError)
    assert (error.partial_text, error.retryable) == ("The ", True)
    assert "while running the model" in str(error)


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ([], StreamTruncatedError),
        ([line("a", done="true", done_reason="stop")], StreamTruncatedError),
        ([line("a"), b'{"message": \n'], BadResponseError),
        ([line("a"), b"[]\n"], BadResponseError),
        ([line("a"), b"\xff\xfe\n"], BadResponseError),
        ([DONE], EmptyCompletionError),
        ([line("", done=True, done_reason="load")], EmptyCompletionError),
        ([line("more " * 10_000)], TooLargeError),
    ],
    ids=["empty", "not-done", "malformed", "array", "not-utf8", "no-text", "only-loaded", "endless"],
)
async def test_a_stream_of_something_else_is_typed(lines: list[bytes], kind: type[ProviderError]) -> None:
    assert type(await error_of(stream(*lines), is_streamed=True)) is kind


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"{}",
        changed("ollama/answer.json", done=False),
        changed("ollama/answer.json", message=...),
    ],
    ids=["malformed", "array", "nothing", "not-done", "no-message"],
)
async def test_an_answer_of_something_else_is_a_bad_response(body: bytes) -> None:
    assert isinstance(await error_of(whole(body)), BadResponseError)


async def test_empty_lines_and_a_byte_order_mark_are_passed_over() -> None:
    _, completion, _ = await read_stream(WIRE, stream(b"\xef\xbb\xbf" + line(TEXT), b"\n\r\n", DONE, b"\n"))
    assert completion.text == TEXT


async def test_what_comes_after_the_end_is_not_taken() -> None:
    _, completion, _ = await read_stream(WIRE, stream(line(TEXT), DONE, line(" More.")))
    assert completion.text == TEXT


@pytest.mark.parametrize("count", [-5, 10**12, "12", None, 1.5, True, [], {}])
@pytest.mark.parametrize("name", ["prompt_eval_count", "eval_count"])
async def test_a_count_that_cannot_be_is_replaced_by_a_bound(name: str, count: object) -> None:
    completion, _ = await ask(WIRE, whole(changed("ollama/answer.json", **{name: count})))
    assert completion.usage.is_estimated
    assert 0 < completion.usage.input_tokens < 1000
    assert 0 < completion.usage.output_tokens <= SHORT.max_output_tokens


@given(
    value=any_json(
        "message", "content", "thinking", "tool_calls", "function", "arguments", "logprobs", "done"
    )
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_json_at_all_is_an_answer_or_a_typed_error(value: object) -> None:
    body = json.dumps(value).encode()
    with suppress(ProviderError):
        await ask(WIRE, whole(body))
    with suppress(ProviderError):
        await read_stream(WIRE, stream(body + b"\n", line("a"), DONE))
