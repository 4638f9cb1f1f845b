"""OpenAI's chat completions from the server's side: requests read, answers and streams worded.

Source: https://platform.openai.com/docs/api-reference/chat
"""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from workbench.server.bodies import (
    MAX_OUTPUT_TOKENS,
    Body,
    WorkbenchOptions,
    error_body,
    event,
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
    Role,
    TokenLogprob,
    Tool,
    ToolCall,
    Usage,
)

FINISH = {"stop": "stop", "length": "length", "content_filter": "content_filter", "tool_calls": "tool_calls"}
_NEUTRAL: dict[str, Sequence[object]] = {
    "n": [1],
    "logit_bias": [{}],
    "presence_penalty": [0.0],
    "frequency_penalty": [0.0],
    "modalities": [["text"]],
    "verbosity": ["medium"],
    "audio": [],
    "web_search_options": [],
    "functions": [[]],
}
"""What changes an answer and cannot be passed on, with the values that change nothing."""
_DONE = b"data: [DONE]\n\n"


class ImageUrl(Body):
    """Where a picture is: an address, or its bytes as a data URL."""

    url: str


class Part(Body):
    """A piece of a message."""

    type: Literal["text", "image_url", "refusal"]
    text: str = ""
    refusal: str = ""
    image_url: ImageUrl | None = None


class Function(Body):
    """What a model wants called; `arguments` is JSON text."""

    name: str
    arguments: str = "{}"


class AskedCall(Body):
    """A tool call of an earlier answer."""

    id: str
    type: Literal["function"] = "function"
    function: Function


class ChatMessage(Body):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    tool_calls: list[AskedCall] | None = None
    tool_call_id: str | None = None


class FunctionTool(Body):
    """A function that may be called; `parameters` is a JSON schema."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object", "properties": {}})


class ToolBody(Body):
    """A tool; only functions are known."""

    type: Literal["function"]
    function: FunctionTool


class NamedFunction(Body):
    """The function that must be called."""

    name: str


class NamedChoice(Body):
    """One tool must be called."""

    type: Literal["function"]
    function: NamedFunction


class JsonSchema(Body):
    """The schema that an answer must follow."""

    name: str = "answer"
    schema_: dict[str, Any] = Field(alias="schema")


class ResponseFormat(Body):
    """What form an answer must have."""

    type: Literal["text", "json_schema", "json_object"]
    json_schema: JsonSchema | None = None


class StreamOptions(Body):
    """What a stream tells beside its text."""

    include_usage: bool = False


class ChatRequest(Body):
    """A request; what is not listed is left unheeded."""

    model: Annotated[str, Field(min_length=1, max_length=300)]
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: int | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    tools: list[ToolBody] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedChoice | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    reasoning_effort: ReasoningEffort | None = None
    user: Annotated[str, Field(max_length=200)] | None = None
    parallel_tool_calls: bool | None = None
    logit_bias: dict[str, float] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    modalities: list[str] | None = None
    verbosity: str | None = None
    audio: dict[str, Any] | None = None
    web_search_options: dict[str, Any] | None = None
    functions: list[dict[str, Any]] | None = None
    workbench: WorkbenchOptions = Field(default_factory=WorkbenchOptions)


class ChatCompletionsWire:
    """`POST /v1/chat/completions`."""

    path = "/v1/chat/completions"

    def read(self, body: bytes, *, request_id: str) -> Asked:
        """What a body asks for.

        Raises:
            Refusal: it is no such request, or asks for what changes the answer and cannot be passed on.
        """
        sent = parsed(ChatRequest, body)
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
            shows_usage=sent.stream_options is not None and sent.stream_options.include_usage,
        )

    def whole(self, served: Served) -> Json:
        """The body of an answer."""
        completion, routed = served.completion, served.routed
        choice = {
            "index": 0,
            "message": _message(completion),
            "logprobs": logprobs_of(completion.logprobs),
            "finish_reason": FINISH.get(completion.finish_reason, "stop"),
        }
        body = _head(routed, "chat.completion", completion.model_id)
        body |= {"choices": [choice], "usage": usage_of(completion.usage)}
        if routed.asked.shows_decision:
            body["workbench"] = decision_of(served)
        return body

    def stream(self, routed: Routed) -> Stream:
        """What words the chunks of an answer."""
        return _ChatStream(routed)

    def refused(self, refusal: Refusal) -> Json:
        """OpenAI's shape of an error."""
        return error_body(refusal)

    def schemas(self) -> tuple[Json, Json]:
        """The request's schema; the answer is an object as the protocol has it."""
        return ChatRequest.model_json_schema(), {"type": "object", "required": ["id", "choices"]}


