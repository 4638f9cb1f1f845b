"""The log of what was served: a row for each request, written in the background, none of them lost.

It is an outcome table with the probability of each choice, so that any router can be evaluated on it.
"""

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from workbench.server.database import outcomes, problem_of
from workbench.server.exchange import Routed, Served
from workbench.server.usage import By, Total, score, totals
from workbench.server.virtual_keys import VirtualKey

SHADOW = "shadow"
"""The arm of what is asked beside the answer, and callers never see."""

_FLUSH_S = 0.25
_BATCH = 500

Row = dict[str, Any]


class OutcomeLog:
    """Takes rows at once and writes them in batches; `n_waiting` are not in the database yet.

    Rows that the database does not take are kept, and written when it answers again.
    """

    def __init__(self, engine: sa.Engine, *, with_content: bool) -> None:
        self._engine = engine
        self._with_content = with_content
        self._waiting: deque[Row] = deque()
        self._writer: asyncio.Task[None] | None = None
        self.problem: str | None = None
        """Why the database did not take the last batch; None: it did."""

    @property
    def n_waiting(self) -> int:
        """Rows that are not in the database yet."""
        return len(self._waiting)

    def served(self, key: VirtualKey, served: Served) -> None:
        """Take a request that was answered."""
        completion, decision = served.completion, served.routed.decision
        # The answer of a fallback is no draw of the router: its probability is that of another model.
        is_the_choice = completion.model_id == decision.model_id
        row = self._row(key, served.routed, completion.model_id)
        row |= {
            "served_model": completion.served_model,
            "propensity": decision.propensity if is_the_choice else None,
            "cost_usd": completion.cost_usd,
            "latency_s": None if completion.is_cached else completion.latency_s,
            "first_token_s": completion.first_token_s,
            "input_tokens": completion.usage.input_tokens,
            "output_tokens": completion.usage.output_tokens,
            "response": completion.text if self._with_content else None,
        }
        self._waiting.append(row)

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
        self._waiting.append(row)

    def spent_usd(self, key_id: str) -> float:
        """What a key has been charged for so far, rows not written yet included; shadows are the server's."""
        row_is_own = (outcomes.c.key_id == key_id, outcomes.c.arm != SHADOW)
        waiting = (row for row in self._waiting if row["key_id"] == key_id and row["arm"] != SHADOW)
        return self._sum(*row_is_own) + sum(row["cost_usd"] or 0.0 for row in waiting)

    def spent_on_usd(self, experiment: str, arm: str) -> float:
        """What an arm of an experiment has cost so far."""
        waiting = (row for row in self._waiting if row["experiment"] == experiment and row["arm"] == arm)
        written = self._sum(outcomes.c.experiment == experiment, outcomes.c.arm == arm)
        return written + sum(row["cost_usd"] or 0.0 for row in waiting)

    def _sum(self, *conditions: sa.ColumnElement[bool]) -> float:
        total = sa.select(sa.func.sum(outcomes.c.cost_usd)).where(*conditions)
        with self._engine.connect() as connection:
            return float(connection.execute(total).scalar() or 0.0)

    def totals(self, *, by: By, since: float = 0.0) -> list[Total]:
        """What was served since a Unix time, as far as it is written, in groups."""
        return totals(self._engine, by=by, since=since)

    def problem_now(self) -> str | None:
        """Why the database does not answer; None: it does."""
        return problem_of(self._engine)

    async def __aenter__(self) -> "OutcomeLog":
        self._writer = asyncio.create_task(self._write_on(), name="outcome log")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.cancel()
            with suppress(asyncio.CancelledError):
                await self._writer
        await self.flush()

    async def score(self, key: VirtualKey, request_id: str, quality: float) -> bool:
        """Attach a quality to a request that this key's tenant made; False: there is none of this name."""
        if any(row["request_id"] == request_id for row in self._waiting):
            await self.flush()
        return await asyncio.to_thread(score, self._engine, request_id, tenant=key.tenant, quality=quality)

    async def flush(self) -> None:
        """Write what is waiting; what is not taken stays."""
        while self._waiting:
            batch = [self._waiting[i] for i in range(min(_BATCH, len(self._waiting)))]
            if not await asyncio.to_thread(self._write, batch):
                return
            for _ in batch:
                self._waiting.popleft()

    async def _write_on(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_S)
            await self.flush()

    def _write(self, batch: Sequence[Mapping[str, Any]]) -> bool:
        try:
            with self._engine.begin() as connection:
                connection.execute(sa.insert(outcomes), batch)
        except SQLAlchemyError as exc:
            self.problem = type(exc).__name__
            return False
        self.problem = None
        return True

    def _row(self, key: VirtualKey, routed: Routed, model_id: str) -> Row:
        provider, _, model = model_id.partition("/")
        asked, decision = routed.asked, routed.decision
        row: Row = dict.fromkeys(column.name for column in outcomes.columns)
        return row | {
            "request_id": routed.request_id,
            "at": time.time(),
            "key_id": key.key_id,
            "tenant": key.tenant,
            "experiment": routed.experiment,
            "arm": routed.arm,
            "router": decision.router,
            "asked_model": decision.model_id,
            "model": model,
            "provider": provider,
            "predicted_quality": decision.predicted_quality,
            "predicted_cost_usd": decision.predicted_cost_usd,
            "cluster": _cluster(key, asked.conversation or asked.user),
            "prompt": asked.prompt.text if self._with_content else None,
        }


def _cluster(key: VirtualKey, name: str | None) -> str | None:
    """A caller's user, so that it cannot be read from the log who that is."""
    if name is None:
        return None
    return hashlib.blake2b(f"{key.tenant}\0{name}".encode(errors="replace"), digest_size=12).hexdigest()
