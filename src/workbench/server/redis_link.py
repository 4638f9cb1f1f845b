"""The way to the Redis that the workers of a server share: quick, or not taken.

A question that is not answered in 50 ms is given up, and nothing is asked for a second after that but whether
it is back. So a Redis that hangs costs each worker one such wait.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from workbench.errors import ConfigError, MissingExtraError
from workbench.settings import Secret

try:
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.commands.core import AsyncScript
    from redis.exceptions import RedisError

    from workbench.cache.redis_url import address_of, connection_settings
except ImportError as exc:
    raise MissingExtraError("redis", "limits that workers share in Redis") from exc

log = logging.getLogger("workbench")

PATIENCE_S = 0.05
_AWAY_S = 1.0
_TROUBLE = (RedisError, OSError, ValueError, RecursionError)

Answer = Any
"""What a script returns: integers, bytes and lists of them; only its caller looks inside."""


class RedisLink:
    """One Redis; `is_away` while it is not asked.

    Raises:
        ConfigError: `url` is no address of a Redis; nothing of it is in the error.
    """

    def __init__(self, url: Secret, *, patience_s: float = PATIENCE_S, away_s: float = _AWAY_S) -> None:
        settings = connection_settings(url)
        self.address = address_of(settings)
        self._redis = Redis.from_pool(BlockingConnectionPool(**settings))
        self._patience_s = patience_s
        self._away_s = away_s
        self._ask_again_s = 0.0
        self._scripts: dict[str, AsyncScript] = {}
        self.problem: str | None = None
        """Why the last question was not answered; None: it was."""
        self.latency_s = 0.0

    @property
    def is_away(self) -> bool:
        """Whether it did not answer when it was last asked."""
        return self.problem is not None

    async def aclose(self) -> None:
        """Close the connections."""
        with suppress(*_TROUBLE):
            async with asyncio.timeout(self._patience_s):
                await self._redis.aclose()

    async def run(
        self,
        script: str,
        keys: Sequence[str],
        arguments: Sequence[str | int | float],
        *,
        is_probe: bool = False,
    ) -> Answer | None:
        """What a Lua script returns; None: Redis does not answer.

        Args:
            is_probe: ask also where it did not answer lately, at most once a second.
        """
        if self.is_away and not (is_probe and time.monotonic() >= self._ask_again_s):
            return None
        if script not in self._scripts:
            self._scripts[script] = self._redis.register_script(script)
        started_s = time.monotonic()
        asking = asyncio.ensure_future(self._scripts[script](keys=list(keys), args=list(arguments)))
        try:
            await asyncio.wait([asking], timeout=self._patience_s)
            for _ in range(_LAST_TURNS):
                if asking.done():
                    break
                await asyncio.sleep(0)  # its answer may have come while this process was busy
        finally:
            if not asking.done():
                asking.cancel()
        return self._heard(asking, started_s)

    async def problem_now(self) -> str | None:
        """Why it does not answer; None: it does."""
        await self.run("return 1", (), (), is_probe=True)
        return self.problem

    def _heard(self, asking: "asyncio.Future[Answer]", started_s: float) -> Answer | None:
        problem = f"no answer in {self._patience_s * 1000:g} ms"
        if asking.done() and not asking.cancelled():
            failure = asking.exception()
            if failure is None:
                self._is_back()
                self.latency_s = time.monotonic() - started_s
                return asking.result()
            if not isinstance(failure, _TROUBLE):
                raise failure
            problem = type(failure).__name__  # not its text, which holds what the other side sent
        if not self.is_away:
            log.warning("redis at %s: %s; each worker keeps to its share", self.address, problem)
        self.problem, self._ask_again_s = problem, time.monotonic() + self._away_s
        return None

    def _is_back(self) -> None:
        if self.is_away:
            log.warning("redis at %s: back", self.address)
        self.problem = None


_LAST_TURNS = 5


def link_of(url: Secret | None, variable: str) -> RedisLink:
    """The Redis at `url`, which came from `variable`.

    Raises:
        ConfigError: there is none.
    """
    if url is None:
        raise ConfigError(f"workers that share limits need a Redis: set {variable} to redis://host:port/0")
    return RedisLink(url)
