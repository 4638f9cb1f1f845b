"""What holds in every wire protocol: the same answer, the same errors, and nothing half told as whole."""

import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dialects import CALLS, DIALECTS, INPUT_TOKENS, OUTPUT_TOKENS, TEXT, Dialect, with_counts
from faults import CANARY, FaultServer, Received, Script, error, whole
from workbench import errors
from workbench.errors import ProviderError
from workbench.providers.base import Provider
from workbench.providers.exchange import idempotency_key
from workbench.providers.wire import HttpProvider
from workbench.settings import Secret
from workbench.types import Completion, Decoding, Delta, Prompt, ToolCall

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("dialect", DIALECTS, ids=lambda one: one.name)]

PROMPT = Prompt("p1", "2 + 2?")
DECODING = Decoding(max_output_tokens=100)
once = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


async def ask(dialect: Dialect, script: Script) -> tuple[Completion, Received]:
    """The whole answer of a server that plays `script`, and what it was sent."""
    async with FaultServer(script) as server:
        provider = HttpProvider("faulty", server.url, wire=dialect.wire, key=Secret(CANARY))
        try:
            completion = await provider.complete("small", PROMPT, DECODING, deadline_s=5.0)
        finally:
            await provider.aclose()
    return completion, server.requests[0]


async def deltas_of(dialect: Dialect, script: Script) -> AsyncIterator[Delta]:
    """The same, piece by piece."""
    async with FaultServer(script) as server:
        provider = HttpProvider("faulty", server.url, wire=dialect.wire, key=Secret(CANARY))
        try:
            async for delta in provider.stream("small", PROMPT, DECODING, deadline_s=5.0):
                yield delta
        finally:
            await provider.aclose()


async def read(dialect: Dialect, script: Script) -> Completion:
    """The completion of a stream, whose pieces add up to it."""
    deltas = [delta async for delta in deltas_of(dialect, script)]
    completion = deltas[-1].completion
    assert completion is not None
    assert "".join(delta.text for delta in deltas) == completion.text
    assert "".join(delta.reasoning for delta in deltas) == completion.reasoning
    return completion


async def failure_of(dialect: Dialect, script: Script, *, is_streamed: bool) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await (read(dialect, script) if is_streamed else ask(dialect, script))
    assert CANARY not in str(caught.value)
    return caught.value


@pytest.fixture(params=[False, True], ids=["unary", "streamed"])
def is_streamed(request: pytest.FixtureRequest) -> bool:
    return request.param


def is_the_answer(completion: Completion) -> bool:
    usage = completion.usage
    counts = (usage.input_tokens, usage.output_tokens, usage.is_estimated)
    return completion.text == TEXT and counts == (INPUT_TOKENS, OUTPUT_TOKENS, False)


async def test_it_makes_a_provider(dialect: Dialect) -> None:
    provider = HttpProvider("faulty", "http://127.0.0.1:1", wire=dialect.wire)
    assert isinstance(provider, Provider)


async def test_a_request_goes_to_its_path_with_its_headers(dialect: Dialect) -> None:
    token = idempotency_key.set("call-1")
    try:
        _, received = await ask(dialect, whole(dialect.raw("answer")))
    finally:
        idempotency_key.reset(token)
    header = dialect.wire.key_header
    assert received.head.startswith(f"POST /v1{dialect.path} HTTP/1.1\r\n")
    assert received.header(header.name) == f"{header.prefix}{CANARY}"
    assert received.header("idempotency-key") == "call-1"
    assert all(received.header(name) == value for name, value in dialect.wire.headers.items())
    assert received.head.count(CANARY) == 1
    assert CANARY not in json.dumps(received.body)


async def test_a_call_without_a_name_of_its_own_sends_none(dialect: Dialect) -> None:
    _, received = await ask(dialect, whole(dialect.raw("answer")))
    assert received.header("idempotency-key") is None


async def test_an_answer_is_read(dialect: Dialect) -> None:
    completion, _ = await ask(dialect, whole(dialect.raw("answer"), X_Request_Id="request-1"))
    assert is_the_answer(completion)
    assert completion.finish_reason == "stop"
    assert completion.request_id == "request-1"
    assert completion.first_token_s is None


