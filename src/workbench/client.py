"""One way to call a model: a slot, a deadline, retries, fallbacks, a budget, and a ledger of it all.

Retries. There is one layer of them, here. A retryable failure is tried again after a random part of an
exponential backoff, or after what the provider asked for (`Retry-After`, plus up to a fifth), and never
when that would end after the deadline. An answer that cannot be trusted is asked for once more; a
provider that cannot be reached at all is not, where another candidate is left to ask.

Deadline. It starts when the call has its slot, so that waiting in the queue does not count. Each
candidate has an equal share of what is left, so that one that hangs leaves time for the next.

Streams. A stream that fails before its first text is retried and replaced like any call. Afterwards its
error is raised, with the text in `partial_text`: what two models said is never joined.

Money. The most that a request can cost is reserved before it is sent. An answer is settled at its usage
(an upper estimate where the provider gave none); `budget` says at what a failed request is.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TypeVar

import stamina
import stamina.instrumentation

from workbench.budget import Budget, Reservation, billable_usage
from workbench.catalog import Catalog, ModelSpec, default_catalog
from workbench.errors import (
    AllProvidersFailedError,
    AuthError,
    BadResponseError,
    BudgetError,
    ConfigError,
    ContextTooLongError,
    ProviderError,
    QuotaExceededError,
    StreamTruncatedError,
)
from workbench.providers import registry
from workbench.providers.base import Provider
from workbench.routing.base import Router
from workbench.types import Attempt, Completion, Decoding, Delta, Prompt, Usage

log = logging.getLogger("workbench")

# Retries are in our own log and ledger; stamina's default hook would print them, with structlog to stdout.
stamina.instrumentation.set_on_retry_hooks(())

DECODING = Decoding()
"""How a model is asked to answer where the caller does not say."""

_T = TypeVar("_T")
_RETRY_AFTER_JITTER = 0.2
_MOST_ATTEMPTS_AT_BAD_RESPONSES = 2
_CANCELLED = "CancelledError"


@dataclass(frozen=True, slots=True)
class Limits:
    """How many calls run at once, how long one may take in seconds, and how often it is tried."""

    concurrency: int = 16
    deadline_s: float = 60.0
    max_attempts: int = 3
    backoff_s: float = 0.25
    max_backoff_s: float = 8.0

    def __post_init__(self) -> None:
        for name in ("concurrency", "max_attempts"):
            if getattr(self, name) < 1:
                raise ConfigError(f"limits: {name} is {getattr(self, name)}; it must be at least 1")
        for name in ("deadline_s", "backoff_s", "max_backoff_s"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"limits: {name} is {getattr(self, name)}; it must be a positive number")


class Client:
    """Calls models by their ids, `provider/model`, or by a router that chooses one.

    `Catalog.callable_model` says which models may be called. Use it in one event loop, as a context
    manager, which closes the providers' connections at the end.

    Args:
        catalog: what models cost; None: the models that come with the package.
        budget: what may be spent; None: no limit. A call of a model without a price is then refused.
        rng: source of the jitter.

    Raises:
        ConfigError: two providers have one name.
    """

    def __init__(
        self,
        providers: Iterable[Provider],
        *,
        catalog: Catalog | None = None,
        limits: Limits = Limits(),
        budget: Budget | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.ledger: list[Attempt] = []
        self.catalog = default_catalog() if catalog is None else catalog
        self.limits = limits
        self.budget = budget
        self._providers = _by_name(providers)
        self._slots = asyncio.Semaphore(limits.concurrency)
        self.rng = rng or random.Random()

    @property
    def spent_usd(self) -> float:
        """What all attempts so far have cost, where their models have a price."""
        return sum(attempt.cost_usd or 0.0 for attempt in self.ledger)

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, frames: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every provider's connections."""
        async with AsyncExitStack() as stack:
            for provider in self._providers.values():
                stack.push_async_callback(provider.aclose)

    def check(self, model_ids: Iterable[str]) -> None:
        """Find a misspelt model before anything is sent.

        Raises:
            ConfigError: names the first of `model_ids` that cannot be called.
        """
        for model_id in model_ids:
            self._target(model_id)

    async def complete(
        self,
        target: str | Router,
        prompt: Prompt,
        *,
        decoding: Decoding = DECODING,
        fallbacks: Sequence[str] = (),
        candidates: Sequence[str] = (),
    ) -> Completion:
        """Ask a model, or the one that a router chooses, and then its fallbacks until one answers.

        Args:
            target: `provider/model`, or a router.
            fallbacks: models to ask next, in order, after those of the router's decision.
            candidates: what a router chooses from; empty: all models of the catalog that are connected.

        Raises:
            ConfigError: a model is unknown, or has no price while there is a budget; nothing was sent.
            BudgetError: the call could cost more than is left; nothing was sent.
            ProviderError: no answer; its `attempts` were made, and may have cost `cost_usd`.
            AllProvidersFailedError: more than one candidate was asked, and none answered.
        """
        call = self._call(target, prompt, decoding, fallbacks=fallbacks, candidates=candidates)
        async with self._slots:
            return await call.first_of(call.complete)

    async def stream(
        self,
        target: str | Router,
        prompt: Prompt,
        *,
        decoding: Decoding = DECODING,
        fallbacks: Sequence[str] = (),
        candidates: Sequence[str] = (),
    ) -> AsyncGenerator[Delta]:
        """The same, piece by piece; the last delta carries the whole completion.

        Raises:
            ProviderError: as `complete`; after the first text, `partial_text` is what had come.
        """
        call = self._call(target, prompt, decoding, fallbacks=fallbacks, candidates=candidates)
        async with self._slots:
            first, deltas = await call.first_of(call.opened)
            async with aclosing(deltas):
                yield first
                async for delta in deltas:
                    yield delta

    def _call(
        self,
        target: str | Router,
        prompt: Prompt,
        decoding: Decoding,
        *,
        fallbacks: Sequence[str],
        candidates: Sequence[str],
    ) -> "_Call":
        if isinstance(target, str):
            model_ids = [target, *fallbacks]
        else:
            decision = target.route(prompt, tuple(candidates) or self._connected())
            model_ids = [decision.model_id, *decision.fallbacks, *fallbacks]
        targets = [self._target(model_id) for model_id in dict.fromkeys(model_ids)]
        if self.budget is not None:
            for target_ in targets:
                target_.spec.cost_bound_usd(prompt, decoding)
        return _Call(self, prompt, decoding, targets)

    def _connected(self) -> tuple[str, ...]:
        return tuple(spec.model_id for spec in self.catalog if spec.provider in self._providers)

    def _target(self, model_id: str) -> "_Target":
        spec = self.catalog.callable_model(model_id)
        if spec.provider not in self._providers:
            connected = ", ".join(self._providers)
            raise ConfigError(
                f"{model_id}: provider {spec.provider!r} is not connected; connected are {connected}"
            )
        return _Target(self._providers[spec.provider], spec)


