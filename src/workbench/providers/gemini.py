"""Google's Gemini protocol: generateContent, and streamGenerateContent as server-sent events.

The key travels in a header, never in the URL. A model's name is a part of the path, so that one with
anything but letters, digits, dots, dashes and underscores is refused here.

Since Gemini 3 a call of a tool that is sent back must carry the signature of the thoughts behind it. An
answer that has one is therefore sent back as it came. A call of another model's has none, and Google's word
for calls from elsewhere stands in its place.

Sources: https://ai.google.dev/api/generate-content, https://ai.google.dev/gemini-api/docs/thinking and
https://ai.google.dev/gemini-api/docs/thought-signatures, read 2026-11-23.
"""

import base64
import re
from collections.abc import Mapping
from typing import Literal

from workbench.errors import ConfigError, DataError
from workbench.providers.conversation import arguments_of, verbatim_of
from workbench.providers.gathered import Gathered
from workbench.providers.gemini_answer import GeminiAnswer
from workbench.providers.json_body import given_object, objects_of
from workbench.providers.key_header import KeyHeader
from workbench.types import ANY_OBJECT, Decoding, Image, Message, Prompt, Tool, ToolCall

Part = Mapping[str, object]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_BEFORE_SIGNATURES = re.compile(r"gemini-[12]\b")
_FROM_ELSEWHERE = "skip_thought_signature_validator"
_BUDGETS: Mapping[str, int] = {"none": 0, "low": 1024, "medium": 8192, "high": 24_576}
"""Tokens that Gemini 2.5 may think, by effort (https://ai.google.dev/gemini-api/docs/openai, 2026-11-23)."""


class GeminiWire:
    """What is sent, and how it is read."""

    headers: Mapping[str, str] = {}
    key_header = KeyHeader("x-goog-api-key", prefix="")
    events: Literal["sse"] = "sse"

    def path(self, model: str, *, is_streamed: bool) -> str:
        """Where `model` is asked.

        Raises:
            ConfigError: its name cannot be part of a path.
        """
        method = "streamGenerateContent?alt=sse" if is_streamed else "generateContent"
        return f"{model_path(model)}:{method}"

    def request(
        self, model: str, prompt: Prompt, decoding: Decoding, *, is_streamed: bool
    ) -> dict[str, object]:
        """The body to send; what `decoding` leaves to the provider is left out.

        Raises:
            ConfigError: a schema is no JSON object.
            DataError: the arguments of a call are no JSON object, or a result answers no call.
        """
        system = [{"text": one.content} for one in prompt.messages if one.role == "system"]
        tools = [_declaration(tool) for tool in decoding.tools]
        fields = {
            "systemInstruction": {"parts": system} if system else None,
            "contents": _contents(prompt, needs_signatures=not _BEFORE_SIGNATURES.match(model)),
            "tools": [{"functionDeclarations": tools}] if tools else None,
            "toolConfig": _tool_config(decoding.tool_choice) if tools else None,
            "generationConfig": _generation_config(model, decoding),
        }
        return {name: value for name, value in fields.items() if value is not None}

    def answer(self, gathered: Gathered) -> GeminiAnswer:
        """A reader of one answer."""
        return GeminiAnswer(gathered)


def model_path(model: str) -> str:
    """The path of `model`, below the base URL.

    Raises:
        ConfigError: its name has a character that means something in a URL.
    """
    if not _NAME.fullmatch(model):
        raise ConfigError(
            f"{model[:60]!r} is no name of a Gemini model; one is of letters, digits, dots, dashes and "
            "underscores"
        )
    return f"models/{model}"


