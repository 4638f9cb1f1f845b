"""The journal of a run: an append-only file from which a killed run goes on without buying a call twice.

One JSON object a line. The first says what the run is (`fingerprint`), then for every call a line `sent`
before it leaves, with the most it can cost, and a line `outcome` when it has ended. A call with a `sent`
and no `outcome` was in flight when the run was killed: it is made again, and what it may have cost stays
counted as spent. Where several models answer together (an ensemble, a cascade), each of their requests has
its own lines `sent` and `part`, so that what one of them answered is not bought again for want of the
others. An answer that is scored later has lines `scoring` and `score`, for the same reason. Calls of an
offline batch have one line together, `batch`, before it is handed in, and
another, `batch_accepted`, with the id by which a later run collects it.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import date
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NoReturn, Self

from workbench.errors import DataError, FingerprintError
from workbench.experiment.part import Part, part_of
from workbench.experiment.stopped import Stopped
from workbench.scoring.score import Score
from workbench.storage import explained, read_bytes, write_atomically
from workbench.types import Outcome

Key = tuple[str, str, int]
"""(prompt_id, arm, repeat): names one call."""

_Sent = dict[tuple[Key, str], list[float]]
"""What may be in flight: the bounds of a call, of its part of this name, or of its score."""
_SCORE = "score"

_FIELDS = tuple(field.name for field in fields(Outcome))
_SCORE_FIELDS = tuple(field.name for field in fields(Score))
_values = attrgetter(*_FIELDS)  # twenty times faster than `asdict`, which copies every value

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # a journal that is a link would be written elsewhere
_MAX_BYTES = 8 * 2**30
_SYNC_EVERY_S = 0.2
"""A line reaches the system at once, and so survives a kill; it reaches the disk at most this much later."""


@dataclass(slots=True)
class SentBatch:
    """Calls that were, or were about to be, handed in together as an offline batch on `day`.

    `token` is our own name of it, and `job_id` the provider's; None: the run ended before it was known.
    `calls` are those without an outcome, by their `custom_id`, each with the most that it can cost.
    """

    token: str
    model_id: str
    day: date
    calls: dict[str, tuple[Key, float]]
    job_id: str | None = None

    @property
    def bound_usd(self) -> float:
        """The most that its calls without an outcome can cost."""
        return sum(bound_usd for _, bound_usd in self.calls.values())


@dataclass(slots=True)
class JournalContent:
    """What a journal holds.

    `in_flight_usd` is the bound of every call that was sent and never came back. `batches`, by token, are
    those that may still be collected. `parts`, by name, are what came of single requests of calls without an
    outcome. `scores` are those that were given after the answer was kept, and `unscored_usd` is what scoring
    cost that came to nothing. `stopped`: the run was decided before its planned size.
    """

    fingerprint: Mapping[str, Any] | None = None
    outcomes: dict[Key, Outcome] = field(default_factory=dict)
    in_flight_usd: float = 0.0
    dropped: tuple[str, ...] = ()
    batches: dict[str, SentBatch] = field(default_factory=dict)
    parts: dict[Key, dict[str, Part]] = field(default_factory=dict)
    scores: dict[Key, Score] = field(default_factory=dict)
    unscored_usd: float = 0.0
    stopped: Stopped | None = None

    @property
    def spent_usd(self) -> float:
        """Everything paid for so far, and everything that may have been."""
        answers_usd = sum(outcome.cost_usd or 0.0 for outcome in self.outcomes.values())
        scores_usd = sum(score.cost_usd or 0.0 for score in self.scores.values())
        return self.in_flight_usd + self.parts_usd + answers_usd + scores_usd + self.unscored_usd

    @property
    def parts_usd(self) -> float:
        """What was paid for calls that have no outcome yet."""
        return sum(part.cost_usd or 0.0 for parts in self.parts.values() for part in parts.values())


def read_journal(path: Path) -> JournalContent:
    """All that was durable when the run ended, however it ended.

    A torn last line, repeated lines, blank lines, CRLF and blocks of NUL bytes (left by a power cut) are
    passed over; `dropped` says which.

    Raises:
        DataError: another line is damaged. The message says which and what to do; the file is untouched.
    """
    content = JournalContent()
    if not path.exists():
        return content
    lines = read_bytes(path, purpose="journal", max_bytes=_MAX_BYTES).split(b"\n")
    is_torn = lines[-1].strip(b"\0\r ") != b""
    sent: _Sent = {}
    dropped: list[str] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip(b"\0\r ")
        if text != line.strip(b"\r "):
            dropped.append(f"line {number}: a block of NUL bytes")
        if not text:
            continue
        if is_torn and number == len(lines):
            dropped.append(f"line {number}: the last line, which was cut short")
            continue
        _read_line(text, content, sent, where=(path, number))
    content.in_flight_usd += sum(sum(bounds) for bounds in sent.values())
    _forget_collected(content)
    content.dropped = tuple(dropped)
    return content


def set_damaged_aside(path: Path) -> int:
    """Move damaged lines to `<journal>.rejected`, so that the run can go on; returns how many."""
    if not path.exists():
        return 0
    good, bad = [], []
    for number, line in enumerate(
        read_bytes(path, purpose="journal", max_bytes=_MAX_BYTES).splitlines(keepends=True), start=1
    ):
        text = line.strip(b"\0\r\n ")
        try:
            if text:
                _read_line(text, JournalContent(), {}, where=(path, number))
            good.append(text + b"\n" if text else b"")
        except DataError:
            bad.append(line)
    if bad:
        rejected = path.with_suffix(path.suffix + ".rejected")
        write_atomically(rejected, lambda file: file.write(b"".join(bad)))
        write_atomically(path, lambda file: file.write(b"".join(good)))
    return len(bad)


class Journal:
    """The journal of a run in progress, open for appending: `with Journal.open(...) as journal`."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._synced_s = time.monotonic()

    @classmethod
    def open(cls, path: Path, *, fingerprint: Mapping[str, Any], content: JournalContent) -> Self:
        """Go on with the journal at `path`, or begin it.

        Raises:
            FingerprintError: it belongs to a run of something else; the message says what differs.
            StorageError: it cannot be written.
        """
        if content.fingerprint is not None and dict(content.fingerprint) != dict(fingerprint):
            raise FingerprintError(_difference(path, content.fingerprint, fingerprint))
        with explained(path, "open"):
            if content.dropped:
                _drop_torn_line(path)
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _NO_LINK, 0o600)
            journal = cls(path, os.fdopen(descriptor, "ab", buffering=0))
        if content.fingerprint is None:
            journal._append({"kind": "run", "fingerprint": fingerprint})
        return journal

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            with explained(self._path, "write"):
                os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def sent(self, key: Key, *, bound_usd: float) -> None:
        """Note that a call is about to leave, and the most that it can cost."""
        self._append({"kind": "sent", "key": key, "bound_usd": bound_usd})

    def not_sent(self, key: Key) -> None:
        """Take `sent` back: the call was refused before it left."""
        self._append({"kind": "not_sent", "key": key})

    def part_sent(self, key: Key, name: str, *, bound_usd: float) -> None:
        """Note that a request of a call is about to leave, and the most that it can cost."""
        self._append({"kind": "sent", "key": key, "part": name, "bound_usd": bound_usd})

    def part_not_sent(self, key: Key, name: str) -> None:
        """Take `part_sent` back."""
        self._append({"kind": "not_sent", "key": key, "part": name})

    def part_finished(self, key: Key, name: str, part: Part) -> None:
        """Note what came of a request of a call; when this returns, a kill does not lose it."""
        self._append({"kind": "part", "key": key, "part": name} | part.record())

    def batch_sent(self, batch: SentBatch) -> None:
        """Note that a batch is about to be handed in; when this returns, it is on the disk."""
        calls = [[*key, bound_usd] for key, bound_usd in batch.calls.values()]
        self._append(
            {
                "kind": "batch",
                "token": batch.token,
                "model_id": batch.model_id,
                "day": batch.day.isoformat(),
                "calls": calls,
            }
        )
        self._sync()

    def batch_accepted(self, token: str, job_id: str) -> None:
        """Note the id by which a batch can be collected; when this returns, it is on the disk."""
        self._append({"kind": "batch_accepted", "token": token, "job_id": job_id})
        self._sync()

    def batch_not_sent(self, token: str) -> None:
        """Take `batch_sent` back: the provider refused it."""
        self._append({"kind": "batch_not_sent", "token": token})

    def batch_lost(self, token: str) -> None:
        """Note that a batch cannot be collected, though it may have been paid for."""
        self._append({"kind": "batch_lost", "token": token})
        self._sync()

    def finished(self, outcome: Outcome) -> None:
        """Note what came of a call; when this returns, a kill does not lose it."""
        self._append({"kind": "outcome", **dict(zip(_FIELDS, _values(outcome), strict=True))})

    def scoring(self, key: Key, *, bound_usd: float) -> None:
        """Note that a model is about to be asked to score an answer, and the most that it can cost."""
        self._append({"kind": "scoring", "key": key, "bound_usd": bound_usd})

    def scored(self, key: Key, score: Score, *, is_final: bool = True) -> None:
        """Note the score of an answer that is kept already; not final: only what was paid for it counts."""
        values = {name: getattr(score, name) for name in _SCORE_FIELDS}
        self._append({"kind": "score", "key": key, "is_final": is_final, **values})

    def stopped(self, stopped: Stopped) -> None:
        """Note that the run is decided; when this returns, it is on the disk."""
        self._append({"kind": "stopped"} | asdict(stopped))
        self._sync()

    def _append(self, record: Mapping[str, Any]) -> None:
        line = json.dumps(record, ensure_ascii=True, allow_nan=False).encode() + b"\n"
        with explained(self._path, "write"):
            self._write_whole(line)
            if time.monotonic() - self._synced_s > _SYNC_EVERY_S:
                self._sync()

    def _sync(self) -> None:
        with explained(self._path, "write"):
            os.fsync(self._file.fileno())
        self._synced_s = time.monotonic()

    def _write_whole(self, line: bytes) -> None:
        """Append all of `line`, or leave the file as it was: a disk can fill in the middle of a line."""
        before = os.fstat(self._file.fileno()).st_size
        try:
            n_written = self._file.write(line)
            while n_written < len(line):
                n_written += self._file.write(line[n_written:])
        except OSError:
            os.ftruncate(self._file.fileno(), before)
            raise


