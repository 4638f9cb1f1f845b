"""OpenAI's responses from the server's side: requests read, answers and streams worded.

No response is kept: `previous_response_id` is refused, and the conversation is sent whole each time.
Source: https://platform.openai.com/docs/api-reference/responses
"""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from workbench.server.bodies import (
    MAX_OUTPUT_TOKENS,
    Body,
    WorkbenchOptions,
    encoded,
    error_body,
    image_of,
    parsed,
    refuse_changed,
)
from workbench.server.exchange import Asked, Json, Refusal, Routed, Served, Stream, decision_of
from workbench.types import (
    ANY_OBJECT,
    Completion,
    Decoding,
    Delta,
    Message,
    Prompt,
    ReasoningEffort,
    Tool,
    ToolCall,
    Usage,
)

_NEUTRAL: dict[str, Sequence[object]] = {
    "truncation": ["disabled"],
    "max_tool_calls": [],
    "prompt": [],
    "conversation": [],
}
"""What changes an answer and cannot be passed on, with the values that change nothing."""


class Part(Body):
    """A piece of a message."""

    type: Literal["input_text", "output_text", "input_image", "refusal", "text"]
    text: str = ""
    refusal: str = ""
    image_url: str | None = None


class Item(Body):
    """A message, a call of a function, or its result; thoughts are left out."""

    type: Literal["message", "function_call", "function_call_output", "reasoning"] = "message"
    role: Literal["user", "assistant", "system", "developer"] = "user"
    content: str | list[Part] = ""
    call_id: str = ""
    name: str = ""
    arguments: str = "{}"
    output: str | list[Part] = ""


class ToolBody(Body):
    """A function that may be called; other kinds of tools are of OpenAI's own servers."""

    type: Literal["function"]
    name: Annotated[str, Field(min_length=1, max_length=64)]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class NamedChoice(Body):
    """The function that must be called."""

    type: Literal["function"]
    name: str


class Format(Body):
    """What form an answer must have."""

    type: Literal["text", "json_schema", "json_object"] = "text"
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None


class TextOptions(Body):
    """How the text of an answer is."""

    format: Format = Format()


class Reasoning(Body):
    """How much a model thinks."""

    effort: ReasoningEffort | None = None


class ResponsesRequest(Body):
    """A request; what is not listed is left unheeded."""

    model: Annotated[str, Field(min_length=1, max_length=300)]
    input: str | Annotated[list[Item], Field(min_length=1)]
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    tools: list[ToolBody] = Field(default_factory=list)
    tool_choice: Literal["auto", "none", "required"] | NamedChoice | None = None
    text: TextOptions = TextOptions()
    reasoning: Reasoning | None = None
    previous_response_id: str | None = None
    background: bool | None = None
    parallel_tool_calls: bool | None = None
    truncation: str | None = None
    max_tool_calls: int | None = None
    prompt: dict[str, Any] | None = None
    conversation: str | dict[str, Any] | None = None
    user: Annotated[str, Field(max_length=200)] | None = None
    workbench: WorkbenchOptions = Field(default_factory=WorkbenchOptions)


class ResponsesWire:
    """`POST /v1/responses`."""

    path = "/v1/responses"

    def read(self, body: bytes, *, request_id: str) -> Asked:
        """What a body asks for.

        Raises:
            Refusal: it is no such request, or it goes on from a response, none of which is kept.
        """
        sent = parsed(ResponsesRequest, body)
        if sent.previous_response_id is not None or sent.background:
            reason = "previous_response_id and background: no response is kept; send the whole conversation"
            raise Refusal(400, "unsupported_parameter", reason)
        refuse_changed(sent, _NEUTRAL if not sent.tools else _NEUTRAL | {"parallel_tool_calls": [True]})
        options = sent.workbench
        return Asked(
            target=sent.model,
            prompt=_prompt(sent, request_id),
            decoding=_decoding(sent),
            is_streamed=bool(sent.stream),
            user=sent.user,
            conversation=options.conversation,
            fallbacks=tuple(options.fallbacks),
            shows_decision=options.decision,
        )

    def whole(self, served: Served) -> Json:
        """The body of an answer."""
        completion, routed = served.completion, served.routed
        is_cut = completion.finish_reason in ("length", "content_filter")
        reason = "max_output_tokens" if completion.finish_reason == "length" else "content_filter"
        body = _head(routed, completion.model_id, status="incomplete" if is_cut else "completed") | {
            "output": _output(routed.request_id, completion),
            "incomplete_details": {"reason": reason} if is_cut else None,
            "usage": usage_of(completion.usage),
        }
        if routed.asked.shows_decision:
            body["workbench"] = decision_of(served)
        return body

    def stream(self, routed: Routed) -> Stream:
        """What words the events of an answer."""
        return _ResponsesStream(routed)

    def refused(self, refusal: Refusal) -> Json:
        """OpenAI's shape of an error."""
        return error_body(refusal)

    def schemas(self) -> tuple[Json, Json]:
        """The request's schema; the answer is an object as the protocol has it."""
        return ResponsesRequest.model_json_schema(), {"type": "object", "required": ["id", "output"]}