async def test_a_stream_is_read(dialect: Dialect) -> None:
    completion = await read(dialect, dialect.streamed(*dialect.events("stream")))
    assert is_the_answer(completion)
    assert completion.finish_reason == "stop"
    assert completion.first_token_s is not None


async def test_a_stream_and_a_whole_answer_say_the_same(dialect: Dialect) -> None:
    completion, _ = await ask(dialect, whole(dialect.raw("answer")))
    streamed = await read(dialect, dialect.streamed(*dialect.events("stream")))
    assert streamed.usage == completion.usage
    assert streamed.served_model == completion.served_model


async def test_tools_that_are_asked_for_are_read(dialect: Dialect) -> None:
    completion, _ = await ask(dialect, whole(dialect.raw("tools")))
    assert (completion.text, completion.finish_reason) == ("", "tool_calls")
    assert [call.name for call in completion.tool_calls] == [call.name for call in CALLS]
    assert [json.loads(c.arguments) for c in completion.tool_calls] == [
        json.loads(c.arguments) for c in CALLS
    ]
    assert all(call.call_id for call in completion.tool_calls)


async def test_the_pieces_of_tools_add_up(dialect: Dialect) -> None:
    deltas = [d async for d in deltas_of(dialect, dialect.streamed(*dialect.events("tools")))]
    completion = deltas[-1].completion
    assert completion is not None
    gathered: dict[int, list[str]] = {}
    for piece in (delta.tool_call for delta in deltas if delta.tool_call):
        call = gathered.setdefault(piece.index, ["", "", ""])
        for place, part in enumerate((piece.call_id, piece.name, piece.arguments)):
            call[place] += part
    assert tuple(ToolCall(*gathered[index]) for index in sorted(gathered)) == completion.tool_calls
    assert [call.name for call in completion.tool_calls] == [call.name for call in CALLS]
    assert completion.finish_reason == "tool_calls"


async def beginning(dialect: Dialect, events: list[bytes]) -> Completion | None:
    """What a stream of `events` and no more says; None: that it was cut off."""
    try:
        return await read(dialect, dialect.streamed(*events))
    except errors.StreamTruncatedError as exc:
        return None if TEXT.startswith(exc.partial_text) else pytest.fail(exc.partial_text)


@pytest.mark.parametrize("fixture", ["stream", "tools"])
async def test_a_stream_that_ends_anywhere_is_whole_or_truncated(dialect: Dialect, fixture: str) -> None:
    events = dialect.events(fixture)
    complete = await read(dialect, dialect.streamed(*events))
    begun = [await beginning(dialect, events[:n_events]) for n_events in range(len(events))]
    answers = [one for one in begun if one is not None]
    assert begun[: len(begun) - len(answers)] == [None] * (len(begun) - len(answers))
    assert len(answers) < len(events) / 2
    assert all((one.text, one.tool_calls) == (complete.text, complete.tool_calls) for one in answers)


@given(shares=st.lists(st.floats(0.0, 1.0), max_size=6))
@once
async def test_a_stream_cut_anywhere_has_the_same_text(dialect: Dialect, shares: list[float]) -> None:
    body = b"".join(dialect.events("stream"))
    cuts = sorted(int(share * len(body)) for share in shares)
    pieces = [body[a:b] for a, b in pairwise([0, *cuts, len(body)]) if a < b]
    assert is_the_answer(await read(dialect, dialect.streamed(*pieces)))


async def test_a_stream_in_single_bytes_has_the_same_text(dialect: Dialect) -> None:
    body = b"".join(dialect.events("stream"))
    assert is_the_answer(await read(dialect, dialect.streamed(*(bytes([one]) for one in body))))


async def test_an_error_in_200_is_the_servers_error(dialect: Dialect, is_streamed: bool) -> None:
    failure = await failure_of(dialect, whole(dialect.raw("error")), is_streamed=is_streamed)
    assert type(failure) is dialect.error
    assert failure.retryable
    assert "overloaded" in str(failure)


async def test_an_error_in_a_stream_is_the_servers_error(dialect: Dialect) -> None:
    events = [*_begun(dialect), *dialect.events("error")]
    failure = await failure_of(dialect, dialect.streamed(*events), is_streamed=True)
    assert type(failure) is dialect.error
    assert failure.partial_text
    assert TEXT.startswith(failure.partial_text)


