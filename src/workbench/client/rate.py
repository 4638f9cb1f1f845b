"""Requests and tokens per minute: those that were agreed on, and those that a server tells in its headers."""

import asyncio
import math
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal

Kind = Literal["requests", "tokens"]

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_FASTER, _SLOWER = 1.005, 0.95
_BURST_S = 0.05
_SHORTEST_S = 0.001
_LONGEST_RESET_S = 31 * 86_400.0
_HEADERS: dict[Kind, tuple[tuple[str, str, str], ...]] = {
    "requests": (
        ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
        (
            "anthropic-ratelimit-requests-limit",
            "anthropic-ratelimit-requests-remaining",
            "anthropic-ratelimit-requests-reset",
        ),
    ),
    "tokens": (
        ("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
        (
            "anthropic-ratelimit-tokens-limit",
            "anthropic-ratelimit-tokens-remaining",
            "anthropic-ratelimit-tokens-reset",
        ),
    ),
}
"""Limit, remaining and time of reset, as in https://platform.openai.com/docs/guides/rate-limits and
https://docs.anthropic.com/en/api/rate-limits (2026-11-23)."""


class Bucket:
    """A token bucket. What asks for more than it can hold waits until it is full, and overdraws it."""

    __slots__ = ("_at", "capacity", "level", "per_s")

    def __init__(self, capacity: float, *, per_s: float, now: float) -> None:
        self.capacity = self.level = capacity
        self.per_s = per_s
        self._at = now

    def wait_s(self, amount: float, now: float) -> float:
        """Seconds until `amount` can be taken; 0.0: now."""
        self.level = min(self.capacity, self.level + (now - self._at) * self.per_s)
        self._at = now
        return max(0.0, (min(amount, self.capacity) - self.level) / self.per_s)

    def set(self, level: float, now: float) -> None:
        """Somebody who knows says how much is in it."""
        self.level, self._at = min(self.capacity, level), now


class RateLimit:
    """Requests and tokens that one account may send per minute; first come, first served.

    Tokens are reserved at the most that a request can use and settled at what it used. A limit that was
    agreed on is kept in every minute: requests are spaced, not sent in a burst at its start. One that a
    server tells is its own bucket: what remains of it, and how fast it fills. One that it does not tell is
    found out where it refuses: 5 % less than it answered between two moments for which it told to come back,
    or than one in the longest time that it told to wait if that is more; and 0.5 % more at each answer.
    `on_learned` is given what it holds when that is new; None: nobody is told.

    Args:
        requests_per_minute, tokens_per_minute: None: no limit, until a server tells one.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self.requests = self._paced(requests_per_minute, least=1.0)
        self.tokens = self._paced(tokens_per_minute, least=1.0)
        self.on_learned: Callable[[Kind, float], object] | None = None
        self._n_under_way = 0
        self._tokens_under_way = 0
        self._is_found_out = False
        self._n_answered = 0
        self._welcome_at: float | None = None
        self._longest_s = 0.0
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()

    def wait_s(self, n_tokens: int) -> float:
        """Seconds until a request of at most `n_tokens` tokens may be sent, if nobody else asks first."""
        if self.requests is None and self.tokens is None:
            return 0.0
        now = self._clock()
        asked = ((self.requests, 1.0), (self.tokens, float(n_tokens)))
        return max(0.0 if bucket is None else bucket.wait_s(amount, now) for bucket, amount in asked)

    async def reserve(self, n_tokens: int, *, patience_s: float = math.inf) -> None:
        """Wait until a request of at most `n_tokens` tokens may be sent, and count it.

        Args:
            patience_s: what would take longer than this is not waited for.
        """
        if self.requests is not None or self.tokens is not None:
            async with self._turn:
                while 0.0 < (wait_s := self.wait_s(n_tokens)) <= patience_s:
                    self._changed.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(wait_s):
                            await self._changed.wait()
        if self.requests is not None:
            self.requests.level -= 1.0
        if self.tokens is not None:
            self.tokens.level -= n_tokens
        self._n_under_way += 1
        self._tokens_under_way += n_tokens

    def settle(self, n_reserved: int, n_used: int) -> None:
        """A request is over: give back the tokens that it reserved and did not use."""
        self._n_under_way -= 1
        self._tokens_under_way -= n_reserved
        if self.tokens is not None:
            self.tokens.level += n_reserved - n_used
            self._changed.set()

    def hear(self, headers: Mapping[str, str], n_reserved: int) -> bool:
        """Learn from the headers of the answer to a request of `n_reserved` tokens; False: they say nothing.

        What remains is lessened by all that is under way, as the server may not have counted that yet.
        """
        requests, tokens = _told(headers, "requests"), _told(headers, "tokens")
        if requests is None and tokens is None:
            return False
        n_others, n_tokens = self._n_under_way - 1, self._tokens_under_way - n_reserved
        self.requests = self._learned("requests", self.requests, requests, n_under_way=n_others)
        self.tokens = self._learned("tokens", self.tokens, tokens, n_under_way=n_tokens)
        self._is_found_out = self._is_found_out and requests is None
        self._changed.set()
        return True

    def answer(self) -> None:
        """A request was answered; a rate that was found out may be a little too low."""
        self._n_answered += 1
        if self._is_found_out and self.requests is not None:
            self.requests.per_s *= _FASTER

    def refuse(self, wait_s: float) -> None:
        """A request was refused as too soon, and the next one is welcome in `wait_s`."""
        if wait_s <= 0.0 or not (self.requests is None or self._is_found_out):
            return
        now = self._clock()
        welcome_at = now + wait_s
        self._longest_s = max(self._longest_s, wait_s)
        if self._welcome_at is not None and self._n_answered:
            per_s = self._n_answered / max(welcome_at - self._welcome_at, _SHORTEST_S)
            self._find_out(_SLOWER * max(per_s, 1.0 / self._longest_s), now)
        if self._is_found_out and self.requests is not None:
            self.requests.set(1.0 - wait_s * self.requests.per_s, now)  # the next one goes when it is welcome
        if self._welcome_at is None or self._n_answered:
            self._welcome_at, self._n_answered = welcome_at, 0

    def _find_out(self, per_s: float, now: float) -> None:
        self.requests, self._is_found_out = Bucket(max(1.0, per_s * _BURST_S), per_s=per_s, now=now), True
        if self.on_learned is not None:
            self.on_learned("requests", 60.0 * per_s)

    def _paced(self, per_minute: float | None, *, least: float) -> Bucket | None:
        if per_minute is None:
            return None
        return Bucket(max(least, per_minute / 60.0), per_s=per_minute / 60.0, now=self._clock())

    def _learned(
        self, kind: Kind, bucket: Bucket | None, told: tuple[float, float, float] | None, *, n_under_way: int
    ) -> Bucket | None:
        """The server's bucket: it is full again at its reset, whatever the period of its limit is."""
        if told is None:
            return bucket
        limit, remaining, reset_s = told
        now = self._clock()
        per_s = (limit - remaining) / reset_s if reset_s > 0.0 and limit > remaining else None
        was = None if bucket is None else bucket.capacity
        if bucket is None:
            if per_s is None:
                return None
            bucket = Bucket(limit, per_s=per_s, now=now)
        if self.on_learned is not None and limit != was:
            self.on_learned(kind, limit)
        bucket.capacity, bucket.per_s = limit, per_s or bucket.per_s
        bucket.set(remaining - n_under_way, now)
        return bucket


def _told(headers: Mapping[str, str], kind: Kind) -> tuple[float, float, float] | None:
    """Limit, remaining, and seconds until all of it is there again; None: the server says none of it."""
    for limit_name, remaining_name, reset_name in _HEADERS[kind]:
        written = headers.get(remaining_name)
        if written is None:
            continue
        remaining, reset_s = _number(written), seconds_until(headers.get(reset_name, ""))
        if remaining is None or reset_s is None:
            return None
        limit = _number(headers.get(limit_name, ""))
        return max(1.0, remaining, limit or 0.0), remaining, reset_s
    return None


def seconds_until(written: str) -> float | None:
    """Seconds until a reset, written as 6m0s, 20ms, 1.5 or an RFC 3339 time; None: it is none of these.

    >>> seconds_until("6m0.5s"), seconds_until("20ms"), seconds_until("soon")
    (360.5, 0.02, None)
    """
    written = written.strip()
    seconds = _number(written)
    if seconds is None and (match := _DURATION.fullmatch(written)) and written:
        hours, minutes, whole, thousandths = (float(part or 0.0) for part in match.groups())
        seconds = hours * 3600.0 + minutes * 60.0 + whole + thousandths / 1000.0
    if seconds is None:
        seconds = _seconds_until_date(written)
    return seconds if seconds is not None and 0.0 <= seconds <= _LONGEST_RESET_S else None


def _seconds_until_date(written: str) -> float | None:
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return (moment - datetime.now(UTC)).total_seconds()


def _number(written: str) -> float | None:
    try:
        number = float(written)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0.0 else None
