"""Virtual keys: what a caller is let do, and how much of it was done.

A key has a budget, a rate and the models that it may name; none of them is a key of a provider.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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


class Caller:
    """A key in use: its budget and its rate, as this process knows them."""

    def __init__(self, key: VirtualKey, digest: str, *, spent_usd: float, now_s: Callable[[], float]) -> None:
        self.key = key
        self.digest = digest
        self.budget = None if key.budget_usd is None else Budget(key.budget_usd, spent_usd=spent_usd)
        self._now_s = now_s
        self._left = key.requests_per_minute or 0.0
        self._filled_s = now_s()

    def check(self, target: str) -> None:
        """Count one request.

        Raises:
            Refusal: the key may not name `target`, or asks too often.
        """
        if self.key.models and target not in self.key.models:
            raise Refusal(403, "model_not_allowed", f"this key may not ask for {target[:100]!r}")
        rate = self.key.requests_per_minute
        if rate is None:
            return
        now_s = self._now_s()
        self._left = min(rate, self._left + (now_s - self._filled_s) * rate / _WINDOW_S)
        self._filled_s = now_s
        if self._left < 1.0:
            wait_s = (1.0 - self._left) * _WINDOW_S / rate
            raise Refusal(429, "rate_limit_exceeded", "this key asks too often", retry_after_s=wait_s)
        self._left -= 1.0


class VirtualKeys:
    """All keys of the server, found by their tokens; the database has them, and this process remembers."""

    def __init__(
        self,
        engine: sa.Engine,
        *,
        spent_usd: Callable[[str], float] = lambda key_id: 0.0,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`spent_usd` says what a key has spent so far, by its id."""
        self._engine = engine
        self._spent_usd = spent_usd
        self._now_s = now_s
        self._callers: dict[str, Caller] = {}
        self.reload()

    def reload(self) -> None:
        """Take from the database what other processes changed."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(virtual_keys)).all()
        for row in rows:
            key, known = _key(row), self._callers.get(row.key_id)
            if known is None or known.key != key:
                spent_usd = self._spent_usd(key.key_id)
                self._callers[key.key_id] = Caller(key, row.digest, spent_usd=spent_usd, now_s=self._now_s)

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
        return self._callers[made.token_id].key, made

    def revoke(self, key_id: str) -> bool:
        """Let a key work no more; False: there is none of this id."""
        change = sa.update(virtual_keys).where(virtual_keys.c.key_id == key_id)
        with self._engine.begin() as connection:
            done = connection.execute(change.values(revoked_at=time.time()))
        self.reload()
        return done.rowcount > 0

    def listed(self) -> list[VirtualKey]:
        """Every key, the newest first."""
        return sorted((one.key for one in self._callers.values()), key=lambda key: -key.created_at)


def _key(row: sa.Row[tuple[object, ...]]) -> VirtualKey:
    fields = row._asdict()
    fields.pop("digest")
    return VirtualKey(**fields | {"models": tuple(fields["models"])})
