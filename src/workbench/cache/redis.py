"""Answers kept in Redis, where any number of machines find them. Owns redis.

Whatever the server does (gone, silent, slow, full, talking nonsense) is a miss. One that fails three times in
a row, or over a third of the time, is out: calls pass it by at once, while a task in the background asks
whether it is back.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from workbench.cache.entry import SCHEMA_VERSION
from workbench.cache.flights import Flights
from workbench.cache.store import Statistics
from workbench.errors import ConfigError, MissingExtraError
from workbench.settings import Secret

try:
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.exceptions import RedisError, ResponseError

    from workbench.cache.redis_url import address_of, connection_settings
except ImportError as exc:
    raise MissingExtraError("redis", "a cache in Redis") from exc

log = logging.getLogger("workbench")

PREFIX = f"workbench:answers:{SCHEMA_VERSION}:"
"""What the names of all entries begin with; the key of the call follows."""

_DAYS_S = 86_400.0
_LARGEST_BYTES = 2**20
_LONGEST_HEAD_BYTES = 16
_A_FAILURE, _TOO_MUCH = 2, 6
"""What a failure adds to the trouble, of which an answer takes one off, and what makes a server out."""
_TROUBLE = (RedisError, OSError, ValueError, RecursionError)
"""The last two are what the parser makes of nonsense: numbers that are none, and lists without end."""

_T = TypeVar("_T")


class RedisStore:
    """Answers in the Redis server at `url`, each for `lifetime_s` seconds unless the server needs the room.

    Nothing is asked of the server before the first call. Which answers go when it is full is its own setting
    (`maxmemory-policy`); an answer of over 1 MiB is not kept.

    `address` is where the server is, without user and password.

    Args:
        url: `redis://[[user]:password@]host[:port][/database]`; `rediss://` over TLS, `unix://` a socket.
        patience_s: how long a call waits for the server at most.
        retry_s: how often a server that failed is asked whether it is back.

    Raises:
        ConfigError: `url` is no address of a Redis, or a time is not positive.
    """

    def __init__(
        self,
        url: str | Secret,
        *,
        lifetime_s: float = 30 * _DAYS_S,
        patience_s: float = 0.25,
        retry_s: float = 1.0,
    ) -> None:
        if not (0.001 <= lifetime_s < 1e11 and patience_s > 0.0 and retry_s > 0.0):
            raise ConfigError("lifetime_s (1 ms or more), patience_s and retry_s must be positive numbers")
        self.statistics = Statistics()
        self.flights = Flights()
        self._lifetime_ms = int(lifetime_s * 1000)
        self._patience_s = patience_s
        self._retry_s = retry_s
        self._trouble = 0
        self._refusals: set[str] = set()
        self._asked_at = 0.0
        self._redis: Redis | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asking: asyncio.Task[None] | None = None
        self.address = "?"  # in a traceback that shows variables, where the URL is refused
        self._settings = connection_settings(url if isinstance(url, Secret) else Secret(url))
        self.address = address_of(self._settings)

    @property
    def is_out(self) -> bool:
        """Whether calls pass by the server, since it failed too often and is not back."""
        return self._trouble >= _TOO_MUCH

    def __repr__(self) -> str:
        return f"<RedisStore {self.address}{' (out)' if self.is_out else ''}>"

    async def get(self, key: str, *, max_age_s: float | None = None) -> bytes | None:
        """What was put there, unless it is older than `max_age_s` seconds (None: of any age).

        What is there and is no entry is deleted. Ages are by the server's clock alone.
        """
        return await self._tried(lambda redis: _get(redis, key, max_age_s))

    async def put(self, key: str, content: bytes) -> None:
        """Keep `content`, unless it is over 1 MiB."""
        if len(content) <= _LARGEST_BYTES:
            await self._tried(lambda redis: self._put(redis, key, content))

    async def delete(self, key: str) -> None:
        """Forget what is there."""
        await self._tried(lambda redis: redis.delete(PREFIX + key))

    async def aclose(self) -> None:
        """Close the connections; a call after this opens new ones."""
        if self._redis is None or self._loop is not asyncio.get_running_loop():
            return
        redis, self._redis = self._redis, None
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        with suppress(*_TROUBLE):
            async with asyncio.timeout(self._patience_s):
                await redis.aclose()

    async def _put(self, redis: Redis, key: str, content: bytes) -> None:
        await redis.set(PREFIX + key, b"%d\n%b" % (self._lifetime_ms, content), px=self._lifetime_ms)
        self.statistics.n_stores += 1

    async def _tried(self, work: Callable[[Redis], Awaitable[_T]]) -> _T | None:
        """What `work` gives; None where the server does not let it, or not in time."""
        redis = self._connected()
        if self.is_out:
            self.statistics.n_failures += 1
            self._ask_in_the_background(redis)
            return None
        try:
            async with asyncio.timeout(self._patience_s):
                done = await work(redis)
        except _TROUBLE as exc:
            self._note(exc)
            return None
        self._trouble = max(0, self._trouble - 1)
        return done

    def _note(self, exc: Exception) -> None:
        # Only the class of the error is written: its text may hold whatever the other side sent.
        self.statistics.n_failures += 1
        error = type(exc).__name__
        if isinstance(exc, ResponseError):  # such as for want of room or rights: the server is there
            self._say_refused(error)
            return
        log.info("cache at %s: %s", self.address, error)
        was_out, self._trouble = self.is_out, min(_TOO_MUCH, self._trouble + _A_FAILURE)
        if self.is_out and not was_out:
            self._asked_at = asyncio.get_running_loop().time()
            log.warning("cache at %s: %s; going on without it", self.address, error)

    def _say_refused(self, error: str) -> None:
        level = logging.INFO if error in self._refusals else logging.WARNING
        self._refusals.add(error)
        log.log(level, "cache at %s refuses: %s", self.address, error)

    def _ask_in_the_background(self, redis: Redis) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - self._asked_at >= self._retry_s and (self._asking is None or self._asking.done()):
            self._asked_at = loop.time()
            self._asking = loop.create_task(self._ask(redis))

    async def _ask(self, redis: Redis) -> None:
        """Read and write as calls do, and let them in again if that works."""
        with suppress(*_TROUBLE):
            async with asyncio.timeout(self._patience_s):
                await _get(redis, "", None)
                with suppress(ResponseError):  # one that is full, or a replica, can still be read
                    await redis.set(PREFIX, b"", px=1)
            self._trouble = 0
            log.warning("cache at %s: back", self.address)

    def _connected(self) -> Redis:
        """A client of this event loop: connections do not outlive the one they were made in."""
        loop = asyncio.get_running_loop()
        if self._redis is None or self._loop is not loop:
            pool = BlockingConnectionPool(**self._settings)
            self._redis, self._loop, self._asking = Redis.from_pool(pool), loop, None
        return self._redis


async def _get(redis: Redis, key: str, max_age_s: float | None) -> bytes | None:
    name = PREFIX + key
    async with redis.pipeline(transaction=False) as pipeline:
        # Not GET: what somebody else put there may be of any size.
        pipeline.getrange(name, 0, _LONGEST_HEAD_BYTES + _LARGEST_BYTES)
        pipeline.pttl(name)
        entry, left_ms = await pipeline.execute(raise_on_error=False)
    for answer in (entry, left_ms):
        if isinstance(answer, Exception) and not str(answer).startswith("WRONGTYPE"):
            raise answer
    content, age_s = _read(entry, left_ms)
    if content is not None and (max_age_s is None or age_s <= max_age_s):
        return content
    if entry != b"":
        await redis.delete(name)
    return None


def _read(entry: object, left_ms: object) -> tuple[bytes | None, float]:
    """What was put, and its age in seconds; None: it is no entry, or one that does not expire.

    An entry begins with its lifetime in milliseconds, since a store of another may have put it there.
    """
    if not isinstance(entry, bytes) or not isinstance(left_ms, int):
        return None, 0.0
    head, _, content = entry.partition(b"\n")
    if not head.isdigit() or len(head) >= _LONGEST_HEAD_BYTES or len(content) > _LARGEST_BYTES:
        return None, 0.0
    age_s = (int(head) - left_ms) / 1000
    return (content, age_s) if left_ms >= 0 and age_s >= 0.0 else (None, 0.0)
