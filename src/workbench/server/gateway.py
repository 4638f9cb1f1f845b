"""From a request to an answer: who asks, where it goes, what it may cost, and the outcome that is kept.

No HTTP: `endpoint` has that. It is the `Client` and the routers of the rest of the package.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

from workbench.budget import Reservation
from workbench.client import Client
from workbench.errors import (
    AllProvidersFailedError,
    AuthError,
    BudgetError,
    ConfigError,
    ContextTooLongError,
    DataError,
    ModelNotFoundError,
    ProviderError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitError,
    RequestError,
    RoutingError,
    WorkbenchError,
)
from workbench.server.decisions import Decisions
from workbench.server.exchange import Asked, Refusal, Routed, Served
from workbench.server.live_experiment import LiveSpec
from workbench.server.live_experiments import Assigned, LiveExperiments
from workbench.server.outcome_log import OutcomeLog
from workbench.server.shadow import Shadows
from workbench.server.shared_budget import SharedBudget
from workbench.server.steps import Steps, abandoned_usd, bound_usd
from workbench.server.targets import Targets
from workbench.server.virtual_keys import Caller, VirtualKey
from workbench.types import Completion, Decision, Delta, Embeddings, Prompt


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a streamed answer; the last one carries what was `served`."""

    delta: Delta
    served: Served | None = None


class Record(Protocol):
    """Who is told what became of each request; quick, since the caller waits."""

    def served(self, key: VirtualKey, served: Served, /) -> None:
        """A request was answered."""
        ...

    def failed(
        self,
        key: VirtualKey,
        routed: Routed,
        failure: BaseException,
        /,
        *,
        cost_usd: float | None,
        latency_s: float,
    ) -> None:
        """Nobody answered, or the caller left."""
        ...


