"""One logical call: its candidates in turn, the attempts at each, and what they cost. Owns stamina."""

import asyncio
import logging
import os
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol, TypeVar

import stamina

from workbench.budget import Budget, Reservation, billable_usage
from workbench.catalog import token_bound
from workbench.client.channel import Channel, is_of_account
from workbench.client.hedge import first_of_two
from workbench.client.ledger import Ledger
from workbench.client.limits import Limits
from workbench.client.request import Request, heard_by
from workbench.client.retry import is_outage, wait_before_retry_s
from workbench.client.visit import Target, Visit
from workbench.errors import (
    AllProvidersFailedError,
    AuthError,
    BudgetError,
    ContextTooLongError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
    StreamTruncatedError,
)
from workbench.providers.base import closing
from workbench.providers.cache import Cached
from workbench.types import Attempt, Completion, Decoding, Delta, Prompt, Usage

log = logging.getLogger("workbench")

_T = TypeVar("_T")
_CANCELLED = "CancelledError"


class Caller(Protocol):
    """What a call needs to know of its client."""

    limits: Limits
    budget: Budget | None
    rng: random.Random
    ledger: Ledger


class Call:
    """One call, from its first request to its answer or its last failure."""

    def __init__(self, caller: Caller, prompt: Prompt, decoding: Decoding, targets: Sequence[Target]) -> None:
        self._caller = caller
        self._prompt = prompt
        self._decoding = decoding
        self._targets = targets
        self._name = os.urandom(16).hex()
        self._attempts: list[Attempt] = []
        self._n_sent = 0
        self._deadline: float | None = None
        self._is_hedged = False
        self._fallback_reason: str | None = None
        ceiling_usd = caller.limits.max_call_cost_usd
        own = None if ceiling_usd is None else Budget(ceiling_usd, name="max_call_cost_usd of this call")
        self._budgets = [budget for budget in (caller.budget, own) if budget is not None]

    async def recalled(self) -> Completion | None:
        """The answer that the cache of the first candidate has: nothing is sent, reserved or waited for."""
        spec, provider = self._targets[0].spec, self._targets[0].channels[0].account.provider
        if not isinstance(provider, Cached):
            return None
        return await provider.recall(spec.model, self._prompt, self._decoding)

    async def completion(self) -> Completion:
        """The answer of the first candidate that has one, with the cost of all attempts."""
        return self._priced(*await self._first_of(self._whole))

    async def opened(self) -> tuple[Delta, AsyncGenerator[Delta]]:
        """The stream of the first candidate whose first piece came, and that piece."""
        return await self._first_of(self._opened)

    async def _first_of(self, send: Callable[[Visit], Awaitable[_T]]) -> _T:
        causes: list[ProviderError] = []
        refused: BudgetError | None = None
        targets = self._well_ones()
        for number, target in enumerate(targets):
            if causes and not self._is_worth_asking(target, causes):
                continue
            visit = Visit(target, n_left=len(targets) - number)
            try:
                return await self._retried(visit, send)
            except ProviderError as exc:
                causes.append(exc)
                self._fallback_reason = type(exc).__name__
            except BudgetError as exc:
                log.info("%s: %s", target.spec.model_id, exc)
                refused = exc
                self._fallback_reason = type(exc).__name__
            finally:
                visit.conclude()
        if not causes and refused is not None:
            raise refused
        failure = causes[0] if len(causes) == 1 else AllProvidersFailedError(causes)
        failure.cost_usd = _total(self._attempts)
        raise failure

    def _well_ones(self) -> Sequence[Target]:
        """The candidates that may be asked now; all of them where none may, as asking may still help."""
        if len(self._targets) == 1:
            return self._targets
        problems = [target.problem for target in self._targets]
        self._fallback_reason = problems[0]
        well = [target for target, problem in zip(self._targets, problems, strict=True) if problem is None]
        return well or self._targets

    def _is_worth_asking(self, target: Target, causes: Sequence[ProviderError]) -> bool:
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return False
        return not any(_rules_out(cause, target, self._targets) for cause in causes)

    async def _retried(self, visit: Visit, send: Callable[[Visit], Awaitable[_T]]) -> _T:
        try:
            return await send(visit)
        except ProviderError as exc:
            failed = exc
        # Another account is asked beside the attempts that one account is worth.
        most = self._caller.limits.max_attempts + len(visit.target.channels) - 1
        try:
            async for attempt in stamina.retry_context(
                on=lambda exc: self._wait_s(visit, exc), attempts=most, timeout=None
            ):
                with attempt:
                    if attempt.num == 1:
                        raise failed  # made above: a call that is answered does not pay for retries
                    try:
                        return await send(visit)
                    except ProviderError as exc:
                        failed = exc
                        raise
        except BudgetError as exc:
            log.info("%s: no other attempt: %s", visit.target.spec.model_id, exc)
        raise failed

    def _wait_s(self, visit: Visit, exc: Exception) -> float | bool:
        """Seconds to wait before the next attempt of this visit; False: there is none."""
        if not isinstance(exc, ProviderError):
            return False
        if is_of_account(exc) and visit.has_fresh_account:
            return 0.0
        if visit.n_left > 1 and (visit.is_probe or not exc.was_sent):
            return False
        if is_outage(exc) and not any(channel.retries.allows for channel in visit.verdicts):
            return False
        wait_s = wait_before_retry_s(exc, self._caller.limits, self._caller.rng)
        if wait_s is None or visit.limit is None or time.monotonic() + wait_s >= visit.limit:
            return False
        log.info("%s: trying again in %.3f s", visit.target.spec.model_id, wait_s)
        return wait_s

    async def _whole(self, visit: Visit) -> tuple[Completion, Attempt]:
        """One request answered whole, or two, of which one is."""
        after_s = self._caller.limits.hedge_after_s
        if after_s is None or self._is_hedged:
            return await self._asked(visit, self._name)

        async def once_more() -> tuple[Completion, Attempt]:
            self._is_hedged = True
            return await self._asked(visit, f"{self._name}-hedge")

        return await first_of_two(lambda: self._asked(visit, self._name), after_s, once_more)

    async def _asked(self, visit: Visit, name: str) -> tuple[Completion, Attempt]:
        request = await self._admitted(visit)
        with self._accounted(visit, request):
            with heard_by(request, name):
                request.completion = await request.channel.account.provider.complete(
                    visit.target.spec.model, self._prompt, self._decoding, deadline_s=request.left_s
                )
            completion = request.completion
        return completion, self._attempts[-1]

    async def _opened(self, visit: Visit) -> tuple[Delta, AsyncGenerator[Delta]]:
        deltas = self._stream(visit)
        return await anext(deltas), deltas

    async def _stream(self, visit: Visit) -> AsyncGenerator[Delta]:
        request = await self._admitted(visit)
        spec = visit.target.spec
        with self._accounted(visit, request):
            stream = request.channel.account.provider.stream(
                spec.model, self._prompt, self._decoding, deadline_s=request.left_s
            )
            async with closing(stream) as deltas:
                with heard_by(request, self._name):
                    delta = await anext(deltas, None)
                while delta is not None:
                    request.n_text_bytes += len(delta.text.encode())
                    if delta.completion is not None:
                        request.completion = delta.completion
                    elif delta.text or delta.reasoning or delta.tool_call is not None:
                        if request.first_token_s is None:
                            request.first_token_s = time.monotonic() - request.started_s
                            visit.answered(request.channel)
                        yield delta
                    delta = await anext(deltas, None)
            if request.completion is None:
                raise StreamTruncatedError(
                    spec.provider, spec.model, "the stream ended early", partial_text=""
                )
        yield Delta("", self._priced(request.completion, self._attempts[-1]))

    async def _admitted(self, visit: Visit) -> Request:
        """The next request of a visit, as soon as it may be sent.

        Waiting for the first one does not count against the deadline: it starts here.
        """
        channel = visit.enter()
        n_tokens = self._token_bound() if channel.counts_tokens else 0
        if self._deadline is None:
            sent_in = await channel.admit(n_tokens)
        else:
            sent_in = await self._admitted_in_time(visit, channel, n_tokens)
        now = time.monotonic()
        if self._deadline is None:
            self._deadline = now + self._caller.limits.deadline_s
        if visit.limit is None:
            visit.limit = now + (self._deadline - now) / visit.n_left
        return Request(channel, visit.limit, n_tokens, sent_in, started_s=now)

    async def _admitted_in_time(self, visit: Visit, channel: Channel, n_tokens: int) -> int:
        limit = visit.limit or self._deadline or 0.0
        try:
            async with asyncio.timeout(max(0.0, limit - time.monotonic())):
                return await channel.admit(n_tokens)
        except TimeoutError as exc:
            failure = RateLimitError(
                channel.key.provider, channel.key.model, "its limits left no time to send", retryable=False
            )
            failure.was_sent = False
            failure.attempts = visit.n_attempts
            raise failure from exc

    @contextmanager
    def _accounted(self, visit: Visit, request: Request) -> Iterator[None]:
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
        finally:
            for reservation in reservations:
                reservation.release()
            n_used = 0 if usage is None else usage.input_tokens + usage.output_tokens
            channel.release(request.n_tokens, n_used=n_used, was_heard=request.was_heard)

    def _failed(self, visit: Visit, request: Request, failure: ProviderError) -> None:
        failure.attempts = visit.n_attempts
        failure.cost_usd = _total(self._attempts)
        rest_s = self._caller.limits.backoff_s if len(visit.target.channels) > 1 else 0.0
        request.channel.fail(failure, sent_in=request.sent_in, rest_s=rest_s)
        if request.first_token_s is None:
            visit.failed(request.channel, failure)
        elif is_outage(failure):
            request.channel.breaker.fail()  # the visit ended with the first text
        name = type(failure).__name__
        log.info("%s: HTTP status %s, %s", visit.target.spec.model_id, failure.status, name)

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
        is_fallback = visit.target is not self._targets[0]
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
            fallback_reason=self._fallback_reason if is_fallback else None,
        )
        self._attempts.append(attempt)
        self._caller.ledger.add(attempt)
        log.info("%s: %s in %.3f s", attempt.model_id, error or "answered", attempt.latency_s)

    def _token_bound(self) -> int:
        return token_bound(self._prompt, self._decoding) + self._decoding.max_output_tokens

    def _priced(self, completion: Completion, attempt: Attempt) -> Completion:
        """`completion`, of `attempt`, with the cost of all attempts, and the time since the first of them.

        Where the model has no price, a cost that the provider gave (a replay's) stands.
        """
        total_usd = _total(self._attempts)
        earlier_s = attempt.started_s - min(one.started_s for one in self._attempts)
        first_token_s = completion.first_token_s
        return replace(
            completion,
            cost_usd=completion.cost_usd if total_usd is None else total_usd,
            latency_s=completion.latency_s + earlier_s,
            first_token_s=None if first_token_s is None else first_token_s + earlier_s,
            attempts=tuple(self._attempts),
        )


def _rules_out(failure: ProviderError, target: Target, asked: Sequence[Target]) -> bool:
    """Whether `target` would fail as well: the same account, or a window that is no longer."""
    if isinstance(failure, AuthError | QuotaExceededError):
        return target.spec.provider == failure.provider
    if isinstance(failure, ContextTooLongError):
        too_short = next(t.spec.context_tokens for t in asked if t.spec.model == failure.model)
        window = target.spec.context_tokens
        return too_short is not None and window is not None and window <= too_short
    return False


def _total(attempts: Sequence[Attempt]) -> float | None:
    """What `attempts` cost in all; None: one of them has no price."""
    costs = [attempt.cost_usd for attempt in attempts if attempt.cost_usd is not None]
    return sum(costs) if len(costs) == len(attempts) else None
