"""Conversations with tools: the signatures of a model's thoughts go back as they came, and to nobody else."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from dialects import DIALECTS, Dialect
from faults import CANARY, FaultServer, Script, stream, whole
from wires import ANY_CUTS, TOOLS, ask, cut, fixture, read_stream
from workbench.cache import decode, encode
from workbench.catalog import token_bound
from workbench.errors import DataError, TooLargeError
from workbench.providers.anthropic import AnthropicWire
from workbench.providers.anthropic_batches import AnthropicBatches
from workbench.providers.batch_api import BatchItem
from workbench.providers.responses import ResponsesWire
from workbench.providers.wire import HttpProvider
from workbench.settings import Secret
from workbench.types import Completion, Decoding, Message, Prompt, Usage, Verbatim

pytestmark = pytest.mark.anyio

ASKED = Prompt("p1", "Rain in Zürich, and when?", system="Be brief.")
RESULTS = (Message("tool", "rain", tool_call_id="call_a"), Message("tool", "12:00", tool_call_id="call_b"))
DECODING = Decoding(max_output_tokens=2000, temperature=None, tools=TOOLS)
MODELS = {"gemini": "gemini-3-flash-preview", "anthropic": "claude-sonnet-4-6"}
SIGNING = [one for one in DIALECTS if one.name != "ollama"]
PLACES: dict[str, Callable[[Any], Any]] = {
    "anthropic": lambda body: body["content"],
    "gemini": lambda body: body["candidates"][0]["content"]["parts"],
    "responses": lambda body: body["output"],
    "chat_completions": lambda body: [body["choices"][0]["message"]],
}
"""Where an answer has what its provider wants back."""

every_protocol = pytest.mark.parametrize("dialect", SIGNING, ids=lambda one: one.name)


def given_by(dialect: Dialect) -> Any:
    """What the server said, as it wants it back."""
    return PLACES[dialect.name](json.loads(fixture(f"signed/{dialect.name}.json")))


def sent_back(dialect: Dialect, body: Any) -> Any:
    """The part of a request that is the model's own turn."""
    if dialect.name == "responses":
        return [item for item in body["input"] if item.get("role") != "user" and "output" not in item]
    if dialect.name == "chat_completions":
        return [message for message in body["messages"] if message["role"] == "assistant"]
    turns = body["contents" if dialect.name == "gemini" else "messages"]
    return next(
        turn.get("parts") or turn["content"] for turn in turns if turn["role"] in ("model", "assistant")
    )


async def answered(dialect: Dialect) -> Completion:
    script = whole(fixture(f"signed/{dialect.name}.json"))
    model = MODELS.get(dialect.name, "small")
    completion, _ = await ask(dialect.wire, script, model=model, prompt=ASKED, decoding=DECODING)
    return completion


async def body_after(dialect: Dialect, prompt: Prompt) -> Any:
    """What is sent for `prompt`."""
    model = MODELS.get(dialect.name, "small")
    script = whole(dialect.raw("answer"))
    _, received = await ask(dialect.wire, script, model=model, prompt=prompt, decoding=DECODING)
    return received.body


@every_protocol
async def test_an_answer_goes_back_as_it_came(dialect: Dialect) -> None:
    completion = await answered(dialect)
    body = await body_after(dialect, ASKED.continued(completion, *RESULTS))
    assert sent_back(dialect, body) == given_by(dialect)
    assert all(result in json.dumps(body) for result in ("rain", "12:00"))


@every_protocol
@given(cuts=ANY_CUTS)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_stream_goes_back_as_the_whole_answer_does(dialect: Dialect, cuts: list[int]) -> None:
    script = cut(fixture(f"signed/{dialect.name}.sse"), cuts)
    _, completion, _ = await read_stream(dialect.wire, script, prompt=ASKED, decoding=DECODING)
    assert completion.message == (await answered(dialect)).message
    body = await body_after(dialect, ASKED.continued(completion, *RESULTS))
    assert sent_back(dialect, body) == given_by(dialect)


@every_protocol
async def test_another_provider_is_sent_text_and_calls_alone(dialect: Dialect) -> None:
    completion = await answered(dialect)
    elsewhere = replace(completion, verbatim=Verbatim("other", completion.verbatim.json))  # type: ignore[union-attr]
    bare = replace(completion, verbatim=None)
    sent = [await body_after(dialect, ASKED.continued(one, *RESULTS)) for one in (elsewhere, bare)]
    assert sent[0] == sent[1]
    assert sent_back(dialect, sent[0]) != given_by(dialect)


@every_protocol
async def test_an_answer_without_signatures_is_not_kept_twice(dialect: Dialect) -> None:
    completion, _ = await ask(dialect.wire, whole(dialect.raw("tools")))
    assert completion.verbatim is None
    assert completion.message == Message("assistant", "", tool_calls=completion.tool_calls)


