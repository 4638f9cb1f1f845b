"""A client of every provider that some models need, with all keys that there are for each."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from workbench.budget import Budget
from workbench.cache import Store
from workbench.catalog import Catalog
from workbench.client.accounts import Account, accounts_of
from workbench.client.client import Client
from workbench.client.events import Observer, configure_events
from workbench.client.limits import LIMITS, Limits
from workbench.providers import registry
from workbench.providers.base import Provider
from workbench.providers.cache import Cached


def connect(
    model_ids: Iterable[str],
    *,
    providers: Iterable[Provider | Account] = (),
    simulator_url: str | None = None,
    catalog: Catalog | None = None,
    limits: Limits = LIMITS,
    budget: Budget | None = None,
    cache: Store | None = None,
    observers: Sequence[Observer] = (),
) -> Client:
    """A client of every provider that `model_ids` name, with all keys that `accounts` finds for it.

    Args:
        providers: connections that exist already, such as a replay; they are used for their names.
        simulator_url: where the simulator listens; by default `WORKBENCH_SIMULATOR_URL`.
        cache: keeps vectors, and the answers of those that are connected here (`providers.cache.Cached` has
            settings of its own, and goes under `providers`); None: every call is sent. It is not closed with
            the client.
        observers: as for `Client`. `WORKBENCH_LOG=json` adds the event log.

    Raises:
        ConfigError: an unknown provider or model, or a key that is not set.
    """
    from workbench.settings import Settings  # here, as it takes as long to import as httpx

    settings = Settings()
    if settings.log is not None:
        configure_events(with_content=settings.show_content)
    connected = list(providers)
    known = {one.provider.name if isinstance(one, Account) else one.name for one in connected}
    model_ids = tuple(model_ids)
    for name in dict.fromkeys(model_id.partition("/")[0] for model_id in model_ids):
        if name not in known:
            base_url = simulator_url if name == registry.SIMULATOR else None
            accounts = accounts_of(name, base_url=base_url)
            connected += accounts if cache is None else _cached(accounts, cache, catalog)
    client = Client(connected, catalog=catalog, limits=limits, budget=budget, observers=observers)
    client.vectors = cache
    client.check(model_ids)
    return client


def _cached(accounts: Iterable[Account], store: Store, catalog: Catalog | None) -> list[Account]:
    return [
        replace(account, provider=Cached(account.provider, store, catalog=catalog)) for account in accounts
    ]
