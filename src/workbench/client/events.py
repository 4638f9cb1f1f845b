"""What happens to a call, as plain values for whoever listens: a log, a tracer, a progress bar of yours.

An observer is anything that can be called with an event. It is called where the event happens, between
a request and its answer, so it should be quick, and what it raises is raised to the caller. Where nobody
listens, no event is made.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TextIO

from workbench.client.breaker import State
from workbench.client.channel import Channel, ChannelKey
from workbench.errors import MissingExtraError, WorkbenchError
from workbench.providers.base import Provider
from workbench.types import Attempt, Completion, Decoding, Prompt

if TYPE_CHECKING:  # an extra
    from opentelemetry.trace import TracerProvider

    from workbench.client.spans import Serving


@dataclass(frozen=True, slots=True)
class CallStarted:
    """`call_id` is in every event of the call; `model_id` is the candidate that is to be asked first."""

    call_id: str
    model_id: str
    prompt: Prompt
    decoding: Decoding
    is_stream: bool


@dataclass(frozen=True, slots=True)
class AttemptFinished:
    """A request was answered, or it failed: exactly one of `completion` and `failure` is None.

    `failure` is a `ProviderError`, or what ended the call from outside (`asyncio.CancelledError`,
    `GeneratorExit` where a stream was closed).
    """

    call_id: str
    attempt: Attempt
    provider: Provider
    completion: Completion | None
    failure: BaseException | None


@dataclass(frozen=True, slots=True)
class RetryPlanned:
    """The same model is asked again in `wait_s` seconds, because of `failure`."""

    call_id: str
    model_id: str
    wait_s: float
    failure: WorkbenchError


@dataclass(frozen=True, slots=True)
class FallbackTaken:
    """Another candidate is asked. `reason` as in `Attempt.fallback_reason`."""

    call_id: str
    model_id: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class CallFinished:
    """`failure` as in `AttemptFinished`, or what kept the call from being sent.

    Both are None where a stream was left before its end. `latency_s` includes the time in the queue.
    """

    call_id: str
    model_id: str
    latency_s: float
    completion: Completion | None
    failure: BaseException | None


@dataclass(frozen=True, slots=True)
class BreakerChanged:
    """A model of an account is not asked any more (`open`), or is asked again (`closed`)."""

    channel: ChannelKey
    state: State


@dataclass(frozen=True, slots=True)
class LimitLearned:
    """A server told its limit (requests, tokens), or refused what was one request at once too many."""

    channel: ChannelKey
    kind: Literal["requests", "tokens", "concurrency"]
    limit: float


Event = (
    CallStarted
    | AttemptFinished
    | RetryPlanned
    | FallbackTaken
    | CallFinished
    | BreakerChanged
    | LimitLearned
)
Observer = Callable[[Event], object]

_EVENT_LOG, _SPANS = "event log", "spans"
_everywhere: dict[str, Observer] = {}


def observe_everywhere(name: str, observer: Observer | None) -> None:
    """Let `observer` hear every client that is made from now on; None: what was called `name` no more."""
    _everywhere.pop(name, None)
    if observer is not None:
        _everywhere[name] = observer


def all_of(observers: Iterable[Observer]) -> Observer | None:
    """One observer that tells all of them and those of `observe_everywhere`; None: there are none."""
    each = (*_everywhere.values(), *observers)
    if len(each) < 2:
        return each[0] if each else None

    def tell(event: Event) -> None:
        for observer in each:
            observer(event)

    return tell


class Watch:
    """Tells an observer that a call starts with this block, and how it ends; nobody where there is none."""

    __slots__ = ("_started_s", "_telling", "completion")

    def __init__(self, telling: tuple[Observer, CallStarted] | None) -> None:
        self._telling = telling
        self.completion: Completion | None = None

    def __enter__(self) -> Self:
        if self._telling is not None:
            self._started_s = time.monotonic()
            tell, start = self._telling
            tell(start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, frames: TracebackType | None
    ) -> None:
        if self._telling is not None:
            tell, start = self._telling
            latency_s = time.monotonic() - self._started_s
            tell(CallFinished(start.call_id, start.model_id, latency_s, self.completion, exc))


def watch(channel: Channel, observer: Observer) -> None:
    """Tell `observer` what becomes of the breaker and the limits of `channel`."""
    key = channel.key
    channel.breaker.on_change = lambda state: observer(BreakerChanged(key, state))
    channel.rate.on_learned = lambda kind, limit: observer(LimitLearned(key, kind, limit))
    channel.slots.on_refused = lambda limit: observer(LimitLearned(key, "concurrency", limit))


def configure_events(*, stream: TextIO | None = None, with_content: bool = False) -> None:
    """Write the events of every client that is made from now on as JSON lines; the last call holds.

    Only the logger `workbench` is configured. `WORKBENCH_LOG=json` does the same for clients of `connect`.

    Args:
        stream: where to; None: standard error.
        with_content: prompts and answers too, with keys masked.
    """
    from workbench.client import event_log  # here, as structlog takes as long to import as httpx

    event_log.start(stream)
    observe_everywhere(_EVENT_LOG, event_log.EventLog(with_content=with_content))


def stop_events() -> None:
    """Undo `configure_events`; clients that were made before write to the logger on, if anything reads it."""
    if _EVENT_LOG in _everywhere:
        from workbench.client import event_log  # as above

        event_log.stop()
        observe_everywhere(_EVENT_LOG, None)


def configure_spans(provider: "TracerProvider | None" = None, *, with_content: bool = False) -> None:
    """Make OpenTelemetry spans of the calls of every client that is made from now on.

    Args:
        provider: where they go; None: the tracer provider that the process has set.
        with_content: prompts and answers too, with keys masked.

    Raises:
        MissingExtraError: OpenTelemetry is not installed.
    """
    try:
        from workbench.client.spans import Spans  # an extra
    except ModuleNotFoundError as exc:
        raise MissingExtraError("tracing", "making spans of calls") from exc
    observe_everywhere(_SPANS, Spans(provider, with_content=with_content))


def server_spans(provider: "TracerProvider | None" = None) -> "Serving":
    """What makes a span of each request that a server answers.

    Raises:
        MissingExtraError: OpenTelemetry is not installed.
    """
    try:
        from workbench.client.spans import Serving  # an extra
    except ModuleNotFoundError as exc:
        raise MissingExtraError("tracing", "making spans of requests") from exc
    return Serving(provider)


def stop_spans() -> None:
    """Undo `configure_spans`; clients that were made before make spans on."""
    observe_everywhere(_SPANS, None)
