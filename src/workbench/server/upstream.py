"""The client that a server asks models with: accounts, prices, limits and the cache, as its file says."""

from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import replace

from workbench.budget import Budget
from workbench.cache import DiskStore, MemoryStore, Store
from workbench.catalog import Catalog, default_catalog, read_catalog
from workbench.client import Account, Client, Limits, accounts_of, connect
from workbench.client.accounts import keys_of
from workbench.providers.cache import Cached
from workbench.providers.registry import ENDPOINTS, SIMULATOR, provider
from workbench.server.config import ProviderConfig, ServerConfig
from workbench.server.descriptors import share_of_descriptors
from workbench.settings import Secret


async def client_of(
    config: ServerConfig,
    model_ids: Iterable[str],
    *,
    budget: Budget | None,
    store: Store | None,
    stack: AsyncExitStack,
) -> Client:
    """A client of every model that may be asked, with a simulator where one is; `stack` closes both."""
    asked = tuple(dict.fromkeys((*model_ids, *config.fallbacks)))
    url = None
    if any(model_id.startswith(f"{SIMULATOR}/") for model_id in asked):
        from workbench.providers.simulator import Simulator  # here, as it is a server of its own
        from workbench.settings import Settings

        url = Settings().simulator_url or (await stack.enter_async_context(Simulator())).base_url
    catalog = default_catalog()
    if config.models_file is not None:
        catalog = catalog | read_catalog(config.models_file)
    accounts = [account for name, written in config.providers.items() for account in _accounts(name, written)]
    most = int(min(config.limits.concurrency, share_of_descriptors()))
    client = connect(
        asked,
        providers=accounts if store is None else _cached(accounts, store, catalog),
        catalog=catalog,
        limits=Limits(concurrency=most, deadline_s=config.limits.deadline_s),
        budget=budget,
        simulator_url=url,
        cache=store,
    )
    return await stack.enter_async_context(client)


def store_of(config: ServerConfig, redis: Secret | None) -> Store | None:
    """Where answers are kept that were paid for; None: nowhere. `redis` is the address of one."""
    match config.cache:
        case "memory":
            return MemoryStore()
        case "disk":
            return DiskStore(config.folder / "cache")
        case "redis":
            from workbench.cache.redis import RedisStore  # an extra, and takes a third of a second to import

            return RedisStore(Secret("") if redis is None else redis, patience_s=_PATIENCE_S)
    return None


_PATIENCE_S = 0.05
"""How long an answer is looked for in Redis before it is asked for again."""


def _accounts(name: str, written: ProviderConfig) -> list[Account]:
    """An account for each key of a provider at the address that the file gives it."""
    is_known = any(row.name == name for row in ENDPOINTS)
    if written.key_var is None and is_known:
        return accounts_of(name, base_url=written.base_url)
    keys = {} if written.key_var is None else keys_of(written.key_var)
    if not keys:
        return [Account(provider(name, base_url=written.base_url))]
    return [Account(provider(name, base_url=written.base_url, key=key), alias) for alias, key in keys.items()]


def _cached(accounts: Iterable[Account], store: Store, catalog: Catalog) -> list[Account]:
    return [
        replace(account, provider=Cached(account.provider, store, catalog=catalog)) for account in accounts
    ]
