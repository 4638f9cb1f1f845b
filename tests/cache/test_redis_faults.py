"""A Redis that is gone, silent, slow or talks nonsense: a miss, soon at no cost, and never an error."""

import asyncio
import gc
import logging
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from calling import PROMPT
from calling import serving as provider_serving
from faults import TEXT, refusing_port
from redis_server import RedisServer, serving
from workbench.cache.redis import RedisStore
from workbench.providers.cache import Cached
from workbench.providers.chat_completions import ChatCompletions
from workbench.types import Decoding

pytestmark = pytest.mark.anyio

ADDED_S = 0.05
"""What a call may wait once the store knows that the server is out."""
NONSENSE = {
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "binary": bytes(range(256)) * 40,
    "no-number": b"$abc\r\n",
    "no-end": b":" + b"9" * 100_000,
    "nested": b"*1\r\n" * 5_000,
    "cut": b"$1000\r\nabc",
    "no-entry": b"+OK\r\n",
    "refusal": b"-ERR no\r\n",
    "redirect": b"-MOVED nowhere\r\n",
    "loading": b"-LOADING\r\n",
}


@asynccontextmanager
async def listening(serve: Callable[[StreamReader, StreamWriter], Awaitable[object]]) -> AsyncIterator[str]:
    """The URL of a server that lets `serve` have each connection."""
    served: set[asyncio.Task] = set()

    async def one(reader: StreamReader, writer: StreamWriter) -> None:
        served.add(asyncio.current_task())  # type: ignore[arg-type]
        try:
            await serve(reader, writer)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()

    async with await asyncio.start_server(one, "127.0.0.1", 0) as server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        for task in served:
            task.cancel()
        await asyncio.gather(*served)
        await asyncio.sleep(0)  # for the aborted to close


@asynccontextmanager
async def replying(*replies: bytes) -> AsyncIterator[str]:
    """A server that has one of `replies` in turn for whatever it hears, and the last one from then on."""
    left = list(replies)

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        while await reader.read(4096):
            writer.write(left.pop(0) if len(left) > 1 else left[0])
        raise ConnectionError

    async with listening(serve) as url:
        yield url


@asynccontextmanager
async def behind_latency(server: RedisServer, latency_s: float) -> AsyncIterator[str]:
    """The same server, but what it says takes `latency_s` seconds to arrive."""

    async def pass_on(reader: StreamReader, writer: StreamWriter, wait_s: float) -> None:
        while read := await reader.read(4096):
            await asyncio.sleep(wait_s)
            writer.write(read)
        raise ConnectionError

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        to, back = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(pass_on(reader, back, 0.0))
                both.create_task(pass_on(to, writer, latency_s))
        except* OSError:
            pass
        finally:
            back.transport.abort()
            writer.transport.abort()

    async with listening(serve) as url:
        yield url


@asynccontextmanager
async def store_at(url: str, **settings: float) -> AsyncIterator[RedisStore]:
    store = RedisStore(url, **settings)
    try:
        yield store
    finally:
        await store.aclose()


async def slowest_s(store: RedisStore, n_calls: int = 20) -> float:
    """The longest that any of some calls took."""
    loop, slowest = asyncio.get_running_loop(), 0.0
    for number in range(n_calls):
        started = loop.time()
        assert await store.get(str(number)) is None
        await store.put(str(number), b"1")
        slowest = max(slowest, loop.time() - started)
    return slowest


async def until_back(store: RedisStore) -> None:
    """Call until the store has found out that its server is back."""
    async with asyncio.timeout(5.0):
        while store.is_out:
            await store.get("a")
            await asyncio.sleep(0.01)


async def test_where_nothing_listens_every_call_is_a_miss() -> None:
    with refusing_port() as port:
        async with store_at(f"redis://127.0.0.1:{port}/0") as store:
            assert await slowest_s(store) < ADDED_S
            assert (store.is_out, store.statistics.n_failures) == (True, 40)


async def test_who_never_answers_is_waited_for_three_times() -> None:
    async with replying(b"") as url, store_at(url) as store:
        started = asyncio.get_running_loop().time()
        for _ in range(3):
            assert await store.get("a") is None
        assert 0.7 < asyncio.get_running_loop().time() - started < 1.5
        assert store.is_out
        assert await slowest_s(store) < ADDED_S


async def test_half_a_second_of_latency_is_not_waited_for(redis: RedisServer) -> None:
    async with behind_latency(redis, 0.5) as url, store_at(url, patience_s=0.1, retry_s=0.01) as store:
        await slowest_s(store, 2)
        assert store.is_out
        for _ in range(20):
            assert await slowest_s(store, 1) < ADDED_S  # also while it is asked whether it is back
            await asyncio.sleep(0.01)
        assert store.is_out


