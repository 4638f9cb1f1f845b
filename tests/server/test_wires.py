"""Tools, images and structured answers, in the words of each protocol."""

import json
from dataclasses import replace

import pytest
from anthropic.types import Message as AnthropicMessage
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from workbench.server.chat_completions import ChatCompletionsWire
from workbench.server.exchange import Refusal, Routed, Served, Wire
from workbench.server.messages import MessagesWire
from workbench.server.responses import ResponsesWire
from workbench.types import ANY_OBJECT, Completion, Decision, Delta, ToolCall, ToolCallDelta, Usage

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
        (ChatCompletionsWire(), {"logit_bias": {"50256": -100}}, "unsupported_parameter"),
        (ChatCompletionsWire(), {"presence_penalty": 0.5}, "unsupported_parameter"),
        (ChatCompletionsWire(), {"parallel_tool_calls": False}, "unsupported_parameter"),
        (ChatCompletionsWire(), {"functions": [{"name": "f"}]}, "unsupported_parameter"),
        (ChatCompletionsWire(), {"response_format": {"type": "json_schema"}}, "invalid_request"),
        (ChatCompletionsWire(), {"messages": []}, "invalid_request"),
        (ChatCompletionsWire(), {"temperature": 9}, "invalid_request"),
        (MessagesWire(), {"max_tokens": 0}, "invalid_request"),
        (MessagesWire(), {"top_k": 5}, "unsupported_parameter"),
        (
            MessagesWire(),
            {"tools": [{"type": "web_search_20250305", "name": "w"}]},
            "invalid_request",
        ),
        (ResponsesWire(), {"truncation": "auto"}, "unsupported_parameter"),
        (ResponsesWire(), {"previous_response_id": "resp_1"}, "unsupported_parameter"),
    ],
    ids=[
        "n",
        "logit_bias",
        "penalty",
        "one-call",
        "functions",
        "no-schema",
        "no-messages",
        "temperature",
        "no-tokens",
        "top_k",
        "web_search",
        "truncation",
        "previous",
    ],
)
def test_what_cannot_be_served_is_refused_and_named(wire: Wire, change: dict[str, object], code: str) -> None:
    body = dict(zip(IDS, (CHAT, MESSAGES, RESPONSES), strict=True))[
        {"/v1/chat/completions": IDS[0], "/v1/messages": IDS[1], "/v1/responses": IDS[2]}[wire.path]
    ]
    with pytest.raises(Refusal) as caught:
        wire.read(json.dumps(body | change).encode(), request_id="r1")
    assert caught.value.code == code
    assert next(iter(change)).split("_")[0] in caught.value.message


@pytest.mark.parametrize(
    "change",
    [
        {"n": 1, "store": True, "metadata": {"a": "b"}, "parallel_tool_calls": True, "logit_bias": {}},
        {"presence_penalty": 0, "frequency_penalty": 0.0, "service_tier": "auto", "modalities": ["text"]},
        {"max_completion_tokens": 50, "prediction": None, "verbosity": "medium", "user": "u"},
    ],
    ids=["kept-nowhere", "neutral", "names"],
)
def test_what_changes_no_answer_is_left_unheeded(change: dict[str, object]) -> None:
    plain = ChatCompletionsWire().read(json.dumps(CHAT).encode(), request_id="r1")
    read = ChatCompletionsWire().read(json.dumps(CHAT | change).encode(), request_id="r1")
    assert (read.prompt, read.decoding) == (plain.prompt, plain.decoding)


def test_any_json_object_can_be_asked_for() -> None:
    chat = CHAT | {"response_format": {"type": "json_object"}}
    responses = RESPONSES | {"text": {"format": {"type": "json_object"}}}
    for wire, body in ((ChatCompletionsWire(), chat), (ResponsesWire(), responses)):
        assert wire.read(json.dumps(body).encode(), request_id="r1").decoding.json_schema == ANY_OBJECT


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [({"type": "disabled"}, "none"), ({"type": "enabled", "budget_tokens": 1_024}, "low"),
     ({"type": "enabled", "budget_tokens": 32_000}, "high"), ({"type": "adaptive"}, None)],
    ids=["disabled", "little", "much", "adaptive"],
)  # fmt: skip
def test_tokens_of_thinking_are_read_as_effort(thinking: dict[str, object], effort: str | None) -> None:
    asked = MessagesWire().read(json.dumps(MESSAGES | {"thinking": thinking}).encode(), request_id="r1")
    assert asked.decoding.reasoning_effort == effort


def test_thoughts_are_blocks_before_the_text_and_are_taken_back() -> None:
    wire = MessagesWire()
    said = wire.whole(Served(routed(wire, MESSAGES), replace(completion("4"), reasoning="2 and 2")))
    blocks = AnthropicMessage.model_validate(said).content
    assert [block.type for block in blocks] == ["thinking", "text"]
    turns = [*MESSAGES["messages"], {"role": "assistant", "content": said["content"]},
             {"role": "user", "content": "And 3 + 3?"}]  # fmt: skip
    asked = wire.read(json.dumps(MESSAGES | {"messages": turns}).encode(), request_id="r2")
    assert [message.content for message in asked.prompt.messages[-2:]] == ["4", "And 3 + 3?"]


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "http://169.254.169.254/latest", "https://169.254.169.254/", "https://127.0.0.1/a.png",
     "https://[::1]/a.png", "https://2852039166/", "https://0x7f.1/a.png", "https://localhost/a.png",
     "https://metadata.google.internal/", "https://user@example.com/a.png", "https://example.com/a b\r\n",
     "ftp://example.com/a.png", "data:text/html;base64,PGI+", "data:image/png,abc",
     "data:image/png;base64,%%", ""],
)  # fmt: skip
@pytest.mark.parametrize("wire", [wire for wire, _ in WIRES], ids=IDS)
def test_a_picture_that_is_not_public_is_refused(wire: Wire, url: str) -> None:
    parts = {
        "/v1/chat/completions": {"type": "image_url", "image_url": {"url": url}},
        "/v1/messages": {"type": "image", "source": {"type": "url", "url": url}},
        "/v1/responses": {"type": "input_image", "image_url": url},
    }
    turns = [{"role": "user", "content": [parts[wire.path]]}]
    body = {"model": "auto", "max_tokens": 9, "messages": turns, "input": turns}
    with pytest.raises(Refusal) as caught:
        wire.read(json.dumps(body).encode(), request_id="r1")
    assert caught.value.code == "invalid_image"
