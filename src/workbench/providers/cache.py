"""A provider that does not pay twice: what it answered before is answered again from a store.

Whole answers are kept whose finish reason is `stop`, `tool_calls` or `length` (the same limit would cut the
same answer). Errors, broken streams, and answers that a filter stopped or that ended for an unknown reason
are not. A call that samples (a temperature that is not 0, and no seed) is neither kept nor answered from the
store, unless that is asked for.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from workbench.cache import Flight, Source, Store, decode, encode, key_of
from workbench.catalog import Catalog, default_catalog
from workbench.errors import ConfigError, ProviderTimeoutError
from workbench.providers.base import Provider, closing
from workbench.providers.recorder import Recorder
from workbench.providers.wire import HttpProvider
from workbench.types import Completion, Decoding, Delta, Prompt, ToolCallDelta

_KEPT = ("stop", "tool_calls", "length")


class Cached:
    """`provider`, with the answers that `store` has for what it is asked.

    Identical calls that are made at once share one request; when that has no answer, one of those who waited
    sends the next. An answer from the store is marked `is_cached`, costs nothing, and streams as one piece.
    The store is not closed with the provider: it may serve others.

    Args:
        ttl_s: how old an answer may be, in seconds; None: of any age.
        namespace: whose answers they are; those of another namespace are never given.
        cache_sampled: keep sampled answers too, and give every repeat the same.
        catalog: prices, for what was saved; None: those that come with the package.

    Raises:
        ConfigError: `ttl_s` is not a positive number.
    """

    def __init__(
        self,
        provider: Provider,
        store: Store,
        *,
        ttl_s: float | None = None,
        namespace: str = "",
        cache_sampled: bool = False,
        catalog: Catalog | None = None,
    ) -> None:
        if ttl_s is not None and not ttl_s > 0.0:
            raise ConfigError(f"ttl_s is {ttl_s}; it must be a positive number of seconds, or None")
        self._provider = provider
        self.store = store
        self.ttl_s = ttl_s
        self.namespace = namespace
        self._cache_sampled = cache_sampled
        self._catalog = default_catalog() if catalog is None else catalog

    @property
    def name(self) -> str:
        """The first part of the ids of its models."""
        return self._provider.name

    @property
    def provider(self) -> Provider:
        """Who is asked for what the store does not have."""
        return self._provider

    def __repr__(self) -> str:
        return f"Cached({self._provider!r})"

    async def recall(self, model: str, prompt: Prompt, decoding: Decoding) -> Completion | None:
        """The answer of the store, without asking anybody; None: it has none."""
        key = self._key(model, prompt, decoding)
        if key is None:
            return None
        started = asyncio.get_running_loop().time()
        kept = await self._kept(key)
        return None if kept is None else self._hit(kept, started)

    async def complete(
        self, model: str, prompt: Prompt, decoding: Decoding, *, deadline_s: float
    ) -> Completion:
        """The answer of the store, or else of the provider.

        Raises:
            ProviderError: the provider's, or the same call of another did not end in time.
        """
        async with self._turn(model, prompt, decoding, deadline_s) as turn:
            if turn.answer is not None:
                return turn.answer
            completion = await self._provider.complete(model, prompt, decoding, deadline_s=turn.left_s)
            await self._keep(turn, completion)
        return completion

    async def stream(
        self, model: str, prompt: Prompt, decoding: Decoding, *, deadline_s: float
    ) -> AsyncGenerator[Delta]:
        """The same as a stream; the store's answer comes as one piece, and then the completion."""
        async with self._turn(model, prompt, decoding, deadline_s) as turn:
            if turn.answer is not None:
                for delta in deltas_of(turn.answer):
                    yield delta
                return
            stream = self._provider.stream(model, prompt, decoding, deadline_s=turn.left_s)
            async with closing(stream) as deltas:
                async for delta in deltas:
                    if delta.completion is not None:
                        await self._keep(turn, delta.completion)
                    yield delta

    async def aclose(self) -> None:
        """Close the provider's connections; the store stays open."""
        await self._provider.aclose()

    @asynccontextmanager
    async def _turn(
        self, model: str, prompt: Prompt, decoding: Decoding, deadline_s: float
    ) -> AsyncIterator["_Turn"]:
        """This call's turn to have its answer or to ask for it, which lasts while the block runs."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        turn = _Turn(self._key(model, prompt, decoding), limit=started + deadline_s)
        if turn.key is None:
            yield turn
            return
        while (other := self.store.flights.of(turn.key)) is not None:
            if (shared := await self._awaited(other, model, turn)) is not None:
                turn.answer = self._hit(shared, started)
                yield turn
                return
        with self.store.flights.led(turn.key) as turn.flight:
            turn.flight.completion = await self._kept(turn.key)
            if turn.flight.completion is None:
                self.store.statistics.n_misses += 1
            else:
                turn.answer = self._hit(turn.flight.completion, started)
            yield turn

    async def _awaited(self, flight: Flight, model: str, turn: "_Turn") -> Completion | None:
        try:
            async with asyncio.timeout_at(turn.limit):
                return await flight.wait()
        except TimeoutError as exc:
            reason = "the same call, made before this one, was not answered before the deadline"
            failure = ProviderTimeoutError(self.name, model, reason)
            failure.was_sent = False
            raise failure from exc

    async def _kept(self, key: str) -> Completion | None:
        """What the store has; an entry that cannot be trusted is deleted."""
        content = await self.store.get(key, max_age_s=self.ttl_s)
        if content is None:
            return None
        completion = decode(key, content)
        if completion is None:
            await self.store.delete(key)
        return completion

    async def _keep(self, turn: "_Turn", completion: Completion) -> None:
        """Let those who wait have the answer, and those who come later if it is worth keeping."""
        if turn.key is None or turn.flight is None:
            return
        turn.flight.completion = completion
        content = encode(turn.key, completion) if completion.finish_reason in _KEPT else None
        if content is not None and not completion.is_cached:
            await self.store.put(turn.key, content)

    def _hit(self, completion: Completion, started: float) -> Completion:
        statistics = self.store.statistics
        statistics.n_hits += 1
        statistics.saved_usd += self._price_usd(completion)
        latency_s = asyncio.get_running_loop().time() - started
        return replace(
            completion, is_cached=True, cost_usd=0.0, latency_s=latency_s, first_token_s=None, attempts=()
        )

    def _price_usd(self, completion: Completion) -> float:
        spec = self._catalog.get(completion.model_id)
        price = None if spec is None else spec.price_on()
        return (completion.cost_usd or 0.0) if price is None else price.cost_usd(completion.usage)

    def _key(self, model: str, prompt: Prompt, decoding: Decoding) -> str | None:
        """What the call is kept under; None: it is not to be."""
        if not (decoding.temperature == 0 or decoding.seed is not None or self._cache_sampled):
            return None
        return key_of(_source(self._provider, model), model, prompt, decoding, namespace=self.namespace)


def cache_of(provider: Provider) -> Cached | None:
    """The cache that `provider` is or records; None: neither."""
    inner: object = provider
    while isinstance(inner, Recorder):
        inner = inner.provider
    return inner if isinstance(inner, Cached) else None


def deltas_of(completion: Completion) -> Iterator[Delta]:
    """An answer that is there, as a stream: one piece, and then the completion."""
    if completion.reasoning:
        yield Delta("", reasoning=completion.reasoning)
    if completion.text:
        yield Delta(completion.text)
    for index, call in enumerate(completion.tool_calls):
        yield Delta("", tool_call=ToolCallDelta(index, call.call_id, call.name, call.arguments))
    yield Delta("", replace(completion, first_token_s=completion.latency_s))


@dataclass(slots=True)
class _Turn:
    """`key` None: the call is not for the store; `flight` None: nobody waits for this call."""

    key: str | None
    limit: float
    answer: Completion | None = None
    flight: Flight | None = None

    @property
    def left_s(self) -> float:
        return self.limit - asyncio.get_running_loop().time()


def _source(provider: Provider, model: str) -> Source:
    """Who answers in the end; a provider that is not reached over HTTP is known by its name and class."""
    inner: object = provider
    while isinstance(inner, Recorder):
        inner = inner.provider
    if isinstance(inner, HttpProvider):
        url = f"{inner.http.base_url}/{inner.wire.path(model, is_streamed=False)}"
        return Source(provider.name, url, type(inner.wire).__name__)
    return Source(provider.name, "", type(inner).__name__)