class _ResponsesStream:
    """Items come one after another: each is added, has its pieces, and is done before the next."""

    def __init__(self, routed: Routed) -> None:
        self._routed = routed
        self._n_events = 0
        self._n_items = 0
        self._open: tuple[str, int] | None = None
        self._call = ToolCall("", "", "")
        self._said = ""

    def start(self) -> bytes:
        head = _head(self._routed, self._routed.decision.model_id, status="in_progress") | {"output": []}
        return self._event("response.created", response=head) + self._event(
            "response.in_progress", response=head
        )

    def piece(self, delta: Delta) -> bytes:
        said = b""
        if delta.text:
            said += self._in(("message", 0), ToolCall("", "", ""))
            self._said += delta.text
            said += self._event(
                "response.output_text.delta", **self._text_place(), delta=delta.text, logprobs=[]
            )
        if (call := delta.tool_call) is not None:
            said += self._in(("function_call", call.index), ToolCall(call.call_id, call.name, ""))
            self._said += call.arguments
            if call.arguments:
                said += self._event(
                    "response.function_call_arguments.delta", **self._place(), delta=call.arguments
                )
        return said

    def end(self, served: Served) -> bytes:
        said = self._done()
        body = ResponsesWire().whole(served)
        return said + self._event(f"response.{body['status']}", response=body)

    def failure(self, refusal: Refusal) -> bytes:
        error = {"code": refusal.code, "message": refusal.message}
        head = _head(self._routed, self._routed.decision.model_id, status="failed")
        return self._event("response.failed", response=head | {"output": [], "error": error})

    def _in(self, wanted: tuple[str, int], call: ToolCall) -> bytes:
        """Add an item, unless the pieces of it are coming already."""
        if self._open == wanted:
            return b""
        said = self._done()
        self._open, self._call = wanted, call
        said += self._event(
            "response.output_item.added", output_index=self._n_items, item=self._item("in_progress")
        )
        if wanted[0] == "message":
            said += self._event("response.content_part.added", **self._text_place(), part=_text_part(""))
        return said

    def _done(self) -> bytes:
        if self._open is None:
            return b""
        if self._open[0] == "message":
            place = self._text_place()
            said = self._event("response.output_text.done", **place, text=self._said, logprobs=[])
            said += self._event("response.content_part.done", **place, part=_text_part(self._said))
        else:
            said = self._event(
                "response.function_call_arguments.done",
                **self._place(),
                name=self._call.name,
                arguments=self._said,
            )
        said += self._event(
            "response.output_item.done", output_index=self._n_items, item=self._item("completed")
        )
        self._open, self._said = None, ""
        self._n_items += 1
        return said

    def _item(self, status: str) -> Json:
        kind = "" if self._open is None else self._open[0]
        item_id = _item_id(self._routed.request_id, self._n_items)
        if kind == "function_call":
            call = ToolCall(self._call.call_id, self._call.name, self._said)
            return _call_item(item_id, call, status=status)
        return _message_item(item_id, self._said if status == "completed" else None, status=status)

    def _place(self) -> Json:
        item_id = _item_id(self._routed.request_id, self._n_items)
        return {"item_id": item_id, "output_index": self._n_items}

    def _text_place(self) -> Json:
        return self._place() | {"content_index": 0}

    def _event(self, kind: str, **fields: object) -> bytes:
        body = {"type": kind, "sequence_number": self._n_events, **fields}
        self._n_events += 1
        return b"event: " + kind.encode() + b"\ndata: " + encoded(body) + b"\n\n"


