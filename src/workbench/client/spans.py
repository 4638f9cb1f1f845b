"""Calls as OpenTelemetry spans: one for each call, and one below it for each attempt. Owns opentelemetry.

Names are those of the semantic conventions for generative AI, read on 2026-11-23 at
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/ (in development). The span of a call covers
all its retries and carries the tokens, so that no backend counts them twice; what is ours is `workbench.*`.
No header is added to what providers are sent.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from workbench.client.embedding import NO_ANSWER
from workbench.client.events import (
    AttemptFinished,
    CallFinished,
    CallStarted,
    Event,
    FallbackTaken,
    RetryPlanned,
)
from workbench.errors import ProviderError
from workbench.providers.base import Provider
from workbench.providers.cache import Cached
from workbench.providers.recorder import Recorder
from workbench.providers.wire import HttpProvider
from workbench.redaction import all_masked, masked
from workbench.types import Completion, Message, Prompt

_NS = 1_000_000_000
_PROVIDERS = {
    "azure": "azure.ai.openai",
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "openai-responses": "openai",
    "xai": "x_ai",
}
"""Names of the conventions, where they differ from ours."""
_PORTS = {"http": 80, "https": 443}

Attributes = Mapping[str, AttributeValue | None]


@dataclass(slots=True)
class _Open:
    """A call under way."""

    span: Span
    first_token_ns: int | None = None


class Serving:
    """Makes the span of a request that is served, below the one that its caller names; calls are below it.

    Args:
        provider: where spans go; None: the global one.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("workbench", version("workbench"), tracer_provider=provider)

    @contextmanager
    def span(self, method: str, route: str, headers: Mapping[str, str]) -> Iterator[Span]:
        """A span while the block serves; `route` is a path that the server knows, and not a caller's word."""
        attributes = {"http.request.method": method, "http.route": route}
        with self._tracer.start_as_current_span(
            f"{method} {route}",
            context=TraceContextTextMapPropagator().extract(headers),
            kind=SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,  # its text may have what a caller wrote
            set_status_on_exception=False,
        ) as span:
            yield span

    @staticmethod
    def end(span: Span, status: int, attributes: Attributes) -> None:
        """Say how it ended: a status of HTTP, 0 where there was none."""
        span.set_attributes(_known({"http.response.status_code": status or None, **attributes}))
        if status >= 500 or not status:
            span.set_status(Status(StatusCode.ERROR))


class Spans:
    """An observer that makes a span of each call, below whatever span is current where it is made.

    Args:
        provider: where spans go; None: the global one, which drops them where no SDK is set up.
        with_content: prompts and answers too, with keys masked.
    """

    def __init__(self, provider: TracerProvider | None = None, *, with_content: bool = False) -> None:
        self._tracer = trace.get_tracer("workbench", version("workbench"), tracer_provider=provider)
        self._with_content = with_content
        self._open: dict[str, _Open] = {}

    @property
    def n_open(self) -> int:
        """How many calls are under way."""
        return len(self._open)

    def __call__(self, event: Event) -> None:
        """Begin, fill or end the span of the call that `event` is of."""
        match event:
            case CallStarted():
                self._start(event)
            case AttemptFinished():
                self._attempt(event)
            case RetryPlanned():
                waits: Attributes = {
                    "workbench.wait_s": event.wait_s,
                    "error.type": type(event.failure).__name__,
                }
                self._open[event.call_id].span.add_event("workbench.retry", _known(waits))
            case FallbackTaken():
                taken = {
                    "gen_ai.request.model": event.model_id,
                    "workbench.fallback_reason": str(event.reason),
                }
                self._open[event.call_id].span.add_event("workbench.fallback", taken)
            case CallFinished():
                self._finish(event)

    def _start(self, event: CallStarted) -> None:
        provider, _, model = event.model_id.partition("/")
        is_embedding = event.decoding == NO_ANSWER
        operation = "embeddings" if is_embedding else "chat"
        attributes = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": _PROVIDERS.get(provider, provider),
            "gen_ai.request.model": model,
            "workbench.prompt_id": event.prompt.prompt_id or None,
            **({} if is_embedding else _decoding(event)),
        }
        span = self._tracer.start_span(
            f"{operation} {model}", kind=SpanKind.CLIENT, attributes=_known(attributes)
        )
        self._open[event.call_id] = _Open(span)
        if self._with_content and span.is_recording():
            span.set_attribute("gen_ai.input.messages", _messages(event.prompt))

    def _attempt(self, event: AttemptFinished) -> None:
        attempt, call = event.attempt, self._open[event.call_id]
        provider, _, model = attempt.model_id.partition("/")
        ended_ns = time.time_ns()
        started_ns = ended_ns - int(attempt.latency_s * _NS)
        span = self._tracer.start_span(
            f"attempt {attempt.number}",
            context=trace.set_span_in_context(call.span),
            kind=SpanKind.CLIENT,
            start_time=started_ns,
            attributes=_known(
                {
                    "gen_ai.provider.name": _PROVIDERS.get(provider, provider),
                    "gen_ai.request.model": model,
                    **_server(event.provider),
                    "workbench.account": attempt.account or None,
                    "workbench.cost_usd": attempt.cost_usd,
                    "workbench.is_fallback": attempt.is_fallback,
                    "workbench.fallback_reason": attempt.fallback_reason,
                }
            ),
        )
        if attempt.first_token_s is not None:
            call.first_token_ns = started_ns + int(attempt.first_token_s * _NS)
            span.add_event("workbench.first_token", timestamp=call.first_token_ns)
        span.set_attributes(_known(_end(event.completion, event.failure)))
        _end_span(span, event.failure, ended_ns)

    def _finish(self, event: CallFinished) -> None:
        call = self._open.pop(event.call_id)
        call.span.set_attributes(_known(_end(event.completion, event.failure)))
        if event.completion is not None:
            self._answer(call, event.completion)
        _end_span(call.span, event.failure, time.time_ns())

    def _answer(self, call: _Open, completion: Completion) -> None:
        usage = completion.usage
        call.span.set_attributes(
            _known(
                {
                    # The candidate that answered, which a fallback makes another than was asked first.
                    "gen_ai.provider.name": _PROVIDERS.get(completion.provider, completion.provider),
                    "gen_ai.usage.input_tokens": usage.input_tokens,
                    "gen_ai.usage.output_tokens": usage.output_tokens,
                    "gen_ai.usage.cache_read.input_tokens": usage.cached_input_tokens or None,
                    "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens or None,
                    "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens or None,
                    "gen_ai.response.time_to_first_chunk": completion.first_token_s,
                    "workbench.cost_usd": completion.cost_usd,
                    "workbench.n_attempts": len(completion.attempts),
                    "workbench.is_cached": completion.is_cached,
                }
            )
        )
        if call.first_token_ns is not None:
            call.span.add_event("workbench.first_token", timestamp=call.first_token_ns)
        if self._with_content and call.span.is_recording():
            call.span.set_attribute("gen_ai.output.messages", _answered(completion))