def _contents(prompt: Prompt, *, needs_signatures: bool) -> list[dict[str, object]]:
    """The conversation in turns that alternate: results of tools are the user's, all in one turn."""
    names = {call.call_id: call.name for message in prompt.messages for call in message.tool_calls}
    turns: list[tuple[str, list[Part]]] = []
    for message in prompt.messages:
        if message.role == "system":
            continue
        role = "model" if message.role == "assistant" else "user"
        if not turns or turns[-1][0] != role:
            turns.append((role, []))
        if message.role == "tool":
            turns[-1][1].append(_result(message, names, prompt))
        elif (kept := verbatim_of(message, prompt)) is not None:
            turns[-1][1].extend(objects_of(kept, "parts"))
        else:
            turns[-1][1].extend(_said(message))
            turns[-1][1].extend(_calls(message, prompt, needs_signature=needs_signatures))
    return [{"role": role, "parts": parts} for role, parts in turns if parts]


def _said(message: Message) -> list[Part]:
    text: list[Part] = [{"text": message.content}] if message.content else []
    return [*map(_image, message.images), *text]


def _image(image: Image) -> Part:
    if image.url is not None:
        return {"fileData": {"mimeType": image.media_type, "fileUri": image.url}}
    content = base64.b64encode(image.content).decode("ascii")
    return {"inlineData": {"mimeType": image.media_type, "data": content}}


def _calls(message: Message, prompt: Prompt, *, needs_signature: bool) -> list[Part]:
    """Of several calls at once, Gemini signs the first."""
    parts: list[Part] = []
    for call in message.tool_calls:
        signature = {"thoughtSignature": _FROM_ELSEWHERE} if needs_signature and not parts else {}
        parts.append({"functionCall": _function_call(call, prompt), **signature})
    return parts


def _function_call(call: ToolCall, prompt: Prompt) -> dict[str, object]:
    return {"id": call.call_id, "name": call.name, "args": arguments_of(call, prompt)}


def _result(message: Message, names: Mapping[str, str], prompt: Prompt) -> Part:
    call_id = message.tool_call_id or ""
    if call_id not in names:
        raise DataError(f"prompt {prompt.prompt_id!r} has the result of a call {call_id!r} that nobody made")
    result: dict[str, object] = {
        "id": call_id,
        "name": names[call_id],
        "response": {"output": message.content},
    }
    if message.images:
        result["parts"] = [_image(image) for image in message.images]
    return {"functionResponse": result}


def _declaration(tool: Tool) -> dict[str, object]:
    schema = given_object(tool.parameters, what=f"the parameters of tool {tool.name!r}")
    described = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **described, "parametersJsonSchema": schema}


def _tool_config(choice: str | None) -> dict[str, object] | None:
    if choice is None:
        return None
    modes = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
    config: dict[str, object] = {"mode": modes.get(choice, "ANY")}
    if choice not in modes:
        config["allowedFunctionNames"] = [choice]
    return {"functionCallingConfig": config}


def _generation_config(model: str, decoding: Decoding) -> dict[str, object]:
    fields: dict[str, object] = {
        "maxOutputTokens": decoding.max_output_tokens,
        "temperature": decoding.temperature,
        "topP": decoding.top_p,
        "seed": decoding.seed,
        "stopSequences": list(decoding.stop) or None,
        "thinkingConfig": _thinking_config(model, decoding.reasoning_effort),
    }
    if decoding.json_schema == ANY_OBJECT:
        fields["responseMimeType"] = "application/json"
    elif decoding.json_schema is not None:
        schema = given_object(decoding.json_schema, what="the JSON schema of the answer")
        fields |= {"responseMimeType": "application/json", "responseJsonSchema": schema}
    if decoding.top_logprobs is not None:
        fields |= {"responseLogprobs": True, "logprobs": decoding.top_logprobs}
    return {name: value for name, value in fields.items() if value is not None}


def _thinking_config(model: str, effort: str | None) -> dict[str, object] | None:
    """Since Gemini 3 thinking has levels, of which the least is not none."""
    if effort is None:
        return None
    shown = {"includeThoughts": True} if effort != "none" else {}
    if _BEFORE_SIGNATURES.match(model):
        return {**shown, "thinkingBudget": _BUDGETS[effort]}
    return {**shown, "thinkingLevel": "MINIMAL" if effort == "none" else effort.upper()}
