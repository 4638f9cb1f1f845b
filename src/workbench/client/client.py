"""The client: models by their ids, the providers that serve them, and one call after another."""

import asyncio
import random
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing
from types import TracebackType

from workbench.budget import Budget
from workbench.catalog import Catalog, default_catalog
from workbench.client.call import Call, Target
from workbench.client.limits import LIMITS, Limits
from workbench.errors import ConfigError
from workbench.providers import registry
from workbench.providers.base import Provider
from workbench.routing.base import Router
from workbench.types import Attempt, Completion, Decoding, Delta, Prompt

DECODING = Decoding()
"""How a model is asked to answer where the caller does not say."""


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
        limits: Limits = LIMITS,
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
    ) -> Call:
        if isinstance(target, str):
            model_ids = [target, *fallbacks]
        else:
            decision = target.route(prompt, tuple(candidates) or self._connected())
            model_ids = [decision.model_id, *decision.fallbacks, *fallbacks]
        targets = [self._target(model_id) for model_id in dict.fromkeys(model_ids)]
        if self.budget is not None:
            for target_ in targets:
                target_.spec.cost_bound_usd(prompt, decoding)
        return Call(self, prompt, decoding, targets)

    def _connected(self) -> tuple[str, ...]:
        return tuple(spec.model_id for spec in self.catalog if spec.provider in self._providers)

    def _target(self, model_id: str) -> Target:
        spec = self.catalog.callable_model(model_id)
        if spec.provider not in self._providers:
            connected = ", ".join(self._providers)
            raise ConfigError(
                f"{model_id}: provider {spec.provider!r} is not connected; connected are {connected}"
            )
        return Target(self._providers[spec.provider], spec)


def connect(
    model_ids: Iterable[str],
    *,
    providers: Iterable[Provider] = (),
    simulator_url: str | None = None,
    catalog: Catalog | None = None,
    limits: Limits = LIMITS,
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


def _by_name(providers: Iterable[Provider]) -> dict[str, Provider]:
    named: dict[str, Provider] = {}
    for provider in providers:
        if provider.name in named:
            raise ConfigError(f"two providers are called {provider.name!r}; give each a name of its own")
        named[provider.name] = provider
    return named
