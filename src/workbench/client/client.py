"""The client: models by their ids, the providers that serve them, and one call after another."""

import copy
import random
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from types import TracebackType

from workbench.budget import Budget
from workbench.cache import Statistics, Store
from workbench.catalog import Catalog, ModelSpec, default_catalog
from workbench.client.accounts import Account
from workbench.client.breaker import Breaker
from workbench.client.call import Call
from workbench.client.channel import AccountInUse, Channel, ChannelKey
from workbench.client.embedding import NO_ANSWER, embedded, embedding_account, vector_memory
from workbench.client.events import Observer, all_of, watch
from workbench.client.ledger import Ledger
from workbench.client.limits import LIMITS, Limits, most_at_once
from workbench.client.slots import FairSlots
from workbench.client.visit import Target
from workbench.errors import ConfigError
from workbench.providers.base import Provider
from workbench.providers.cache import cache_of, deltas_of
from workbench.routing.base import Router
from workbench.types import Completion, Decoding, Delta, Embeddings, Prompt

DECODING = Decoding()
"""How a model is asked to answer where the caller does not say."""


class Client:
    """Calls models by their ids, `provider/model`, or by a router that chooses one.

    `Catalog.callable_model` says which models may be called. Use it in one event loop, as a context
    manager, which closes the providers' connections at the end.

    Args:
        providers: connections, or accounts where a provider is reached with several keys.
        catalog: what models cost; None: the models that come with the package.
        budget: what may be spent; None: no limit. A call of a model without a price is then refused.
        rng: source of the jitter.
        observers: are told what becomes of each call (`client.events`), beside those that hear every client.

    Raises:
        ConfigError: two providers have one name, or two accounts of one provider have one alias.
    """

    def __init__(
        self,
        providers: Iterable[Provider | Account],
        *,
        catalog: Catalog | None = None,
        limits: Limits = LIMITS,
        budget: Budget | None = None,
        rng: random.Random | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.ledger = Ledger(limits.ledger_size)
        self.catalog = default_catalog() if catalog is None else catalog
        self.limits = limits
        self.budget = budget
        self.observer = all_of(observers)
        self._accounts = _by_provider(providers, limits)
        self.vectors: Store | None = None
        """Where the vectors of texts are kept if their provider has no cache; None: they are not."""
        self._targets: dict[str, Target] = {}
        self._embedding_targets: dict[str, Target] = {}
        self._slots = FairSlots(most_at_once(limits))
        self.rng = rng or random.Random()

    @property
    def spent_usd(self) -> float:
        """What all attempts so far have cost, where their models have a price."""
        return self.ledger.total.cost_usd

    @property
    def cache_statistics(self) -> Statistics:
        """Hits, misses and what they saved: of all stores that answers and vectors are looked for in.

        A store counts since it was made, whoever uses it.
        """
        cached = (cache_of(account.provider) for accounts in self._accounts.values() for account in accounts)
        stores = [self.vectors, *(None if one is None else one.store for one in cached)]
        distinct = {id(store): store.statistics for store in stores if store is not None}
        return sum(distinct.values(), Statistics())

    @property
    def breakers(self) -> Mapping[ChannelKey, Breaker]:
        """The circuit breaker of every model of every account that was asked for so far."""
        targets = (*self._targets.values(), *self._embedding_targets.values())
        return {channel.key: channel.breaker for target in targets for channel in target.channels}

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, frames: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every provider's connections."""
        async with AsyncExitStack() as stack:
            for accounts in self._accounts.values():
                for account in accounts:
                    stack.push_async_callback(account.provider.aclose)

    def spending(self, budget: Budget | None) -> "Client":
        """This client with another budget: its connections, limits and ledger are shared, and closed once."""
        other = copy.copy(self)
        other.budget = budget
        return other

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
        model_ids = self._candidates(target, prompt, fallbacks=fallbacks, candidates=candidates)
        targets = [self._target(model_id) for model_id in model_ids]
        return await self._completed(self._call(targets, prompt, decoding), group=model_ids[0])

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
        model_ids = self._candidates(target, prompt, fallbacks=fallbacks, candidates=candidates)
        targets = [self._target(model_id) for model_id in model_ids]
        call = self._call(targets, prompt, decoding)
        with call.watched(is_stream=True) as watched:
            if (recalled := await call.recalled()) is not None:
                watched.completion = recalled
                for delta in deltas_of(recalled):
                    yield delta
                return
            await self._slots.acquire(model_ids[0])
            try:
                first, deltas = await call.opened()
                async with aclosing(deltas):
                    yield first
                    async for delta in deltas:
                        watched.completion = delta.completion
                        yield delta
            finally:
                self._slots.release(model_ids[0])

    async def embed(self, model_id: str, texts: Sequence[str]) -> Embeddings:
        """A vector for each text, in order, in as many requests as the provider needs.

        A text that comes twice is sent once, and one whose vector is kept (`connect(cache=...)`) is not sent.
        `usage` and `cost_usd` are of what was sent.

        Raises:
            ConfigError: the model is unknown, its provider offers no embeddings, or it has no price while
                there is a budget; nothing was sent.
            BudgetError, ProviderError: of a request that failed; no other was sent after it.
        """
        target = self._embedding_target(model_id)
        memory = vector_memory(self._accounts[target.spec.provider][0], target.spec, self.vectors)

        async def ask(prompt: Prompt) -> Completion:
            return await self._completed(self._call([target], prompt, NO_ANSWER), group=model_id)

        return await embedded(target.spec, texts, ask=ask, memory=memory)

    async def _completed(self, call: Call, *, group: str) -> Completion:
        with call.watched(is_stream=False) as watched:
            if (recalled := await call.recalled()) is not None:
                watched.completion = recalled
                return recalled
            await self._slots.acquire(group)
            try:
                watched.completion = completion = await call.completion()
            finally:
                self._slots.release(group)
        return completion

    def _candidates(
        self, target: str | Router, prompt: Prompt, *, fallbacks: Sequence[str], candidates: Sequence[str]
    ) -> list[str]:
        """The models to ask, in order, each once."""
        if isinstance(target, str):
            return list(dict.fromkeys((target, *fallbacks)))
        decision = target.route(prompt, tuple(candidates) or self._connected())
        return list(dict.fromkeys((decision.model_id, *decision.fallbacks, *fallbacks)))

    def _call(self, targets: Sequence[Target], prompt: Prompt, decoding: Decoding) -> Call:
        if self.budget is not None or self.limits.max_call_cost_usd is not None:
            for target in targets:
                target.spec.cost_bound_usd(prompt, decoding)
        return Call(self, prompt, decoding, targets)

    def _connected(self) -> tuple[str, ...]:
        models = (spec for provider in self._accounts for spec in self.catalog.of_provider(provider))
        return tuple(spec.model_id for spec in models if "embeddings" not in spec.capabilities)

    def _target(self, model_id: str) -> Target:
        if model_id not in self._targets:
            spec = self._spec(model_id)
            self._targets[model_id] = self._opened(spec, self._accounts[spec.provider])
        return self._targets[model_id]

    def _embedding_target(self, model_id: str) -> Target:
        if model_id not in self._embedding_targets:
            spec = self._spec(model_id)
            accounts = [embedding_account(account) for account in self._accounts[spec.provider]]
            self._embedding_targets[model_id] = self._opened(spec, accounts)
        return self._embedding_targets[model_id]

    def _spec(self, model_id: str) -> ModelSpec:
        spec = self.catalog.callable_model(model_id)
        if spec.provider not in self._accounts:
            connected = ", ".join(self._accounts)
            raise ConfigError(
                f"{model_id}: provider {spec.provider!r} is not connected; connected are {connected}"
            )
        return spec

    def _opened(self, spec: ModelSpec, accounts: Iterable[AccountInUse]) -> Target:
        channels = [Channel(account, spec.model, self.limits) for account in accounts]
        if self.observer is not None:
            for channel in channels:
                watch(channel, self.observer)
        return Target(spec, channels)


def _by_provider(providers: Iterable[Provider | Account], limits: Limits) -> dict[str, list[AccountInUse]]:
    named: dict[str, list[AccountInUse]] = {}
    for one in providers:
        account = one if isinstance(one, Account) else Account(one)
        name = account.provider.name
        others = named.setdefault(name, [])
        if any(account.alias == other.alias for other in others):
            raise ConfigError(
                f"two providers are called {name!r}; give each a name of its own, or make them accounts, "
                "each with an alias"
            )
        others.append(AccountInUse(account, limits))
    return named