def _decoding(event: CallStarted) -> Attributes:
    decoding = event.decoding
    return {
        "gen_ai.request.max_tokens": decoding.max_output_tokens,
        "gen_ai.request.temperature": decoding.temperature,
        "gen_ai.request.top_p": decoding.top_p,
        "gen_ai.request.seed": decoding.seed,
        "gen_ai.request.stop_sequences": decoding.stop or None,
        "gen_ai.request.stream": event.is_stream or None,
    }


def _end(completion: Completion | None, failure: BaseException | None) -> Attributes:
    """How it ended. An error has its class and no message, which may quote the prompt."""
    if completion is not None:
        return {
            "gen_ai.response.id": completion.request_id,
            "gen_ai.response.model": completion.served_model or None,
            "gen_ai.response.finish_reasons": (completion.raw_finish_reason,),
        }
    status = failure.status if isinstance(failure, ProviderError) else None
    error = None if failure is None else type(failure).__name__
    return {"error.type": error, "http.response.status_code": status}


def _end_span(span: Span, failure: BaseException | None, ended_ns: int) -> None:
    """A call that was cancelled or left says so in `error.type`, and is no error of the provider."""
    if isinstance(failure, Exception):
        span.set_status(Status(StatusCode.ERROR))
    span.end(ended_ns)


def _server(provider: Provider) -> Attributes:
    """Where requests go; nothing for a provider that sends none."""
    inner = provider
    while isinstance(inner, Cached | Recorder):
        inner = inner.provider
    if not isinstance(inner, HttpProvider):
        return {}
    parts = urlsplit(inner.http.base_url)
    return {"server.address": parts.hostname, "server.port": parts.port or _PORTS.get(parts.scheme)}


def _known(attributes: Attributes) -> Mapping[str, AttributeValue]:
    """Those that have a value, with keys masked in their texts: a server may repeat one as its model."""
    known = {name: value for name, value in attributes.items() if value is not None}
    texts = {name: value for name, value in known.items() if isinstance(value, str)}
    return known | dict(zip(texts, all_masked(list(texts.values())), strict=True))


def _messages(prompt: Prompt) -> str:
    return masked(json.dumps([_message(message) for message in prompt.messages], ensure_ascii=False))


def _message(message: Message) -> dict[str, object]:
    return {"role": message.role, "parts": [{"type": "text", "content": message.content}]}


def _answered(completion: Completion) -> str:
    message = _message(Message("assistant", completion.text)) | {
        "finish_reason": completion.raw_finish_reason
    }
    return masked(json.dumps([message], ensure_ascii=False))
