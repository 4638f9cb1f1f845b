"""Events as JSON lines, one each, on the logger `workbench`. Owns structlog.

Nothing of `logging` or structlog is configured but that one logger, and only once `start` was called.
"""

import logging
from collections.abc import MutableMapping
from contextlib import AbstractContextManager
from typing import Any, TextIO

import structlog

from workbench.client.events import (
    AttemptFinished,
    BreakerChanged,
    CallFinished,
    CallStarted,
    Event,
    FallbackTaken,
    LimitLearned,
    RetryPlanned,
)
from workbench.errors import ProviderError
from workbench.redaction import all_masked
from workbench.types import Completion, Usage

_LOGGER = logging.getLogger("workbench")
_STAMP = structlog.processors.TimeStamper(fmt="iso", utc=True)

Fields = dict[str, object]


class _JsonLines(logging.StreamHandler[TextIO]):
    """The handler of ours, to be told from those that a user attached."""


class EventLog:
    """An observer that logs each event; `start` gives its lines a place to go.

    With `with_content`, prompts and answers are in the lines too. Keys are masked in all of them.
    """

    def __init__(self, *, with_content: bool = False) -> None:
        self._with_content = with_content
        self._log = _logger()

    def __call__(self, event: Event) -> None:
        """Log `event`: a failure, a wait, a fallback and an open breaker as warnings, the rest as info."""
        fields = self._fields(event)
        say = self._log.warning if _is_warning(event) else self._log.info
        say(_name(event), **{name: value for name, value in fields.items() if value is not None})

    def _fields(self, event: Event) -> Fields:
        match event:
            case CallStarted():
                return _started(event) | (_asked(event) if self._with_content else {})
            case AttemptFinished():
                return _attempt(event)
            case RetryPlanned():
                waits = {"wait_s": round(event.wait_s, 3), "error": type(event.failure).__name__}
                return {"call_id": event.call_id} | _model(event.model_id) | waits
            case FallbackTaken():
                return {"call_id": event.call_id, **_model(event.model_id), "fallback_reason": event.reason}
            case CallFinished():
                return _finished(event) | (_answer(event) if self._with_content else {})
            case BreakerChanged():
                return {**event.channel._asdict(), "state": event.state}
            case LimitLearned():
                return {**event.channel._asdict(), "kind": event.kind, "limit": round(event.limit, 1)}


def start(stream: TextIO | None) -> None:
    """Write what is logged on `workbench` as JSON lines to `stream`, None: standard error; and only there."""
    stop()
    handler = _JsonLines(stream)
    others: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        _STAMP,
        structlog.processors.format_exc_info,
        _safe,
    ]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=others,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _in_order,
                # ASCII only: no control character, no direction mark, reaches a terminal as itself.
                structlog.processors.JSONRenderer(ensure_ascii=True),
            ],
        )
    )
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(logging.INFO)
    _LOGGER.propagate = False


def stop() -> None:
    """Undo `start`."""
    for handler in [one for one in _LOGGER.handlers if isinstance(one, _JsonLines)]:
        _LOGGER.removeHandler(handler)
        _LOGGER.setLevel(logging.NOTSET)
        _LOGGER.propagate = True


class Lines:
    """Lines of another kind on the same logger, such as one for each request to the server."""

    def __init__(self) -> None:
        self._log = _logger()

    def write(self, event: str, *, is_warning: bool, **fields: object) -> None:
        """One line; fields that are None are left out."""
        say = self._log.warning if is_warning else self._log.info
        say(event, **{name: value for name, value in fields.items() if value is not None})

    def bound(self, **fields: object) -> AbstractContextManager[None]:
        """A block in which every line, also of events, has these fields, unless it has its own so named."""
        return structlog.contextvars.bound_contextvars(**fields)


def _logger() -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        _LOGGER,
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            _STAMP,
            _safe,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
    )
    return logger


