"""Who takes offline batches, and by which protocol."""

from workbench.errors import ConfigError
from workbench.providers import registry
from workbench.providers.anthropic import AnthropicWire
from workbench.providers.anthropic_batches import AnthropicBatches
from workbench.providers.batch_api import BatchApi
from workbench.providers.openai_batches import OpenAIBatches
from workbench.providers.wire import HttpProvider
from workbench.settings import Secret

WIRES = ("chat_completions", "responses", "anthropic")
"""The protocols whose calls can be handed in as a batch. Not every server that speaks one takes batches."""


def check_takes_batches(name: str) -> None:
    """
    Raises:
        ConfigError: the provider `name` is known to take no offline batches, or not known at all.
    """
    if name == registry.SIMULATOR or registry.endpoint(name).wire not in WIRES:
        raise ConfigError(f"{name} takes no offline batches; send its calls live")


def batches(name: str, *, base_url: str | None = None, key: Secret | None = None) -> BatchApi:
    """The batches of the provider `name`; arguments as of `registry.provider`.

    Raises:
        ConfigError: it takes none, or its key or address is not known.
    """
    check_takes_batches(name)
    provider = registry.provider(name, base_url=base_url, key=key)
    if not isinstance(provider, HttpProvider):
        raise ConfigError(f"{name} is not reached over HTTP; send its calls live")
    is_anthropic = isinstance(provider.wire, AnthropicWire)
    return AnthropicBatches(provider) if is_anthropic else OpenAIBatches(provider)
