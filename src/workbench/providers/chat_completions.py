"""OpenAI's chat-completions protocol, as the many servers that speak it do: what is sent.

Sources: https://platform.openai.com/docs/api-reference/chat/create, and for what a server calls otherwise,
the link beside its row in `registry`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlencode

import httpx

from workbench.errors import ConfigError, DataError
from workbench.providers.chat_answer import ChatAnswer
from workbench.providers.conversation import image_url, verbatim_of
from workbench.providers.gathered import Gathered
from workbench.providers.http import TIMEOUTS, Timeouts
from workbench.providers.json_body import given_object, object_of, objects_of
from workbench.providers.key_header import BEARER, KeyHeader
from workbench.providers.wire import HttpProvider
from workbench.settings import Secret
from workbench.types import ANY_OBJECT, Decoding, Message, Prompt, Tool, ToolCall

_MAY_BE_LEFT_OUT = {"seed", "stream_options"}
"""What a server may not know without the answer being another one than was asked for."""

SCHEMA_NAME = "answer"
"""What the schema of a structured answer is called, since it must be called something."""


@dataclass(frozen=True, slots=True)
class ChatCompletionsWire:
    """What is sent, and how it is read.

    `renamed` are fields of the request that this server calls otherwise, or None where it refuses them;
    `key_header` is where it wants the key, `query` is added to the address. Models whose names have
    the pattern `fixed_sampling` choose how they sample.
    """

    renamed: Mapping[str, str | None] = field(default_factory=dict)
    key_header: KeyHeader = BEARER
    query: Mapping[str, str] = field(default_factory=dict)
    fixed_sampling: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    events: Literal["sse"] = "sse"

    def path(self, model: str, *, is_streamed: bool) -> str:
        """The same for every model."""
        return "chat/completions" + (f"?{urlencode(self.query)}" if self.query else "")

    def request(
        self, model: str, prompt: Prompt, decoding: Decoding, *, is_streamed: bool
    ) -> dict[str, object]:
        """The body to send; what `decoding` leaves to the provider is left out.

        Raises:
            ConfigError: something is asked for that this server is known to refuse, or a schema is none.
            DataError: the conversation has something that this protocol cannot carry.
        """
        has_logprobs = decoding.top_logprobs is not None
        fields: dict[str, object] = {
            "model": model,
            "messages": [_message(message, prompt) for message in prompt.messages],
            "max_tokens": decoding.max_output_tokens,
            **sampling(model, decoding, self.fixed_sampling),
            "seed": decoding.seed,
            "stop": list(decoding.stop) or None,
            "tools": [_tool(tool) for tool in decoding.tools] or None,
            "tool_choice": _tool_choice(decoding.tool_choice),
            "response_format": _response_format(decoding.json_schema),
            "logprobs": has_logprobs or None,
            "top_logprobs": decoding.top_logprobs,
            "reasoning_effort": decoding.reasoning_effort,
        }
        if is_streamed:
            fields |= {"stream": True, "stream_options": {"include_usage": True}}
        return self._named({name: value for name, value in fields.items() if value is not None})

    def answer(self, gathered: Gathered) -> ChatAnswer:
        """A reader of one answer."""
        return ChatAnswer(gathered)

    def _named(self, fields: Mapping[str, object]) -> dict[str, object]:
        refused = {name for name in fields if self.renamed.get(name, name) is None}
        if refused - _MAY_BE_LEFT_OUT:
            listed = ", ".join(sorted(refused - _MAY_BE_LEFT_OUT))
            raise ConfigError(f"this provider does not take {listed}; ask without, or another provider")
        kept = (name for name in fields if name not in refused)
        return {self.renamed.get(name) or name: fields[name] for name in kept}


def sampling(model: str, decoding: Decoding, fixed: str | None) -> dict[str, float | None]:
    """Temperature and top-p, unless `model` has the pattern `fixed` and reasons.

    A temperature of 0, which asks for the least chance there is, is then left out, and so is 1, which is
    what those models have.

    Raises:
        ConfigError: something else is asked for.
    """
    is_free = fixed is None or decoding.reasoning_effort == "none" or not re.search(fixed, model)
    if is_free:
        return {"temperature": decoding.temperature, "top_p": decoding.top_p}
    if decoding.temperature not in (None, 0.0, 1.0) or decoding.top_p not in (None, 1.0):
        raise ConfigError(f"{model} samples as it does while it reasons; ask without temperature and top_p")
    return {}


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
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        wire = ChatCompletionsWire(renamed=dict(renamed or {}))
        super().__init__(name, base_url, wire=wire, key=key, timeouts=timeouts, transport=transport)


def _message(message: Message, prompt: Prompt) -> dict[str, object]:
    if message.images and message.role != "user":
        raise DataError(
            f"prompt {prompt.prompt_id!r} has an image in a message of role {message.role}; "
            "this protocol takes images from the user only"
        )
    sent: dict[str, object] = {"role": message.role, "content": _content(message)}
    if message.tool_calls:
        sent["tool_calls"] = [_tool_call(call) for call in message.tool_calls]
        sent["content"] = message.content or None
    if (kept := verbatim_of(message, prompt)) is not None:
        signed = zip(message.tool_calls, objects_of(kept, "tool_calls"), strict=False)
        sent |= object_of(kept, "message") or {}
        sent["tool_calls"] = [_tool_call(call) | dict(signature) for call, signature in signed]
    if message.role == "tool":
        if message.tool_call_id is None:
            raise DataError(f"prompt {prompt.prompt_id!r} has a tool's result without the id of its call")
        sent["tool_call_id"] = message.tool_call_id
    return sent


def _content(message: Message) -> object:
    if not message.images:
        return message.content
    text = [{"type": "text", "text": message.content}] if message.content else []
    return [
        *text,
        *({"type": "image_url", "image_url": {"url": image_url(image)}} for image in message.images),
    ]


def _tool_call(call: ToolCall) -> dict[str, object]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.call_id, "type": "function", "function": function}


def _tool(tool: Tool) -> dict[str, object]:
    parameters = given_object(tool.parameters, what=f"the schema of the tool {tool.name!r}")
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def _tool_choice(choice: str | None) -> object:
    if choice in (None, "auto", "none", "required"):
        return choice
    return {"type": "function", "function": {"name": choice}}


def _response_format(json_schema: str | None) -> object:
    if json_schema is None:
        return None
    if json_schema == ANY_OBJECT:
        return {"type": "json_object"}
    schema = given_object(json_schema, what="the schema of the answer")
    return {
        "type": "json_schema",
        "json_schema": {"name": SCHEMA_NAME, "schema": schema, "strict": True},
    }
