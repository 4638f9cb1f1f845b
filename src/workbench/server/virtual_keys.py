"""Virtual keys: what a caller is let do, and how much of it was done.

A key has a budget, a rate and the models that it may name; none of them is a key of a provider.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import sqlalchemy as sa

from workbench.budget import Budget
from workbench.server.database import virtual_keys
from workbench.server.exchange import Refusal
from workbench.server.tokens import NewToken, id_of, is_token, new_token

_WINDOW_S = 60.0


@dataclass(frozen=True, slots=True)
class VirtualKey:
    """What a caller is let do. None: no limit; no `models`: all that the server has.

    `tenant` is whom the key belongs to: keys of one tenant see each other's requests, and no others.
    """

    key_id: str
    name: str
    tenant: str
    budget_usd: float | None = None
    requests_per_minute: float | None = None
    models: tuple[str, ...] = ()
    created_at: float = 0.0
    expires_at: float | None = None
    revoked_at: float | None = None


class Rate(Protocol):
    """Requests per minute."""

    async def wait_s(self) -> float:
        """Count a request: 0.0; or the seconds until there is room for it."""
        ...


class KeyLimits(Protocol):
    """Who counts what keys spend and how often they ask: this process alone, or all workers together."""

    def budget(self, name: str, whole_usd: float, *, spent_before: Callable[[], float]) -> Budget:
        """What may be spent under `name`."""
        ...

    def rate(self, name: str, per_minute: float) -> Rate:
        """How often one may ask under `name`."""
        ...


class OwnLimits:
    """This process counts, alone."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s

    def budget(self, name: str, whole_usd: float, *, spent_before: Callable[[], float]) -> Budget:
        """A budget of which is spent what the database says."""
        return Budget(whole_usd, spent_usd=spent_before())

    def rate(self, name: str, per_minute: float) -> Rate:
        """A bucket, full."""
        return _OwnRate(per_minute, self._now_s)


class _OwnRate:
    """A bucket of requests that holds those of a minute."""

    def __init__(self, per_minute: float, now_s: Callable[[], float]) -> None:
        self._per_minute = self._left = per_minute
        self._now_s = now_s
        self._filled_s = now_s()

    async def wait_s(self) -> float:
        rate, now_s = self._per_minute, self._now_s()
        self._left = min(max(1.0, rate), self._left + (now_s - self._filled_s) * rate / _WINDOW_S)
        self._filled_s = now_s
        if self._left < 1.0:
            return (1.0 - self._left) * _WINDOW_S / rate
        self._left -= 1.0
        return 0.0


class Caller:
    """A key in use: its budget and its rate, as this process knows them."""

    def __init__(
        self, key: VirtualKey, digest: str, *, limits: KeyLimits, spent: Callable[[], float]
    ) -> None:
        self.key = key
        self.digest = digest
        self.budget: Budget | None = None
        self._rate: Rate | None = None
        if key.budget_usd is not None:
            self.budget = limits.budget(f"key:{key.key_id}", key.budget_usd, spent_before=spent)
        if key.requests_per_minute is not None:
            self._rate = limits.rate(f"key:{key.key_id}", key.requests_per_minute)

    async def check(self, target: str) -> None:
        """Count one request.

        Raises:
            Refusal: the key may not name `target`, or asks too often.
        """
        if self.key.models and target not in self.key.models:
            raise Refusal(403, "model_not_allowed", f"this key may not ask for {target[:100]!r}")
        wait_s = 0.0 if self._rate is None else await self._rate.wait_s()
        if wait_s:
            raise Refusal(429, "rate_limit_exceeded", "this key asks too often", retry_after_s=wait_s)


class VirtualKeys:
    """All keys of the server, found by their tokens; the database has them, and this process remembers."""

    def __init__(
        self,
        engine: sa.Engine,
        *,
        spent_usd: Callable[[str], float] = lambda key_id: 0.0,
        limits: KeyLimits | None = None,
    ) -> None:
        """`spent_usd` says what a key has spent, by its id; `limits` None: this process counts alone."""
        self._engine = engine
        self._spent_usd = spent_usd
        self._limits = OwnLimits() if limits is None else limits
        self._callers: dict[str, Caller] = {}
        self.on_change: Callable[[], None] = lambda: None
        """Told when a key was made or revoked."""
        self.reload()

    def reload(self) -> None:
        """Take from the database what other processes changed."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(virtual_keys)).all()
        for row in rows:
            key, known = _key(row), self._callers.get(row.key_id)
            if known is None or known.key != key:
                spent = partial(self._spent_usd, key.key_id)
                self._callers[key.key_id] = Caller(key, row.digest, limits=self._limits, spent=spent)

    def caller(self, token: str) -> Caller | None:
        """Whose token this is; None: nobody's, or one that is over."""
        caller = self._callers.get(id_of(token) or "")
        is_known = is_token(token, None if caller is None else caller.digest)
        if not is_known or caller is None or caller.key.revoked_at is not None:
            return None
        is_over = caller.key.expires_at is not None and time.time() >= caller.key.expires_at
        return None if is_over else caller

    def create(
        self,
        name: str,
        *,
        tenant: str = "default",
        budget_usd: float | None = None,
        requests_per_minute: float | None = None,
        models: Sequence[str] = (),
        expires_at: float | None = None,
    ) -> tuple[VirtualKey, NewToken]:
        """A new key, and its token, which is not kept."""
        made = new_token()
        row = {
            "key_id": made.token_id,
            "digest": made.digest,
            "name": name,
            "tenant": tenant,
            "budget_usd": budget_usd,
            "requests_per_minute": requests_per_minute,
            "models": list(models),
            "created_at": time.time(),
            "expires_at": expires_at,
        }
        with self._engine.begin() as connection:
            connection.execute(sa.insert(virtual_keys).values(row))
        self.reload()
        self.on_change()
        return self._callers[made.token_id].key, made

    def revoke(self, key_id: str) -> bool:
        """Let a key work no more; False: there is none of this id."""
        change = sa.update(virtual_keys).where(virtual_keys.c.key_id == key_id)
        with self._engine.begin() as connection:
            done = connection.execute(change.values(revoked_at=time.time()))
        self.reload()
        self.on_change()
        return done.rowcount > 0

    def listed(self) -> list[VirtualKey]:
        """Every key, the newest first."""
        return sorted((one.key for one in self._callers.values()), key=lambda key: -key.created_at)


def _key(row: sa.Row[tuple[object, ...]]) -> VirtualKey:
    fields = row._asdict()
    fields.pop("digest")
    return VirtualKey(**fields | {"models": tuple(fields["models"])})