@pytest.mark.parametrize("reply", NONSENSE.values(), ids=NONSENSE.keys())
async def test_nonsense_is_a_miss_and_soon_costs_nothing(reply: bytes) -> None:
    async with replying(reply) as url, store_at(url, patience_s=0.1) as store:
        await slowest_s(store, 6)
        assert await slowest_s(store) < ADDED_S


async def test_a_server_that_is_killed_and_comes_back_is_used_again(tmp_path: Path) -> None:
    async with provider_serving("ok") as [model]:
        with serving(tmp_path) as server:
            async with store_at(server.url, retry_s=0.02) as store:
                provider = Cached(ChatCompletions("one", model.url), store)

                async def ask() -> bool:
                    answer = await provider.complete("small", PROMPT, Decoding(), deadline_s=5.0)
                    assert answer.text == TEXT
                    return answer.is_cached

                assert [await ask(), await ask()] == [False, True]
                server.kill()
                assert [await ask() for _ in range(5)] == [False] * 5
                assert store.is_out
                server.start()
                await until_back(store)
                assert [await ask(), await ask()] == [False, True]
                await provider.aclose()


async def test_a_server_that_hung_and_goes_on_is_used_again(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        async with store_at(server.url, patience_s=0.15, retry_s=0.02) as store:
            await store.put("a", b"1")
            with server.stopped():
                await slowest_s(store, 2)
                assert store.is_out
                assert await slowest_s(store) < ADDED_S
            await until_back(store)
            assert await store.get("a") == b"1"


async def test_it_is_said_once_that_it_is_out_and_once_that_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = RedisServer(tmp_path)
    async with store_at(server.url, retry_s=0.01) as store:
        await asyncio.gather(*(store.get(str(number)) for number in range(50)))
        await store.get("a")
        server.start()
        await until_back(store)
        server.kill()
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    address = f"cache at 127.0.0.1:{server.port}/0"
    assert said == [f"{address}: ConnectionError; going on without it", f"{address}: back"]


async def test_a_connection_that_breaks_now_and_then_puts_nothing_out(redis: RedisServer) -> None:
    async with store_at(redis.url, patience_s=5.0) as store:
        await store.put("a", b"1")
        for _ in range(10):
            redis.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            found = [await store.get("a") for _ in range(4)]
            assert (found[1:], store.is_out) == ([b"1"] * 3, False)


async def test_a_server_that_reads_and_does_not_write_is_out(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        async with store_at(server.url, patience_s=0.15, retry_s=0.02) as store:
            server.command("CLIENT", "PAUSE", "1500", "WRITE")
            await slowest_s(store, 6)
            for _ in range(10):
                assert await slowest_s(store, 1) < ADDED_S
                await asyncio.sleep(0.02)
            assert store.is_out
            await until_back(store)


async def test_a_call_that_is_given_up_leaves_no_answer_for_the_next(redis: RedisServer) -> None:
    async with store_at(redis.url) as direct:
        await asyncio.gather(*(direct.put(name, name.encode()) for name in "abcdefgh"))
    async with behind_latency(redis, 0.02) as url, store_at(url, patience_s=2.0) as store:
        for name in "abcdefgh":
            given_up = asyncio.create_task(store.get(name))
            await asyncio.sleep(0.03)
            given_up.cancel()
        found = await asyncio.gather(*(store.get(name) for name in "hgfedcba"))
    assert found == [name.encode() for name in "hgfedcba"]


async def test_two_hundred_calls_at_once_need_no_more_than_sixteen_connections(redis: RedisServer) -> None:
    async with store_at(redis.url, patience_s=5.0) as store:
        await asyncio.gather(*(store.put(str(number), b"1") for number in range(200)))
        clients = redis.command("CLIENT", "LIST", "TYPE", "normal")
    assert len(clients if isinstance(clients, list) else clients.splitlines()) <= 17


async def test_closing_a_store_whose_server_hangs_takes_no_longer_than_a_call(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        store = RedisStore(server.url, patience_s=0.1, retry_s=0.01)
        await store.put("a", b"1")
        with server.stopped():
            await slowest_s(store, 2)
            await asyncio.sleep(0.02)
            await store.get("a")
            started = asyncio.get_running_loop().time()
            await store.aclose()
            assert asyncio.get_running_loop().time() - started < 0.3


@pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "left-open"])
def test_a_store_may_be_used_in_one_event_loop_after_another(redis: RedisServer, is_closed: bool) -> None:
    store = RedisStore(redis.url, patience_s=5.0)

    async def once(is_closed: bool) -> bytes | None:
        await store.put("loops", b"1")
        found = await store.get("loops")
        if is_closed:
            await store.aclose()
        return found

    assert [asyncio.run(once(is_closed)), asyncio.run(once(True))] == [b"1", b"1"]
    assert store.statistics.n_failures == 0
    gc.collect()  # what was left open says so in this test, and in no other
