"""Where the providers are: one row each. A provider that speaks a known protocol is a row and no more.

Addresses and names of variables are those in public use for OpenAI-compatible clients on 2026-11-23;
an address can be overridden when connecting, and a name without a row connects to any base URL.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

from workbench.errors import ConfigError
from workbench.providers.anthropic import AnthropicWire
from workbench.providers.base import Provider
from workbench.providers.chat_completions import ChatCompletionsWire
from workbench.providers.embeddings import Embedder, embedder_of
from workbench.providers.gemini import GeminiWire
from workbench.providers.key_header import BEARER, KeyHeader
from workbench.providers.ollama import OllamaWire
from workbench.providers.responses import ResponsesWire
from workbench.providers.wire import HttpProvider, Wire
from workbench.settings import Secret, secret

WireName = Literal["chat_completions", "responses", "anthropic", "gemini", "ollama"]
"""A protocol; each is one module beside this one."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One provider, and in what it differs from others that speak its protocol.

    `base_url` None: it must be given; `{VARIABLE}` in it is filled from the environment or `.env`.
    `key_var` None: it asks for no key. `renamed` maps fields of the protocol to what this server calls
    them, or None where it refuses them. `query` maps parameters of the address to variables; one that is
    not set is left out. `fixed_sampling` is a pattern of the models that sample at a temperature of their
    own while they reason, and refuse any other.
    """

    name: str
    base_url: str | None
    key_var: str | None = None
    wire: WireName = "chat_completions"
    renamed: Mapping[str, str | None] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    key_header: KeyHeader = BEARER
    is_key_optional: bool = False
    fixed_sampling: str | None = None


SIMULATOR = "simulator"

_PLACEHOLDER = re.compile(r"\{([A-Z_]+)\}")

_OPENAI_REASONING = r"(?:^|/)(?:o\d|gpt-(?:[5-9]|\d\d))(?!.*chat)"
"""Source: https://developers.openai.com/api/docs/guides/latest-model, parameter compatibility."""

