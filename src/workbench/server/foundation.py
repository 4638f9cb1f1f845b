"""What a server opens once, and keeps when its file is read again: the database, counts, what is shared."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workbench.budget import Budget
from workbench.cache import Store
from workbench.errors import ConfigError
from workbench.server.admin_tokens import AdminTokens
from workbench.server.config import ServerConfig
from workbench.server.database import Engine, open_database
from workbench.server.guard import FailedAttempts
from workbench.server.live_experiments import LiveExperiments
from workbench.server.metrics import Metrics
from workbench.server.outcome_log import OutcomeLog
from workbench.server.upstream import store_of
from workbench.server.virtual_keys import VirtualKeys
from workbench.settings import Secret, secret

if TYPE_CHECKING:  # an extra
    from workbench.server.shared_state import SharedState

REDIS_VARIABLE = "WORKBENCH_REDIS_URL"
"""Names the Redis of `shared: redis` and `cache: redis`; read as keys are, for it may hold a password."""


@dataclass(slots=True)
class Foundation:
    """`shared` None: this process is alone. `store` None: answers are not kept."""

    engine: Engine
    log: OutcomeLog
    keys: VirtualKeys
    admins: AdminTokens
    experiments: LiveExperiments
    metrics: Metrics
    shared: "SharedState | None" = None
    store: Store | None = None
    attempts: FailedAttempts = field(default_factory=FailedAttempts)
    _budget: Budget | None = None

    def budget(self, limit_usd: float | None) -> Budget | None:
        """The budget of all callers together; what was spent stays spent when its limit changes."""
        if limit_usd is None:
            return None
        if self.shared is not None:
            return self.shared.budget("all", limit_usd, spent_before=self.log.spent_in_all_usd)
        if self._budget is None:
            self._budget = Budget(limit_usd, spent_usd=self.log.spent_in_all_usd())
        self._budget.limit_usd = limit_usd
        return self._budget


@asynccontextmanager
async def laid(config: ServerConfig) -> AsyncIterator[Foundation]:
    """What a server stands on, while the block runs.

    Raises:
        ConfigError, StorageError: what cannot work, before the port is opened.
    """
    redis = redis_of(config)
    async with AsyncExitStack() as stack:
        engine = open_database(config.database, config.folder)
        stack.callback(engine.dispose)
        log = await stack.enter_async_context(
            OutcomeLog(engine, config.folder, with_content=config.prompts_are_kept)
        )
        shared = None
        if config.shared == "redis" and redis is not None:
            shared = await stack.enter_async_context(_sharing(config, redis))
        store = store_of(config, redis)
        if store is not None:
            stack.push_async_callback(store.aclose)
        metrics = Metrics()
        if config.workers > 1:
            await stack.enter_async_context(metrics.merged_in(config.folder / "metrics"))
        keys = VirtualKeys(engine, spent_usd=log.spent_usd, limits=shared)
        if shared is not None:
            keys.on_change, shared.on_change = shared.changed, keys.reload
        yield Foundation(
            engine,
            log,
            keys,
            AdminTokens(engine),
            LiveExperiments(engine),
            metrics,
            shared,
            store,
        )


@asynccontextmanager
async def _sharing(config: ServerConfig, redis: Secret) -> AsyncIterator["SharedState"]:
    from workbench.server.redis_link import RedisLink  # an extra, and takes a third of a second to import
    from workbench.server.shared_state import SharedState

    place = config.database or str((config.folder / "server.db").resolve())
    name = hashlib.blake2b(place.encode(), digest_size=8).hexdigest()
    shared = SharedState(RedisLink(redis), name, n_workers=config.workers)
    await shared.beat()
    await shared.beat()
    living = asyncio.create_task(shared.live(), name="shared state")
    try:
        yield shared
    finally:
        living.cancel()
        with suppress(asyncio.CancelledError):
            await living
        await shared.aclose()


def redis_of(config: ServerConfig) -> Secret | None:
    """Where the Redis is; None: the file wants none.

    Raises:
        ConfigError: it wants one, and none is named.
    """
    if "redis" not in (config.shared, config.cache):
        return None
    url = secret(REDIS_VARIABLE)
    if url is None:
        raise ConfigError(f"`redis` needs a server: set {REDIS_VARIABLE} to redis://host:port/0")
    return url
