"""The span of a request: below that of its caller, above those of the calls that it makes."""

from contextlib import AsyncExitStack

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from workbench.client import Client
from workbench.client.events import configure_spans, server_spans, stop_spans
from workbench.providers.registry import provider as provider_of
from workbench.providers.simulator import Simulator
from workbench.server.guard import Message, Receive, Scope, Send
from workbench.server.request_log import RequestLog, note
from workbench.types import Prompt

pytestmark = pytest.mark.anyio

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def scope(path: str = "/v1/chat/completions") -> Scope:
    traceparent = f"00-{TRACE}-{PARENT}-01".encode()
    return {"type": "http", "method": "POST", "path": path, "headers": [(b"traceparent", traceparent)]}


async def nothing() -> Message:
    return {"type": "http.disconnect"}


async def drop(_message: Message) -> None:
    pass


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> TracerProvider:
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(exporter))
    return made


async def test_a_call_is_below_the_request_and_the_request_below_its_caller(
    exporter: InMemorySpanExporter, provider: TracerProvider
) -> None:
    configure_spans(provider)
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(Simulator())
        client = Client([provider_of("simulator", base_url=simulator.base_url)])
        await stack.enter_async_context(client)

        async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
            await client.complete("simulator/sim-small", Prompt("p", "What is 2 + 2?"))
            await send({"type": "http.response.start", "status": 200, "headers": []})

        routes = frozenset({"/v1/chat/completions"})
        log = RequestLog(app, lines=None, spans=server_spans(provider), routes=routes)
        await log(scope(), nothing, drop)
    stop_spans()
    spans = {span.name: span for span in exporter.get_finished_spans()}
    request, call = spans["POST /v1/chat/completions"], spans["chat sim-small"]
    assert request.kind is SpanKind.SERVER
    assert request.parent is not None
    assert call.parent is not None
    assert format_trace_id(request.context.trace_id) == TRACE
    assert format_span_id(request.parent.span_id) == PARENT
    assert call.parent.span_id == request.context.span_id
    assert request.attributes is not None
    assert request.attributes["http.response.status_code"] == 200


async def test_a_failure_is_in_the_span_without_what_a_caller_wrote(
    exporter: InMemorySpanExporter, provider: TracerProvider
) -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        note(error="ServerError")
        await send({"type": "http.response.start", "status": 502, "headers": []})
        raise ValueError("canary")

    log = RequestLog(app, lines=None, spans=server_spans(provider), routes=frozenset())
    with pytest.raises(ValueError, match="canary"):
        await log(scope("/canary"), nothing, drop)
    [span] = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["error.type"] == "ServerError"
    assert "canary" not in span.to_json()
