"""OpenAI's Responses protocol: what is sent.

Nothing is kept at the provider (`store` is false): a conversation is sent whole each time. A model that
reasons is asked for its thoughts, encrypted, and is sent them back with the answer that they led to.

Sources: https://platform.openai.com/docs/api-reference/responses/create and
https://developers.openai.com/cookbook/examples/responses_api/reasoning_items, read 2026-11-23.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from workbench.errors import ConfigError, DataError
from workbench.providers.chat_completions import SCHEMA_NAME, sampling
from workbench.providers.conversation import image_url, verbatim_of
from workbench.providers.gathered import Gathered
from workbench.providers.json_body import given_object, objects_of
from workbench.providers.key_header import BEARER, KeyHeader
from workbench.providers.responses_answer import ResponsesAnswer
from workbench.types import ANY_OBJECT, Decoding, Message, Prompt, Tool


@dataclass(frozen=True, slots=True)
class ResponsesWire:
    """What is sent, and how it is read; `fixed_sampling` as in `ChatCompletionsWire`."""

    fixed_sampling: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    key_header: KeyHeader = BEARER
    events: Literal["sse"] = "sse"

    def path(self, model: str, *, is_streamed: bool) -> str:
        """The same for every model."""
        return "responses"

    def request(
        self, model: str, prompt: Prompt, decoding: Decoding, *, is_streamed: bool
    ) -> dict[str, object]:
        """The body to send; what `decoding` leaves to the provider is left out, and so is its seed.

        Raises:
            ConfigError: there are stop sequences, which this protocol does not know, or a schema is none.
            DataError: the conversation has something that this protocol cannot carry.
        """
        if decoding.stop:
            raise ConfigError("the Responses protocol has no stop sequences; ask by chat completions")
        effort = decoding.reasoning_effort
        fields: dict[str, object] = {
            "model": model,
            "instructions": prompt.system,
            "input": [item for message in _said(prompt) for item in _items(message, prompt)],
            "max_output_tokens": decoding.max_output_tokens,
            **sampling(model, decoding, self.fixed_sampling),
            "tools": [_tool(tool) for tool in decoding.tools] or None,
            "tool_choice": _tool_choice(decoding.tool_choice),
            "text": _format(decoding.json_schema),
            "reasoning": None if effort is None else {"effort": effort},
            "include": self._included(model, decoding) or None,
            "top_logprobs": decoding.top_logprobs,
            "store": False,
            "stream": True if is_streamed else None,
        }
        return {name: value for name, value in fields.items() if value is not None}

    def _included(self, model: str, decoding: Decoding) -> list[str]:
        """What is to be in the answer beside the usual; other models refuse to be asked for thoughts."""
        does_reason = self.fixed_sampling is not None and re.search(self.fixed_sampling, model)
        thoughts = ["reasoning.encrypted_content"] if does_reason else []
        return thoughts + ["message.output_text.logprobs"] * (decoding.top_logprobs is not None)

    def answer(self, gathered: Gathered) -> ResponsesAnswer:
        """A reader of one answer."""
        return ResponsesAnswer(gathered)


def _said(prompt: Prompt) -> tuple[Message, ...]:
    """The conversation without the system message, which goes in a field of its own."""
    return prompt.messages if prompt.system is None else prompt.messages[1:]


def _items(message: Message, prompt: Prompt) -> list[dict[str, object]]:
    """The items that one message becomes: each tool call, and each result of one, is an item itself."""
    if (kept := verbatim_of(message, prompt)) is not None:
        return [dict(item) for item in objects_of(kept, "output")]
    if message.images and message.role != "user":
        raise DataError(
            f"prompt {prompt.prompt_id!r} has an image in a message of role {message.role}; "
            "this protocol takes images from the user only"
        )
    if message.role == "tool":
        if message.tool_call_id is None:
            raise DataError(f"prompt {prompt.prompt_id!r} has a tool's result without the id of its call")
        output = {"call_id": message.tool_call_id, "output": message.content}
        return [{"type": "function_call_output", **output}]
    said: dict[str, object] = {"role": message.role, "content": _content(message)}
    calls: list[dict[str, object]] = [
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments}
        for call in message.tool_calls
    ]
    return calls if calls and not message.content else [said, *calls]


def _content(message: Message) -> object:
    if not message.images:
        return message.content
    text = [{"type": "input_text", "text": message.content}] if message.content else []
    images = (
        {"type": "input_image", "image_url": image_url(image), "detail": "auto"} for image in message.images
    )
    return [*text, *images]


def _tool(tool: Tool) -> dict[str, object]:
    """Not strict, which here is the default and would refuse many a schema as it was given."""
    parameters = given_object(tool.parameters, what=f"the schema of the tool {tool.name!r}")
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": parameters,
        "strict": False,
    }


def _tool_choice(choice: str | None) -> object:
    if choice in (None, "auto", "none", "required"):
        return choice
    return {"type": "function", "name": choice}


def _format(json_schema: str | None) -> object:
    if json_schema is None:
        return None
    if json_schema == ANY_OBJECT:
        return {"format": {"type": "json_object"}}
    schema = given_object(json_schema, what="the schema of the answer")
    return {"format": {"type": "json_schema", "name": SCHEMA_NAME, "schema": schema, "strict": True}}
