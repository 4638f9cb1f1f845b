"""Anthropic's messages from the server's side: requests read, answers and streams worded.

Source: https://docs.anthropic.com/en/api/messages
"""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from workbench.server.bodies import Body, WorkbenchOptions, encoded, image_of, parsed, picture, refuse_changed
from workbench.server.exchange import Asked, Json, Refusal, Routed, Served, Stream, decision_of
from workbench.types import (
    Completion,
    Decoding,
    Delta,
    Image,
    Message,
    Prompt,
    ReasoningEffort,
    Tool,
    ToolCall,
    Usage,
)

STOP = {
    "stop": "end_turn",
    "length": "max_tokens",
    "content_filter": "refusal",
    "tool_calls": "tool_use",
    "other": "end_turn",
}
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


_LITTLE, _MUCH = 2_048, 8_192
"""Tokens of thinking, up to which it is little or middling."""


class Source(Body):
    """Where a picture is: its bytes as base64, or an address."""

    type: Literal["base64", "url"]
    media_type: str = "image/png"
    data: str = ""
    url: str = ""


class Block(Body):
    """A piece of a message; thoughts are left out."""

    type: Literal["text", "image", "tool_use", "tool_result", "thinking", "redacted_thinking"]
    text: str = ""
    source: Source | None = None
    id: str = ""
    name: str = ""
    input: dict[str, Any] = Field(default_factory=dict)
    tool_use_id: str = ""
    content: "str | list[Block]" = ""


class Turn(Body):
    """One turn."""

    role: Literal["user", "assistant"]
    content: str | list[Block]


class ToolBody(Body):
    """A tool that a model may use."""

    type: Literal["custom"] | None = None
    name: Annotated[str, Field(min_length=1, max_length=128)]
    description: str = ""
    input_schema: dict[str, Any] = Field(default_factory=lambda: {"type": "object", "properties": {}})


class ToolChoice(Body):
    """Whether a tool must be used."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None


class Thinking(Body):
    """Whether a model thinks first; how many tokens of it becomes how much."""

    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Annotated[int, Field(ge=1)] | None = None


class OutputFormat(Body):
    """The schema that an answer must follow."""

    type: Literal["json_schema"]
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class OutputConfig(Body):
    """What form an answer must have, and how much a model thinks."""

    format: OutputFormat | None = None
    effort: ReasoningEffort | None = None


class Metadata(Body):
    """Who the caller's user is."""

    user_id: Annotated[str, Field(max_length=256)] | None = None


class MessagesRequest(Body):
    """A request; what is not listed is left unheeded."""

    model: Annotated[str, Field(min_length=1, max_length=300)]
    max_tokens: Annotated[int, Field(ge=1)]
    messages: Annotated[list[Turn], Field(min_length=1)]
    system: str | list[Block] | None = None
    stream: bool = False
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    stop_sequences: Annotated[list[str], Field(max_length=16)] = Field(default_factory=list)
    tools: list[ToolBody] = Field(default_factory=list)
    tool_choice: ToolChoice | None = None
    metadata: Metadata = Metadata()
    thinking: Thinking | None = None
    output_config: OutputConfig = OutputConfig()
    top_k: int | None = None
    mcp_servers: list[dict[str, Any]] | None = None
    container: str | dict[str, Any] | None = None
    workbench: WorkbenchOptions = Field(default_factory=WorkbenchOptions)


class MessagesWire:
    """`POST /v1/messages`."""

    path = "/v1/messages"

    def read(self, body: bytes, *, request_id: str) -> Asked:
        """What a body asks for.

        Raises:
            Refusal: it is no such request, or asks for what changes the answer and cannot be passed on.
        """
        sent = parsed(MessagesRequest, body)
        refuse_changed(sent, {"top_k": [], "mcp_servers": [[]], "container": []})
        options = sent.workbench
        return Asked(
            target=sent.model,
            prompt=_prompt(sent, request_id),
            decoding=_decoding(sent),
            is_streamed=sent.stream,
            user=sent.metadata.user_id,
            conversation=options.conversation,
            fallbacks=tuple(options.fallbacks),
            shows_decision=options.decision,
        )

    def whole(self, served: Served) -> Json:
        """The body of an answer."""
        completion, routed = served.completion, served.routed
        body = _head(routed, completion.model_id) | {
            "content": _content(completion),
            "stop_reason": STOP[completion.finish_reason],
            "usage": usage_of(completion.usage),
        }
        if routed.asked.shows_decision:
            body["workbench"] = decision_of(served)
        return body

    def stream(self, routed: Routed) -> Stream:
        """What words the events of an answer."""
        return _MessagesStream(routed)

    def refused(self, refusal: Refusal) -> Json:
        """Anthropic's shape of an error."""
        kind = _ERRORS.get(refusal.status, "api_error" if refusal.status >= 500 else "invalid_request_error")
        return {"type": "error", "error": {"type": kind, "message": refusal.message}}

    def schemas(self) -> tuple[Json, Json]:
        """The request's schema; the answer is an object as the protocol has it."""
        return MessagesRequest.model_json_schema(), {"type": "object", "required": ["id", "content"]}


