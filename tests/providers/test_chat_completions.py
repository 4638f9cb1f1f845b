"""The chat-completions protocol: what is asked, and what is made of the answers."""

import json
from contextlib import suppress
from email.utils import formatdate
from itertools import pairwise
from time import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import wires
from faults import (
    DONE,
    GOOD,
    HALVES,
    TEXT,
    FaultServer,
    Script,
    answer,
    delta,
    error,
    event,
    message,
    stream,
    whole,
)
from wires import CITY, LINKED, PNG, SCHEMA, conversation, everything
from workbench.errors import (
    BadResponseError,
    ConfigError,
    DataError,
    EmptyCompletionError,
    ProviderError,
    RateLimitError,
)
from workbench.providers.base import Provider
from workbench.providers.chat_completions import ChatCompletions, ChatCompletionsWire
from workbench.providers.simulator import Simulator
from workbench.types import Completion, Decoding, Message, Prompt, TokenLogprob, Tool, ToolCall

pytestmark = pytest.mark.anyio

PROMPT = Prompt("p1", "2 + 2?", system="Be brief.")
SHORT = Decoding(max_output_tokens=100)
PARTS = ("choices", "message", "delta", "content", "finish_reason", "usage", "error", "model", "code")


async def ask(
    script: str | Script, *, decoding: Decoding = SHORT, **settings: Any
) -> tuple[Completion, dict[str, Any]]:
    """The answer, and the request's body."""
    async with FaultServer(script) as server:
        provider = ChatCompletions("faulty", server.url, **settings)
        try:
            completion = await provider.complete("small", PROMPT, decoding, deadline_s=5.0)
        finally:
            await provider.aclose()
    return completion, server.requests[0].body


async def read_stream(script: str | Script, **settings: Any) -> tuple[list[str], Completion, dict[str, Any]]:
    """The pieces of a stream, its completion, and the request's body."""
    async with FaultServer(script) as server:
        provider = ChatCompletions("faulty", server.url, **settings)
        try:
            deltas = [d async for d in provider.stream("small", PROMPT, Decoding(), deadline_s=5.0)]
        finally:
            await provider.aclose()
    completion = deltas[-1].completion
    assert completion is not None
    assert all(one.completion is None for one in deltas[:-1])
    return [one.text for one in deltas[:-1]], completion, server.requests[0].body


def test_it_is_a_provider() -> None:
    assert isinstance(ChatCompletions("faulty", "http://127.0.0.1:1"), Provider)


async def test_a_request_says_all_that_was_asked() -> None:
    decoding = Decoding(max_output_tokens=7, temperature=0.5, top_p=0.9, seed=3, stop=("END",))
    _, body = await ask("ok", decoding=decoding)
    assert body == {
        "model": "small",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}],
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 3,
        "stop": ["END"],
    }


async def test_what_was_not_asked_is_left_to_the_provider() -> None:
    _, body = await ask("ok", decoding=Decoding(temperature=None))
    assert set(body) == {"model", "messages", "max_tokens"}


async def test_a_stream_asks_for_its_usage() -> None:
    _, _, body = await read_stream("stream-ok")
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})


async def test_a_server_may_call_a_field_otherwise_or_refuse_it() -> None:
    renamed = {"max_tokens": "max_completion_tokens", "stream_options": None}
    _, _, body = await read_stream("stream-ok", renamed=renamed)
    assert body["max_completion_tokens"] == 512
    assert not {"max_tokens", "stream_options"} & set(body)


async def test_an_answer_is_read_whole() -> None:
    completion, _ = await ask("ok")
    assert (completion.text, completion.model, completion.provider) == (TEXT, "small", "faulty")
    assert (completion.finish_reason, completion.raw_finish_reason) == ("stop", "stop")
    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (10, 5)
    assert not completion.usage.is_estimated
    assert completion.first_token_s is None
    assert completion.cost_usd is None
    assert 0.0 < completion.latency_s < 5.0


async def test_a_stream_adds_up_to_its_completion() -> None:
    pieces, completion, _ = await read_stream(stream(*GOOD, pause_s=0.01))
    assert pieces == ["The answer ", "is 4."]
    assert completion.text == TEXT
    assert completion.first_token_s is not None
    assert 0.0 < completion.first_token_s < completion.latency_s


async def test_the_request_id_of_the_header_is_kept() -> None:
    completion, _ = await ask(whole(answer(), X_Request_Id="req-1"))
    assert completion.request_id == "req-1"
    with pytest.raises(ProviderError) as caught:
        await ask(error("500 No", X_Request_Id="req-2"))
    assert caught.value.request_id == "req-2"