def usage_of(usage: Usage) -> Json:
    """Tokens as this protocol counts them."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _head(routed: Routed, model_id: str, *, status: str) -> Json:
    decoding = routed.asked.decoding
    return {
        "id": f"resp_{routed.request_id}",
        "object": "response",
        "created_at": routed.created_s,
        "status": status,
        "model": model_id,
        "error": None,
        "incomplete_details": None,
        "instructions": routed.asked.prompt.system,
        "max_output_tokens": decoding.max_output_tokens,
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "store": False,
        "tool_choice": _choice_shown(decoding.tool_choice),
        "tools": [_tool_shown(tool) for tool in decoding.tools],
        "usage": None,
    }


def _choice_shown(choice: str | None) -> object:
    if choice in (None, "auto", "none", "required"):
        return choice or "auto"
    return {"type": "function", "name": choice}


def _output(request_id: str, completion: Completion) -> list[Json]:
    items: list[Json] = []
    if completion.text or not completion.tool_calls:
        items.append(_message_item(_item_id(request_id, 0), completion.text, status="completed"))
    items += [
        _call_item(_item_id(request_id, number), call, status="completed")
        for number, call in enumerate(completion.tool_calls, start=len(items))
    ]
    return items


def _item_id(request_id: str, number: int) -> str:
    return f"item_{request_id}_{number}"


def _message_item(item_id: str, text: str | None, *, status: str) -> Json:
    content = [] if text is None else [_text_part(text)]
    return {"id": item_id, "type": "message", "status": status, "role": "assistant", "content": content}


def _call_item(item_id: str, call: ToolCall, *, status: str) -> Json:
    named = {"call_id": call.call_id, "name": call.name, "arguments": call.arguments}
    return {"id": item_id, "type": "function_call", "status": status, **named}


def _text_part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _tool_shown(tool: Tool) -> Json:
    parameters = json.loads(tool.parameters)
    named = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "strict": False, **named}


def _prompt(sent: ResponsesRequest, request_id: str) -> Prompt:
    if isinstance(sent.input, str):
        return Prompt(request_id, sent.input, system=sent.instructions)
    turns = [item for item in sent.input if item.type != "reasoning"]
    is_system = [item.type == "message" and item.role in ("system", "developer") for item in turns]
    said = [_text(item.content) for item, is_one in zip(turns, is_system, strict=True) if is_one]
    system = "\n\n".join(text for text in (sent.instructions, *said) if text) or None
    history = _merged([item for item, is_one in zip(turns, is_system, strict=True) if not is_one])
    if not history:
        raise Refusal(400, "invalid_request", "input: a message of role user is needed")
    last = history[-1]
    if last.role != "user":
        return Prompt(request_id, "", system=system, history=tuple(history))
    before = tuple(history[:-1])
    return Prompt(request_id, last.content, system=system, images=last.images, history=before)


def _merged(items: list[Item]) -> list[Message]:
    """Items as messages: the calls after an assistant's message are of that message."""
    messages: list[Message] = []
    for item in items:
        if item.type == "function_call":
            call = ToolCall(item.call_id, item.name, item.arguments)
            before = messages[-1] if messages and messages[-1].role == "assistant" else None
            text = messages.pop().content if before is not None else ""
            calls = before.tool_calls if before is not None else ()
            messages.append(Message("assistant", text, tool_calls=(*calls, call)))
        elif item.type == "function_call_output":
            messages.append(Message("tool", _text(item.output), tool_call_id=item.call_id))
        else:
            role: Literal["user", "assistant"] = "assistant" if item.role == "assistant" else "user"
            parts = item.content if isinstance(item.content, list) else []
            images = tuple(image_of(part.image_url) for part in parts if part.image_url is not None)
            messages.append(Message(role, _text(item.content), images))
    return messages


def _text(content: str | list[Part]) -> str:
    return content if isinstance(content, str) else "".join(part.text or part.refusal for part in content)


def _decoding(sent: ResponsesRequest) -> Decoding:
    choice = sent.tool_choice
    return Decoding(
        max_output_tokens=sent.max_output_tokens or MAX_OUTPUT_TOKENS,
        temperature=sent.temperature,
        top_p=sent.top_p,
        tools=tuple(_tool(tool) for tool in sent.tools),
        tool_choice=choice.name if isinstance(choice, NamedChoice) else choice,
        json_schema=_schema(sent.text.format),
        reasoning_effort=None if sent.reasoning is None else sent.reasoning.effort,
    )


def _tool(tool: ToolBody) -> Tool:
    parameters = tool.parameters or {"type": "object", "properties": {}}
    return Tool(tool.name, tool.description or "", json.dumps(parameters))


def _schema(wanted: Format) -> str | None:
    if wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return ANY_OBJECT
    if wanted.schema_ is None:
        raise Refusal(400, "invalid_request", "text.format: json_schema needs a schema")
    return json.dumps(wanted.schema_)
