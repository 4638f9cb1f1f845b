"""Vectors of texts, over any of the embedding protocols.

Texts go out in batches, and the vectors come back in the order of the texts: as many as there are texts,
all of one length, and of finite numbers only. Anything else is an error.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from workbench.cache import Source
from workbench.errors import BadResponseError, ConfigError, ProviderError
from workbench.providers.addresses import check_sendable
from workbench.providers.bodies import encoded, json_of, raise_for_status
from workbench.providers.embedding_wires import EmbeddingWire, embedding_wire
from workbench.providers.http import Http, seal
from workbench.providers.reply import Reply
from workbench.providers.status import complaint_in, refused
from workbench.providers.wire import HttpProvider
from workbench.types import Embeddings, Usage

_BATCH_TEXTS = 64
"""Gemini takes 100 at once, OpenAI 2,048; 64 vectors of 8,192 numbers are within the cap on a body."""

_BATCH_BYTES = 300_000
"""OpenAI takes 300,000 tokens at once, and a token has at least a byte."""

_TOKENS_PER_TEXT = 16
"""Upper bound of what a tokenizer puts around one text."""

_IMPLAUSIBLE_FACTOR = 10


@runtime_checkable
class Embedder(Protocol):
    """One connection to one provider that gives vectors of texts."""

    @property
    def name(self) -> str:
        """The first part of the ids of its models."""
        ...

    async def embed(self, model: str, texts: Sequence[str], *, deadline_s: float) -> Embeddings:
        """A vector for each text, in order, within `deadline_s` seconds, or a `ProviderError`."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


class HttpEmbedder:
    """An embedder that is reached over the connections `http`, and asked by `wire`."""

    def __init__(self, http: Http, wire: EmbeddingWire) -> None:
        self._http = http
        self._wire = wire

    @property
    def name(self) -> str:
        """The first part of the ids of its models."""
        return self._http.provider

    @property
    def source(self) -> Source:
        """Who gives the vectors, for whoever keeps them."""
        return Source(self.name, self._http.base_url, type(self._wire).__name__)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._http.provider!r}, {self._http.base_url!r})"

    async def embed(self, model: str, texts: Sequence[str], *, deadline_s: float) -> Embeddings:
        """A vector for each text, in order, all within `deadline_s` seconds.

        Raises:
            ProviderError: no answer, or none that can be trusted; its class says which.
            ConfigError, DataError: the model's name or a text cannot be sent.
        """
        try:
            return await self._embed(model, texts, deadline_s)
        except BaseException as exc:
            seal(exc)
            raise

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def _embed(self, model: str, texts: Sequence[str], deadline_s: float) -> Embeddings:
        check_sendable(model, what=f"the model's name at {self.name}")
        loop = asyncio.get_running_loop()
        started = loop.time()
        answers = [
            await self._embed_batch(model, batch, deadline=started + deadline_s)
            for batch in batches_of(texts)
        ]
        vectors = tuple(vector for answer in answers for vector in answer.vectors)
        if len({len(vector) for vector in vectors}) > 1:
            raise self._http.failure(BadResponseError, model, "the vectors are not all of one length")
        served = dict.fromkeys(answer.served_model for answer in answers)
        return Embeddings(
            vectors=vectors,
            model=model,
            served_model=", ".join(served) or model,
            provider=self.name,
            usage=_total([answer.usage for answer in answers]),
            latency_s=loop.time() - started,
        )

    async def _embed_batch(self, model: str, texts: Sequence[str], *, deadline: float) -> "_Batch":
        body = encoded(self._wire.request(model, texts), what="a text to embed")
        async with self._http.post(self._wire.path(model), body, model=model, deadline=deadline) as reply:
            await raise_for_status(reply)
            answer = await json_of(reply)
        if answer.get("error"):
            complaint = complaint_in(answer)
            raise refused(reply, complaint, status=complaint.status or 200)
        found = self._wire.read(answer)
        if len(found.vectors) != len(texts):
            reason = f"{len(found.vectors)} vectors came for {len(texts)} texts"
            raise reply.failure(BadResponseError, reason)
        vectors = tuple(_checked(vector, reply) for vector in found.vectors)
        served_model = self._http.redacted(found.served_model or "") or model
        return _Batch(vectors, served_model, _usage(found.input_tokens, texts))


def embedder_of(provider: HttpProvider) -> HttpEmbedder:
    """The embedder at the other end of a provider's connections, which it shares.

    Raises:
        ConfigError: the provider's protocol has no embeddings.
    """
    wire = embedding_wire(provider.wire)
    if wire is None:
        raise ConfigError(
            f"{provider.name} offers no embeddings; ask another provider, such as openai or ollama"
        )
    return HttpEmbedder(provider.http, wire)


def batches_of(texts: Sequence[str]) -> Iterator[list[str]]:
    """The texts in order, as many at a time as one request takes; one that is too long goes alone."""
    batch: list[str] = []
    n_bytes = 0
    for text in texts:
        size = len(text.encode("utf-8", "surrogatepass"))
        if batch and (len(batch) == _BATCH_TEXTS or n_bytes + size > _BATCH_BYTES):
            yield batch
            batch, n_bytes = [], 0
        batch.append(text)
        n_bytes += size
    if batch:
        yield batch


@dataclass(frozen=True, slots=True)
class _Batch:
    """What came of one request."""

    vectors: tuple[tuple[float, ...], ...]
    served_model: str
    usage: Usage


def _checked(vector: object, reply: Reply) -> tuple[float, ...]:
    """`vector` as numbers.

    Raises:
        BadResponseError: it is empty, or has something that is no finite number.
    """
    failure: ProviderError
    if not isinstance(vector, list) or not vector:
        failure = reply.failure(BadResponseError, "a vector is empty, or none")
    elif all(type(number) in (int, float) and abs(number) <= _LARGEST for number in vector):
        return tuple(map(float, vector))
    else:
        failure = reply.failure(BadResponseError, "a vector has something that is no finite number")
    raise failure


_LARGEST = 1.7e308
"""Close below the largest float: a whole number over it cannot be one, and infinity is over it."""


def _usage(counted: int | None, texts: Sequence[str]) -> Usage:
    """What the server counted; where it is absent or absurd, the most that it can have been."""
    bound = sum(len(text.encode()) + _TOKENS_PER_TEXT for text in texts)
    if counted is None or counted > _IMPLAUSIBLE_FACTOR * bound:
        return Usage(bound, 0, is_estimated=True)
    return Usage(counted, 0)


def _total(usages: Sequence[Usage]) -> Usage:
    return Usage(
        input_tokens=sum(usage.input_tokens for usage in usages),
        output_tokens=0,
        is_estimated=any(usage.is_estimated for usage in usages),
    )
