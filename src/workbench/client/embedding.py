"""Vectors of texts through a client: an embedder is called as a model is, so that a call of it is a call.

The texts of one request are its prompt, and its answer has the vectors beside no text. What holds of every
call holds of these: accounts, limits, retries, the budget and the ledger.
"""

import asyncio
import base64
import copy
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from workbench.cache import Source, Store, decode, encode, key_of
from workbench.catalog import ModelSpec
from workbench.client.channel import AccountInUse
from workbench.errors import BadResponseError, ConfigError, WorkbenchError
from workbench.providers.base import Provider
from workbench.providers.cache import Cached, cache_of
from workbench.providers.embeddings import Embedder, HttpEmbedder, batches_of, embedder_of
from workbench.providers.recorder import Recorder
from workbench.providers.wire import HttpProvider
from workbench.types import Completion, Decoding, Delta, Embeddings, Message, Prompt, Usage

NO_ANSWER = Decoding(max_output_tokens=0)
"""How an embedder is asked: it writes nothing, and is paid for what it reads."""

_REQUESTS_AT_ONCE = 8
"""Of one call; the limits of the client hold as well."""

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Embedded(Completion):
    """The answer of an embedder: a completion, so that a call can bill, log and retry it as any other."""

    vectors: tuple[Vector, ...] = ()


Ask = Callable[[Prompt], Awaitable[Completion]]