async def test_a_model_that_was_not_asked_is_recorded() -> None:
    completion, _ = await ask(whole(answer(model="other-model")))
    assert (completion.model, completion.served_model) == ("small", "other-model")


@pytest.mark.parametrize(
    ("raw", "known"), [("length", "length"), ("content_filter", "content_filter"), ("banana", "other")]
)
async def test_the_reason_to_finish_is_kept_raw_and_sorted(raw: str, known: str) -> None:
    completion, _ = await ask(whole(message(message={"content": TEXT}, finish_reason=raw)))
    assert (completion.finish_reason, completion.raw_finish_reason) == (known, raw)


async def test_a_filtered_answer_may_come_without_text() -> None:
    completion, _ = await ask(whole(message(message={"content": None}, finish_reason="content_filter")))
    assert (completion.text, completion.finish_reason) == ("", "content_filter")


async def test_a_tool_call_that_is_not_there_is_an_empty_completion() -> None:
    with pytest.raises(EmptyCompletionError, match="tool_calls"):
        await ask(whole(message(message={"content": None}, finish_reason="tool_calls")))


async def test_a_refusal_is_a_filtered_answer() -> None:
    completion, _ = await ask(whole(message(message={"content": None, "refusal": "I may not."})))
    assert (completion.text, completion.finish_reason) == ("I may not.", "content_filter")


async def test_no_usage_is_estimated_from_above() -> None:
    completion, _ = await ask(whole(answer(usage=...)))
    assert completion.usage.is_estimated
    assert completion.usage.input_tokens >= len("2 + 2?Be brief.")
    assert completion.usage.output_tokens == len(TEXT)


@pytest.mark.parametrize("count", [-5, 10**12, "12", None, 1.5, True, [], {}])
async def test_a_count_that_cannot_be_is_replaced_by_a_bound(count: object) -> None:
    usage = {"prompt_tokens": count, "completion_tokens": count}
    completion, _ = await ask(whole(answer(usage=usage)))
    assert completion.usage.is_estimated
    assert 0 < completion.usage.input_tokens < 1000
    assert 0 < completion.usage.output_tokens <= 100


async def test_hidden_and_cached_tokens_are_counted() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 40},
    }
    completion, _ = await ask(whole(answer(usage=usage)))
    assert (completion.usage.cached_input_tokens, completion.usage.reasoning_tokens) == (8, 40)


async def test_an_error_from_an_aggregator_keeps_its_class_and_is_not_an_answer() -> None:
    inner = {"error": {"code": 429, "message": "slow down"}}
    with pytest.raises(RateLimitError, match="slow down"):
        await ask(whole(json.dumps(inner).encode()))


@pytest.mark.parametrize(
    ("headers", "expected_s"),
    [
        ({"Retry_After": "2"}, 2.0),
        ({"Retry_After": "0.5"}, 0.5),
        ({"retry_after_ms": "300", "Retry_After": "2"}, 0.3),
        ({"Retry_After": "Fri, 31 Dec 1999 23:59:59 GMT"}, None),
        ({"Retry_After": "soon"}, None),
        ({"Retry_After": "-5"}, None),
        ({"Retry_After": "inf"}, None),
        ({}, None),
    ],
)
async def test_when_to_come_back_is_read(headers: dict[str, str], expected_s: float | None) -> None:
    with pytest.raises(RateLimitError) as caught:
        await ask(error("429 Too Many Requests", **headers))
    assert caught.value.retry_after_s == expected_s


async def test_a_date_to_come_back_is_read() -> None:
    with pytest.raises(RateLimitError) as caught:
        await ask(error("429 Too Many Requests", Retry_After=formatdate(time() + 60, usegmt=True)))
    assert caught.value.retry_after_s == pytest.approx(60, abs=2)


async def test_line_separators_of_unicode_are_text() -> None:
    text = "a\u2028b\u2029c\x85d\x0be"
    pieces, completion, _ = await read_stream(stream(delta(text), delta(finish="stop"), DONE))
    assert pieces == [completion.text] == [text]


def raw_delta(text: str) -> bytes:
    """An event whose text is escaped, as only JSON can carry half of a pair."""
    return event(json.dumps({"choices": [{"delta": {"content": text}}]}))


async def test_a_surrogate_pair_cut_between_two_events_is_one_character() -> None:
    halves = [
        event(json.dumps({"choices": [{"delta": {"content": half}}]})) for half in ("\ud83d", "\ude00!")
    ]
    pieces, completion, _ = await read_stream(stream(*halves, delta(finish="stop"), DONE))
    assert "".join(pieces) == completion.text == "\U0001f600!"