def connect(
    model_ids: Iterable[str],
    *,
    providers: Iterable[Provider] = (),
    simulator_url: str | None = None,
    catalog: Catalog | None = None,
    limits: Limits = Limits(),
    budget: Budget | None = None,
) -> Client:
    """A client of every provider that `model_ids` name, with keys from the environment or `.env`.

    Args:
        providers: connections that exist already, such as a replay; they are used for their names.
        simulator_url: where the simulator listens; by default `WORKBENCH_SIMULATOR_URL`.

    Raises:
        ConfigError: an unknown provider or model, or a key that is not set.
    """
    connected = list(providers)
    known = {provider.name for provider in connected}
    model_ids = tuple(model_ids)
    for name in dict.fromkeys(model_id.partition("/")[0] for model_id in model_ids):
        if name not in known:
            base_url = simulator_url if name == registry.SIMULATOR else None
            connected.append(registry.provider(name, base_url=base_url))
    client = Client(connected, catalog=catalog, limits=limits, budget=budget)
    client.check(model_ids)
    return client


@dataclass(frozen=True, slots=True)
class _Target:
    """A model, and the connection to ask it through."""

    provider: Provider
    spec: ModelSpec


@dataclass(slots=True)
class _Account:
    """What is known of a request under way."""

    completion: Completion | None = None
    n_text_bytes: int = 0


