"""Calls of a run handed in as offline batches, and collected: by this process, or by the one after it.

What a batch is, is in the journal before it is handed in, and its id as soon as that is known. So a run
that is killed or stopped finds its batches again and buys nothing twice; the batches go on meanwhile.
One window is left: killed while a batch is being handed in. Then the provider is asked for a batch of our
name; where it cannot tell (Anthropic), the batch counts as spent and its calls are handed in again.

A batch that fails ends no other. One that is refused for what is in it costs nothing, and is handed in again
by halves until the call that it was refused for is alone. A call that is not taken is an outcome with an
error. What a later run can mend (a key that is refused, a batch that may or may not be there) is raised when
all others are done.
"""

import asyncio
import copy
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from datetime import date
from types import TracebackType

from workbench.budget import Budget, Reservation, billable_usage
from workbench.catalog import Price, today
from workbench.client.accounts import key_of_provider
from workbench.errors import (
    AuthError,
    BudgetError,
    ContextTooLongError,
    ExperimentError,
    ModelNotFoundError,
    ProviderError,
    QuotaExceededError,
    RequestError,
)
from workbench.experiment.batch_chunk import Chunk
from workbench.experiment.calls import Call
from workbench.experiment.journal import Journal, Key, SentBatch
from workbench.experiment.plan import Plan
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
_MOST_SUBMISSIONS = 8
"""Of one batch, over three minutes at the usual pace."""

_MOST_REFUSALS = 32
"""Batches of one model that are halved: enough to find one bad call among 100,000."""

_OF_ITS_CONTENT = (RequestError, ContextTooLongError)