def _read_line(text: bytes, content: JournalContent, sent: _Sent, *, where: tuple[Path, int]) -> None:
    """Add one line to `content`; the first outcome of a call stands."""
    try:
        record = json.loads(text, parse_constant=_refuse_constant)
        kind = record.pop("kind")
        if kind == "run":
            content.fingerprint = content.fingerprint or dict(record["fingerprint"])
        elif kind == "sent":
            sent.setdefault(_named(record), []).append(float(record["bound_usd"]))
        elif kind == "not_sent":
            _take_back(_named(record), sent)
        elif kind == "stopped":
            content.stopped = content.stopped or Stopped(**record)
        elif kind == "part":
            key, name = _named(record)
            _take_back((key, name), sent)
            if key not in content.outcomes:
                content.parts.setdefault(key, {}).setdefault(name, part_of(record))
        elif kind == "outcome":
            _take(_checked(Outcome(**record)), content, sent)
        elif kind in ("scoring", "score"):
            _read_score_line(kind, record, content, sent)
        else:
            _read_batch_line(kind, record, content)
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as exc:
        raise DataError(_damaged(*where)) from exc


def _read_score_line(kind: str, record: dict[str, Any], content: JournalContent, sent: _Sent) -> None:
    """Add one line about a score; the first that is final stands."""
    prompt_id, arm, repeat = record.pop("key")
    key = (prompt_id, arm, repeat)
    if kind == "scoring":
        sent.setdefault((key, _SCORE), []).append(float(record["bound_usd"]))
        return
    is_final = record.pop("is_final")
    score = Score(**record)
    cost_usd = float(score.cost_usd or 0.0)
    if key in content.scores:
        return
    _take_back((key, _SCORE), sent)
    if is_final:
        content.scores[key] = score
    else:
        content.unscored_usd += cost_usd


