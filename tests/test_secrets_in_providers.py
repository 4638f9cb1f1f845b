"""A key is in no message, traceback, log, repr, pickle or copy, whatever the server does."""

import asyncio
import copy
import io
import json
import logging
import pickle
import traceback
from collections.abc import Iterator

import pytest

from faults import (
    CANARY,
    DONE,
    FAULTS,
    LONG_STREAMS,
    SLOW,
    SLOW_STREAMS,
    USAGE,
    FaultServer,
    answer,
    delta,
    refusing_port,
    stream,
    unaccepting_port,
    whole,
)
from workbench.client import Client, Limits
from workbench.errors import ProviderError, StreamTruncatedError
from workbench.providers.chat_completions import ChatCompletions
from workbench.providers.http import Timeouts
from workbench.settings import Secret
from workbench.types import Decoding, Prompt

pytestmark = pytest.mark.anyio

SLOW_ONES = {*SLOW, *SLOW_STREAMS, *LONG_STREAMS}
PROMPT = Prompt("p1", "2 + 2?")


def faulty(url: str, *, connect_s: float = 10.0) -> ChatCompletions:
    timeouts = Timeouts(connect_s=connect_s, between_bytes_s=0.2)
    return ChatCompletions("faulty", url, key=Secret(CANARY), timeouts=timeouts)


async def fail(
    provider: ChatCompletions, *, is_streamed: bool, deadline_s: float = 5.0
) -> BaseException | None:
    """What a call raises; None where it was answered."""
    limits = Limits(deadline_s=deadline_s, max_attempts=1)
    async with Client([provider], limits=limits) as client:
        try:
            if not is_streamed:
                await client.complete("faulty/small", PROMPT, decoding=Decoding(max_output_tokens=100))
            else:
                async for _ in client.stream("faulty/small", PROMPT):
                    pass
        except ProviderError as exc:
            return exc
    return None


def everything_shown(exc: BaseException) -> str:
    """All that a traceback with locals, of this and of every exception behind it, could show."""
    shown = io.StringIO()
    seen: BaseException | None = exc
    while seen is not None:
        traceback.TracebackException.from_exception(seen, capture_locals=True).print(file=shown)
        print(repr(seen), str(seen), vars(seen), seen.args, file=shown)
        frame = seen.__traceback__
        while frame is not None:
            print(
                [vars(value) for value in frame.tb_frame.f_locals.values() if hasattr(value, "__dict__")],
                file=shown,
            )
            frame = frame.tb_next
        seen = seen.__cause__ or seen.__context__
    return shown.getvalue()


