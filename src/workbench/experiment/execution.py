"""The calls of a run: made or found in the journal, scored, and durable before the next step."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from workbench import outcomes
from workbench.budget import Budget
from workbench.client import Client
from workbench.client import Observer as ClientObserver
from workbench.errors import BudgetError, ProviderError, StorageError, WorkbenchError
from workbench.experiment.batch_delivery import BatchDelivery, Pace
from workbench.experiment.calls import Call
from workbench.experiment.connection import connected
from workbench.experiment.design_columns import with_design
from workbench.experiment.journal import Journal, JournalContent, Key
from workbench.experiment.later_scores import LaterScores, with_scores
from workbench.experiment.ledger import Ledger, unspent_usd
from workbench.experiment.outcome_row import answered, failed
from workbench.experiment.panel_call import answer_together
from workbench.experiment.plan import Plan
from workbench.experiment.progress import Observer, Progress, RunningComparison
from workbench.experiment.running import RunningComparisons
from workbench.experiment.spending import expected_usd, rates
from workbench.experiment.stopped import Stopped
from workbench.experiment.stopping import Stopping, StoppingRule, stopping
from workbench.experiment.traces import TRACES, TraceFile
from workbench.experiment.turns import Turns, by_arm, in_order
from workbench.providers.batch_api import Result
from workbench.stats.estimate import Estimate
from workbench.storage import write_text
from workbench.types import Completion, Decision, Outcome

JOURNAL = "journal.jsonl"
STATE = "run.json"
_LOOK_EVERY_S = 0.25

State = Literal["running", "completed", "decided", "futile", "out of budget", "interrupted"]
"""`decided` and `futile` are ends of a sequential run before its planned size, or at it."""


class Execution:
    """One session of a run: what is done so far, and the calls still to make."""

    def __init__(
        self, plan: Plan, folder: Path, content: JournalContent, observer: Observer, pace: Pace
    ) -> None:
        planned = {call.key for call in plan.calls}
        self._plan = plan
        self._folder = folder
        self._content = content
        self._observer = observer
        self._pace = pace
        self._done: dict[Key, Outcome] = {k: v for k, v in content.outcomes.items() if k in planned}
        self._scoring = LaterScores(plan, self._done, content, self._count)
        self.n_resumed = len(self._done)
        self._n_cached = 0
        self._saved_usd = 0.0
        limit_usd = plan.spec.budget_usd
        self._budget = None if limit_usd is None else Budget(limit_usd, spent_usd=content.spent_usd)
        self._comparisons = RunningComparisons(
            [arm.name for arm in plan.arms],
            plan.spec.control_arm,
            n_prompts=len(plan.prompts),
            alpha=plan.spec.alpha,
        )
        for outcome in self._done.values():
            self._comparisons.add(outcome)
        self._rule = StoppingRule(plan.spec, plan.calls) if plan.spec.stopping.is_sequential else None
        if self._rule is not None:
            self._rule.add(filter(self._is_settled, self._done.values()))
        self._stopped = content.stopped
        self._begun = {outcome.prompt_id for outcome in self._done.values()}
        self._wanted = self._calls_wanted()
        self._waiting = [call for call in self._wanted if call.key not in self._done]
        self._bound_usd = None if limit_usd is None else sum(plan.dearest(call)[0] for call in self._waiting)
        self._expected_usd = None if limit_usd is None else expected_usd(self._waiting, rates(plan))
        self._started_s = time.monotonic()
        self._looked_s = 0.0
        self.state: State = "running"

    async def finish_calls(self) -> None:
        """Make every call that is not done yet, as many at once as the spec allows."""
        plan, path = self._plan, self._folder / JOURNAL
        self._look(at_once=True)
        async with AsyncExitStack() as stack:
            # Connected first: a run that cannot begin leaves no journal that its repaired spec would not fit.
            client = None
            batched = self._batched()
            live = [call for call in self._waiting if call.key not in batched]
            if live or (plan.judging_ids and (self._waiting or self._scoring.waiting())):
                client = await stack.enter_async_context(
                    connected(plan, self._budget, observers=self._traces())
                )
            if plan.scores_later:
                await stack.enter_async_context(self._scoring.at_work(client))
            journal = stack.enter_context(
                Journal.open(path, fingerprint=plan.fingerprint, content=self._content)
            )
            self._save_state("running")
            try:
                await self._work_together(live, client, journal)
                await self._scoring.score_rest(journal)
                self._saved_usd = 0.0 if client is None else client.cache_statistics.saved_usd
            except BaseException:
                with suppress(StorageError):  # a full disk is told of already
                    self._save_state("interrupted")
                raise
        self._look(at_once=True)
        is_complete = len(self._done) == len(self._wanted) and not self._scoring.is_out_of_budget
        reached: State = "completed" if self._stopped is None else self._stopped.reason
        self._save_state(reached if is_complete else "out of budget")

    @property
    def spent_usd(self) -> float:
        """All that was paid, or may have been, in this session and those before; a replay costs nothing."""
        if self._budget is not None:
            return self._budget.spent_usd
        paid = (outcome.cost_usd or 0.0 for outcome in self._done.values() if outcome.provider != "replay")
        return self._content.in_flight_usd + sum(paid) + self._scoring.cost_usd

    async def _work_together(self, live: Sequence[Call], client: Client | None, journal: Journal) -> None:
        """Take calls, as many at once as the spec allows; an error of one worker ends them all.

        Batches are handed in first, and go on while live calls are made.
        """
        turns, in_batches = self._turns(live), self._batched()
        self._stop_if_decided(turns, journal)
        batched = [call for call in self._waiting if call.key in in_batches]
        try:
            async with self._batches(journal) as batches, asyncio.TaskGroup() as group:
                if batched:
                    await batches.deliver(batched, list(self._content.batches.values()), group)
                    self._content.in_flight_usd += batches.lost_usd
                if client is not None:
                    for _ in range(self._plan.spec.concurrency):
                        group.create_task(self._work(turns, client, journal))
        except ExceptionGroup as failures:
            explained, other = failures.split(WorkbenchError)
            if explained is None or other is not None:
                raise
            # Workers that fail together fail for one reason, such as a full disk: one of them tells it.
            first = _first_of(explained)
            raise first from first.__cause__

    def _turns(self, live: Sequence[Call]) -> Turns:
        """Arms take turns; where the run may end early, whole pairs are made, in the plan's order."""
        left_usd = None if self._budget is None else self._budget.left_usd
        is_judged = bool(self._plan.judging_ids)  # what that costs is not known beforehand
        may_end = left_usd is not None and (is_judged or (self._bound_usd or 0.0) > left_usd)
        is_ordered = may_end or self._rule is not None or self._plan.spec.design.kind == "interleaved"
        return Turns(live, group_of=in_order if is_ordered else by_arm)

    def _calls_wanted(self) -> Sequence[Call]:
        """The calls of the plan; of a run that stopped, those of the prompts that had been begun."""
        if self._stopped is None or self._rule is None:
            return self._plan.calls
        begun = set(self._rule.order[: self._stopped.n_begun])
        return [call for call in self._plan.calls if call.prompt.prompt_id in begun]

    def _stop_if_decided(self, turns: Turns, journal: Journal) -> None:
        """Begin no more prompts once the run is decided, which is made durable first."""
        if self._rule is None or self._rule.reason is None or self._stopped is not None:
            return
        n_begun = 1 + max(place for place, name in enumerate(self._rule.order) if name in self._begun)
        self._stopped = Stopped(self._rule.reason, self._rule.n_decided, n_begun)
        journal.stopped(self._stopped)
        self._wanted = self._calls_wanted()
        wanted = {call.key for call in self._wanted}
        turns.keep(lambda call: call.key in wanted)

    async def _work(self, turns: Turns, client: Client, journal: Journal) -> None:
        """Take call after call, until none is left or the budget refuses one, or its score."""
        while turns and not self._scoring.is_out_of_budget:
            with turns.taken() as call:
                self._begun.add(call.prompt.prompt_id)
                decision = call.arm.decide(call.prompt)
                try:
                    outcome = await self._outcome(call, decision, client, journal)
                except BudgetError:
                    return
                self._take(call, outcome, journal)
                await self._scoring.score_since(call.key, journal)
                self._stop_if_decided(turns, journal)

    def _traces(self) -> list[ClientObserver]:
        """Who notes the calls that are to be seen as traces; nobody where none are."""
        share = self._plan.trace_share
        path = self._folder / TRACES
        return [TraceFile(path, share, with_content=self._plan.show_content)] if share else []

    def _batched(self) -> set[Key]:
        """The calls to hand in, and those that an earlier session handed in, whatever the spec says now."""
        handed_in = {key for batch in self._content.batches.values() for key, _ in batch.calls.values()}
        return handed_in | {call.key for call in self._waiting if call.arm.is_batched}

    def _batches(self, journal: Journal) -> BatchDelivery:
        def finished(call: Call, result: Result, price_date: date | None) -> None:
            decision = call.arm.decide(call.prompt)
            if isinstance(result, Completion):
                outcome = answered(self._plan, call, decision, result)
            else:
                outcome = failed(self._plan, call, decision, result)
            dated = None if price_date is None else price_date.isoformat()
            # The hours that a batch lay somewhere say nothing of how fast its model is.
            self._take(call, replace(outcome, latency_s=None, price_date=dated), journal)

        return BatchDelivery(self._plan, journal, finished, budget=self._budget, pace=self._pace)

    def _take(self, call: Call, outcome: Outcome, journal: Journal) -> None:
        """Make an outcome durable, and count it."""
        journal.finished(outcome)
        self._done[call.key] = outcome
        self._count(outcome)

    def _count(self, outcome: Outcome) -> None:
        """Take an outcome into the comparisons, now that it is there, or has its score."""
        self._comparisons.add(outcome)
        if self._rule is not None and self._is_settled(outcome):
            self._rule.add([outcome])
        self._look()

    def _is_settled(self, outcome: Outcome) -> bool:
        """Whether nothing is to come that could change the quality of an answer."""
        if not self._plan.scores_later or outcome.error is not None or outcome.quality is not None:
            return True
        return (outcome.prompt_id, outcome.arm, outcome.repeat) in self._scoring.scores

    async def _outcome(self, call: Call, decision: Decision, client: Client, journal: Journal) -> Outcome:
        """One call and its score; a provider's error is an outcome too.

        Raises:
            BudgetError: too little is left for it; nothing was sent.
        """
        try:
            if call.arm.panel is None:
                completion = await self._completion(call, decision, client, journal)
            else:
                kept = self._content.parts.get(call.key, {})
                completion = await answer_together(
                    call, self._plan, client, journal, budget=self._budget, kept=kept
                )
        except ProviderError as exc:
            return failed(self._plan, call, decision, exc)
        self._n_cached += completion.is_cached
        return answered(self._plan, call, decision, completion)

    async def _completion(
        self, call: Call, decision: Decision, client: Client, journal: Journal
    ) -> Completion:
        journal.sent(call.key, bound_usd=self._plan.cost_bound_usd(call, decision))
        try:
            return await client.complete(
                decision.model_id,
                call.asked,
                decoding=self._plan.decoding(call),
                fallbacks=call.arm.fallbacks,
            )
        except BudgetError:
            journal.not_sent(call.key)
            raise

    def table(self) -> pd.DataFrame:
        """The outcomes in the order of their keys, however the calls came back, with what the design adds."""
        done = sorted(
            (call for call in self._plan.calls if call.key in self._done), key=lambda call: call.key
        )
        table = with_design(outcomes.from_outcomes(self._done[call.key] for call in done), done)
        return with_scores(table, self._scoring.scores)

    def _look(self, *, at_once: bool = False) -> None:
        """Tell the observer how far the run is, but not more often than an eye can follow."""
        now_s = time.monotonic()
        if not at_once:
            if now_s - self._looked_s < _LOOK_EVERY_S:
                return
            self._looked_s = now_s
        self._observer(
            Progress(
                experiment=self._plan.spec.name,
                n_done=len(self._done),
                n_total=len(self._wanted),
                n_resumed=self.n_resumed,
                n_errors=sum(outcome.error is not None for outcome in self._done.values()),
                spent_usd=self.spent_usd,
                budget_usd=self._plan.spec.budget_usd,
                elapsed_s=now_s - self._started_s,
                comparisons=self._comparisons_now(),
                bound_usd=self._bound_usd,
                expected_usd=self._expected_usd,
                stopping=self.stopping,
            )
        )

    def _comparisons_now(self) -> tuple[RunningComparison, ...]:
        """The comparisons so far; of a sequential run, as its rule looks at them."""
        if self._rule is None:
            return self._comparisons.snapshot()
        control = self._plan.spec.control_arm
        return tuple(
            RunningComparison(arm, control, found.n, Estimate(found.estimate, found.low, found.high))
            for arm, found in self._rule.results().items()
        )

    @property
    def stopping(self) -> Stopping | None:
        """How far a sequential run is from its end, and what stopping saved; None: the size is fixed."""
        if self._rule is None:
            return None
        return stopping(self._rule, self._stopped, self._done.values())

    def _save_state(self, state: State) -> None:
        self.state = state
        record: dict[str, Any] = {
            "state": state,
            "n_done": len(self._done),
            "n_calls": len(self._plan.calls),
            "spent_usd": self.spent_usd,
        }
        if self.stopping is not None:
            record["stopping"] = asdict(self.stopping)
        write_text(self._folder / STATE, json.dumps(record, indent=1))

    @property
    def ledger(self) -> Ledger:
        """Where the money went, and what was not spent."""
        done = self._done.values()
        return Ledger(
            spent_usd=self.spent_usd,
            budget_usd=self._plan.spec.budget_usd,
            judge_usd=self._scoring.cost_usd if self._plan.judging_ids else None,
            saved_usd=self._saved_usd if self._n_cached else None,
            n_not_made=len(self._plan.calls) - len(self._done),
            unspent_usd=unspent_usd(done, Counter(call.arm.name for call in self._plan.calls)),
        )

    def notes(self) -> Iterator[str]:
        """What a reader must know beside the analysis."""
        n_calls = len(self._plan.calls)
        if self.n_resumed:
            yield f"{self.n_resumed} of {n_calls} calls were in the journal and were not made again"
        if self._content.in_flight_usd:
            in_flight_usd = self._content.in_flight_usd
            yield f"calls in flight at a kill may have cost {in_flight_usd:.6f} USD, which counts as spent"
        yield from (f"journal: dropped {what}" for what in self._content.dropped)
        if self._n_cached:
            yield (
                f"{self._n_cached} answers came from the cache, which saved {self._saved_usd:.6f} USD; "
                "they have no cost and no latency here"
            )
        yield from self._scoring.notes()
        if self.stopping is not None and self._stopped is not None:
            yield str(self.stopping)
        if len(self._done) < len(self._wanted):
            n_left = len(self._wanted) - len(self._done)
            yield f"the budget ended the run: {n_left} of {n_calls} calls were not made"


def _first_of(failures: BaseExceptionGroup) -> BaseException:
    """The first failure: members of a panel that fail together are a group within the group of workers."""
    first = failures.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first
