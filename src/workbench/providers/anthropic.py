"""Anthropic's messages protocol, in its version 2023-06-01: that of 2026-10-21 takes no model's temperature.

It has no seed, so that one is left out, and no log-probabilities, so that they are refused. Models since
Claude Opus 4.7, and older ones while they think, refuse any temperature but their own: 0, which asks for the
least chance there is, is then left out, and one that cannot be had is refused here.

Sources: https://platform.claude.com/docs/en/api/messages,
https://platform.claude.com/docs/en/api/migration-2026-10-21,
https://platform.claude.com/docs/en/build-with-claude/structured-outputs and
https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking, read 2026-11-23.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from workbench.errors import ConfigError
from workbench.providers.anthropic_answer import AnthropicAnswer
from workbench.providers.conversation import arguments_of, verbatim_of
from workbench.providers.gathered import Gathered
from workbench.providers.json_body import given_object, objects_of
from workbench.providers.key_header import KeyHeader
from workbench.types import ANY_OBJECT, Decoding, Image, Message, Prompt, ToolCall

Block = Mapping[str, object]

_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?:$|[-@:])")
_FIRST_WITHOUT_SAMPLING = (4, 7)
_FIRST_ADAPTIVE = (4, 6)
_LEAST_BUDGET = 1024
_BUDGETS: Mapping[str, int] = {"low": _LEAST_BUDGET, "medium": 4096, "high": 16_384}
"""Tokens that a model older than adaptive thinking may think, by effort; the least is Anthropic's."""


class AnthropicWire:
    """What is sent, and how it is read."""

    headers: Mapping[str, str] = {"anthropic-version": "2023-06-01"}
    key_header = KeyHeader("x-api-key", prefix="")
    events: Literal["sse"] = "sse"

    def path(self, model: str, *, is_streamed: bool) -> str:
        """The same for every model."""
        return "messages"

    def request(
        self, model: str, prompt: Prompt, decoding: Decoding, *, is_streamed: bool
    ) -> dict[str, object]:
        """The body to send; what `decoding` leaves to the provider is left out.

        Raises:
            ConfigError: something is asked for that cannot be had, or a schema is no JSON object.
            DataError: the arguments of a call are no JSON object.
        """
        if decoding.top_logprobs is not None:
            raise ConfigError("Anthropic gives no log-probabilities; ask without, or another provider")
        system = "\n\n".join(message.content for message in prompt.messages if message.role == "system")
        thinking = _thinking(model, decoding)
        fields: dict[str, object] = {
            "model": model,
            "max_tokens": decoding.max_output_tokens,
            "system": system or None,
            "messages": _turns(prompt),
            "stop_sequences": list(decoding.stop) or None,
            "tools": [_tool(tool.name, tool.description, tool.parameters) for tool in decoding.tools] or None,
            "tool_choice": _tool_choice(decoding.tool_choice) if decoding.tools else None,
            "thinking": thinking,
            "output_config": _output_config(model, decoding) or None,
            "stream": is_streamed or None,
        }
        fields |= _sampling(
            model, decoding, is_thinking=thinking is not None and thinking["type"] != "disabled"
        )
        return {name: value for name, value in fields.items() if value is not None}

    def answer(self, gathered: Gathered) -> AnthropicAnswer:
        """A reader of one answer."""
        return AnthropicAnswer(gathered)


def _version(model: str) -> tuple[int, int]:
    """The version in a model's name; (0, 0) for a name that tells none.

    >>> _version("claude-opus-4-7"), _version("claude-3-5-haiku"), _version("claude-sonnet-4-20250514")
    ((4, 7), (3, 5), (4, 0))
    """
    found = _VERSION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def _sampling(model: str, decoding: Decoding, *, is_thinking: bool) -> Mapping[str, float | None]:
    """Temperature and top-p, where the model takes them."""
    has_choice = _version(model) < _FIRST_WITHOUT_SAMPLING
    if has_choice and not is_thinking:
        return {"temperature": decoding.temperature, "top_p": decoding.top_p}
    if decoding.temperature not in (None, 0.0, 1.0) or (decoding.top_p is not None and not has_choice):
        raise ConfigError(
            f"{model} samples as it does, {'while it thinks' if has_choice else 'always'}; ask without "
            "temperature and top_p, or another model"
        )
    return {"top_p": decoding.top_p}


