"""OpenAI's chat-completions protocol, as the many servers that speak it do.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from collections.abc import Mapping
from typing import Literal

import httpx

from workbench.providers.chat_answer import ChatAnswer
from workbench.providers.gathered import Gathered
from workbench.providers.http import BEARER, TIMEOUTS, KeyHeader, Timeouts
from workbench.providers.wire import HttpProvider
from workbench.settings import Secret
from workbench.types import Decoding, Prompt


class ChatCompletionsWire:
    """What is sent, and how it is read.

    Args:
        renamed: fields of the request that this server calls otherwise; None: it does not know the field.
    """

    headers: Mapping[str, str] = {}
    key_header: KeyHeader = BEARER
    events: Literal["sse"] = "sse"

    def __init__(self, *, renamed: Mapping[str, str | None] | None = None) -> None:
        self._renamed = dict(renamed or {})

    def path(self, model: str, *, is_streamed: bool) -> str:
        """The same for every model."""
        return "chat/completions"

    def request(
        self, model: str, prompt: Prompt, decoding: Decoding, *, is_streamed: bool
    ) -> dict[str, object]:
        """The body to send; what `decoding` leaves to the provider is left out."""
        fields: dict[str, object] = {
            "model": model,
            "messages": [{"role": m.role, "content": m.content} for m in prompt.messages],
            "max_tokens": decoding.max_output_tokens,
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "seed": decoding.seed,
            "stop": list(decoding.stop) or None,
        }
        if is_streamed:
            fields |= {"stream": True, "stream_options": {"include_usage": True}}
        named = ((self._renamed.get(name, name), value) for name, value in fields.items())
        return {name: value for name, value in named if name is not None and value is not None}

    def answer(self, gathered: Gathered) -> ChatAnswer:
        """A reader of one answer."""
        return ChatAnswer(gathered)


class ChatCompletions(HttpProvider):
    """A provider that speaks chat completions: `HttpProvider` with that wire, for any base URL.

    Args:
        name: the first part of the ids of its models.
        base_url: what comes before `/chat/completions`.
        key: sent as a bearer token; None: none is sent.
        renamed: as in `ChatCompletionsWire`.

    Raises:
        ConfigError: the base URL or the key cannot be used.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        key: Secret | None = None,
        renamed: Mapping[str, str | None] | None = None,
        timeouts: Timeouts = TIMEOUTS,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        wire = ChatCompletionsWire(renamed=renamed)
        super().__init__(name, base_url, wire=wire, key=key, timeouts=timeouts, client=client)