class _Call:
    """One logical call: its candidates in turn, the attempts at each, and what they cost."""

    def __init__(
        self, client: Client, prompt: Prompt, decoding: Decoding, targets: Sequence[_Target]
    ) -> None:
        self._client = client
        self._prompt = prompt
        self._decoding = decoding
        self._targets = targets
        self._attempts: list[Attempt] = []

    async def first_of(self, send: Callable[[_Target, float], Awaitable[_T]]) -> _T:
        """What `send` brings from the first candidate that answers; it is given the time to be back by."""
        deadline = time.monotonic() + self._client.limits.deadline_s
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

    async def complete(self, target: _Target, limit: float) -> Completion:
        """One request, answered whole."""
        with self._accounted(target) as account:
            account.completion = await target.provider.complete(
                target.spec.model, self._prompt, self._decoding, deadline_s=_seconds_to(limit)
            )
        return self._priced(account.completion)

    async def opened(self, target: _Target, limit: float) -> tuple[Delta, AsyncGenerator[Delta]]:
        """A stream whose first piece has come, and that piece."""
        deltas = self._stream(target, limit)
        return await anext(deltas), deltas

    async def _stream(self, target: _Target, limit: float) -> AsyncGenerator[Delta]:
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
        target: _Target,
        send: Callable[[_Target, float], Awaitable[_T]],
        limit: float,
        has_other: bool,
    ) -> _T:
        failed: ProviderError | None = None

        def wait_s(exc: Exception) -> float | bool:
            if not isinstance(exc, ProviderError) or (has_other and not exc.was_sent):
                return False
            wait_s = wait_before_retry_s(exc, self._client.limits, self._client.rng)
            if wait_s is None or time.monotonic() + wait_s >= limit:
                return False
            log.info("%s: trying again in %.3f s", target.spec.model_id, wait_s)
            return wait_s

        try:
            async for attempt in stamina.retry_context(
                on=wait_s, attempts=self._client.limits.max_attempts, timeout=None
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
    def _accounted(self, target: _Target) -> Iterator[_Account]:
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

    def _reserved(self, target: _Target) -> Reservation | None:
        if self._client.budget is None:
            return None
        return self._client.budget.reserve(target.spec.cost_bound_usd(self._prompt, self._decoding))

    def _enter(
        self,
        target: _Target,
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
        self._client.ledger.append(attempt)
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


def wait_before_retry_s(failure: ProviderError, limits: Limits, rng: random.Random) -> float | None:
    """Seconds to wait before the request that failed is sent again; None: it is not to be.

    As long as the provider asked for and up to a fifth more; or else, with full jitter, up to
    `backoff_s`, doubled at each attempt. Source of the jitter:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    is_bad = isinstance(failure, BadResponseError)
    most = min(limits.max_attempts, _MOST_ATTEMPTS_AT_BAD_RESPONSES) if is_bad else limits.max_attempts
    if not failure.retryable or failure.attempts >= most:
        return None
    if failure.retry_after_s is not None:
        return failure.retry_after_s * (1.0 + rng.uniform(0.0, _RETRY_AFTER_JITTER))
    return rng.uniform(0.0, min(limits.max_backoff_s, limits.backoff_s * 2.0 ** (failure.attempts - 1)))


@asynccontextmanager
async def _closing(stream: AsyncIterator[Delta]) -> AsyncIterator[AsyncIterator[Delta]]:
    """Close `stream` at the end, if there is something to close: a provider may give a plain iterator."""
    try:
        yield stream
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()


def _by_name(providers: Iterable[Provider]) -> dict[str, Provider]:
    named: dict[str, Provider] = {}
    for provider in providers:
        if provider.name in named:
            raise ConfigError(f"two providers are called {provider.name!r}; give each a name of its own")
        named[provider.name] = provider
    return named


def _rules_out(failure: ProviderError, target: _Target, asked: Sequence[_Target]) -> bool:
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