class _ChatStream:
    def __init__(self, routed: Routed) -> None:
        self._routed = routed

    def start(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def piece(self, delta: Delta) -> bytes:
        said: Json = {}
        if delta.text:
            said["content"] = delta.text
        if delta.reasoning:
            said["reasoning_content"] = delta.reasoning
        if (call := delta.tool_call) is not None:
            function: Json = {"arguments": call.arguments}
            piece: Json = {"index": call.index, "function": function}
            if call.call_id or call.name:
                piece |= {"id": call.call_id, "type": "function"}
                function["name"] = call.name
            said["tool_calls"] = [piece]
        return self._chunk(said) if said else b""

    def end(self, served: Served) -> bytes:
        completion = served.completion
        last = self._chunk({}, finish=FINISH.get(completion.finish_reason, "stop"))
        if self._routed.asked.shows_usage or self._routed.asked.shows_decision:
            body = self._head() | {"choices": [], "usage": usage_of(completion.usage)}
            if self._routed.asked.shows_decision:
                body["workbench"] = decision_of(served)
            last += event(body)
        return last + _DONE

    def failure(self, refusal: Refusal) -> bytes:
        return event(error_body(refusal))

    def _chunk(self, delta: Json, *, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event(self._head() | {"choices": [choice]})

    def _head(self) -> Json:
        return _head(self._routed, "chat.completion.chunk", self._routed.decision.model_id)


def usage_of(usage: Usage) -> Json:
    """Tokens as OpenAI counts them."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def logprobs_of(logprobs: tuple[TokenLogprob, ...]) -> Json | None:
    """Log-probabilities of the tokens; None where none were asked for."""
    if not logprobs:
        return None
    return {"content": [_token(one) for one in logprobs], "refusal": None}


def _token(one: TokenLogprob) -> Json:
    top = [
        {"token": token, "logprob": number, "bytes": list(token.encode(errors="replace"))}
        for token, number in one.top
    ]
    return {
        "token": one.token,
        "logprob": one.logprob,
        "bytes": list(one.token.encode(errors="replace")),
        "top_logprobs": top,
    }


def _head(routed: Routed, kind: str, model_id: str) -> Json:
    return {
        "id": f"chatcmpl-{routed.request_id}",
        "object": kind,
        "created": routed.created_s,
        "model": model_id,
    }


def _message(completion: Completion) -> Json:
    message: Json = {"role": "assistant", "content": completion.text or None, "refusal": None}
    if completion.reasoning:
        message["reasoning_content"] = completion.reasoning
    if completion.tool_calls:
        message["tool_calls"] = [_call(call) for call in completion.tool_calls]
    else:
        message["content"] = completion.text
    return message


def _call(call: ToolCall) -> Json:
    return {
        "id": call.call_id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _prompt(sent: ChatRequest, request_id: str) -> Prompt:
    """System messages first, then the conversation; its last message of the user is the text."""
    turns = [message for message in sent.messages if message.role not in ("system", "developer")]
    system = "\n\n".join(
        _text(message) for message in sent.messages if message.role in ("system", "developer")
    )
    if not turns:
        raise Refusal(400, "invalid_request", "messages: one of role user is needed")
    history, last = [_turn(message) for message in turns], turns[-1]
    if last.role == "user":
        *history, asked = history
        return Prompt(
            request_id, asked.content, system=system or None, images=asked.images, history=tuple(history)
        )
    return Prompt(request_id, "", system=system or None, history=tuple(history))


def _turn(message: ChatMessage) -> Message:
    if message.role == "tool" and not message.tool_call_id:
        raise Refusal(400, "invalid_request", "messages: one of role tool needs its tool_call_id")
    calls = tuple(
        ToolCall(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ()
    )
    parts = message.content if isinstance(message.content, list) else []
    images = tuple(image_of(part.image_url.url) for part in parts if part.image_url is not None)
    role: Role = "system" if message.role == "developer" else message.role
    return Message(role, _text(message), images, calls, message.tool_call_id)


def _text(message: ChatMessage) -> str:
    if isinstance(message.content, list):
        return "".join(part.text or part.refusal for part in message.content)
    return message.content or ""


def _decoding(sent: ChatRequest) -> Decoding:
    stop = (sent.stop,) if isinstance(sent.stop, str) else tuple(sent.stop or ())
    return Decoding(
        max_output_tokens=sent.max_completion_tokens or sent.max_tokens or MAX_OUTPUT_TOKENS,
        temperature=sent.temperature,
        top_p=sent.top_p,
        seed=sent.seed,
        stop=stop,
        tools=tuple(_tool(tool.function) for tool in sent.tools or ()),
        tool_choice=_choice(sent),
        json_schema=_schema(sent.response_format),
        top_logprobs=(sent.top_logprobs or 0) if sent.logprobs else None,
        reasoning_effort=sent.reasoning_effort,
    )


def _tool(function: FunctionTool) -> Tool:
    return Tool(function.name, function.description, json.dumps(function.parameters))


def _choice(sent: ChatRequest) -> str | None:
    return sent.tool_choice.function.name if isinstance(sent.tool_choice, NamedChoice) else sent.tool_choice


def _schema(wanted: ResponseFormat | None) -> str | None:
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return ANY_OBJECT
    if wanted.json_schema is None:
        raise Refusal(400, "invalid_request", "response_format: json_schema needs a schema")
    return json.dumps(wanted.json_schema.schema_)
