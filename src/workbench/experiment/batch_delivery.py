"""Calls of a run handed in as offline batches, and collected: by this process, or by the one after it.

What a batch is, is in the journal before it is handed in, and its id as soon as that is known. So a run
that is killed or stopped finds its batches again and buys nothing twice; the batches go on meanwhile.
One window is left: killed while a batch is being handed in. Then the provider is asked for a batch of our
name; where it cannot tell (Anthropic), the batch counts as spent and its calls are handed in again.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from datetime import date

from workbench.budget import Budget, Reservation, billable_usage
from workbench.catalog import Price, today
from workbench.errors import BudgetError, ExperimentError, ModelNotFoundError, ProviderError
from workbench.experiment.journal import Journal, Key, SentBatch, custom_id
from workbench.experiment.plan import Call, Plan
from workbench.providers.batch_api import BatchApi, BatchItem, Result, may_be_there
from workbench.providers.batches import batches
from workbench.types import Completion, Decision

log = logging.getLogger("workbench")

Finished = Callable[[Call, Result, date | None], None]
"""Takes what came of a call, with its cost, and the date of the price that the cost is computed from."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a batch is asked after, in seconds: soon at first, then ever more rarely.

    After `patience_s` without an answer to the question, or without an end of the batch, the run ends with
    an error, and goes on collecting when it is run again. A batch takes up to a day.
    """

    first_s: float = 5.0
    growth: float = 1.5
    most_s: float = 300.0
    patience_s: float = 26 * 3600.0
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep


PACE = Pace()
_MOST_SUBMISSIONS = 5


class BatchDelivery:
    """The batches of one session of a run.

    Args:
        connect: gives the batches of a provider, by its name.

    Use it as an async context manager, which closes its connections and leaves the batches alone.
    """

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        finished: Finished,
        *,
        budget: Budget | None,
        pace: Pace = PACE,
        connect: Callable[[str], BatchApi] = batches,
    ) -> None:
        self._plan = plan
        self._journal = journal
        self._finished = finished
        self._budget = budget
        self._pace = pace
        self._connect = connect
        self._apis: dict[str, BatchApi] = {}
        self._stack = AsyncExitStack()
        self.lost_usd = 0.0
        """What batches may have cost that were handed in before and cannot be collected."""

    async def __aenter__(self) -> "BatchDelivery":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def deliver(
        self, calls: Sequence[Call], sent: Sequence[SentBatch], group: asyncio.TaskGroup
    ) -> None:
        """Collect the batches that were `sent` before, and hand in and collect the rest of `calls`.

        Batches are collected by tasks of `group`. Calls that the budget does not allow are left.

        Raises:
            ProviderError: a batch was refused, or cannot be asked after; what was handed in can be collected
                by running again.
            ExperimentError: the provider has no such batch any more.
        """
        by_key = {call.key: call for call in calls}
        taken: set[Key] = set()
        for batch in sent:
            if await self._is_there(batch):
                taken |= {key for key, _ in batch.calls.values()}
                group.create_task(self._collect(batch, by_key, self._held(batch)))
        waiting = [call for call in calls if call.key not in taken]
        for model_id in dict.fromkeys(call.arm.candidates[0] for call in waiting):
            of_model = [call for call in waiting if call.arm.candidates[0] == model_id]
            for chunk in self._chunks(model_id, of_model):
                batch = await self._handed_in(model_id, chunk)
                group.create_task(self._collect(batch, by_key, chunk.held))

    async def _is_there(self, batch: SentBatch) -> bool:
        """Whether a batch of an earlier session can be collected; if not, it counts as spent."""
        if batch.job_id is None:
            batch.job_id = await self._api(batch.model_id).find(batch.token)
            if batch.job_id is None:
                self._give_up(batch)
                return False
            self._journal.batch_accepted(batch.token, batch.job_id)
        return True

    def _give_up(self, batch: SentBatch) -> None:
        self._journal.batch_lost(batch.token)
        self.lost_usd += batch.bound_usd
        for reservation in self._held(batch).values():
            reservation.settle(reservation.bound_usd)

    def _held(self, batch: SentBatch) -> dict[str, Reservation]:
        if self._budget is None:
            return {}
        return {name: self._budget.hold(bound_usd) for name, (_, bound_usd) in batch.calls.items()}

    def _chunks(self, model_id: str, calls: Sequence[Call]) -> "Iterator[_Chunk]":
        """As few batches as the provider's limits allow, of the calls that the budget does."""
        api = self._api(model_id)
        chunk, n_bytes = _Chunk(), 0
        for call in calls:
            name = custom_id(chunk.token, len(chunk.lines))
            line = api.line(_model(model_id), self._item(name, call))
            if chunk.lines and (len(chunk.lines) >= api.most_items or n_bytes + len(line) > api.most_bytes):
                yield chunk
                chunk, n_bytes = _Chunk(), 0
                name = custom_id(chunk.token, 0)
                line = api.line(_model(model_id), self._item(name, call))
            bound_usd = self._plan.cost_bound_usd(call, Decision(model_id, call.arm.name))
            try:
                if self._budget is not None:
                    chunk.held[name] = self._budget.reserve(bound_usd)
            except BudgetError:
                break
            chunk.calls[name] = (call.key, bound_usd)
            chunk.lines.append(line)
            n_bytes += len(line) + 1
        if chunk.lines:
            yield chunk

    async def _handed_in(self, model_id: str, chunk: "_Chunk") -> SentBatch:
        """A batch of `chunk`, journalled before it is handed in and when it was."""
        batch = SentBatch(chunk.token, model_id, today(), dict(chunk.calls))
        self._journal.batch_sent(batch)
        try:
            batch.job_id = await self._submitted(model_id, chunk)
        except ProviderError as exc:
            if not may_be_there(exc):
                self._journal.batch_not_sent(batch.token)
            raise
        self._journal.batch_accepted(batch.token, batch.job_id)
        log.info("%s: %d calls are in batch %s", model_id, len(chunk.calls), batch.job_id)
        return batch

    async def _submitted(self, model_id: str, chunk: "_Chunk") -> str:
        """The id of the batch. A refusal that may pass is waited for a few times; a doubtful one is not."""
        wait_s = self._pace.first_s
        for number in range(1, _MOST_SUBMISSIONS + 1):
            try:
                return await self._api(model_id).submit(_model(model_id), chunk.lines, token=chunk.token)
            except ProviderError as exc:
                if number == _MOST_SUBMISSIONS or not exc.retryable or may_be_there(exc):
                    raise
                await self._pace.sleep(max(wait_s, exc.retry_after_s or 0.0))
            wait_s *= self._pace.growth
        raise AssertionError("unreachable")

    async def _collect(
        self, batch: SentBatch, by_key: Mapping[Key, Call], held: Mapping[str, Reservation]
    ) -> None:
        """Ask after a batch until it has ended, then take what came of each of its calls."""
        wait_s, started_s = self._pace.first_s, time.monotonic()
        while True:
            try:
                if await self._take_results(batch, by_key, held):
                    return
                failure = None
            except ModelNotFoundError as exc:
                self._give_up(batch)
                raise ExperimentError(
                    f"{exc}: the provider has no batch {batch.job_id} any more. Its calls count as spent; "
                    "run again to hand them in anew"
                ) from exc
            except ProviderError as exc:
                if not exc.retryable:
                    raise
                log.info("batch %s: %s", batch.job_id, exc)
                wait_s, failure = max(wait_s, exc.retry_after_s or 0.0), exc
            if time.monotonic() - started_s > self._pace.patience_s:
                raise failure or ExperimentError(
                    f"batch {batch.job_id} of {batch.model_id} has not ended in {self._pace.patience_s:g} s; "
                    "run again to go on waiting"
                )
            await self._pace.sleep(wait_s)
            wait_s = min(wait_s * self._pace.growth, self._pace.most_s)

    async def _take_results(
        self, batch: SentBatch, by_key: Mapping[Key, Call], held: Mapping[str, Reservation]
    ) -> bool:
        """Take the results if there are any yet; whether there were. Those taken before are left alone."""
        api, job_id = self._api(batch.model_id), batch.job_id or ""
        if not await api.has_ended(job_id):
            return False
        items = {
            name: self._item(name, by_key[key]) for name, (key, _) in batch.calls.items() if key in by_key
        }
        price = self._price(batch)
        async with aclosing(api.results(job_id, _model(batch.model_id), items)) as results:
            async for name, result in results:
                key, _ = batch.calls.pop(name)
                costed = _costed(result, items[name], price)
                if name in held:
                    held[name].settle(costed.cost_usd or 0.0)
                self._finished(by_key[key], costed, None if price is None else price.date)
        return True

    def _price(self, batch: SentBatch) -> Price | None:
        """What calls of the day on which the batch was handed in are billed at."""
        known = self._plan.catalog.get(batch.model_id)
        return None if known is None else known.batch_price_on(batch.day)

    def _item(self, name: str, call: Call) -> BatchItem:
        return BatchItem(name, call.prompt, self._plan.spec.decode(call.repeat))

    def _api(self, model_id: str) -> BatchApi:
        provider = model_id.partition("/")[0]
        if provider not in self._apis:
            api = self._connect(provider)
            self._stack.push_async_callback(api.aclose)
            self._apis[provider] = api
        return self._apis[provider]


class _Chunk:
    """Calls that will be one batch: their lines, and what each is called and can cost."""

    def __init__(self) -> None:
        self.token = secrets.token_hex(12)
        self.lines: list[bytes] = []
        self.calls: dict[str, tuple[Key, float]] = {}
        self.held: dict[str, Reservation] = {}


def _costed(result: Result, item: BatchItem, price: Price | None) -> Result:
    """`result` with what it cost; None: no price is known."""
    if isinstance(result, Completion):
        return replace(result, cost_usd=None if price is None else price.cost_usd(result.usage))
    usage = billable_usage(result, item.prompt, item.decoding)
    result.cost_usd = None if price is None else 0.0 if usage is None else price.cost_usd(usage)
    return result


def _model(model_id: str) -> str:
    return model_id.partition("/")[2]