async def test_an_error_before_the_first_text_is_the_servers_error(dialect: Dialect) -> None:
    script = dialect.streamed(*dialect.events("error"))
    failure = await failure_of(dialect, script, is_streamed=True)
    assert (type(failure), failure.partial_text) == (dialect.error, "")


async def test_a_status_is_told_before_the_body(dialect: Dialect, is_streamed: bool) -> None:
    failure = await failure_of(dialect, error("429 Slow", Retry_After="2"), is_streamed=is_streamed)
    assert (type(failure), failure.retry_after_s) == (errors.RateLimitError, 2.0)


async def test_an_answer_without_text_is_empty(dialect: Dialect) -> None:
    failure = await failure_of(dialect, whole(dialect.raw("empty")), is_streamed=False)
    assert isinstance(failure, errors.EmptyCompletionError)


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"a":'], ids=str)
async def test_something_else_is_no_answer(dialect: Dialect, body: bytes, is_streamed: bool) -> None:
    failure = await failure_of(dialect, whole(body), is_streamed=is_streamed)
    assert isinstance(failure, errors.BadResponseError)


async def test_an_event_that_is_not_json_is_no_answer(dialect: Dialect) -> None:
    script = dialect.streamed(*_begun(dialect), dialect.broken_event())
    failure = await failure_of(dialect, script, is_streamed=True)
    assert type(failure) is errors.BadResponseError
    assert failure.partial_text


async def test_a_byte_that_is_no_text_is_no_answer(dialect: Dialect, is_streamed: bool) -> None:
    damaged = [one.replace("ï".encode(), b"\xff") for one in dialect.events("stream")]
    answer = dialect.raw("answer").replace("ï".encode(), b"\xff")
    script = dialect.streamed(*damaged) if is_streamed else whole(answer)
    failure = await failure_of(dialect, script, is_streamed=is_streamed)
    assert type(failure) is errors.BadResponseError


@pytest.mark.parametrize("count", [..., 0, 10**12, "12"], ids=str)
async def test_a_count_that_cannot_be_is_replaced_by_a_bound(dialect: Dialect, count: Any) -> None:
    body = with_counts(dialect.body("answer"), lambda _: count)
    completion, _ = await ask(dialect, whole(json.dumps(body).encode()))
    assert completion.text == TEXT
    assert completion.usage.is_estimated
    assert 0 < completion.usage.input_tokens < 1000
    assert 0 < completion.usage.output_tokens <= 100


async def test_our_key_in_an_answer_is_masked(dialect: Dialect, is_streamed: bool) -> None:
    if is_streamed:
        events = [one.replace(b"answer", CANARY.encode()) for one in dialect.events("stream")]
        completion = await read(dialect, dialect.streamed(*events))
    else:
        completion, _ = await ask(dialect, whole(dialect.raw("answer").replace(b"answer", CANARY.encode())))
    assert completion.text == TEXT.replace("answer", "**********")
    assert CANARY not in repr(completion)


async def test_arguments_of_tools_are_masked_too(dialect: Dialect) -> None:
    completion, _ = await ask(dialect, whole(dialect.raw("tools").replace(b"Oslo", CANARY.encode())))
    assert CANARY not in repr(completion)
    assert "**********" in completion.tool_calls[0].arguments


hostile = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(
    fixture=st.sampled_from(["answer", "tools"]),
    path=st.lists(st.tuples(st.integers(0, 99), st.booleans()), min_size=8, max_size=8),
    value=hostile,
)
@once
async def test_an_answer_with_anything_in_any_place_is_read_or_refused(
    dialect: Dialect, fixture: str, path: list[tuple[int, bool]], value: object
) -> None:
    body = dialect.body(fixture)
    place = body
    for number, is_here in path:
        keys = sorted(place) if isinstance(place, dict) else [0]
        key = keys[number % len(keys)]
        if is_here or not isinstance(place[key], dict | list) or not place[key]:
            place[key] = value
            break
        place = place[key]
    try:
        completion, _ = await ask(dialect, whole(json.dumps(body).encode()))
    except ProviderError:
        return
    assert completion.text or completion.tool_calls or completion.finish_reason == "content_filter"


def _begun(dialect: Dialect) -> list[bytes]:
    """The events of a stream up to its first text."""
    events = dialect.events("stream")
    first = next(number for number, one in enumerate(events) if b"The answer" in one)
    return events[: first + 1]
