"""Ollama's own chat protocol, whose streams have one JSON object a line.

A prompt that is too long for the model is refused, as this asks for it: by default Ollama drops the
beginning of a conversation without a word (https://github.com/ollama/ollama/issues/4967). It has no choice
of tools, and takes images as bytes only.

Sources: https://docs.ollama.com/api/chat and
https://github.com/ollama/ollama/blob/main/api/types.go, read 2026-11-23.
"""

import base64
import json
from collections.abc import Mapping
from typing import Literal

from workbench.errors import ConfigError, DataError
from workbench.providers.chat_answer import token_logprob
from workbench.providers.conversation import arguments_of
from workbench.providers.counted import Counted
from workbench.providers.gathered import Gathered
from workbench.providers.json_body import JsonObject, count_of, given_object, object_of, objects_of, text_of
from workbench.providers.key_header import BEARER
from workbench.types import Decoding, FinishReason, Message, Prompt, Tool, ToolCall

_FINISH: Mapping[str, FinishReason] = {"stop": "stop", "length": "length"}


class OllamaWire:
    """What is sent, and how it is read."""

    headers: Mapping[str, str] = {}
    key_header = BEARER
    events: Literal["lines"] = "lines"

    def path(self, model: str, *, is_streamed: bool) -> str:
        """The same for every model."""
        return "api/chat"

    def request(
        self, model: str, prompt: Prompt, decoding: Decoding, *, is_streamed: bool
    ) -> dict[str, object]:
        """The body to send; what `decoding` leaves to the provider is left out.

        Raises:
            ConfigError: a tool must be called, which cannot be asked for, or a schema is no JSON object.
            DataError: an image has no bytes, or the arguments of a call are no JSON object.
        """
        names = {call.call_id: call.name for message in prompt.messages for call in message.tool_calls}
        fields: dict[str, object] = {
            "model": model,
            "messages": [_message(message, names, prompt) for message in prompt.messages],
            "tools": _tools(decoding) or None,
            "format": _format(decoding),
            "options": _options(decoding),
            "think": _think(decoding),
            "logprobs": None if decoding.top_logprobs is None else True,
            "top_logprobs": decoding.top_logprobs,
            "truncate": False,
            "shift": False,
            "stream": is_streamed,
        }
        return {name: value for name, value in fields.items() if value is not None}

    def answer(self, gathered: Gathered) -> "OllamaAnswer":
        """A reader of one answer."""
        return OllamaAnswer(gathered)


class OllamaAnswer:
    """Reads what a server says into `gathered`; each line of a stream is an answer with the next part."""

    def __init__(self, gathered: Gathered) -> None:
        self._gathered = gathered
        self._n_calls = 0

    def take_whole(self, body: JsonObject) -> None:
        """Take an answer that was not streamed."""
        self.take_event(body)

    def take_event(self, event: JsonObject) -> None:
        """Take the next part of an answer."""
        self._gathered.served_by(text_of(event, "model"))
        message = object_of(event, "message") or {}
        self._gathered.add_reasoning(text_of(message, "thinking") or "")
        self._gathered.add_text(text_of(message, "content") or "")
        for call in objects_of(message, "tool_calls"):
            self._take_call(call)
        for token in objects_of(event, "logprobs"):
            if (logprob := token_logprob(token)) is not None:
                self._gathered.add_logprob(logprob)
        if event.get("done") is True:
            self._take_end(event)

    def _take_call(self, call: JsonObject) -> None:
        function = object_of(call, "function") or {}
        self._gathered.add_tool_call(
            self._n_calls,
            call_id=text_of(call, "id") or "",
            name=text_of(function, "name") or "",
            arguments=json.dumps(object_of(function, "arguments") or {}, ensure_ascii=False),
        )
        self._n_calls += 1

    def _take_end(self, event: JsonObject) -> None:
        """A server that gives no reason lost its model on the way, and does not know that it was done."""
        reason = text_of(event, "done_reason") or ""
        self._gathered.finish(_FINISH.get(reason, "other"), reason)
        self._gathered.counted = Counted(count_of(event, "prompt_eval_count"), count_of(event, "eval_count"))
        self._gathered.has_ended = True


def _message(message: Message, names: Mapping[str, str], prompt: Prompt) -> dict[str, object]:
    fields: dict[str, object] = {"role": message.role, "content": message.content}
    if any(image.url is not None for image in message.images):
        raise DataError(
            f"prompt {prompt.prompt_id!r} has an image by its address, which Ollama does not fetch; "
            "give its content"
        )
    if message.images:
        fields["images"] = [base64.b64encode(image.content).decode("ascii") for image in message.images]
    if message.tool_calls:
        fields["tool_calls"] = [_call(call, prompt) for call in message.tool_calls]
    if message.tool_call_id is not None:
        fields["tool_call_id"] = message.tool_call_id
        fields |= {"tool_name": names[message.tool_call_id]} if message.tool_call_id in names else {}
    return fields


def _call(call: ToolCall, prompt: Prompt) -> dict[str, object]:
    function = {"name": call.name, "arguments": arguments_of(call, prompt)}
    return {"id": call.call_id, "function": function}


def _tools(decoding: Decoding) -> list[dict[str, object]]:
    """The tools on offer: those that may not be called are not."""
    if decoding.tools and decoding.tool_choice not in (None, "auto", "none"):
        raise ConfigError(
            f"Ollama leaves it to the model whether a tool is called, so tool_choice cannot be "
            f"{decoding.tool_choice!r}; use auto or none"
        )
    return [] if decoding.tool_choice == "none" else [_tool(tool) for tool in decoding.tools]


def _tool(tool: Tool) -> dict[str, object]:
    schema = given_object(tool.parameters, what=f"the parameters of tool {tool.name!r}")
    function = {"name": tool.name, "description": tool.description, "parameters": schema}
    return {"type": "function", "function": function}


def _format(decoding: Decoding) -> JsonObject | None:
    if decoding.json_schema is None:
        return None
    return given_object(decoding.json_schema, what="the JSON schema of the answer")


def _options(decoding: Decoding) -> dict[str, object]:
    options: dict[str, object] = {
        "num_predict": decoding.max_output_tokens,
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "seed": decoding.seed,
        "stop": list(decoding.stop) or None,
    }
    return {name: value for name, value in options.items() if value is not None}


def _think(decoding: Decoding) -> bool | str | None:
    return False if decoding.reasoning_effort == "none" else decoding.reasoning_effort