@pytest.fixture
def logs() -> Iterator[io.StringIO]:
    """Everything logged at any level by anyone."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.mark.parametrize("is_streamed", [False, True], ids=["unary", "streamed"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_no_fault_shows_the_key(fault: str, is_streamed: bool, logs: io.StringIO) -> None:
    asyncio.get_running_loop().set_debug(True)
    async with FaultServer(fault) as server:
        error = await fail(
            faulty(server.url), is_streamed=is_streamed, deadline_s=0.4 if fault in SLOW_ONES else 60.0
        )
        assert f"Bearer {CANARY}" in server.requests[0].head
    if error is not None:
        assert CANARY not in everything_shown(error)
    assert CANARY not in logs.getvalue()
    assert PROMPT.text not in logs.getvalue()


@pytest.mark.parametrize("port", [refusing_port, unaccepting_port])
async def test_no_connection_shows_no_key(port: object) -> None:
    with port() as number:  # type: ignore[operator]
        error = await fail(faulty(f"http://127.0.0.1:{number}/v1", connect_s=0.2), is_streamed=False)
    assert error is not None
    assert CANARY not in everything_shown(error)


async def test_a_cancelled_call_shows_no_key() -> None:
    async with FaultServer("hang") as server:
        provider = faulty(server.url)
        task = asyncio.create_task(raised(provider))
        await asyncio.sleep(0.1)
        task.cancel()
        error = await task
        await provider.aclose()
    assert isinstance(error, asyncio.CancelledError)
    assert CANARY not in everything_shown(error)


async def raised(provider: ChatCompletions) -> BaseException:
    try:
        await provider.complete("small", PROMPT, Decoding(), deadline_s=5.0)
    except asyncio.CancelledError as exc:
        return exc
    raise AssertionError("it was answered")


async def test_the_cause_is_kept_as_text() -> None:
    async with FaultServer("reset") as server:
        error = await fail(faulty(server.url), is_streamed=False)
    assert error is not None
    assert "ClientOSError" in str(error.__cause__) or "Disconnected" in str(error.__cause__)


async def test_a_provider_and_its_client_hide_the_key() -> None:
    async with Client([provider := faulty("http://127.0.0.1:9/v1")]) as client:
        parts = [provider, provider._http, provider._http._transport, client]
        shown = " ".join(f"{part!r} {part!s} {vars(part)}" for part in parts)
        assert CANARY not in shown + repr(vars(copy.copy(provider)))
        assert CANARY not in repr(provider._http._headers)
        with pytest.raises(TypeError):
            pickle.dumps(provider)
        with pytest.raises(TypeError):
            json.dumps(vars(provider))


async def test_the_key_goes_to_no_other_host() -> None:
    async with FaultServer("ok") as elsewhere:
        moved = f"HTTP/1.1 307 Go\r\nLocation: {elsewhere.url}/chat/completions\r\nContent-Length: 0\r\n\r\n"
        async with FaultServer(lambda: [moved.encode()]) as server:
            assert await fail(faulty(server.url), is_streamed=False) is not None
        assert elsewhere.requests == []


ECHO = f"Your key is {CANARY}, and canaries sing."


async def test_an_answer_that_repeats_the_key_is_kept_without_it() -> None:
    choice = {"index": 0, "message": {"content": ECHO}, "finish_reason": f"stop {CANARY}"}
    body = answer(choices=[choice], model=f"small-{CANARY}", id=CANARY)
    async with FaultServer(whole(body)) as server, Client([faulty(server.url)]) as client:
        completion = await client.complete("faulty/small", PROMPT)
    assert completion.text == "Your key is **********, and canaries sing."
    assert CANARY not in repr(completion)


@pytest.mark.parametrize("size", [1, 2, 7, 13, 100])
async def test_a_streamed_key_is_masked_however_it_is_cut(size: int) -> None:
    pieces = [delta(ECHO[start : start + size]) for start in range(0, len(ECHO), size)]
    script = stream(*pieces, delta(finish="stop"), USAGE, DONE)
    async with FaultServer(script) as server, Client([faulty(server.url)]) as client:
        deltas = [one async for one in client.stream("faulty/small", PROMPT)]
    shown = "Your key is **********, and canaries sing."
    assert "".join(one.text for one in deltas) == shown
    assert deltas[-1].completion is not None
    assert deltas[-1].completion.text == shown


async def test_an_answer_that_ends_like_the_key_begins_is_whole() -> None:
    script = stream(delta("It ends in "), delta("canary"), delta(finish="stop"), USAGE, DONE)
    async with FaultServer(script) as server, Client([faulty(server.url)]) as client:
        deltas = [one async for one in client.stream("faulty/small", PROMPT)]
    assert "".join(one.text for one in deltas) == "It ends in canary"


async def test_a_stream_that_breaks_off_inside_the_key_keeps_none_of_it() -> None:
    async with FaultServer(stream(delta(f"Your key is {CANARY[:-1]}"))) as server:
        error = await fail(faulty(server.url), is_streamed=True)
    assert isinstance(error, StreamTruncatedError)
    assert error.partial_text == "Your key is "


async def test_a_placeholder_for_a_key_is_not_masked_in_answers() -> None:
    async with FaultServer("ok") as server:
        provider = ChatCompletions("faulty", server.url, key=Secret("answer"))
        async with Client([provider]) as client:
            assert (await client.complete("faulty/small", PROMPT)).text == "The answer is 4."
