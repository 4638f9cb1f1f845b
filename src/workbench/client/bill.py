"""The bill of one call: what a request may cost is reserved before it is sent, then settled and noted."""

import asyncio
import logging
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from workbench.budget import Budget, Reservation, billable_usage
from workbench.client.events import AttemptFinished, Observer
from workbench.client.ledger import Ledger
from workbench.client.limits import Limits
from workbench.client.request import Request
from workbench.client.retry import is_not_now, is_outage, is_push_back
from workbench.client.visit import Target, Visit
from workbench.errors import ProviderError
from workbench.types import Attempt, Completion, Decoding, Prompt, Usage

log = logging.getLogger("workbench")

_CANCELLED = "CancelledError"


class Caller(Protocol):
    """What a call needs to know of its client."""

    limits: Limits
    budget: Budget | None
    rng: random.Random
    ledger: Ledger
    observer: Observer | None


class Bill:
    """The attempts of one call, in the order in which they ended. `first` is its first candidate."""

    def __init__(
        self, caller: Caller, prompt: Prompt, *, decoding: Decoding, first: Target, call_id: str
    ) -> None:
        self.attempts: list[Attempt] = []
        self.fallback_reason: str | None = None
        self._caller = caller
        self._tell = caller.observer
        self._call_id = call_id
        self._prompt = prompt
        self._decoding = decoding
        self._first = first
        self._n_sent = 0
        ceiling_usd = caller.limits.max_call_cost_usd
        own = None if ceiling_usd is None else Budget(ceiling_usd, name="max_call_cost_usd of this call")
        self._budgets = [budget for budget in (caller.budget, own) if budget is not None]

    @property
    def total_usd(self) -> float | None:
        """What all attempts cost; None: one of them has no price."""
        costs = [attempt.cost_usd for attempt in self.attempts if attempt.cost_usd is not None]
        return sum(costs) if len(costs) == len(self.attempts) else None

    @contextmanager
    def accounted(self, visit: Visit, request: Request) -> Iterator[None]:
        """Reserve what the request may cost while the block sends it, then settle and note it."""
        channel = request.channel
        usage: Usage | None = None
        reservations: list[Reservation] = []
        try:
            self._reserve(visit.target, reservations)
            visit.n_attempts += 1
            self._n_sent += 1
            number = self._n_sent
            try:
                yield
            except (ProviderError, asyncio.CancelledError, GeneratorExit) as exc:
                usage = billable_usage(exc, self._prompt, self._decoding, n_text_bytes=request.n_text_bytes)
                name = type(exc).__name__ if isinstance(exc, ProviderError) else _CANCELLED
                self._enter(visit, request, usage, error=name, number=number, reservations=reservations)
                if isinstance(exc, ProviderError):
                    self._failed(visit, request, exc)
                self._finished(request, exc)
                raise
            else:
                answer = request.completion
                if answer is not None and answer.is_cached:
                    answer = None  # of an earlier call, which paid for it; it says nothing of the server
                usage = None if answer is None else answer.usage
                self._enter(visit, request, usage, error=None, number=number, reservations=reservations)
                if answer is not None:
                    channel.answer()
                    visit.answered(channel)
                self._finished(request, None)
        finally:
            for reservation in reservations:
                reservation.release()
            n_used = 0 if usage is None else usage.input_tokens + usage.output_tokens
            channel.release(request.ticket, request.n_tokens, n_used=n_used, was_heard=request.was_heard)

    def priced(self, completion: Completion, attempt: Attempt) -> Completion:
        """`completion`, of `attempt`, with the cost of all attempts, and the time since the first of them.

        Where the model has no price, a cost that the provider gave (a replay's) stands.
        """
        total_usd = self.total_usd
        earlier_s = attempt.started_s - min(one.started_s for one in self.attempts)
        first_token_s = completion.first_token_s
        return replace(
            completion,
            cost_usd=completion.cost_usd if total_usd is None else total_usd,
            latency_s=completion.latency_s + earlier_s,
            first_token_s=None if first_token_s is None else first_token_s + earlier_s,
            attempts=tuple(self.attempts),
        )

    def _failed(self, visit: Visit, request: Request, failure: ProviderError) -> None:
        failure.attempts = visit.n_attempts
        failure.cost_usd = self.total_usd
        channel = request.channel
        is_free = is_not_now(failure) and visit.pushed_back(channel, failure, request.ticket)
        if is_push_back(failure):
            rest_s = self._caller.limits.backoff_s if len(visit.target.channels) > 1 else 0.0
            channel.push_back(failure, request.ticket, rest_s=rest_s)
        if not (is_free and is_push_back(failure)):
            channel.fail(failure)
        if request.first_token_s is None:
            visit.failed(channel, failure)
        elif is_outage(failure):
            channel.breaker.fail()  # the visit ended with the first text

    def _finished(self, request: Request, failure: BaseException | None) -> None:
        if self._tell is not None:
            attempt, provider = self.attempts[-1], request.channel.account.provider
            self._tell(AttemptFinished(self._call_id, attempt, provider, request.completion, failure))

    def _reserve(self, target: Target, reservations: list[Reservation]) -> None:
        if self._budgets:
            bound_usd = target.spec.cost_bound_usd(self._prompt, self._decoding)
            for budget in self._budgets:
                reservations.append(budget.reserve(bound_usd))  # noqa: PERF401 - what is reserved is released

    def _enter(
        self,
        visit: Visit,
        request: Request,
        usage: Usage | None,
        *,
        error: str | None,
        number: int,
        reservations: Sequence[Reservation],
    ) -> None:
        spec = visit.target.spec
        price = spec.price_on()
        cost_usd = None if price is None else 0.0 if usage is None else price.cost_usd(usage)
        for reservation in reservations:
            reservation.settle(cost_usd or 0.0)
        is_fallback = visit.target is not self._first
        attempt = Attempt(
            model_id=spec.model_id,
            number=number,
            started_s=request.started_s,
            latency_s=time.monotonic() - request.started_s,
            cost_usd=cost_usd,
            usage=usage,
            error=error,
            prompt_id=self._prompt.prompt_id,
            is_fallback=is_fallback,
            account=request.channel.account.alias,
            first_token_s=request.first_token_s,
            fallback_reason=self.fallback_reason if is_fallback else None,
        )
        self.attempts.append(attempt)
        self._caller.ledger.add(attempt)