def _take(outcome: Outcome, content: JournalContent, sent: _Sent) -> None:
    key = (outcome.prompt_id, outcome.arm, outcome.repeat)
    if key in content.outcomes:
        return
    content.outcomes[key] = outcome
    content.parts.pop(key, None)
    _take_back((key, ""), sent)


def _named(record: Mapping[str, Any]) -> tuple[Key, str]:
    """The call that a line is about, and its part; "": the whole of it."""
    prompt_id, arm, repeat = record["key"]
    return (prompt_id, arm, repeat), record.get("part", "")


def _take_back(name: tuple[Key, str], sent: _Sent) -> None:
    """One call or part of this name is in flight no more; a line that stands twice takes back nothing."""
    if sent.get(name):
        sent[name].pop()


def _checked(outcome: Outcome) -> Outcome:
    """`outcome`, if what identifies it is of the right kind, and what is added up is a number."""
    if not (isinstance(outcome.prompt_id, str) and isinstance(outcome.arm, str)):
        raise TypeError("prompt_id and arm are texts")
    if not (isinstance(outcome.repeat, int) and isinstance(outcome.cost_usd or 0.0, int | float)):
        raise TypeError("repeat and cost_usd are numbers")
    return outcome


def _refuse_constant(literal: str) -> NoReturn:
    raise ValueError(literal)


