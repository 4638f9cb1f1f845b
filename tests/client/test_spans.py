"""Spans of calls, as OpenTelemetry's own SDK receives them."""

import json
from collections.abc import Sequence
from contextlib import aclosing

import pytest

from calling import CATALOG, PROMPT, QUICK, failure, serving, streamed
from faults import TEXT, FaultServer, error, whole
from workbench.client import Client
from workbench.providers.chat_completions import ChatCompletions
from workbench.settings import Secret
from workbench.types import Decoding, Prompt

pytest.importorskip("opentelemetry.sdk", reason="the extra 'tracing' is not installed")
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as names
from opentelemetry.trace import SpanKind, StatusCode

from workbench.client.spans import Spans

pytestmark = pytest.mark.anyio


class Traced:
    """A tracer provider that keeps its spans, and clients that fill it."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def client(self, *servers: FaultServer, with_content: bool = False) -> Client:
        providers = [ChatCompletions(name, s.url) for name, s in zip(("one", "two"), servers, strict=False)]
        spans = Spans(self.provider, with_content=with_content)
        return Client(providers, catalog=CATALOG, limits=QUICK, observers=[spans])

    def call(self) -> ReadableSpan:
        [span] = [span for span in self.exporter.get_finished_spans() if span.name.startswith("chat ")]
        return span

    def attempts(self) -> Sequence[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name.startswith("attempt ")]


@pytest.fixture
def traced() -> Traced:
    return Traced()


async def test_a_call_is_a_span_with_the_attributes_of_the_conventions(traced: Traced) -> None:
    async with serving("ok") as [server], traced.client(server) as client:
        completion = await client.complete("one/small", PROMPT, decoding=Decoding(64, temperature=0.5))
    span = traced.call()
    assert (span.name, span.kind) == ("chat small", SpanKind.CLIENT)
    assert dict(span.attributes or {}) == {
        names.GEN_AI_OPERATION_NAME: "chat",
        names.GEN_AI_PROVIDER_NAME: "one",
        names.GEN_AI_REQUEST_MODEL: "small",
        names.GEN_AI_REQUEST_MAX_TOKENS: 64,
        names.GEN_AI_REQUEST_TEMPERATURE: 0.5,
        names.GEN_AI_RESPONSE_MODEL: completion.served_model,
        names.GEN_AI_RESPONSE_ID: completion.request_id,
        names.GEN_AI_RESPONSE_FINISH_REASONS: ("stop",),
        names.GEN_AI_USAGE_INPUT_TOKENS: 10,
        names.GEN_AI_USAGE_OUTPUT_TOKENS: 5,
        "workbench.prompt_id": "p1",
        "workbench.cost_usd": completion.cost_usd,
        "workbench.n_attempts": 1,
        "workbench.is_cached": False,
    }


async def test_each_attempt_is_a_child_within_its_call(traced: Traced) -> None:
    async with serving(["500", "ok"]) as [server], traced.client(server) as client:
        await client.complete("one/small", PROMPT)
    call, (failed, answered) = traced.call(), traced.attempts()
    for attempt in (failed, answered):
        assert attempt.parent is not None
        assert attempt.parent.span_id == call.context.span_id
        assert call.start_time <= attempt.start_time <= attempt.end_time <= call.end_time
        assert attempt.attributes["server.address"] == "127.0.0.1"
        assert attempt.attributes["server.port"] == server.port
    assert failed.attributes["error.type"] == "ServerError"
    assert failed.attributes["http.response.status_code"] == 500
    assert failed.status.status_code is StatusCode.ERROR
    assert call.status.status_code is StatusCode.UNSET
    assert [event.name for event in call.events] == ["workbench.retry"]


async def test_a_call_that_fails_names_its_error_and_not_its_message(traced: Traced) -> None:
    echo = error("400 Bad Request", f"the prompt {PROMPT.text!r} is refused")
    async with serving(echo) as [server], traced.client(server) as client:
        await failure(client)
    call = traced.call()
    assert call.attributes["error.type"] == "RequestError"
    assert (call.status.status_code, call.status.description) == (StatusCode.ERROR, None)


async def test_a_fallback_names_who_answered(traced: Traced) -> None:
    async with serving("401", "ok") as servers, traced.client(*servers) as client:
        await client.complete("one/small", PROMPT, fallbacks=["two/small"])
    call, (_, second) = traced.call(), traced.attempts()
    assert call.attributes["gen_ai.provider.name"] == "two"
    assert [event.name for event in call.events] == ["workbench.fallback"]
    assert second.attributes["workbench.fallback_reason"] == "AuthError"


async def test_the_span_of_a_stream_ends_with_the_stream(traced: Traced) -> None:
    async with (
        serving("stream-ok") as [server],
        traced.client(server) as client,
        aclosing(client.stream("one/small", PROMPT)) as deltas,
    ):
        await anext(deltas)
        assert traced.exporter.get_finished_spans() == ()
        completion = [delta async for delta in deltas][-1].completion
    call, [attempt] = traced.call(), traced.attempts()
    assert completion is not None
    assert call.attributes[names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK] == completion.first_token_s
    assert call.attributes[names.GEN_AI_REQUEST_STREAM] is True
    for span in (call, attempt):
        [first] = [event for event in span.events if event.name == "workbench.first_token"]
        assert span.start_time <= first.timestamp <= span.end_time


async def test_a_stream_that_is_left_ends_its_spans(traced: Traced) -> None:
    async with (
        serving("stream-ok") as [server],
        traced.client(server) as client,
        aclosing(client.stream("one/small", PROMPT)) as deltas,
    ):
        await anext(deltas)
    call, [attempt] = traced.call(), traced.attempts()
    for span in (call, attempt):
        assert span.attributes["error.type"] == "GeneratorExit"
        assert span.status.status_code is StatusCode.UNSET


async def test_vectors_are_an_operation_of_their_own(traced: Traced) -> None:
    vectors = {
        "data": [{"index": 0, "embedding": [1.0, 2.0]}],
        "model": "small",
        "usage": {"prompt_tokens": 3},
    }
    async with serving(whole(json.dumps(vectors).encode())) as [server], traced.client(server) as client:
        await client.embed("one/small", ["a cat"])
    [call] = [span for span in traced.exporter.get_finished_spans() if span.parent is None]
    assert call.name == "embeddings small"
    assert call.attributes[names.GEN_AI_OPERATION_NAME] == "embeddings"
    assert call.attributes[names.GEN_AI_USAGE_INPUT_TOKENS] == 3
    assert names.GEN_AI_REQUEST_MAX_TOKENS not in call.attributes


async def test_a_call_is_below_the_span_that_is_current(traced: Traced) -> None:
    tracer = traced.provider.get_tracer("of the caller")
    async with serving("ok") as [server], traced.client(server) as client:
        with tracer.start_as_current_span("outer") as outer:
            await client.complete("one/small", PROMPT)
    assert traced.call().parent.span_id == outer.get_span_context().span_id


async def test_no_provider_is_sent_a_trace_header(traced: Traced) -> None:
    async with serving("ok") as [server], traced.client(server) as client:
        with traced.provider.get_tracer("of the caller").start_as_current_span("outer"):
            await client.complete("one/small", PROMPT)
    assert "traceparent" not in server.requests[0].head.lower()
    assert "tracestate" not in server.requests[0].head.lower()


async def test_prompts_and_answers_are_in_no_span(traced: Traced) -> None:
    async with serving("stream-ok") as [server], traced.client(server) as client:
        await streamed(client)
    exported = " ".join(span.to_json() for span in traced.exporter.get_finished_spans())
    assert TEXT not in exported
    assert PROMPT.text not in exported


async def test_prompts_and_answers_are_there_when_asked_for_with_keys_masked(traced: Traced) -> None:
    key = Secret("canary/spans-3c4d")
    prompt = Prompt("p1", f"my key is {key.get_secret_value()}", system="Be brief.")
    async with serving("ok") as [server], traced.client(server, with_content=True) as client:
        await client.complete("one/small", prompt)
    call = traced.call()
    asked = json.loads(str(call.attributes[names.GEN_AI_INPUT_MESSAGES]))
    assert [message["role"] for message in asked] == ["system", "user"]
    assert asked[1]["parts"] == [{"type": "text", "content": "my key is **********"}]
    [answered] = json.loads(str(call.attributes[names.GEN_AI_OUTPUT_MESSAGES]))
    assert answered["parts"][0]["content"] == TEXT


async def test_without_an_sdk_calls_go_on_and_nothing_is_kept() -> None:
    spans = Spans()
    async with serving("ok") as [server]:
        providers = [ChatCompletions("one", server.url)]
        async with Client(providers, catalog=CATALOG, observers=[spans]) as client:
            assert (await client.complete("one/small", PROMPT)).text == TEXT
    assert spans.n_open == 0
