"""What becomes of a call to a server that fails: one typed error, in time, and never a wrong answer."""

import time
from contextlib import suppress

import pytest

from faults import (
    BAD_BODIES,
    BAD_STREAMS,
    BROKEN,
    BROKEN_STREAMS,
    CANARY,
    FAULTS,
    GOOD_STREAMS,
    OK,
    REFUSALS,
    SLOW,
    SLOW_STREAMS,
    TEXT,
    TOO_LARGE,
    TRANSIENT,
    FaultServer,
    refusing_port,
    unaccepting_port,
)
from workbench import errors
from workbench.errors import ProviderError
from workbench.providers.chat_completions import ChatCompletions
from workbench.providers.http import Timeouts
from workbench.settings import Secret
from workbench.types import Completion, Decoding, Prompt

pytestmark = pytest.mark.anyio

PROMPT = Prompt("p1", "2 + 2?")
DEADLINE_S = 0.4

REFUSED = {
    "400": errors.RequestError,
    "404": errors.ModelNotFoundError,
    "413": errors.RequestError,
    "418": errors.RequestError,
    "422": errors.RequestError,
    "400-context": errors.ContextTooLongError,
    "400-context-words": errors.ContextTooLongError,
    "401": errors.AuthError,
    "401-echo-key": errors.AuthError,
    "401-echo-header": errors.AuthError,
    "403": errors.AuthError,
    "402": errors.QuotaExceededError,
    "429-quota": errors.QuotaExceededError,
    "429-do-not-retry": errors.RateLimitError,
    "307": errors.BadResponseError,
}
EMPTY = ["empty-choices", "missing-choices", "missing-message", "null-content", "empty-content"]


async def ask(
    url: str, *, is_streamed: bool, deadline_s: float = 5.0, connect_s: float = 5.0, between_s: float = 30.0
) -> Completion:
    """One call, unary or as a stream, of a model that has a key."""
    timeouts = Timeouts(connect_s=connect_s, between_bytes_s=between_s)
    provider = ChatCompletions("faulty", url, key=Secret(CANARY), timeouts=timeouts)
    decoding = Decoding(max_output_tokens=100)
    try:
        if not is_streamed:
            return await provider.complete("small", PROMPT, decoding, deadline_s=deadline_s)
        async for delta in provider.stream("small", PROMPT, decoding, deadline_s=deadline_s):
            last = delta
        assert last.completion is not None
        return last.completion
    finally:
        await provider.aclose()


async def error_of(fault: str, *, is_streamed: bool = False, **settings: float) -> ProviderError:
    async with FaultServer(fault) as server:
        with pytest.raises(ProviderError) as caught:
            await ask(server.url, is_streamed=is_streamed, **settings)
        assert len(server.requests) == 1
        return caught.value


@pytest.fixture(params=[False, True], ids=["unary", "streamed"])
def is_streamed(request: pytest.FixtureRequest) -> bool:
    return request.param


def test_every_refusal_has_its_class() -> None:
    assert REFUSED.keys() == REFUSALS.keys()


@pytest.mark.parametrize("fault", REFUSED)
async def test_a_refusal_is_typed_and_final(fault: str, is_streamed: bool) -> None:
    error = await error_of(fault, is_streamed=is_streamed)
    assert type(error) is REFUSED[fault]
    assert not error.retryable
    assert (error.provider, error.model) == ("faulty", "small")
    assert str(error.status) == fault[:3]


async def test_a_list_of_what_is_wrong_is_shown() -> None:
    assert '[{"msg": "bad"}]' in str(await error_of("422"))


@pytest.mark.parametrize("fault", TRANSIENT)
async def test_a_passing_failure_may_be_tried_again(fault: str, is_streamed: bool) -> None:
    error = await error_of(fault, is_streamed=is_streamed)
    assert error.retryable
    assert isinstance(error, errors.RateLimitError | errors.ServerError | errors.RequestError)
    assert error.retry_after_s is None
    assert len(error.reason) < 230


async def test_a_page_of_html_is_named_and_not_quoted() -> None:
    assert "<" not in str(await error_of("502-html"))


@pytest.mark.parametrize("fault", BAD_BODIES)
async def test_an_answer_that_is_none_is_a_bad_response(fault: str, is_streamed: bool) -> None:
    error = await error_of(fault, is_streamed=is_streamed)
    assert isinstance(error, errors.BadResponseError | errors.ConnectError)
    assert isinstance(error, errors.EmptyCompletionError) == (fault in EMPTY)