def _turns(prompt: Prompt) -> list[dict[str, object]]:
    """The conversation in turns that alternate: results of tools are the user's, all in one turn."""
    turns: list[tuple[str, list[Block]]] = []
    for message in prompt.messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if not turns or turns[-1][0] != role:
            turns.append((role, []))
        turns[-1][1].extend(_blocks(message, prompt))
    return [{"role": role, "content": _plain(blocks)} for role, blocks in turns if blocks]


def _plain(blocks: Sequence[Block]) -> object:
    """Text alone is sent as such."""
    is_text = len(blocks) == 1 and blocks[0]["type"] == "text"
    return blocks[0]["text"] if is_text else list(blocks)


def _blocks(message: Message, prompt: Prompt) -> list[Block]:
    """An answer with signed thoughts as it came; images before the text, as Anthropic recommends."""
    if (kept := verbatim_of(message, prompt)) is not None:
        return list(objects_of(kept, "content"))
    said: list[Block] = [_image(image) for image in message.images]
    if message.content:
        said.append({"type": "text", "text": message.content})
    if message.role == "tool":
        content = said if message.images else message.content
        return [{"type": "tool_result", "tool_use_id": message.tool_call_id or "", "content": content}]
    return said + [_tool_use(call, prompt) for call in message.tool_calls]


def _image(image: Image) -> Block:
    if image.url is not None:
        return {"type": "image", "source": {"type": "url", "url": image.url}}
    content = base64.b64encode(image.content).decode("ascii")
    return {
        "type": "image",
        "source": {"type": "base64", "media_type": image.media_type, "data": content},
    }


def _tool_use(call: ToolCall, prompt: Prompt) -> Block:
    return {"type": "tool_use", "id": call.call_id, "name": call.name, "input": arguments_of(call, prompt)}


def _tool(name: str, description: str, parameters: str) -> dict[str, object]:
    schema = given_object(parameters, what=f"the parameters of tool {name!r}")
    described = {"description": description} if description else {}
    return {"name": name, **described, "input_schema": schema}


def _tool_choice(choice: str | None) -> Mapping[str, str] | None:
    match choice:
        case None:
            return None
        case "auto" | "none":
            return {"type": choice}
        case "required":
            return {"type": "any"}
    return {"type": "tool", "name": choice}


def _thinking(model: str, decoding: Decoding) -> Mapping[str, object] | None:
    effort = decoding.reasoning_effort
    if effort is None:
        return None
    if effort == "none":
        return {"type": "disabled"}
    if _version(model) >= _FIRST_ADAPTIVE:
        return {"type": "adaptive", "display": "summarized"}
    if decoding.max_output_tokens <= _LEAST_BUDGET:
        raise ConfigError(
            f"{model} thinks in {_LEAST_BUDGET} tokens or more, which count as output; ask for more than "
            f"{decoding.max_output_tokens} output tokens, or for no reasoning effort"
        )
    return {"type": "enabled", "budget_tokens": min(_BUDGETS[effort], decoding.max_output_tokens - 1)}


def _output_config(model: str, decoding: Decoding) -> dict[str, object]:
    config: dict[str, object] = {}
    is_adaptive = _version(model) >= _FIRST_ADAPTIVE
    if decoding.reasoning_effort not in (None, "none") and is_adaptive:
        config["effort"] = decoding.reasoning_effort
    if decoding.json_schema == ANY_OBJECT:
        raise ConfigError("Anthropic's protocol has no JSON without a schema; give the schema of the answer")
    if decoding.json_schema is not None:
        schema = given_object(decoding.json_schema, what="the JSON schema of the answer")
        config["format"] = {"type": "json_schema", "schema": schema}
    return config