class _MessagesStream:
    """Blocks come one after another: each is started, has its pieces, and is stopped before the next."""

    def __init__(self, routed: Routed) -> None:
        self._routed = routed
        self._n_blocks = 0
        self._open: tuple[str, int] | None = None

    def start(self) -> bytes:
        message = _head(self._routed, self._routed.decision.model_id)
        message |= {"content": [], "stop_reason": None, "usage": {"input_tokens": 0, "output_tokens": 0}}
        return _event({"type": "message_start", "message": message})

    def piece(self, delta: Delta) -> bytes:
        said = b""
        if delta.reasoning:
            said += self._in(("thinking", 0), {"type": "thinking", "thinking": "", "signature": ""})
            said += self._delta({"type": "thinking_delta", "thinking": delta.reasoning})
        if delta.text:
            said += self._in(("text", 0), {"type": "text", "text": ""})
            said += self._delta({"type": "text_delta", "text": delta.text})
        if (call := delta.tool_call) is not None:
            block = {"type": "tool_use", "id": call.call_id, "name": call.name, "input": {}}
            said += self._in(("tool_use", call.index), block)
            if call.arguments:
                said += self._delta({"type": "input_json_delta", "partial_json": call.arguments})
        return said

    def end(self, served: Served) -> bytes:
        completion = served.completion
        delta = {"stop_reason": STOP[completion.finish_reason], "stop_sequence": None}
        last: Json = {"type": "message_delta", "delta": delta, "usage": usage_of(completion.usage)}
        if self._routed.asked.shows_decision:
            last["workbench"] = decision_of(served)
        return self._stop() + _event(last) + _event({"type": "message_stop"})

    def failure(self, refusal: Refusal) -> bytes:
        return _event(MessagesWire().refused(refusal))

    def _in(self, wanted: tuple[str, int], block: Json) -> bytes:
        """Start a block, unless the pieces of it are coming already."""
        if self._open == wanted:
            return b""
        said = self._stop()
        self._open = wanted
        return said + _event({"type": "content_block_start", "index": self._n_blocks, "content_block": block})

    def _delta(self, delta: Json) -> bytes:
        return _event({"type": "content_block_delta", "index": self._n_blocks, "delta": delta})

    def _stop(self) -> bytes:
        if self._open is None:
            return b""
        self._open = None
        self._n_blocks += 1
        return _event({"type": "content_block_stop", "index": self._n_blocks - 1})


def usage_of(usage: Usage) -> Json:
    """Tokens as Anthropic counts them: those of a cache are apart."""
    read = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    return {
        "input_tokens": max(0, read),
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cached_input_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
    }


def _event(body: Json) -> bytes:
    return b"event: " + str(body["type"]).encode() + b"\ndata: " + encoded(body) + b"\n\n"


def _head(routed: Routed, model_id: str) -> Json:
    return {
        "id": f"msg_{routed.request_id}",
        "type": "message",
        "role": "assistant",
        "model": model_id,
        "stop_sequence": None,
    }


def _content(completion: Completion) -> list[Json]:
    said: list[Json] = []
    if completion.reasoning:
        said.append({"type": "thinking", "thinking": completion.reasoning, "signature": ""})
    if completion.text or not completion.tool_calls:
        said.append({"type": "text", "text": completion.text})
    said += [
        {"type": "tool_use", "id": call.call_id, "name": call.name, "input": _arguments(call)}
        for call in completion.tool_calls
    ]
    return said


def _arguments(call: ToolCall) -> Json:
    """A model's JSON may be wrong; the caller then has it as it was written."""
    try:
        read = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        return {"arguments": call.arguments}
    return read if isinstance(read, dict) else {"arguments": call.arguments}


def _prompt(sent: MessagesRequest, request_id: str) -> Prompt:
    system = sent.system if isinstance(sent.system, str | None) else _text(sent.system)
    history = [message for turn in sent.messages for message in _messages(turn)]
    last = history[-1]
    if last.role != "user":
        return Prompt(request_id, "", system=system or None, history=tuple(history))
    before = tuple(history[:-1])
    return Prompt(request_id, last.content, system=system or None, images=last.images, history=before)


def _messages(turn: Turn) -> list[Message]:
    """A turn as messages: results of tools come before what the user says beside them."""
    if isinstance(turn.content, str):
        return [Message(turn.role, turn.content)]
    results = [
        Message("tool", _text(block.content), tool_call_id=block.tool_use_id)
        for block in turn.content
        if block.type == "tool_result"
    ]
    calls = tuple(
        ToolCall(block.id, block.name, json.dumps(block.input))
        for block in turn.content
        if block.type == "tool_use"
    )
    images = tuple(_image(block.source) for block in turn.content if block.source is not None)
    text = _text([block for block in turn.content if block.type == "text"])
    if text or images or calls or not results:
        results.append(Message(turn.role, text, images, calls))
    return results


def _text(blocks: str | Sequence[Block]) -> str:
    return blocks if isinstance(blocks, str) else "".join(block.text for block in blocks)


def _image(source: Source) -> Image:
    if source.type == "url":
        return image_of(source.url)
    return picture(source.data, source.media_type)


def _decoding(sent: MessagesRequest) -> Decoding:
    return Decoding(
        max_output_tokens=sent.max_tokens,
        temperature=sent.temperature,
        top_p=sent.top_p,
        stop=tuple(sent.stop_sequences),
        tools=tuple(Tool(tool.name, tool.description, json.dumps(tool.input_schema)) for tool in sent.tools),
        tool_choice=_choice(sent.tool_choice),
        json_schema=None
        if sent.output_config.format is None
        else json.dumps(sent.output_config.format.schema_),
        reasoning_effort=sent.output_config.effort or _effort(sent.thinking),
    )


def _effort(thinking: Thinking | None) -> ReasoningEffort | None:
    """How much a model thinks, of the tokens that it may think in; other protocols have words for it."""
    if thinking is None or thinking.type == "adaptive":
        return None
    if thinking.type == "disabled":
        return "none"
    budget = thinking.budget_tokens or 0
    return "low" if budget <= _LITTLE else "medium" if budget <= _MUCH else "high"


def _choice(choice: ToolChoice | None) -> str | None:
    if choice is None:
        return None
    if choice.type == "tool":
        return choice.name
    return {"auto": "auto", "any": "required", "none": "none"}[choice.type]