def _name(event: Event) -> str:
    match event:
        case CallStarted():
            return "call_started"
        case AttemptFinished():
            return "attempt_finished"
        case RetryPlanned():
            return "retry_planned"
        case FallbackTaken():
            return "fallback_taken"
        case CallFinished():
            return "call_finished"
        case BreakerChanged():
            return "breaker_changed"
        case LimitLearned():
            return "limit_learned"


def _is_warning(event: Event) -> bool:
    match event:
        case AttemptFinished() | CallFinished():
            return isinstance(event.failure, Exception)
        case BreakerChanged():
            return event.state == "open"
        case _:
            return isinstance(event, RetryPlanned | FallbackTaken)


def _started(event: CallStarted) -> Fields:
    named = {"call_id": event.call_id, "prompt_id": event.prompt.prompt_id, "is_stream": event.is_stream}
    return named | _model(event.model_id)


def _asked(event: CallStarted) -> Fields:
    return {"messages": [f"{one.role}: {one.content}" for one in event.prompt.messages]}


def _attempt(event: AttemptFinished) -> Fields:
    attempt = event.attempt
    return {
        "call_id": event.call_id,
        **_model(attempt.model_id),
        "account": attempt.account or None,
        "attempt": attempt.number,
        "latency_s": round(attempt.latency_s, 4),
        "first_token_s": None if attempt.first_token_s is None else round(attempt.first_token_s, 4),
        **_tokens(attempt.usage),
        "cost_usd": attempt.cost_usd,
        "is_fallback": attempt.is_fallback,
        "fallback_reason": attempt.fallback_reason,
        **_end(event.completion, event.failure),
    }


def _finished(event: CallFinished) -> Fields:
    completion = event.completion
    told: Fields = {"call_id": event.call_id, **_model(event.model_id)}
    if completion is not None:
        told |= {"answered_by": completion.model_id, "n_attempts": len(completion.attempts)}
        told |= {"cost_usd": completion.cost_usd, **_tokens(completion.usage)}
    elif isinstance(event.failure, ProviderError):
        told |= {"n_attempts": event.failure.attempts, "cost_usd": event.failure.cost_usd}
    return told | {"latency_s": round(event.latency_s, 4)} | _end(completion, event.failure)


def _answer(event: CallFinished) -> Fields:
    return {} if event.completion is None else {"answer": event.completion.text}


def _end(completion: Completion | None, failure: BaseException | None) -> Fields:
    """How it ended: a status of HTTP and the class of an error, not its message, which may quote a prompt."""
    if isinstance(failure, ProviderError):
        return {
            "error": type(failure).__name__,
            "status": failure.status,
            "provider_request_id": failure.request_id,
        }
    if completion is None:
        return {"error": None if failure is None else type(failure).__name__}
    return {
        "finish_reason": completion.finish_reason,
        "provider_request_id": completion.request_id,
        "is_cached": completion.is_cached,
    }


def _model(model_id: str) -> Fields:
    provider, _, model = model_id.partition("/")
    return {"provider": provider, "model": model}


def _tokens(usage: Usage | None) -> Fields:
    return {} if usage is None else {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}


def _in_order(logger: Any, method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """When and what come first, for eyes that look down a column."""
    first = {name: fields.pop(name) for name in ("timestamp", "level", "event") if name in fields}
    return first | dict(fields)


def _safe(logger: Any, method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask every key in every text, of ours or of whoever else logs to `workbench`."""
    texts = {name: value for name, value in fields.items() if isinstance(value, str)}
    lists = {name: value for name, value in fields.items() if isinstance(value, list)}
    flat = [*texts.values(), *(str(item) for value in lists.values() for item in value)]
    shown = iter(all_masked(flat))
    safe: dict[str, object] = {name: next(shown) for name in texts}
    safe |= {name: [next(shown) for _ in value] for name, value in lists.items()}
    fields.update(safe)
    return fields
