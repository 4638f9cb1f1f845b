"""Accounts: the keys that a provider may be asked with, and where they come from.

The keys of a provider are in the variable of its row (`OPENAI_API_KEY`) and those that are numbered from 2
on (`OPENAI_API_KEY_2`, ...), each in the first of `key_sources` that has it. An account is called by the
variable that its key came from; the key itself is in no ledger.
"""

from dataclasses import dataclass

from workbench.client.key_sources import first_key, key_sources, numbered
from workbench.client.limits import check_positive
from workbench.providers import registry
from workbench.providers.base import Provider
from workbench.settings import Secret


@dataclass(frozen=True, slots=True)
class Account:
    """A provider as it is reached with one key.

    `alias` is its name in the ledger, never the key. `requests_per_minute` and `tokens_per_minute` are what
    was agreed on; None: what the client's limits say.

    Raises:
        ConfigError: a rate is not a positive number.
    """

    provider: Provider
    alias: str = ""
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None

    def __post_init__(self) -> None:
        for name in ("requests_per_minute", "tokens_per_minute"):
            if getattr(self, name) is not None:
                check_positive(f"{name} of account {self.alias!r}", getattr(self, name))


def accounts_of(name: str, *, base_url: str | None = None) -> list[Account]:
    """An account for each key of the provider `name`, or the one of a provider that needs no key.

    Raises:
        ConfigError: there is no such provider, or it needs a key and there is none.
    """
    variable = registry.endpoint(name).key_var
    keys = {} if variable is None else keys_of(variable)
    if not keys:
        return [Account(registry.provider(name, base_url=base_url))]
    return [
        Account(registry.provider(name, base_url=base_url, key=key), alias) for alias, key in keys.items()
    ]


def key_of_provider(name: str) -> Secret | None:
    """The key of the first account of the provider `name`; None: it has none, or needs none.

    Raises:
        ConfigError: there is no such provider.
    """
    variable = registry.endpoint(name).key_var
    return None if variable is None else first_key(key_sources(), variable)


def keys_of(variable: str) -> dict[str, Secret]:
    """The keys of `variable` and of those numbered after it, up to the first number that is missing."""
    sources = key_sources()
    keys: dict[str, Secret] = {}
    for name in numbered(variable):
        key = first_key(sources, name)
        if key is None:
            break
        if key not in keys.values():
            keys[name] = key
    return keys