@pytest.mark.parametrize("halves", [["\ud83d"], ["\ud83d", "x"], ["x\ude00"]], ids=["end", "before", "after"])
async def test_half_of_a_surrogate_pair_is_no_text(halves: list[str]) -> None:
    events = [raw_delta(half) for half in halves]
    with pytest.raises(BadResponseError, match="surrogate"):
        await read_stream(stream(*events, delta(finish="stop"), DONE))


async def test_a_prompt_with_half_of_a_surrogate_pair_is_not_sent() -> None:
    provider = ChatCompletions("faulty", "http://127.0.0.1:1/v1")
    with pytest.raises(DataError, match="prompt 'p2'"):
        await provider.complete("small", Prompt("p2", "\ud83d"), Decoding(), deadline_s=1.0)


async def test_another_choice_is_not_mixed_in() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "no"}, "finish_reason": None}]}
    pieces, _, _ = await read_stream(stream(HALVES[0], event(json.dumps(other)), *GOOD[1:]))
    assert pieces == ["The answer ", "is 4."]


async def test_an_empty_stream_that_finished_is_an_empty_completion() -> None:
    with pytest.raises(EmptyCompletionError, match="length"):
        await read_stream(stream(delta(finish="length"), DONE))


@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    shares=st.lists(st.floats(0.0, 1.0), max_size=6),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_stream_cut_anywhere_has_the_same_text(text: str, shares: list[float]) -> None:
    body = b"".join([delta(text), delta("…"), delta(finish="stop"), DONE])
    bounds = [0, *sorted(int(share * len(body)) for share in shares), len(body)]
    chunks = [body[a:b] for a, b in pairwise(bounds) if a < b]
    _, completion, _ = await read_stream(stream(*chunks))
    assert completion.text == text + "…"


hostile = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "delta", "content", "finish_reason", "usage", "error", "model"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(value=hostile, is_streamed=st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_json_at_all_is_an_answer_or_a_typed_error(value: object, is_streamed: bool) -> None:
    body = json.dumps(value).encode()
    with suppress(ProviderError):
        if is_streamed:
            await read_stream(stream(b"data: " + body + b"\n\n", DONE))
        else:
            await ask(whole(body))


async def test_the_simulator_is_understood() -> None:
    async with Simulator(latency_scale=0.0) as simulator:
        provider = ChatCompletions("simulator", simulator.base_url)
        completion = await provider.complete("sim-large", PROMPT, Decoding(), deadline_s=5.0)
        streamed = [d async for d in provider.stream("sim-large", PROMPT, Decoding(), deadline_s=5.0)]
        await provider.aclose()
    assert "".join(one.text for one in streamed) == completion.text
    assert streamed[-1].completion is not None
    assert streamed[-1].completion.usage == completion.usage


async def test_a_conversation_with_tools_and_images_is_sent() -> None:
    wire = ChatCompletionsWire()
    decoding = everything(tool_choice="clock", top_logprobs=2, reasoning_effort="low")
    prompt = conversation("Weather?", PNG, LINKED)
    _, received = await wires.ask(wire, whole(answer()), prompt=prompt, decoding=decoding)
    assert received.body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Weather?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n"}},
                {"type": "image_url", "image_url": {"url": "https://a.example/b.jpg"}},
            ],
        },
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [
                {
                    "id": "call_a",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city": "Zürich"}'},
                },
                {"id": "call_b", "type": "function", "function": {"name": "clock", "arguments": ""}},
            ],
        },
        {"role": "tool", "content": "rain", "tool_call_id": "call_a"},
        {"role": "tool", "content": "12:00", "tool_call_id": "call_b"},
        {"role": "user", "content": "And now?"},
    ]
    weather = {"name": "weather", "description": "The weather in a city", "parameters": json.loads(CITY)}
    assert received.body["tools"][0] == {"type": "function", "function": weather}
    assert received.body["tool_choice"] == {"type": "function", "function": {"name": "clock"}}
    assert received.body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": json.loads(SCHEMA), "strict": True},
    }
    assert (received.body["logprobs"], received.body["top_logprobs"]) == (True, 2)
    assert received.body["reasoning_effort"] == "low"


@pytest.mark.parametrize(
    "message", [Message("assistant", "", (PNG,)), Message("tool", "12:00")], ids=["image", "result"]
)
async def test_what_the_protocol_cannot_carry_is_refused(message: Message) -> None:
    provider = ChatCompletions("faulty", "http://127.0.0.1:1/v1")
    with pytest.raises(DataError, match="prompt 'p1'"):
        await provider.complete("small", Prompt("p1", "?", history=(message,)), Decoding(), deadline_s=1.0)


