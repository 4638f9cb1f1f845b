"""One logical call: its candidates in turn, the attempts at each, and what they cost."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import stamina

from workbench.budget import Budget, Reservation, billable_usage
from workbench.catalog import ModelSpec
from workbench.client.limits import Limits
from workbench.client.retry import wait_before_retry_s
from workbench.errors import (
    AllProvidersFailedError,
    AuthError,
    BudgetError,
    ContextTooLongError,
    ProviderError,
    QuotaExceededError,
    StreamTruncatedError,
)
from workbench.providers.base import Provider
from workbench.types import Attempt, Completion, Decoding, Delta, Prompt, Usage

log = logging.getLogger("workbench")

_T = TypeVar("_T")
_CANCELLED = "CancelledError"


class Caller(Protocol):
    """What a call needs to know of its client."""

    limits: Limits
    budget: Budget | None
    rng: random.Random
    ledger: list[Attempt]


@dataclass(frozen=True, slots=True)
class Target:
    """A model, and the connection to ask it through."""

    provider: Provider
    spec: ModelSpec


@dataclass(slots=True)
class _Account:
    """What is known of a request under way."""

    completion: Completion | None = None
    n_text_bytes: int = 0


class Call:
    """One logical call: its candidates in turn, the attempts at each, and what they cost."""

    def __init__(self, caller: Caller, prompt: Prompt, decoding: Decoding, targets: Sequence[Target]) -> None:
        self._caller = caller
        self._prompt = prompt
        self._decoding = decoding
        self._targets = targets
        self._attempts: list[Attempt] = []

    async def first_of(self, send: Callable[[Target, float], Awaitable[_T]]) -> _T:
        """What `send` brings from the first candidate that answers; it is given the time to be back by."""
        deadline = time.monotonic() + self._caller.limits.deadline_s
        causes: list[ProviderError] = []
        refused: BudgetError | None = None
        for number, target in enumerate(self._targets):
            left_s = deadline - time.monotonic()
            if causes and (
                left_s <= 0.0 or any(_rules_out(cause, target, self._targets) for cause in causes)
            ):
                continue
            n_left = len(self._targets) - number
            try:
                return await self._retried(target, send, time.monotonic() + left_s / n_left, n_left > 1)
            except ProviderError as exc:
                causes.append(exc)
            except BudgetError as exc:
                log.info("%s: %s", target.spec.model_id, exc)
                refused = exc
        if not causes and refused is not None:
            raise refused
        failure = causes[0] if len(causes) == 1 else AllProvidersFailedError(causes)
        failure.cost_usd = _total(self._attempts)
        raise failure

    async def complete(self, target: Target, limit: float) -> Completion:
        """One request, answered whole."""
        with self._accounted(target) as account:
            account.completion = await target.provider.complete(
                target.spec.model, self._prompt, self._decoding, deadline_s=_seconds_to(limit)
            )
        return self._priced(account.completion)

    async def opened(self, target: Target, limit: float) -> tuple[Delta, AsyncGenerator[Delta]]:
        """A stream whose first piece has come, and that piece."""
        deltas = self._stream(target, limit)
        return await anext(deltas), deltas

    async def _stream(self, target: Target, limit: float) -> AsyncGenerator[Delta]:
        with self._accounted(target) as account:
            stream = target.provider.stream(
                target.spec.model, self._prompt, self._decoding, deadline_s=_seconds_to(limit)
            )
            async with _closing(stream) as deltas:
                async for delta in deltas:
                    account.n_text_bytes += len(delta.text.encode())
                    if delta.completion is not None:
                        account.completion = delta.completion
                    elif delta.text:
                        yield delta
            if account.completion is None:
                raise StreamTruncatedError(
                    target.spec.provider, target.spec.model, "the stream ended early", partial_text=""
                )
        yield Delta("", self._priced(account.completion))

    async def _retried(
        self,
        target: Target,
        send: Callable[[Target, float], Awaitable[_T]],
        limit: float,
        has_other: bool,
    ) -> _T:
        failed: ProviderError | None = None

        def wait_s(exc: Exception) -> float | bool:
            if not isinstance(exc, ProviderError) or (has_other and not exc.was_sent):
                return False
            wait_s = wait_before_retry_s(exc, self._caller.limits, self._caller.rng)
            if wait_s is None or time.monotonic() + wait_s >= limit:
                return False
            log.info("%s: trying again in %.3f s", target.spec.model_id, wait_s)
            return wait_s

        try:
            async for attempt in stamina.retry_context(
                on=wait_s, attempts=self._caller.limits.max_attempts, timeout=None
            ):
                with attempt:
                    try:
                        return await send(target, limit)
                    except ProviderError as exc:
                        failed = exc
                        raise
        except BudgetError:
            if failed is None:
                raise
        raise AssertionError("unreachable") if failed is None else failed

    @contextmanager
    def _accounted(self, target: Target) -> Iterator[_Account]:
        """Reserve what the request may cost while the block sends it, then settle and note it."""
        reservation = self._reserved(target)
        account = _Account()
        started_s = time.monotonic()
        try:
            yield account
        except (ProviderError, asyncio.CancelledError, GeneratorExit) as exc:
            usage = billable_usage(exc, self._prompt, self._decoding, n_text_bytes=account.n_text_bytes)
            name = type(exc).__name__ if isinstance(exc, ProviderError) else _CANCELLED
            self._enter(target, started_s, usage, error=name, reservation=reservation)
            if isinstance(exc, ProviderError):
                exc.attempts = sum(one.model_id == target.spec.model_id for one in self._attempts)
                exc.cost_usd = _total(self._attempts)
                log.info("%s: HTTP status %s, %s", target.spec.model_id, exc.status, name)
            raise
        else:
            usage = account.completion.usage if account.completion else None
            self._enter(target, started_s, usage, error=None, reservation=reservation)
        finally:
            if reservation is not None:
                reservation.release()

    def _reserved(self, target: Target) -> Reservation | None:
        if self._caller.budget is None:
            return None
        return self._caller.budget.reserve(target.spec.cost_bound_usd(self._prompt, self._decoding))

    def _enter(
        self,
        target: Target,
        started_s: float,
        usage: Usage | None,
        *,
        error: str | None,
        reservation: Reservation | None,
    ) -> None:
        price = target.spec.price
        cost_usd = None if price is None else 0.0 if usage is None else price.cost_usd(usage)
        if reservation is not None:
            reservation.settle(cost_usd or 0.0)
        attempt = Attempt(
            model_id=target.spec.model_id,
            number=len(self._attempts) + 1,
            started_s=started_s,
            latency_s=time.monotonic() - started_s,
            cost_usd=cost_usd,
            usage=usage,
            error=error,
            prompt_id=self._prompt.prompt_id,
            is_fallback=target is not self._targets[0],
        )
        self._attempts.append(attempt)
        self._caller.ledger.append(attempt)
        log.info("%s: %s in %.3f s", attempt.model_id, error or "answered", attempt.latency_s)

    def _priced(self, completion: Completion) -> Completion:
        """`completion` with the cost of all attempts, and the time since the first of them.

        Where the model has no price, a cost that the provider gave (a replay's) stands.
        """
        total_usd = _total(self._attempts)
        earlier_s = self._attempts[-1].started_s - self._attempts[0].started_s
        first_token_s = completion.first_token_s
        return replace(
            completion,
            cost_usd=completion.cost_usd if total_usd is None else total_usd,
            latency_s=completion.latency_s + earlier_s,
            first_token_s=None if first_token_s is None else first_token_s + earlier_s,
            attempts=tuple(self._attempts),
        )


@asynccontextmanager
async def _closing(stream: AsyncIterator[Delta]) -> AsyncIterator[AsyncIterator[Delta]]:
    """Close `stream` at the end, if there is something to close: a provider may give a plain iterator."""
    try:
        yield stream
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()


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


def _seconds_to(limit: float) -> float:
    return max(0.001, limit - time.monotonic())