ENDPOINTS: tuple[Endpoint, ...] = (
    # OpenAI's reasoning models refuse `max_tokens`: https://platform.openai.com/docs/api-reference/chat/create
    Endpoint(
        "openai",
        base_url="https://api.openai.com/v1",
        key_var="OPENAI_API_KEY",
        renamed={"max_tokens": "max_completion_tokens"},
        fixed_sampling=_OPENAI_REASONING,
    ),
    Endpoint(
        "openai-responses",
        base_url="https://api.openai.com/v1",
        key_var="OPENAI_API_KEY",
        wire="responses",
        fixed_sampling=_OPENAI_REASONING,
    ),
    # A model is the name of a deployment; the version of the API may be left out:
    # https://learn.microsoft.com/en-us/azure/foundry/openai/api-version-lifecycle
    Endpoint(
        "azure",
        base_url="{AZURE_OPENAI_ENDPOINT}/openai/v1",
        key_var="AZURE_OPENAI_API_KEY",
        renamed={"max_tokens": "max_completion_tokens"},
        query={"api-version": "AZURE_OPENAI_API_VERSION"},
        key_header=KeyHeader("api-key", prefix=""),
        fixed_sampling=_OPENAI_REASONING,
    ),
    Endpoint(
        "anthropic", base_url="https://api.anthropic.com/v1", key_var="ANTHROPIC_API_KEY", wire="anthropic"
    ),
    Endpoint(
        "gemini",
        base_url="https://generativelanguage.googleapis.com/v1beta",
        key_var="GEMINI_API_KEY",
        wire="gemini",
    ),
    Endpoint("openrouter", base_url="https://openrouter.ai/api/v1", key_var="OPENROUTER_API_KEY"),
    # Answers 400 to log-probabilities: https://console.groq.com/docs/openai
    Endpoint(
        "groq",
        base_url="https://api.groq.com/openai/v1",
        key_var="GROQ_API_KEY",
        renamed={"max_tokens": "max_completion_tokens", "logprobs": None, "top_logprobs": None},
    ),
    # https://inference-docs.cerebras.ai/api-reference/chat-completions
    Endpoint(
        "cerebras",
        base_url="https://api.cerebras.ai/v1",
        key_var="CEREBRAS_API_KEY",
        renamed={"max_tokens": "max_completion_tokens"},
    ),
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
    # https://docs.github.com/en/rest/models/inference
    Endpoint(
        "github",
        base_url="https://models.github.ai/inference",
        key_var="GITHUB_TOKEN",
        fixed_sampling=_OPENAI_REASONING,
    ),
    # Refuses `stream_options`: https://strandsagents.com/docs/user-guide/concepts/model-providers/cohere
    Endpoint(
        "cohere",
        base_url="https://api.cohere.ai/compatibility/v1",
        key_var="COHERE_API_KEY",
        renamed={"stream_options": None},
    ),
    # https://developers.cloudflare.com/workers-ai/configuration/open-ai-compatibility
    Endpoint(
        "cloudflare",
        base_url="https://api.cloudflare.com/client/v4/accounts/{CLOUDFLARE_ACCOUNT_ID}/ai/v1",
        key_var="CLOUDFLARE_API_TOKEN",
    ),
    Endpoint("huggingface", base_url="https://router.huggingface.co/v1", key_var="HF_TOKEN"),
    Endpoint("sambanova", base_url="https://api.sambanova.ai/v1", key_var="SAMBANOVA_API_KEY"),
    Endpoint("deepinfra", base_url="https://api.deepinfra.com/v1/openai", key_var="DEEPINFRA_API_KEY"),
    Endpoint(
        "google",
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        key_var="GEMINI_API_KEY",
    ),
    Endpoint("ollama", base_url="http://localhost:11434", wire="ollama"),
    Endpoint("ollama-openai", base_url="http://localhost:11434/v1"),
    Endpoint("vllm", base_url="http://localhost:8000/v1"),
    Endpoint("llama.cpp", base_url="http://localhost:8080/v1"),
    Endpoint("lmstudio", base_url="http://localhost:1234/v1"),
    # Any other server that speaks chat completions.
    Endpoint("custom", base_url="{WORKBENCH_BASE_URL}", key_var="WORKBENCH_API_KEY", is_key_optional=True),
    # Any other server that speaks Anthropic's messages.
    Endpoint(
        "custom-anthropic",
        base_url="{WORKBENCH_ANTHROPIC_URL}",
        key_var="WORKBENCH_ANTHROPIC_API_KEY",
        wire="anthropic",
        is_key_optional=True,
    ),
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

    A name without a row, together with a base URL, is any server that speaks chat completions; it is sent
    no key but the one given here.

    Args:
        base_url: another address than the row's; for the simulator, by default `WORKBENCH_SIMULATOR_URL`.
        key: by default the value of the row's variable, from the environment or `.env`.

    Raises:
        ConfigError: there is no such provider, or its key or address is not known.
    """
    return _connection(name, base_url=base_url, key=key)


def embedder(name: str, *, base_url: str | None = None, key: Secret | None = None) -> Embedder:
    """A connection to the provider `name` for vectors of texts; its arguments are those of `provider`.

    Raises:
        ConfigError: as `provider`, or the provider's protocol has no embeddings.
    """
    return embedder_of(_connection(name, base_url=base_url, key=key))


def _connection(name: str, *, base_url: str | None, key: Secret | None) -> HttpProvider:
    row = _row(name, base_url)
    url = base_url or _address(row)
    return HttpProvider(row.name, url, wire=_WIRES[row.wire](row), key=_key(row) if key is None else key)


def _row(name: str, base_url: str | None) -> Endpoint:
    is_known = base_url is None or any(row.name == name for row in ENDPOINTS)
    row = endpoint(name) if is_known else Endpoint(name, base_url)
    if "/" in name:
        raise ConfigError(
            f"a provider's name is the part of a model's id before its first slash, not {name!r}"
        )
    return row


def _address(row: Endpoint) -> str:
    if row.base_url is not None:
        return _PLACEHOLDER.sub(lambda found: _part(row, found), row.base_url)
    from workbench.settings import Settings  # here, as it takes as long to import as httpx

    url = Settings().simulator_url
    if url is None:
        raise ConfigError(
            "the simulator is not running: start it with 'workbench simulate' and set WORKBENCH_SIMULATOR_URL"
        )
    return url


def _part(row: Endpoint, placeholder: re.Match[str]) -> str:
    """The part of an address that a variable holds: its beginning as it is, a name further on quoted."""
    value = _variable(placeholder[1])
    if value is None:
        raise ConfigError(
            f"{placeholder[1]} is not set, and the address of {row.name} has it in it; "
            "export it or put it in .env"
        )
    return value.rstrip("/") if placeholder.start() == 0 else quote(value, safe="")


def _query(row: Endpoint) -> dict[str, str]:
    values = {parameter: _variable(variable) for parameter, variable in row.query.items()}
    return {parameter: value for parameter, value in values.items() if value is not None}


def _variable(name: str) -> str | None:
    """What is in a variable that holds no secret, and is looked for where the keys are."""
    found = secret(name)
    return None if found is None else found.get_secret_value()


def _key(row: Endpoint) -> Secret | None:
    if row.key_var is None:
        return None
    key = secret(row.key_var)
    if key is None and not row.is_key_optional:
        raise ConfigError(
            f"{row.key_var} is not set; export it, put it in .env, or keep it with: workbench keys set "
            f"{row.name}; or use the simulator"
        )
    return key


_WIRES: Mapping[WireName, Callable[[Endpoint], Wire]] = {
    "chat_completions": lambda row: ChatCompletionsWire(
        row.renamed, row.key_header, _query(row), row.fixed_sampling
    ),
    "responses": lambda row: ResponsesWire(row.fixed_sampling),
    "anthropic": lambda _: AnthropicWire(),
    "gemini": lambda _: GeminiWire(),
    "ollama": lambda _: OllamaWire(),
}