class BatchDelivery:
    """The batches of one session of a run.

    Args:
        connect: gives the batches of a provider, by its name; None: with the key of its first account.

    Use it as an async context manager, which closes its connections and leaves the batches alone. It raises
    at its end what a later run can mend.
    """

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        finished: Finished,
        *,
        budget: Budget | None,
        pace: Pace = PACE,
        connect: Callable[[str], BatchApi] | None = None,
    ) -> None:
        self._plan = plan
        self._journal = journal
        self._finished = finished
        self._budget = budget
        self._pace = pace
        self._connect = connect or _connected
        self._apis: dict[str, BatchApi] = {}
        self._stack = AsyncExitStack()
        self._failures: list[ProviderError | ExperimentError] = []
        self._n_refused: Counter[str] = Counter()
        self.lost_usd = 0.0
        """What batches may have cost that were handed in before and cannot be collected."""

    async def __aenter__(self) -> "BatchDelivery":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, frames: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        if kind is None and self._failures:
            raise self._failures[0]

    async def deliver(
        self, calls: Sequence[Call], sent: Sequence[SentBatch], group: asyncio.TaskGroup
    ) -> None:
        """Collect the batches that were `sent` before, and hand in and collect the rest of `calls`.

        Batches are collected by tasks of `group`. Calls that the budget does not allow are left.
        """
        by_key = {call.key: call for call in calls}
        taken: set[Key] = set()
        for batch in sent:
            try:
                if not await self._is_there(batch):
                    continue
            except ProviderError as exc:
                self._failures.append(exc)
            else:
                group.create_task(self._collect(batch, by_key, self._held(batch), group))
            taken |= {key for key, _ in batch.calls.values()}
        waiting = [call for call in calls if call.key not in taken]
        for model_id in dict.fromkeys(call.arm.candidates[0] for call in waiting):
            of_model = [call for call in waiting if call.arm.candidates[0] == model_id]
            for chunk in self._chunks(model_id, of_model):
                await self._hand_in(chunk, group)

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

    def _chunks(self, model_id: str, calls: Sequence[Call]) -> Iterator[Chunk]:
        """As few batches as the provider's limits allow, of the calls that the budget does."""
        api = self._api(model_id)
        chunk = Chunk(model_id)
        for call in calls:
            line = self._line(chunk, call)
            if chunk.lines and (
                len(chunk.lines) >= api.most_items or chunk.n_bytes + len(line) > api.most_bytes
            ):
                yield chunk
                chunk = Chunk(model_id)
                line = self._line(chunk, call)
            bound_usd = self._plan.cost_bound_usd(call, Decision(model_id, call.arm.name))
            try:
                reservation = None if self._budget is None else self._budget.reserve(bound_usd)
            except BudgetError:
                break
            chunk.add(call, line, bound_usd, reservation)
        if chunk.lines:
            yield chunk

    def _line(self, chunk: Chunk, call: Call) -> bytes:
        """`call` as the next of `chunk`."""
        item = self._item(chunk.next_name, call)
        return self._api(chunk.model_id).line(_model(chunk.model_id), item)

    async def _hand_in(self, chunk: Chunk, group: asyncio.TaskGroup) -> None:
        """A batch of `chunk`, journalled before it is handed in and when it was, and collected by `group`."""
        bounds = {name: (call.key, chunk.bounds[name]) for name, call in chunk.calls.items()}
        batch = SentBatch(chunk.token, chunk.model_id, today(), bounds)
        self._journal.batch_sent(batch)
        try:
            batch.job_id = await self._submitted(chunk)
        except ProviderError as exc:
            if not may_be_there(exc):
                self._journal.batch_not_sent(batch.token)
                await self._refused(chunk, exc, group)
                return
            batch.job_id = await self._found(batch)
            if batch.job_id is None:
                self._failures.append(exc)  # a later run looks for it again
                return
        self._journal.batch_accepted(batch.token, batch.job_id)
        log.info("%s: %d calls are in batch %s", chunk.model_id, len(chunk.calls), batch.job_id)
        by_key = {call.key: call for call in chunk.calls.values()}
        group.create_task(self._collect(batch, by_key, chunk.held, group))

    async def _submitted(self, chunk: Chunk) -> str:
        """The id of the batch. A refusal that may pass is waited for a few times; a doubtful one is not."""
        wait_s = self._pace.first_s
        model = _model(chunk.model_id)
        for number in range(1, _MOST_SUBMISSIONS + 1):
            try:
                return await self._api(chunk.model_id).submit(model, chunk.lines, token=chunk.token)
            except ProviderError as exc:
                if number == _MOST_SUBMISSIONS or not exc.retryable or may_be_there(exc):
                    raise
                await self._pace.sleep(max(wait_s, exc.retry_after_s or 0.0))
            wait_s *= self._pace.growth
        raise AssertionError("unreachable")

    async def _found(self, batch: SentBatch) -> str | None:
        """The id of a batch that may have been handed in; None: it is not known whether it was."""
        try:
            return await self._api(batch.model_id).find(batch.token)
        except ProviderError:
            return None

    async def _refused(self, chunk: Chunk, failure: ProviderError, group: asyncio.TaskGroup) -> None:
        """Nothing of `chunk` was taken, and nothing is billed: hand in its halves, or tell of each call."""
        if isinstance(failure, AuthError | QuotaExceededError):
            self._failures.append(failure)
            chunk.release()
            return
        self._n_refused[chunk.model_id] += 1
        is_of_its_content = type(failure) in _OF_ITS_CONTENT
        if is_of_its_content and len(chunk.lines) > 1 and self._n_refused[chunk.model_id] <= _MOST_REFUSALS:
            for half in self._halves(chunk):
                await self._hand_in(half, group)
            return
        chunk.release()
        told = copy.copy(failure)
        told.model, told.cost_usd = _model(chunk.model_id), 0.0
        for call in chunk.calls.values():
            self._finished(call, told, None)

    def _halves(self, chunk: Chunk) -> Iterator[Chunk]:
        """Two batches of the calls of one, with what is held for them."""
        names = list(chunk.calls)
        middle = len(names) // 2
        for part in (names[:middle], names[middle:]):
            half = Chunk(chunk.model_id)
            for name in part:
                call = chunk.calls[name]
                half.add(call, self._line(half, call), chunk.bounds[name], chunk.held.get(name))
            yield half

    async def _collect(
        self,
        batch: SentBatch,
        by_key: Mapping[Key, Call],
        held: Mapping[str, Reservation],
        group: asyncio.TaskGroup,
    ) -> None:
        """Collect a batch; what keeps it from being collected is for a later run, and ends no other."""
        try:
            refusal = await self._collected(batch, by_key, held)
        except (ProviderError, ExperimentError) as exc:
            self._failures.append(exc)
        else:
            if refusal is not None:
                self._journal.batch_not_sent(batch.token)
                await self._refused(self._as_chunk(batch, by_key, held), refusal, group)

    def _as_chunk(
        self, batch: SentBatch, by_key: Mapping[Key, Call], held: Mapping[str, Reservation]
    ) -> Chunk:
        """What is left of a batch, to be handed in anew."""
        chunk = Chunk(batch.model_id)
        for name, (key, bound_usd) in batch.calls.items():
            if (call := by_key.get(key)) is not None:
                chunk.add(call, self._line(chunk, call), bound_usd, held.get(name))
        return chunk

    async def _collected(
        self, batch: SentBatch, by_key: Mapping[Key, Call], held: Mapping[str, Reservation]
    ) -> ProviderError | None:
        """Take what came of each call, as soon as the batch has ended; why none was made, if none was."""
        wait_s, started_s = self._pace.first_s, time.monotonic()
        while True:
            try:
                api, job_id = self._api(batch.model_id), batch.job_id or ""
                if await api.has_ended(job_id):
                    if (refusal := await api.refusal(job_id)) is None:
                        await self._take_results(batch, by_key, held)
                    return refusal
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
    ) -> None:
        """Take the results of a batch that has ended. Those taken before are left alone."""
        api, job_id = self._api(batch.model_id), batch.job_id or ""
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

    def _price(self, batch: SentBatch) -> Price | None:
        """What calls of the day on which the batch was handed in are billed at."""
        known = self._plan.catalog.get(batch.model_id)
        return None if known is None else known.batch_price_on(batch.day)

    def _item(self, name: str, call: Call) -> BatchItem:
        return BatchItem(name, call.asked, self._plan.decoding(call))

    def _api(self, model_id: str) -> BatchApi:
        provider = model_id.partition("/")[0]
        if provider not in self._apis:
            api = self._connect(provider)
            self._stack.push_async_callback(api.aclose)
            self._apis[provider] = api
        return self._apis[provider]


def _connected(provider: str) -> BatchApi:
    return batches(provider, key=key_of_provider(provider))


def _costed(result: Result, item: BatchItem, price: Price | None) -> Result:
    """`result` with what it cost; None: no price is known."""
    if isinstance(result, Completion):
        return replace(result, cost_usd=None if price is None else price.cost_usd(result.usage))
    usage = billable_usage(result, item.prompt, item.decoding)
    result.cost_usd = None if price is None else 0.0 if usage is None else price.cost_usd(usage)
    return result


def _model(model_id: str) -> str:
    return model_id.partition("/")[2]
