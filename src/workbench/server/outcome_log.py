"""The log of what was served: a row for each request, written in the background, none of them lost.

It is an outcome table with the probability of each choice, so that any router can be evaluated on it.
"""

import asyncio
import hashlib
import logging
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from workbench.errors import StorageError
from workbench.server.database import inserting, outcomes, problem_of
from workbench.server.exchange import Routed, Served
from workbench.server.outcome_journal import OutcomeJournal, Row
from workbench.server.usage import EVER_SERVED, By, Total, score, totals
from workbench.server.virtual_keys import VirtualKey

_LONGEST_NAME = 300
"""Characters that are kept of a model's name; a provider may say any."""
SHADOW = "shadow"
"""The arm of what is asked beside the answer, and callers never see."""

log = logging.getLogger("workbench")

_FLUSH_S = 0.25
_BATCH = 500
_MOST_IN_MEMORY = 10_000

_NOTHING: Row = dict.fromkeys(column.name for column in outcomes.columns)
"""A row of which nothing is known."""

_Purse = tuple[str, str | None, str]
"""Key, experiment and arm: what an outcome is charged to."""


class OutcomeLog:
    """Takes rows at once and writes them in batches; `n_waiting` are not in the database yet.

    Each row is in a journal until the database has it, so that a kill loses none. Rows that the database
    does not take are kept, the first `most_in_memory` in memory and the rest in the journal alone, and
    written when it answers again.

    Args:
        folder: where the journals of all processes are.

    Raises:
        StorageError: no file can be written in `folder`.
    """

    def __init__(
        self,
        engine: sa.Engine,
        folder: Path,
        *,
        with_content: bool,
        most_in_memory: int = _MOST_IN_MEMORY,
    ) -> None:
        self._engine = engine
        self._with_content = with_content
        self._most_in_memory = most_in_memory
        self._journal = OutcomeJournal(folder / "journal")
        self._waiting: deque[tuple[Row, bool]] = deque()  # a row, and whether the journal has it
        self._spilled_usd: dict[_Purse, float] = defaultdict(float)
        self._turn = asyncio.Lock()
        self._writer: asyncio.Task[None] | None = None
        self._asking: asyncio.Future[str | None] | None = None
        self.problem: str | None = None
        """Why the database did not take the last batch; None: it did."""
        self.n_lost = 0
        """Rows that neither the database nor the disk nor the memory had room for, or that are none."""

    @property
    def n_waiting(self) -> int:
        """Rows that are not in the database yet."""
        return len(self._waiting) + self._journal.n_spilled

    @property
    def is_full(self) -> bool:
        """Whether the next row would be lost: the database is down, the memory used up and the disk full."""
        return len(self._waiting) >= 2 * self._most_in_memory

    def served(self, key: VirtualKey, served: Served) -> None:
        """Take a request that was answered."""
        completion, decision = served.completion, served.routed.decision
        # The answer of a fallback is no draw of the router: its probability is that of another model. Of a
        # panel neither is: what it costs is not what one model does.
        is_the_choice = completion.model_id == decision.model_id and served.routed.panel is None
        row = self._row(key, served.routed, completion.model_id)
        row |= {
            "served_model": _text(completion.served_model)[:_LONGEST_NAME],
            "propensity": decision.propensity if is_the_choice else None,
            "cost_usd": completion.cost_usd,
            "latency_s": None if completion.is_cached else completion.latency_s,
            "first_token_s": completion.first_token_s,
            "input_tokens": completion.usage.input_tokens,
            "output_tokens": completion.usage.output_tokens,
            "response": _text(completion.text) if self._with_content else None,
        }
        self._take(row)

    def failed(
        self,
        key: VirtualKey,
        routed: Routed,
        failure: BaseException,
        *,
        cost_usd: float | None,
        latency_s: float,
    ) -> None:
        """Take a request that nobody answered, or that its caller left."""
        row = self._row(key, routed, routed.decision.model_id)
        row |= {"error": type(failure).__name__, "cost_usd": cost_usd, "latency_s": latency_s}
        self._take(row)

    def _take(self, row: Row) -> None:
        if self._journal.n_spilled or len(self._waiting) >= self._most_in_memory:
            if self._journal.spill(row):
                self._spilled_usd[_purse(row)] += row["cost_usd"] or 0.0
                return
            if self.is_full:
                self.n_lost += 1
                return
            self._waiting.append((row, False))
        else:
            self._waiting.append((row, self._journal.append(row)))

    def spent_usd(self, key_id: str) -> float:
        """What a key has been charged for so far, rows not written yet included; shadows are the server's."""
        table = EVER_SERVED.c
        written = self._sum(table.key_id == key_id, table.arm != SHADOW)
        return written + sum(
            usd for (of_key, _, arm), usd in self._waiting_usd() if of_key == key_id and arm != SHADOW
        )

    def spent_on_usd(self, experiment: str, arm: str) -> float:
        """What an arm of an experiment has cost so far."""
        table = EVER_SERVED.c
        written = self._sum(table.experiment == experiment, table.arm == arm)
        return written + sum(usd for purse, usd in self._waiting_usd() if purse[1:] == (experiment, arm))

    def spent_in_all_usd(self) -> float:
        """What all that was served has cost, shadows included."""
        return self._sum() + sum(usd for _, usd in self._waiting_usd())

    def _waiting_usd(self) -> list[tuple[_Purse, float]]:
        in_memory = [(_purse(row), row["cost_usd"] or 0.0) for row, _ in tuple(self._waiting)]
        return [*in_memory, *tuple(self._spilled_usd.items())]

    def _sum(self, *conditions: sa.ColumnElement[bool]) -> float:
        total = sa.select(sa.func.sum(EVER_SERVED.c.cost_usd)).where(*conditions)
        with self._engine.connect() as connection:
            return float(connection.execute(total).scalar() or 0.0)

    def totals(self, *, by: By, since: float = 0.0) -> list[Total]:
        """What was served since a Unix time, as far as it is written, in groups."""
        return totals(self._engine, by=by, since=since)

    async def problem_now(self) -> str | None:
        """Why the database does not answer; None: it does. One that hangs is asked once, whoever waits."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(asyncio.to_thread(problem_of, self._engine))
        return await asyncio.shield(self._asking)

    async def __aenter__(self) -> "OutcomeLog":
        await asyncio.to_thread(self._write_what_was_left)
        self._writer = asyncio.create_task(self._write_on(), name="outcome log")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.cancel()
            with suppress(asyncio.CancelledError):
                await self._writer
        await self.flush()
        self._journal.close()

    async def score(self, key: VirtualKey, request_id: str, quality: float) -> bool:
        """Attach a quality to a request that this key's tenant made; False: there is none of this name."""
        if self._journal.n_spilled or any(row["request_id"] == request_id for row, _ in self._waiting):
            await self.flush()
        return await asyncio.to_thread(score, self._engine, request_id, tenant=key.tenant, quality=quality)

    async def flush(self) -> None:
        """Write what is waiting; what is not taken stays."""
        async with self._turn:
            while self._waiting or self._journal.n_spilled:
                if not self._waiting and not self._take_back():
                    return
                batch = [self._waiting[i] for i in range(min(_BATCH, len(self._waiting)))]
                if not await asyncio.to_thread(self._write, [row for row, _ in batch]):
                    return
                for _ in batch:
                    self._waiting.popleft()
                self._journal.done(sum(is_in_journal for _, is_in_journal in batch))

    async def _write_on(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_S)
            await self.flush()

    def _take_back(self) -> bool:
        """Take rows from the journal into memory again; False: it cannot be read now."""
        try:
            rows = self._journal.read_spilled(_BATCH)
        except StorageError as exc:
            self.problem = type(exc).__name__
            return False
        for row in rows:
            self._spilled_usd[_purse(row)] -= row["cost_usd"] or 0.0
            self._waiting.append((row, True))
        if not self._journal.n_spilled:
            self._spilled_usd.clear()
        return bool(rows)

    def _write_what_was_left(self) -> None:
        """Write what processes that were killed left in their journals."""
        for path, rows in self._journal.left_behind():
            if all(self._write(rows[start : start + _BATCH]) for start in range(0, len(rows), _BATCH)):
                path.unlink(missing_ok=True)

    def _write(self, batch: Sequence[Row]) -> bool:
        try:
            self._insert(batch)
        except (DataError, IntegrityError):
            if len(batch) > 1:
                return all(self._write([row]) for row in batch)
            self.n_lost += 1
            log.error("the database has no room for what an outcome says", extra=_name(batch[0]))
        except SQLAlchemyError as exc:
            self.problem = type(exc).__name__
            return False
        self.problem = None
        return True

    def _insert(self, batch: Sequence[Row]) -> None:
        """Rows that are there already stay as they are: their process was killed before it knew."""
        insert = inserting(self._engine, outcomes).on_conflict_do_nothing()
        with self._engine.begin() as connection:
            connection.execute(insert, batch)

    def _row(self, key: VirtualKey, routed: Routed, model_id: str) -> Row:
        provider, _, model = model_id.partition("/")
        asked, decision = routed.asked, routed.decision
        return _NOTHING | {
            "request_id": routed.request_id,
            "at": time.time(),
            "key_id": key.key_id,
            "tenant": key.tenant,
            "experiment": routed.experiment,
            "arm": routed.arm,
            "router": decision.router,
            "router_version": routed.router_version or None,
            "asked_model": decision.model_id,
            "model": model,
            "provider": provider,
            "predicted_quality": decision.predicted_quality,
            "predicted_cost_usd": decision.predicted_cost_usd,
            "cluster": _cluster(key, asked.conversation or asked.user),
            "prompt": _text(asked.prompt.text) if self._with_content else None,
        }


def _text(text: str) -> str:
    """`text` as every database takes it: without NUL and halves of characters, which would stop all rows."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _purse(row: Row) -> _Purse:
    return row["key_id"], row["experiment"], row["arm"]


def _name(row: Row) -> dict[str, str]:
    return {"request_id": row["request_id"]}


def _cluster(key: VirtualKey, name: str | None) -> str | None:
    """A caller's user, so that it cannot be read from the log who that is."""
    if name is None:
        return None
    return hashlib.blake2b(f"{key.tenant}\0{name}".encode(errors="replace"), digest_size=12).hexdigest()