class EmbeddingModel:
    """An embedder as a provider whose prompts are texts, each a message."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    @property
    def name(self) -> str:
        """The first part of the ids of its models."""
        return self.embedder.name

    async def complete(
        self, model: str, prompt: Prompt, decoding: Decoding, *, deadline_s: float
    ) -> Completion:
        """The vectors of one request."""
        texts = [message.content for message in prompt.history]
        found = await self.embedder.embed(model, texts, deadline_s=deadline_s)
        return Embedded(
            text="",
            model=found.model,
            served_model=found.served_model,
            provider=found.provider,
            usage=found.usage,
            latency_s=found.latency_s,
            finish_reason="stop",
            cost_usd=found.cost_usd,
            vectors=found.vectors,
        )

    async def stream(
        self, model: str, prompt: Prompt, decoding: Decoding, *, deadline_s: float
    ) -> AsyncIterator[Delta]:
        """The same; vectors do not come in pieces."""
        yield Delta("", await self.complete(model, prompt, decoding, deadline_s=deadline_s))

    async def aclose(self) -> None:
        """Nothing: the connections are those of the account."""


def embedding_account(account: AccountInUse) -> AccountInUse:
    """`account` with its embedder in the place of its models, and the same limits.

    Raises:
        ConfigError: its provider offers no embeddings.
    """
    view = copy.copy(account)
    view.provider = EmbeddingModel(_embedder_of(account.provider))
    return view


class VectorMemory:
    """The vectors of one embedder that a store has, a text an entry.

    Args:
        source: who gives the vectors; None: that is not known, and none are kept.
        ttl_s, namespace: as in `providers.cache.Cached`.
    """

    def __init__(
        self,
        store: Store,
        source: Source | None,
        spec: ModelSpec,
        *,
        ttl_s: float | None = None,
        namespace: str = "",
    ) -> None:
        self._store = store
        self._source = source
        self._spec = spec
        self._ttl_s = ttl_s
        self._namespace = namespace

    async def recall(self, texts: Sequence[str]) -> dict[str, Vector]:
        """The vectors that are there, by their texts."""
        known: dict[str, Vector] = {}
        for text in texts:
            if (vector := await self._recalled(text)) is not None:
                known[text] = vector
        self._store.statistics.n_misses += len(texts) - len(known)
        return known

    async def keep(self, texts: Sequence[str], answer: Embedded) -> None:
        """Keep the vector of each text, with its share of what they cost."""
        n_bytes = [len(text.encode()) + 1 for text in texts]
        for text, vector, share in zip(texts, answer.vectors, n_bytes, strict=True):
            usage = Usage(answer.usage.input_tokens * share // sum(n_bytes), 0, is_estimated=True)
            entry = Completion(
                _packed(vector), answer.model, answer.served_model, answer.provider, usage, 0.0, "stop"
            )
            if (key := self._key(text)) and (content := encode(key, entry)) is not None:
                await self._store.put(key, content)

    async def _recalled(self, text: str) -> Vector | None:
        key = self._key(text)
        content = None if key is None else await self._store.get(key, max_age_s=self._ttl_s)
        entry = None if key is None or content is None else decode(key, content)
        if entry is None:
            return None
        price = self._spec.price_on()
        self._store.statistics.n_hits += 1
        self._store.statistics.saved_usd += 0.0 if price is None else price.cost_usd(entry.usage)
        return _unpacked(entry.text)

    def _key(self, text: str) -> str | None:
        """None: it is not known who gives the vectors."""
        if self._source is None:
            return None
        return key_of(self._source, self._spec.model, Prompt("", text), NO_ANSWER, namespace=self._namespace)


def vector_memory(account: AccountInUse, spec: ModelSpec, store: Store | None) -> VectorMemory | None:
    """Where the vectors of `account` are kept: in its own cache, or else in `store`; None: nowhere.

    Raises:
        ConfigError: its provider offers no embeddings.
    """
    embedder = _embedder_of(account.provider)
    source = embedder.source if isinstance(embedder, HttpEmbedder) else None
    if (cached := cache_of(account.provider)) is not None:
        return VectorMemory(cached.store, source, spec, ttl_s=cached.ttl_s, namespace=cached.namespace)
    return None if store is None else VectorMemory(store, source, spec)


async def embedded(
    spec: ModelSpec, texts: Sequence[str], *, ask: Ask, memory: VectorMemory | None
) -> Embeddings:
    """A vector for each text, in order; a text that comes twice is sent once, one that is known is not.

    Raises:
        ProviderError, BudgetError: of the first request that failed; no other is sent after it, and the
            vectors of those that were answered are in `memory`.
    """
    started = asyncio.get_running_loop().time()
    distinct = list(dict.fromkeys(texts))
    vectors = {} if memory is None else await memory.recall(distinct)
    answers: list[Embedded] = []

    async def take(batch: list[str]) -> None:
        answer = await ask(Prompt("", "", history=tuple(Message("user", text) for text in batch)))
        if not isinstance(answer, Embedded):
            raise BadResponseError(spec.provider, spec.model, "the answer has no vectors")
        answers.append(answer)
        vectors.update(zip(batch, answer.vectors, strict=True))
        if memory is not None:
            await memory.keep(batch, answer)

    await _each(take, list(batches_of([text for text in distinct if text not in vectors])))
    if len({len(vector) for vector in vectors.values()}) > 1:
        raise BadResponseError(spec.provider, spec.model, "the vectors are not all of one length")
    latency_s = asyncio.get_running_loop().time() - started
    return _whole(spec, [vectors[text] for text in texts], answers, latency_s=latency_s)


async def _each(take: Callable[[list[str]], Awaitable[None]], batches: Sequence[list[str]]) -> None:
    """`take` every batch, some at once. After a failure none is begun, and those under way are finished."""
    waiting = iter(batches)
    failures: list[WorkbenchError] = []

    async def work() -> None:
        for batch in waiting:
            if failures:
                return
            try:
                await take(batch)
            except WorkbenchError as exc:
                failures.append(exc)

    async with asyncio.TaskGroup() as group:
        for _ in batches[:_REQUESTS_AT_ONCE]:
            group.create_task(work())
    if failures:
        raise failures[0]


def _whole(
    spec: ModelSpec, vectors: Sequence[Vector], answers: Sequence[Embedded], *, latency_s: float
) -> Embeddings:
    costs = [answer.cost_usd for answer in answers]
    known = [cost for cost in costs if cost is not None]
    return Embeddings(
        vectors=tuple(vectors),
        model=spec.model,
        served_model=", ".join(dict.fromkeys(answer.served_model for answer in answers)) or spec.model,
        provider=spec.provider,
        usage=Usage(
            sum(answer.usage.input_tokens for answer in answers),
            0,
            is_estimated=any(answer.usage.is_estimated for answer in answers),
        ),
        latency_s=latency_s,
        cost_usd=sum(known) if len(known) == len(costs) else None,
    )


def _embedder_of(provider: Provider) -> Embedder:
    """The embedder behind `provider`, whatever keeps or records its answers."""
    inner: object = provider
    while isinstance(inner, Cached | Recorder):
        inner = inner.provider
    if isinstance(inner, Embedder):
        return inner
    if isinstance(inner, HttpProvider):
        return embedder_of(inner)
    raise ConfigError(f"{provider.name} offers no embeddings; ask another provider, such as openai or ollama")


def _packed(vector: Vector) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}d", *vector)).decode("ascii")


def _unpacked(text: str) -> Vector:
    content = base64.b64decode(text)
    return struct.unpack(f"<{len(content) // 8}d", content)
