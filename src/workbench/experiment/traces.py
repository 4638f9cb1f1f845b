"""What a sample of a run's calls did, step by step: `traces.jsonl` in its folder, to be looked at later."""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from workbench.client.events import AttemptFinished, CallFinished, CallStarted, Event
from workbench.errors import DataError, ProviderError
from workbench.redaction import all_masked, masked
from workbench.types import Completion, Usage

TRACES = "traces.jsonl"
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One request. Times are in nanoseconds since 1970; what is not known is None."""

    model_id: str
    number: int
    started_ns: int
    ended_ns: int
    first_token_s: float | None
    cost_usd: float | None
    input_tokens: int | None
    output_tokens: int | None
    account: str
    fallback_reason: str | None
    error: str | None
    status: int | None
    request_id: str | None


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call and its attempts. `messages` and `answer` are None where content is not to be kept.

    `messages` are pairs of a role and a text.
    """

    call_id: str
    prompt_id: str
    model_id: str
    answered_by: str | None
    started_ns: int
    ended_ns: int
    cost_usd: float | None
    input_tokens: int | None
    output_tokens: int | None
    is_cached: bool
    finish_reason: str | None
    error: str | None
    messages: tuple[tuple[str, str], ...] | None
    answer: str | None
    attempts: tuple[AttemptRecord, ...]


def is_sampled(prompt_id: str, share: float) -> bool:
    """Whether the calls with this prompt are in the sample: the same ones in every arm and every run.

    >>> is_sampled("p1", 1.0), is_sampled("p1", 0.0)
    (True, False)
    """
    draw = int.from_bytes(hashlib.sha256(prompt_id.encode()).digest()[:8], "big")
    return draw < share * 2.0**64


class TraceFile:
    """An observer that writes the sampled calls to `path`, a line each, when they have ended.

    Args:
        share: of the prompts, in [0, 1].
        with_content: prompts and answers too, with keys masked.
    """

    def __init__(self, path: Path, share: float, *, with_content: bool = False) -> None:
        self._path = path
        self._share = share
        self._with_content = with_content
        self._open: dict[str, tuple[CallStarted, int, list[AttemptRecord]]] = {}

    def __call__(self, event: Event) -> None:
        """Note `event`, if it is of a sampled call."""
        match event:
            case CallStarted() if is_sampled(event.prompt.prompt_id, self._share):
                self._open[event.call_id] = event, time.time_ns(), []
            case AttemptFinished() if event.call_id in self._open:
                self._open[event.call_id][2].append(_attempt(event))
            case CallFinished() if event.call_id in self._open:
                start, started_ns, attempts = self._open.pop(event.call_id)
                self._write(self._record(start, event, started_ns, attempts))

    def _record(
        self, start: CallStarted, end: CallFinished, started_ns: int, attempts: list[AttemptRecord]
    ) -> CallRecord:
        completion, failure = end.completion, end.failure
        n_in, n_out = _tokens(None if completion is None else completion.usage)
        shown = all_masked([one.content for one in start.prompt.messages]) if self._with_content else None
        roles = [one.role for one in start.prompt.messages]
        return CallRecord(
            call_id=start.call_id,
            prompt_id=start.prompt.prompt_id,
            model_id=start.model_id,
            answered_by=None if completion is None else completion.model_id,
            started_ns=started_ns,
            ended_ns=time.time_ns(),
            cost_usd=_cost_usd(completion, failure),
            input_tokens=n_in,
            output_tokens=n_out,
            is_cached=completion is not None and completion.is_cached,
            finish_reason=None if completion is None else completion.finish_reason,
            error=None if failure is None else type(failure).__name__,
            messages=None if shown is None else tuple(zip(roles, shown, strict=True)),
            answer=masked(completion.text) if self._with_content and completion is not None else None,
            attempts=tuple(attempts),
        )

    def _write(self, record: CallRecord) -> None:
        line = masked(json.dumps(asdict(record), ensure_ascii=False)) + "\n"
        # The journal tells of a disk that is full; a trace is not worth a run.
        with suppress(OSError), self._path.open("a", encoding="utf-8") as file:
            file.write(line)


def read_traces(folder: Path) -> Iterator[CallRecord]:
    """The records in the folder of a run, each once; a line that was cut off by a kill is passed over."""
    path = folder / TRACES
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            with suppress(DataError):
                yield _parsed(line)


def _attempt(event: AttemptFinished) -> AttemptRecord:
    attempt, failure, completion = event.attempt, event.failure, event.completion
    ended_ns = time.time_ns()
    n_in, n_out = _tokens(attempt.usage)
    failed = failure if isinstance(failure, ProviderError) else None
    return AttemptRecord(
        model_id=attempt.model_id,
        number=attempt.number,
        started_ns=ended_ns - int(attempt.latency_s * _NS),
        ended_ns=ended_ns,
        first_token_s=attempt.first_token_s,
        cost_usd=attempt.cost_usd,
        input_tokens=n_in,
        output_tokens=n_out,
        account=attempt.account,
        fallback_reason=attempt.fallback_reason,
        error=attempt.error,
        status=None if failed is None else failed.status,
        request_id=_request_id(completion, failed),
    )


def _request_id(completion: Completion | None, failure: ProviderError | None) -> str | None:
    if completion is not None:
        return completion.request_id
    return None if failure is None else failure.request_id


def _tokens(usage: Usage | None) -> tuple[int | None, int | None]:
    return (None, None) if usage is None else (usage.input_tokens, usage.output_tokens)


def _cost_usd(completion: Completion | None, failure: BaseException | None) -> float | None:
    if completion is not None:
        return completion.cost_usd
    return failure.cost_usd if isinstance(failure, ProviderError) else None


def _parsed(line: str) -> CallRecord:
    """
    Raises:
        DataError: the line is not the record of a call.
    """
    try:
        fields = json.loads(line)
        attempts = tuple(AttemptRecord(**attempt) for attempt in fields.pop("attempts"))
        messages = fields.pop("messages")
        pairs = None if messages is None else tuple((role, text) for role, text in messages)
        return CallRecord(**fields, messages=pairs, attempts=attempts)
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise DataError(f"a line of {TRACES} is no record of a call: {exc}") from exc