@every_protocol
async def test_signatures_survive_the_cache(dialect: Dialect) -> None:
    completion = await answered(dialect)
    kept = encode("key", completion)
    assert kept is not None
    assert decode("key", kept) == completion


@every_protocol
async def test_a_budget_counts_what_is_sent_back(dialect: Dialect) -> None:
    completion = await answered(dialect)
    bare = token_bound(ASKED.continued(replace(completion, verbatim=None)))
    assert completion.verbatim is not None
    assert token_bound(ASKED.continued(completion)) == bare + len(completion.verbatim.json)


@every_protocol
async def test_an_answer_with_our_key_in_it_is_not_kept(dialect: Dialect) -> None:
    body = fixture(f"signed/{dialect.name}.json").replace(b"then the time", CANARY.encode())
    completion, _ = await ask(dialect.wire, whole(body), key=Secret(CANARY), decoding=DECODING)
    assert completion.verbatim is None
    assert CANARY not in repr(completion)


@pytest.mark.parametrize("json_text", ["", "[]", '{"content": ['])
async def test_a_verbatim_that_is_none_is_refused(json_text: str) -> None:
    said = Message("assistant", "4", verbatim=Verbatim("faulty", json_text))
    with pytest.raises(DataError, match="p1"):
        await body_after(SIGNING[2], Prompt("p1", "And now?", history=(Message("user", "2 + 2?"), said)))


def test_a_conversation_goes_on_with_its_system_message_once() -> None:
    answer = Completion("4", "m", "m", "p", Usage(9, 1), 0.1, "stop")
    twice = ASKED.continued(answer, Message("user", "Sure?")).continued(answer)
    assert [message.role for message in twice.messages] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
    ]


def anthropic(*blocks: dict[str, Any], reason: str = "tool_use") -> Script:
    """A whole answer of these blocks."""
    body = json.loads(fixture("signed/anthropic.json")) | {"content": blocks, "stop_reason": reason}
    return whole(json.dumps(body).encode())


THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "EqQB"}
CALL = {"type": "tool_use", "id": "call_a", "name": "clock", "input": {}}


@pytest.mark.parametrize(
    "left_out",
    [{"type": "thinking", "thinking": "And th", "signature": ""}, {"type": "text", "text": ""}],
    ids=["unsigned", "empty"],
)
async def test_anthropic_is_not_sent_what_it_refuses(left_out: dict[str, Any]) -> None:
    completion, _ = await ask(AnthropicWire(), anthropic(THOUGHT, CALL, left_out))
    assert completion.verbatim is not None
    assert json.loads(completion.verbatim.json) == {"content": [THOUGHT, CALL]}


async def test_a_call_that_was_cut_off_is_not_kept() -> None:
    events = fixture("signed/anthropic.sse").split(b"\n\n")
    broken = [one + b"\n\n" for one in events if b"partial_json" not in one or b"rich" not in one]
    _, completion, _ = await read_stream(AnthropicWire(), stream(*broken))
    assert completion.verbatim is None


async def test_signatures_without_end_are_stopped() -> None:
    head, *_ = fixture("signed/anthropic.sse").split(b"event: content_block_stop")
    piece = {"type": "signature_delta", "signature": "x" * 1000}
    data = json.dumps({"type": "content_block_delta", "index": 0, "delta": piece})
    events = [f"event: content_block_delta\ndata: {data}\n\n".encode()] * 100
    async with FaultServer(stream(head, *events)) as server:
        provider = HttpProvider("faulty", server.url, wire=AnthropicWire())
        provider.http.max_body_bytes = 50_000
        try:
            with pytest.raises(TooLargeError):
                [one async for one in provider.stream("small", ASKED, DECODING, deadline_s=5.0)]
        finally:
            await provider.aclose()


@pytest.mark.parametrize(
    ("model", "included"), [("gpt-5.4", ["reasoning.encrypted_content"]), ("gpt-4.1", None)]
)
async def test_only_a_model_that_reasons_is_asked_for_its_thoughts(model: str, included: Any) -> None:
    script = whole(fixture("signed/responses.json"))
    wire = ResponsesWire(fixed_sampling="gpt-5")
    _, received = await ask(wire, script, model=model, prompt=ASKED, decoding=DECODING)
    assert received.body.get("include") == included


async def test_a_batch_does_not_send_the_words_of_another_provider() -> None:
    said = Message("assistant", "4", verbatim=Verbatim("other", '{"content": []}'))
    prompt = Prompt("p1", "And now?", history=(Message("user", "2 + 2?"), said))
    provider = HttpProvider("anthropic", "http://127.0.0.1:1", wire=AnthropicWire())
    line = AnthropicBatches(provider).line("m", BatchItem("c1", prompt, DECODING))
    assert json.loads(line)["params"]["messages"][1] == {"role": "assistant", "content": "4"}
