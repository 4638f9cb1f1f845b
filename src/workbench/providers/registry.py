"""Where the providers are: one row each. A provider that speaks a known protocol is a row and no more.

Addresses and names of variables are those in public use for OpenAI-compatible clients on 2026-11-23;
an address can be overridden when connecting.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from workbench.errors import ConfigError
from workbench.providers.base import Provider
from workbench.providers.chat_completions import ChatCompletionsWire
from workbench.providers.wire import HttpProvider, Wire
from workbench.settings import Secret, Settings, secret

WireName = Literal["chat_completions", "responses", "anthropic", "gemini", "ollama"]
"""A protocol; each is one module beside this one."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One provider. `base_url` None: it must be given; `key_var` None: it asks for no key.

    `renamed` maps fields of the protocol to what this server calls them, or None where it refuses them.
    """

    name: str
    base_url: str | None
    key_var: str | None = None
    wire: WireName = "chat_completions"
    renamed: Mapping[str, str | None] = field(default_factory=dict)


SIMULATOR = "simulator"

ENDPOINTS: tuple[Endpoint, ...] = (
    # OpenAI's reasoning models refuse `max_tokens`: https://platform.openai.com/docs/api-reference/chat/create
    Endpoint(
        "openai",
        base_url="https://api.openai.com/v1",
        key_var="OPENAI_API_KEY",
        renamed={"max_tokens": "max_completion_tokens"},
    ),
    Endpoint("openrouter", base_url="https://openrouter.ai/api/v1", key_var="OPENROUTER_API_KEY"),
    Endpoint("groq", base_url="https://api.groq.com/openai/v1", key_var="GROQ_API_KEY"),
    Endpoint("cerebras", base_url="https://api.cerebras.ai/v1", key_var="CEREBRAS_API_KEY"),
    Endpoint("together", base_url="https://api.together.xyz/v1", key_var="TOGETHER_API_KEY"),
    Endpoint("fireworks", base_url="https://api.fireworks.ai/inference/v1", key_var="FIREWORKS_API_KEY"),
    # Refuses fields that it does not know, and sends usage in every stream unasked:
    # https://docs.mistral.ai/api/#tag/chat, https://github.com/openai/openai-agents-python/issues/442
    Endpoint(
        "mistral",
        base_url="https://api.mistral.ai/v1",
        key_var="MISTRAL_API_KEY",
        renamed={"seed": "random_seed", "stream_options": None},
    ),
    Endpoint("deepseek", base_url="https://api.deepseek.com/v1", key_var="DEEPSEEK_API_KEY"),
    Endpoint("xai", base_url="https://api.x.ai/v1", key_var="XAI_API_KEY"),
    Endpoint("nvidia", base_url="https://integrate.api.nvidia.com/v1", key_var="NVIDIA_API_KEY"),
    Endpoint("huggingface", base_url="https://router.huggingface.co/v1", key_var="HF_TOKEN"),
    Endpoint("sambanova", base_url="https://api.sambanova.ai/v1", key_var="SAMBANOVA_API_KEY"),
    Endpoint("deepinfra", base_url="https://api.deepinfra.com/v1/openai", key_var="DEEPINFRA_API_KEY"),
    Endpoint(
        "google",
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        key_var="GEMINI_API_KEY",
    ),
    Endpoint("ollama", base_url="http://localhost:11434/v1"),
    Endpoint("vllm", base_url="http://localhost:8000/v1"),
    Endpoint("llama.cpp", base_url="http://localhost:8080/v1"),
    Endpoint("lmstudio", base_url="http://localhost:1234/v1"),
    Endpoint(SIMULATOR, base_url=None),
)


def endpoint(name: str) -> Endpoint:
    """The row of this name.

    Raises:
        ConfigError: there is none; the message names the nearest.
    """
    rows = {row.name: row for row in ENDPOINTS}
    if name not in rows:
        near = difflib.get_close_matches(name, rows, n=3, cutoff=0.3) or sorted(rows)
        raise ConfigError(f"no provider {name!r}; known are {', '.join(near)}")
    return rows[name]


def provider(name: str, *, base_url: str | None = None, key: Secret | None = None) -> Provider:
    """A connection to the provider `name`, not opened before the first call.

    Args:
        base_url: another address than the row's; for the simulator, by default `WORKBENCH_SIMULATOR_URL`.
        key: by default the value of the row's variable, from the environment or `.env`.

    Raises:
        ConfigError: there is no such provider, or its key or address is not known.
    """
    row = endpoint(name)
    wire = _WIRES[row.wire](row)
    return HttpProvider(row.name, base_url or _address(row), wire=wire, key=_key(row) if key is None else key)


def _address(row: Endpoint) -> str:
    if row.base_url is not None:
        return row.base_url
    url = Settings().simulator_url
    if url is None:
        raise ConfigError(
            "the simulator is not running: start it with 'workbench simulate' and set WORKBENCH_SIMULATOR_URL"
        )
    return url


def _key(row: Endpoint) -> Secret | None:
    if row.key_var is None:
        return None
    key = secret(row.key_var)
    if key is None:
        raise ConfigError(f"{row.key_var} is not set; export it or put it in .env, or use the simulator")
    return key


_WIRES: Mapping[WireName, Callable[[Endpoint], Wire]] = {
    "chat_completions": lambda row: ChatCompletionsWire(renamed=row.renamed),
}