async def test_a_schema_that_is_none_is_refused() -> None:
    provider = ChatCompletions("faulty", "http://127.0.0.1:1/v1")
    with pytest.raises(ConfigError, match="the schema of the tool 'clock' is not JSON"):
        await provider.complete(
            "small", PROMPT, Decoding(tools=(Tool("clock", parameters="{"),)), deadline_s=1.0
        )


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
async def test_thoughts_are_kept_apart_from_the_answer(name: str) -> None:
    completion, _ = await ask(whole(message(message={"content": TEXT, name: "Two and two."})))
    assert (completion.text, completion.reasoning) == (TEXT, "Two and two.")
    thought = {"choices": [{"index": 0, "delta": {name: "Two and two."}}]}
    pieces, streamed, _ = await read_stream(stream(event(json.dumps(thought)), *GOOD))
    assert (pieces[0], streamed.text, streamed.reasoning) == ("", TEXT, "Two and two.")


async def test_thoughts_may_be_parts_of_the_content() -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Two and two."}]}
    completion, _ = await ask(whole(message(message={"content": [thought, {"type": "text", "text": TEXT}]})))
    assert (completion.text, completion.reasoning) == (TEXT, "Two and two.")


async def test_log_probabilities_are_read() -> None:
    top = [{"token": "4", "logprob": -0.1}, {"token": "\ud83d", "logprob": -3.0}, {"token": "5"}]
    tokens = [{"token": "4", "logprob": -0.1, "top_logprobs": top}, {"token": "?", "logprob": "x"}, None]
    completion, _ = await ask(whole(message(message={"content": "4"}, logprobs={"content": tokens})))
    assert completion.logprobs == (TokenLogprob("4", -0.1, (("4", -0.1),)),)


async def test_calls_that_share_an_index_are_told_apart_by_their_ids() -> None:
    def call(call_id: str, arguments: str) -> bytes:
        function = {"name": "clock", "arguments": arguments}
        asked = {"tool_calls": [{"index": 0, "id": call_id, "function": function}]}
        return event(json.dumps({"choices": [{"index": 0, "delta": asked}]}))

    events = [call("a", '{"x":'), call("a", " 1}"), call("b", "{}"), delta(finish="stop"), DONE]
    _, completion, _ = await read_stream(stream(*events))
    assert completion.tool_calls == (ToolCall("a", "clock", '{"x": 1}'), ToolCall("b", "clock", "{}"))
    assert (completion.finish_reason, completion.raw_finish_reason) == ("tool_calls", "stop")


async def test_a_call_without_an_id_is_given_one() -> None:
    calls = [{"function": {"name": "clock", "arguments": {"zone": "UTC"}}}]
    completion, _ = await ask(whole(message(message={"content": None, "tool_calls": calls})))
    assert completion.tool_calls == (ToolCall("call_0", "clock", '{"zone": "UTC"}'),)


async def test_a_call_without_a_name_is_no_answer() -> None:
    with pytest.raises(BadResponseError, match="names no tool"):
        await ask(whole(message(message={"tool_calls": [{"id": "a", "function": {}}]})))


async def test_tokens_that_are_only_in_the_total_were_written_out_of_sight() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 55}
    completion, _ = await ask(whole(answer(usage=usage)))
    assert (completion.usage.output_tokens, completion.usage.reasoning_tokens) == (45, 40)


@pytest.mark.parametrize(
    ("usage", "cached", "written"),
    [
        ({"prompt_cache_hit_tokens": 8}, 8, 0),
        ({"prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 6}}, 4, 6),
        ({"prompt_tokens_details": {"cached_tokens": 11}}, 0, 0),
    ],
    ids=["deepseek", "written", "more-than-all"],
)
async def test_tokens_of_a_cache_are_counted(usage: dict[str, Any], cached: int, written: int) -> None:
    completion, _ = await ask(whole(answer(usage={"prompt_tokens": 10, "completion_tokens": 5} | usage)))
    assert (completion.usage.cached_input_tokens, completion.usage.cache_write_tokens) == (cached, written)


async def test_a_model_that_changes_in_mid_stream_is_none_that_was_asked_for() -> None:
    events = [GOOD[0], GOOD[1].replace(b'"small"', b'"other"'), *GOOD[2:]]
    _, completion, _ = await read_stream(stream(*events))
    assert completion.served_model == "small, other"


async def test_a_refusal_in_pieces_is_a_filtered_answer() -> None:
    said = [{"choices": [{"index": 0, "delta": {"refusal": text}}]} for text in ("I may ", "not.")]
    events = [event(json.dumps(one)) for one in said]
    pieces, completion, _ = await read_stream(stream(*events, delta(finish="stop"), DONE))
    assert (pieces, completion.finish_reason) == (["I may ", "not."], "content_filter")
