"""Tools, images and structured answers, in the words of each protocol."""

import json

import pytest
from anthropic.types import Message as AnthropicMessage
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from workbench.server.chat_completions import ChatCompletionsWire
from workbench.server.exchange import Refusal, Routed, Served, Wire
from workbench.server.messages import MessagesWire
from workbench.server.responses import ResponsesWire
from workbench.types import Completion, Decision, Delta, ToolCall, ToolCallDelta, Usage

PNG = "iVBORw0KGgo="
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
CALL = ToolCall("call-1", "weather", '{"city": "Paris"}')
CHAT = {
    "model": "auto",
    "max_tokens": 50,
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [
            {"type": "text", "text": "Which weather?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        ]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call-1", "type": "function",
             "function": {"name": "weather", "arguments": '{"city": "Paris"}'}},
        ]},
        {"role": "tool", "tool_call_id": "call-1", "content": "sunny"},
    ],
    "tools": [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}],
    "tool_choice": {"type": "function", "function": {"name": "weather"}},
}  # fmt: skip
MESSAGES = {
    "model": "auto",
    "max_tokens": 50,
    "system": "Be brief.",
    "messages": [
        {"role": "user", "content": [
            {"type": "text", "text": "Which weather?"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        ]},
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": "call-1", "name": "weather", "input": {"city": "Paris"}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "call-1", "content": "sunny"},
        ]},
    ],
    "tools": [{"name": "weather", "input_schema": SCHEMA}],
    "tool_choice": {"type": "tool", "name": "weather"},
}  # fmt: skip
RESPONSES = {
    "model": "auto",
    "max_output_tokens": 50,
    "instructions": "Be brief.",
    "input": [
        {"role": "user", "content": [
            {"type": "input_text", "text": "Which weather?"},
            {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
        ]},
        {"type": "function_call", "call_id": "call-1", "name": "weather", "arguments": '{"city": "Paris"}'},
        {"type": "function_call_output", "call_id": "call-1", "output": "sunny"},
    ],
    "tools": [{"type": "function", "name": "weather", "parameters": SCHEMA}],
    "tool_choice": {"type": "function", "name": "weather"},
}  # fmt: skip
WIRES: list[tuple[Wire, dict[str, object]]] = [
    (ChatCompletionsWire(), CHAT),
    (MessagesWire(), MESSAGES),
    (ResponsesWire(), RESPONSES),
]
IDS = ["chat_completions", "messages", "responses"]


def routed(wire: Wire, body: dict[str, object]) -> Routed:
    asked = wire.read(json.dumps(body).encode(), request_id="r1")
    return Routed("r1", asked, Decision("openai/gpt-x", "knn"), arm="auto", created_s=1)


def completion(text: str, *calls: ToolCall) -> Completion:
    finish = "tool_calls" if calls else "stop"
    return Completion(text, "gpt-x", "gpt-x", "openai", Usage(9, 5), 0.1, finish, tool_calls=calls)


@pytest.mark.parametrize(("wire", "body"), WIRES, ids=IDS)
def test_a_tool_loop_with_an_image_is_read_alike_in_every_protocol(
    wire: Wire, body: dict[str, object]
) -> None:
    asked = wire.read(json.dumps(body).encode(), request_id="r1")
    user, assistant, result = asked.prompt.messages[1:]
    assert asked.prompt.system == "Be brief."
    assert (user.content, len(user.images), user.images[0].media_type) == ("Which weather?", 1, "image/png")
    assert assistant.tool_calls == (CALL,)
    assert (result.role, result.content, result.tool_call_id) == ("tool", "sunny", "call-1")
    assert (asked.decoding.tool_choice, asked.decoding.max_output_tokens) == ("weather", 50)
    assert json.loads(asked.decoding.tools[0].parameters) == SCHEMA


@pytest.mark.parametrize(("wire", "body"), WIRES, ids=IDS)
def test_a_tool_call_is_worded_so_that_the_official_types_read_it(
    wire: Wire, body: dict[str, object]
) -> None:
    said = wire.whole(Served(routed(wire, body), completion("", CALL)))
    if wire.path.endswith("completions"):
        call = ChatCompletion.model_validate(said).choices[0].message.tool_calls[0].function
        assert (call.name, call.arguments) == (CALL.name, CALL.arguments)
    elif wire.path.endswith("messages"):
        block = AnthropicMessage.model_validate(said).content[0]
        assert (block.name, block.input) == (CALL.name, {"city": "Paris"})
    else:
        item = Response.model_validate(said).output[0]
        assert (item.name, item.arguments) == (CALL.name, CALL.arguments)


@pytest.mark.parametrize(("wire", "body"), WIRES, ids=IDS)
def test_a_streamed_tool_call_comes_in_the_pieces_that_it_came_in(
    wire: Wire, body: dict[str, object]
) -> None:
    worded = wire.stream(routed(wire, body))
    pieces = [ToolCallDelta(0, "call-1", "weather"), ToolCallDelta(0, arguments='{"city": '),
              ToolCallDelta(0, arguments='"Paris"}')]  # fmt: skip
    said = worded.start() + b"".join(worded.piece(Delta("", tool_call=piece)) for piece in pieces)
    said += worded.end(Served(routed(wire, body), completion("", CALL)))
    events = [json.loads(line[6:]) for line in said.splitlines() if line.startswith(b"data: {")]
    assert arguments_of(events) == CALL.arguments


def arguments_of(events: list[dict[str, object]]) -> str:
    """The arguments as a client of any of the protocols puts them together."""
    said = ""
    for event in events:
        for choice in event.get("choices", []):
            for call in choice["delta"].get("tool_calls", []):
                said += call["function"]["arguments"]
        if event.get("type") == "response.function_call_arguments.delta":
            said += event["delta"]
        if event.get("type") == "content_block_delta":
            said += event["delta"]["partial_json"]
    return said


@pytest.mark.parametrize(
    ("wire", "change", "code"),
    [
        (ChatCompletionsWire(), {"n": 2}, "unsupported_parameter"),
        (ChatCompletionsWire(), {"response_format": {"type": "json_object"}}, "unsupported_parameter"),
        (ChatCompletionsWire(), {"messages": []}, "invalid_request"),
        (ChatCompletionsWire(), {"temperature": 9}, "invalid_request"),
        (MessagesWire(), {"max_tokens": 0}, "invalid_request"),
        (ResponsesWire(), {"previous_response_id": "resp_1"}, "unsupported_parameter"),
    ],
    ids=["n", "json_object", "no-messages", "temperature", "no-tokens", "previous"],
)
def test_what_cannot_be_served_is_refused_and_named(wire: Wire, change: dict[str, object], code: str) -> None:
    body = dict(zip(IDS, (CHAT, MESSAGES, RESPONSES), strict=True))[
        {"/v1/chat/completions": IDS[0], "/v1/messages": IDS[1], "/v1/responses": IDS[2]}[wire.path]
    ]
    with pytest.raises(Refusal) as caught:
        wire.read(json.dumps(body | change).encode(), request_id="r1")
    assert caught.value.code == code
    assert next(iter(change)).split("_")[0] in caught.value.message
