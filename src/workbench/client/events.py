"""What happens to a call, as plain values for whoever listens: a log, a tracer, a progress bar of yours.

An observer is anything that can be called with an event. It is called where the event happens, between
a request and its answer, so it should be quick, and what it raises is raised to the caller. Where nobody
listens, no event is made.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from workbench.client.breaker import State
from workbench.client.channel import Channel, ChannelKey
from workbench.errors import WorkbenchError
from workbench.providers.base import Provider
from workbench.types import Attempt, Completion, Decoding, Prompt


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