def custom_id(token: str, number: int) -> str:
    """What the call at place `number` of a batch is called there."""
    return f"{token}-{number}"


def _read_batch_line(kind: str, record: Mapping[str, Any], content: JournalContent) -> None:
    """Add one line about a batch. One about a batch whose first line was damaged says nothing any more."""
    token = record["token"]
    known = content.batches.get(token)
    if kind == "batch":
        content.batches[token] = _sent_batch(record)
    elif kind == "batch_accepted":
        job_id = str(record["job_id"])
        if known is not None:
            known.job_id = job_id
    elif kind in ("batch_not_sent", "batch_lost"):
        content.batches.pop(token, None)
        if known is not None and kind == "batch_lost":
            content.in_flight_usd += known.bound_usd
    else:
        raise ValueError(kind)


def _sent_batch(record: Mapping[str, Any]) -> SentBatch:
    calls = {
        custom_id(record["token"], number): ((prompt_id, arm, repeat), float(bound_usd))
        for number, (prompt_id, arm, repeat, bound_usd) in enumerate(record["calls"])
    }
    return SentBatch(record["token"], record["model_id"], date.fromisoformat(record["day"]), calls)


def _forget_collected(content: JournalContent) -> None:
    """Leave in each batch the calls without an outcome, and only batches that have some."""
    for batch in content.batches.values():
        batch.calls = {name: call for name, call in batch.calls.items() if call[0] not in content.outcomes}
    content.batches = {token: batch for token, batch in content.batches.items() if batch.calls}


def _damaged(path: Path, number: int) -> str:
    return (
        f"line {number} of {path} is damaged; every other line is kept and nothing was sent. "
        "Run again with --repair to set that line aside; only its call is then made again"
    )


def _drop_torn_line(path: Path) -> None:
    """Cut a last line that has no end, so that the next record begins a line of its own."""
    content = path.read_bytes()
    if not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
            os.fsync(file.fileno())


def _difference(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Which keys differ, old and new side by side."""
    changed = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    lines = [f"  {key}: was {_short(old.get(key))}, is {_short(new.get(key))}" for key in changed]
    return "\n".join(
        [
            f"{path} belongs to a run of something else, so it is not gone on with:",
            *lines,
            "Undo the change, rename the experiment, or run again with --fresh to set the old run aside",
        ]
    )


def _short(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 200 else text[:200] + "..."
