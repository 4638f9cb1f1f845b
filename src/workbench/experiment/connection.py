"""The client of a run: connected to every provider that its plan needs."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from workbench.budget import Budget
from workbench.cache import DiskStore, MemoryStore, Store
from workbench.client import Client, Limits, Observer, connect
from workbench.errors import ConfigError
from workbench.experiment.plan import Plan
from workbench.providers.simulator import Simulator
from workbench.settings import secret

REDIS_VARIABLE = "WORKBENCH_REDIS_URL"
"""Names the server that `cache: redis` is kept in; read as keys are, for it may hold a password."""
_PATIENCE_S = 2.0
"""Longer than for a caller who waits: what a run does not find it pays for again."""


@asynccontextmanager
async def connected(
    plan: Plan, budget: Budget | None, *, observers: Sequence[Observer] = ()
) -> AsyncIterator[Client]:
    """A client for every model of the plan, with a simulator started where one is needed."""
    spec = plan.spec
    async with AsyncExitStack() as stack:
        url = plan.simulator_url
        if url is None and plan.uses_simulator:
            url = (await stack.enter_async_context(Simulator())).base_url
        cache = _store(plan)
        if cache is not None:
            stack.push_async_callback(cache.aclose)
        client = connect(
            plan.called_ids,
            providers=plan.providers,
            catalog=plan.catalog,
            limits=Limits(concurrency=spec.concurrency, deadline_s=spec.deadline_s),
            budget=budget,
            simulator_url=url,
            cache=cache,
            observers=observers,
        )
        yield await stack.enter_async_context(client)


def _store(plan: Plan) -> Store | None:
    """Where answers are looked for before they are paid for; None: nowhere, but in the journal."""
    match plan.spec.cache:
        case "memory":
            return MemoryStore()
        case "disk":
            return DiskStore(plan.cache_dir)
        case "redis":
            return _shared_store()
    return None


def _shared_store() -> Store:
    """
    Raises:
        ConfigError: no Redis is named. MissingExtraError: its client is not installed.
    """
    from workbench.cache.redis import RedisStore  # an extra, and takes a third of a second to import

    url = secret(REDIS_VARIABLE)
    if url is None:
        raise ConfigError(f"`cache: redis` needs a server: set {REDIS_VARIABLE} to redis://host:port/0")
    return RedisStore(url, patience_s=_PATIENCE_S)