@pytest.mark.parametrize("fault", TOO_LARGE)
async def test_a_huge_answer_is_stopped(fault: str, is_streamed: bool) -> None:
    assert isinstance(await error_of(fault, is_streamed=is_streamed), errors.TooLargeError)


@pytest.mark.parametrize("fault", BROKEN)
async def test_a_broken_connection_is_no_answer(fault: str) -> None:
    error = await error_of(fault)
    assert type(error) is errors.ConnectError
    assert error.retryable
    assert error.was_sent


@pytest.mark.parametrize("fault", [*SLOW, "sse-comments-forever"])
async def test_a_slow_answer_ends_with_the_deadline(fault: str, is_streamed: bool) -> None:
    started = time.monotonic()
    error = await error_of(fault, is_streamed=is_streamed, deadline_s=DEADLINE_S)
    assert isinstance(error, errors.ProviderTimeoutError)
    assert error.kind == "total"
    assert time.monotonic() - started < DEADLINE_S + 0.5


@pytest.mark.parametrize("fault", BROKEN_STREAMS)
async def test_a_stream_without_finish_is_truncated_and_keeps_its_text(fault: str) -> None:
    error = await error_of(fault, is_streamed=True)
    assert type(error) is errors.StreamTruncatedError
    assert error.partial_text
    assert TEXT.startswith(error.partial_text)


@pytest.mark.parametrize("fault", BAD_STREAMS)
async def test_a_stream_of_something_else_is_typed(fault: str) -> None:
    error = await error_of(fault, is_streamed=True)
    assert isinstance(error, errors.BadResponseError | errors.ServerError)
    assert error.partial_text in ("", "The answer ")


async def test_an_error_in_an_answer_has_its_own_status(is_streamed: bool) -> None:
    error = await error_of("error-in-200", is_streamed=is_streamed)
    assert (type(error), error.status, error.retryable) == (errors.ServerError, 503, True)


async def test_a_stream_that_stalls_ends_between_bytes() -> None:
    started = time.monotonic()
    error = await error_of("stall-midstream", is_streamed=True, between_s=0.1)
    assert isinstance(error, errors.ProviderTimeoutError)
    assert (error.kind, error.partial_text) == ("between_bytes", "The answer ")
    assert time.monotonic() - started < 0.5


async def test_a_model_that_does_not_stop_is_stopped() -> None:
    error = await error_of("sse-infinite", is_streamed=True)
    assert type(error) is errors.TooLargeError
    assert error.partial_text.startswith("more and more")


async def test_an_event_that_does_not_end_is_stopped() -> None:
    error = await error_of("sse-long-line", is_streamed=True, deadline_s=DEADLINE_S)
    assert isinstance(error, errors.TooLargeError | errors.ProviderTimeoutError)


@pytest.mark.parametrize("fault", GOOD_STREAMS)
async def test_the_text_of_a_stream_is_exact(fault: str) -> None:
    async with FaultServer(fault) as server:
        completion = await ask(server.url, is_streamed=True)
    assert completion.text == TEXT
    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (10, 5)
    assert completion.finish_reason == "stop"


@pytest.mark.parametrize("fault", OK)
async def test_an_answer_in_any_dress_is_read(fault: str) -> None:
    async with FaultServer(fault) as server:
        assert (await ask(server.url, is_streamed=False)).text == TEXT


async def test_a_refused_connection_was_not_sent(is_streamed: bool) -> None:
    with refusing_port() as port, pytest.raises(errors.ConnectError) as caught:
        await ask(f"http://127.0.0.1:{port}/v1", is_streamed=is_streamed)
    assert not caught.value.was_sent


async def test_a_connection_that_is_not_accepted_ends_in_time(is_streamed: bool) -> None:
    with unaccepting_port() as port, pytest.raises(errors.ProviderTimeoutError) as caught:
        await ask(f"http://127.0.0.1:{port}/v1", is_streamed=is_streamed, connect_s=0.2)
    assert (caught.value.kind, caught.value.was_sent) == ("connect", False)


async def test_an_unknown_host_is_a_connect_error() -> None:
    with pytest.raises((errors.ConnectError, errors.ProviderTimeoutError)) as caught:
        await ask("https://fault.invalid/v1", is_streamed=False)
    assert not caught.value.was_sent


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_fault_leaves_a_connection_open(fault: str, is_streamed: bool) -> None:
    async with FaultServer(fault) as server:
        with suppress(ProviderError):
            await ask(server.url, is_streamed=is_streamed, deadline_s=DEADLINE_S)
        await server.all_gone(1.0)
        assert server.n_open == 0


def test_slow_streams_are_tested_above() -> None:
    assert SLOW_STREAMS.keys() == {"stall-midstream", "sse-comments-forever"}
