"""One logical call: its candidates in turn, the attempts at each, and what they cost."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TypeVar

from workbench.catalog import token_bound
from workbench.client.bill import Bill, Caller
from workbench.client.channel import Channel, is_of_account
from workbench.client.events import (
    CallStarted,
    FallbackTaken,
    RetryPlanned,
    Watch,
)
from workbench.client.hedge import first_of_two
from workbench.client.request import Request, heard_by
from workbench.client.retry import MOST_REQUESTS, attempts, is_outage, wait_before_retry_s
from workbench.client.visit import Target, Visit, rules_out
from workbench.errors import (
    AllProvidersFailedError,
    BudgetError,
    ProviderError,
    RateLimitError,
    StreamTruncatedError,
)
from workbench.providers.base import closing
from workbench.providers.cache import Cached
from workbench.types import Attempt, Completion, Decoding, Delta, Prompt

_T = TypeVar("_T")


class Call:
    """One call, from its first request to its answer or its last failure."""

    def __init__(self, caller: Caller, prompt: Prompt, decoding: Decoding, targets: Sequence[Target]) -> None:
        self._caller = caller
        self._tell = caller.observer
        self._prompt = prompt
        self._decoding = decoding
        self._targets = targets
        self._name = os.urandom(16).hex()
        self._bill = Bill(caller, prompt, decoding=decoding, first=targets[0], call_id=self._name)
        self._deadline: float | None = None
        self._is_hedged = False

    def watched(self, *, is_stream: bool) -> Watch:
        """A block that tells the observer, if there is one, of the start and the end of this call."""
        if self._tell is None:
            return Watch(None)
        model_id = self._targets[0].spec.model_id
        return Watch((self._tell, CallStarted(self._name, model_id, self._prompt, self._decoding, is_stream)))

    async def recalled(self) -> Completion | None:
        """The answer that the cache of the first candidate has: nothing is sent, reserved or waited for."""
        spec, provider = self._targets[0].spec, self._targets[0].channels[0].account.provider
        if not isinstance(provider, Cached):
            return None
        return await provider.recall(spec.model, self._prompt, self._decoding)

    async def completion(self) -> Completion:
        """The answer of the first candidate that has one, with the cost of all attempts."""
        return self._bill.priced(*await self._first_of(self._whole))

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
            if self._tell is not None and target is not self._targets[0]:
                self._tell(FallbackTaken(self._name, target.spec.model_id, self._bill.fallback_reason))
            try:
                return await self._retried(visit, send)
            except ProviderError as exc:
                causes.append(exc)
                self._bill.fallback_reason = type(exc).__name__
            except BudgetError as exc:
                refused = exc
                self._bill.fallback_reason = type(exc).__name__
            finally:
                visit.conclude()
        if not causes and refused is not None:
            raise refused
        failure = causes[0] if len(causes) == 1 else AllProvidersFailedError(causes)
        failure.cost_usd = self._bill.total_usd
        raise failure

    def _well_ones(self) -> Sequence[Target]:
        """The candidates that may be asked now; all of them where none may, as asking may still help."""
        if len(self._targets) == 1:
            return self._targets
        problems = [target.problem for target in self._targets]
        self._bill.fallback_reason = problems[0]
        well = [target for target, problem in zip(self._targets, problems, strict=True) if problem is None]
        return well or self._targets

    def _is_worth_asking(self, target: Target, causes: Sequence[ProviderError]) -> bool:
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return False
        return not any(rules_out(cause, target, self._targets) for cause in causes)

    async def _retried(self, visit: Visit, send: Callable[[Visit], Awaitable[_T]]) -> _T:
        try:
            return await send(visit)
        except ProviderError as exc:
            failed = exc
        # Another account is asked beside the requests that one account is worth; `_wait_s` counts those.
        most = max(MOST_REQUESTS, self._caller.limits.max_attempts) + len(visit.target.channels) - 1
        try:
            async for attempt in attempts(lambda exc: self._wait_s(visit, exc), most=most):
                with attempt:
                    if attempt.num == 1:
                        raise failed  # made above: a call that is answered does not pay for retries
                    try:
                        return await send(visit)
                    except ProviderError as exc:
                        failed = exc
                        raise
        except BudgetError:
            pass  # the failure is told, and not that nothing is left to try again with
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
        wait_s = wait_before_retry_s(
            exc, self._caller.limits, self._caller.rng, n_pushed_back=visit.n_pushed_back
        )
        if wait_s is None or visit.limit is None or time.monotonic() + wait_s >= visit.limit:
            return False
        if self._tell is not None:
            self._tell(RetryPlanned(self._name, visit.target.spec.model_id, wait_s, exc))
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
        with self._bill.accounted(visit, request):
            with heard_by(request, name):
                request.completion = await request.channel.account.provider.complete(
                    visit.target.spec.model, self._prompt, self._decoding, deadline_s=request.left_s
                )
            completion = request.completion
        return completion, self._bill.attempts[-1]

    async def _opened(self, visit: Visit) -> tuple[Delta, AsyncGenerator[Delta]]:
        deltas = self._stream(visit)
        return await anext(deltas), deltas

    async def _stream(self, visit: Visit) -> AsyncGenerator[Delta]:
        request = await self._admitted(visit)
        spec = visit.target.spec
        with self._bill.accounted(visit, request):
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
        yield Delta("", self._bill.priced(request.completion, self._bill.attempts[-1]))

    async def _admitted(self, visit: Visit) -> Request:
        """The next request of a visit, as soon as it may be sent.

        Waiting for the first one does not count against the deadline: it starts here.
        """
        channel = visit.enter()
        n_tokens = self._token_bound() if channel.counts_tokens else 0
        if self._deadline is None:
            ticket = await channel.admit(n_tokens)
        else:
            ticket = await self._admitted_in_time(visit, channel, n_tokens)
        now = time.monotonic()
        if self._deadline is None:
            self._deadline = now + self._caller.limits.deadline_s
        if visit.limit is None:
            visit.limit = now + (self._deadline - now) / visit.n_left
        return Request(channel, visit.limit, n_tokens, ticket, started_s=now)

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

    def _token_bound(self) -> int:
        return token_bound(self._prompt, self._decoding) + self._decoding.max_output_tokens