class Gateway:
    """Serves requests of callers through one client, and keeps the outcome of each."""

    def __init__(
        self,
        client: Client,
        targets: Targets,
        log: OutcomeLog,
        experiments: LiveExperiments,
        *,
        records: Sequence[Record] = (),
        fallbacks: Sequence[str] = (),
    ) -> None:
        """`records` are told of every outcome, as the log is."""
        self.client = client
        self.targets = targets
        self.log = log
        self._experiments = experiments
        self.shadows = Shadows(client, targets, log)
        self._decisions = Decisions()
        self._records = (log, *records)
        self._fallbacks = tuple(fallbacks)

    async def route(self, caller: Caller, asked: Asked, *, request_id: str) -> Routed:
        """Let the caller's key count the request, and decide where it goes.

        Raises:
            Refusal: the key does not allow it, or nothing is called so.
        """
        await caller.check(asked.target)
        met = self._met(asked, tenant=caller.key.tenant, request_id=request_id)
        target = self.targets.find(asked.target if met is None else met.arm.target)
        for fallback in asked.fallbacks:
            caller_may = not caller.key.models or fallback in caller.key.models
            if not caller_may or fallback not in self.targets.model_ids:
                raise Refusal(404, "model_not_found", f"fallbacks: there is no model {fallback[:100]!r} here")
        try:
            decision = await self._decisions.made(target, asked.prompt)
        except RoutingError as exc:
            raise refusal_of(exc) from exc
        panel = target.panel
        if panel is not None and asked.decoding.tools:
            message = "several models answer together here, and tool calls are not compared; name one model"
            raise Refusal(400, "invalid_request", message)
        if met is not None and met.experiment is not None:
            chance = met.arm.share if panel else self._chance(met.spec, asked.prompt, decision)
            decision = replace(decision, propensity=chance)
        routed = Routed(
            request_id,
            asked,
            decision,
            arm=asked.target if met is None else met.arm.name,
            created_s=int(time.time()),
            experiment=None if met is None else met.experiment,
            panel=panel,
            router_version=target.version,
        )
        if met is not None and met.experiment is not None:
            self.shadows.cast(caller.key, routed, met.spec)
        return routed

    async def serve(self, caller: Caller, routed: Routed) -> Served:
        """The answer.

        Raises:
            Refusal: there is none, and why.
        """
        reservation = await self._reserved(caller, routed)
        started_s, steps = time.monotonic(), Steps(self.client)
        try:
            completion = await steps.answer(routed, fallbacks=self._after(routed))
        except BaseException as exc:
            cost_usd = self._cost_usd(routed, exc) if routed.panel is None else steps.cost_usd
            self._failed(caller, routed, exc, reservation, time.monotonic() - started_s, cost_usd=cost_usd)
            if isinstance(exc, WorkbenchError):
                raise refusal_of(exc) from exc
            raise
        return self._served(caller, Served(routed, completion, steps.taken), reservation)

    async def stream(self, caller: Caller, routed: Routed) -> AsyncGenerator[Piece]:
        """The answer, piece by piece.

        Raises:
            Refusal: it did not begin, or broke off.
        """
        reservation = await self._reserved(caller, routed)
        started_s, is_over, n_text_bytes = time.monotonic(), False, 0
        asked, decision = routed.asked, routed.decision
        try:
            deltas = self.client.stream(
                decision.model_id, asked.prompt, decoding=asked.decoding, fallbacks=self._after(routed)
            )
            async with aclosing(deltas):
                async for delta in deltas:
                    if delta.completion is None:
                        n_text_bytes += len(delta.text.encode(errors="replace"))
                        yield Piece(delta)
                        continue
                    is_over = True
                    served = Served(routed, delta.completion)
                    yield Piece(delta, self._served(caller, served, reservation))
        except BaseException as exc:
            if not is_over:
                elapsed_s = time.monotonic() - started_s
                cost_usd = self._cost_usd(routed, exc, n_text_bytes=n_text_bytes)
                self._failed(caller, routed, exc, reservation, elapsed_s, cost_usd=cost_usd)
            if isinstance(exc, WorkbenchError):
                raise refusal_of(exc) from exc
            raise

    async def embed(self, caller: Caller, routed: Routed, texts: Sequence[str]) -> Embeddings:
        """A vector for each text; kept as a request whose answer is empty.

        Raises:
            Refusal: there is none, and why.
        """
        reservation = await self._reserved(caller, routed)
        started_s = time.monotonic()
        try:
            found = await self.client.embed(routed.decision.model_id, texts)
        except BaseException as exc:
            elapsed_s = time.monotonic() - started_s
            self._failed(caller, routed, exc, reservation, elapsed_s, cost_usd=self._cost_usd(routed, exc))
            if isinstance(exc, WorkbenchError):
                raise refusal_of(exc) from exc
            raise
        completion = Completion(
            text="",
            model=found.model,
            served_model=found.served_model,
            provider=found.provider,
            usage=found.usage,
            latency_s=found.latency_s,
            finish_reason="stop",
            cost_usd=found.cost_usd,
        )
        self._served(caller, Served(routed, completion), reservation)
        return found

    def _met(self, asked: Asked, *, tenant: str, request_id: str) -> Assigned | None:
        """The arm of a request; None where its routers are no longer those that the experiment is about."""
        met = self._experiments.assigned(asked, tenant=tenant, request_id=request_id)
        return met if met is not None and met.holds(self.targets.version) else None

    def _chance(self, spec: LiveSpec, prompt: Prompt, decision: Decision) -> float:
        """The probability of the model over all arms, which an off-policy evaluation of the log needs."""
        chances = (
            arm.share * self.targets.find(arm.target).chance(prompt, decision.model_id) for arm in spec.arms
        )
        return min(1.0, sum(chances))

    def _after(self, routed: Routed) -> tuple[str, ...]:
        """What is asked when the decision's model fails: the router's next, the caller's, the server's."""
        return (*routed.decision.fallbacks, *routed.asked.fallbacks, *self._fallbacks)

    async def _reserved(self, caller: Caller, routed: Routed) -> Reservation | None:
        """What the request can cost, set aside in the budget of the key.

        Raises:
            Refusal: the budget does not allow it, or the cost of a model is not known.
        """
        shared = [one for one in (caller.budget, self.client.budget) if isinstance(one, SharedBudget)]
        if caller.budget is None and not shared:
            return None
        try:
            most_usd = bound_usd(self.client.catalog, routed, self._after(routed))
            for budget in shared:
                await budget.ensure(most_usd)
            return None if caller.budget is None else caller.budget.reserve(most_usd)
        except (BudgetError, ConfigError, DataError) as exc:
            raise refusal_of(exc) from exc

    def _served(self, caller: Caller, served: Served, reservation: Reservation | None) -> Served:
        if reservation is not None:
            reservation.settle(served.completion.cost_usd or 0.0)
        for record in self._records:
            record.served(caller.key, served)
        return served

    def _cost_usd(self, routed: Routed, failure: BaseException, *, n_text_bytes: int = 0) -> float | None:
        """What a request that was not answered whole may be billed; who leaves a stream pays what came."""
        if isinstance(failure, ProviderError):
            return failure.cost_usd
        if not isinstance(failure, asyncio.CancelledError | GeneratorExit):
            return None
        asked, model_id = routed.asked, routed.decision.model_id
        return abandoned_usd(
            self.client.catalog, model_id, asked.prompt, asked.decoding, failure, n_text_bytes=n_text_bytes
        )

    def _failed(
        self,
        caller: Caller,
        routed: Routed,
        failure: BaseException,
        reservation: Reservation | None,
        latency_s: float,
        *,
        cost_usd: float | None,
    ) -> None:
        if reservation is not None:
            reservation.settle(cost_usd or 0.0)
        for record in self._records:
            record.failed(caller.key, routed, failure, cost_usd=cost_usd, latency_s=latency_s)


_STATUS: tuple[tuple[type[WorkbenchError], int, str, str], ...] = (
    (ContextTooLongError, 400, "context_length_exceeded", "the prompt is longer than the model's window"),
    (RateLimitError, 429, "rate_limit_exceeded", "the provider has too many requests now"),
    (ModelNotFoundError, 502, "model_unavailable", "the provider does not serve this model"),
    (AuthError, 502, "provider_refused", "the provider refused the server's key"),
    (QuotaExceededError, 502, "provider_refused", "the server's account with the provider has no credit"),
    (RequestError, 400, "provider_refused", "the provider refused what was asked"),
    (ProviderTimeoutError, 504, "timeout", "no answer in time"),
    (AllProvidersFailedError, 502, "all_providers_failed", "every model that was asked failed"),
    (ProviderError, 502, "provider_failed", "the provider failed"),
    (RoutingError, 400, "no_route", "the router knows no model that may be asked this"),
    (BudgetError, 402, "budget_exceeded", "the request could cost more than is left of the budget"),
    (ConfigError, 400, "invalid_request", "the request cannot be sent as it is"),
    (DataError, 400, "invalid_request", "the request has what the protocol of the model cannot carry"),
)
"""In this order: what a caller is told of each error, since its own message may have more than is theirs."""


def refusal_of(error: WorkbenchError) -> Refusal:
    """What a caller is told of an error: no path, no key, and nothing that a provider wrote."""
    for kind, status, code, message in _STATUS:
        if isinstance(error, kind):
            retry_after_s = error.retry_after_s if isinstance(error, ProviderError) else None
            return Refusal(status, code, message, retry_after_s=retry_after_s)
    return Refusal(500, "internal_error", "the server failed; its log says why")
