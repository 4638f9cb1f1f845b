"""Vectors of texts: the embedding protocols of OpenAI and those who speak it, of Gemini and of Ollama.

Texts go out in batches, and the vectors come back in the order of the texts: as many as there are texts,
all of one length, and of finite numbers only. Anything else is an error.

Sources: https://platform.openai.com/docs/api-reference/embeddings, https://ai.google.dev/api/embeddings and
https://docs.ollama.com/api/embed, read 2026-11-23.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable
from urllib.parse import urlencode

import httpx

from workbench.errors import BadResponseError, ProviderError
from workbench.providers.addresses import check_sendable
from workbench.providers.gemini import GeminiWire, model_path
from workbench.providers.http import BEARER, TIMEOUTS, Http, KeyHeader, Reply, Timeouts, seal
from workbench.providers.json_body import JsonObject, count_of, object_of, objects_of, text_of
from workbench.providers.status import complaint_in, refused
from workbench.providers.wire import encoded, json_of, raise_for_status
from workbench.settings import Secret
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


@dataclass(frozen=True, slots=True)
class Vectors:
    """What one answer holds, not yet checked; `input_tokens` None: the server did not count."""

    vectors: Sequence[object]
    input_tokens: int | None
    served_model: str | None


class EmbeddingWire(Protocol):
    """One protocol: what is sent where, and how the answer is read."""

    @property
    def key_header(self) -> KeyHeader:
        """Where the key goes."""
        ...

    def path(self, model: str) -> str:
        """What follows the base URL and a slash."""
        ...

    def request(self, model: str, texts: Sequence[str]) -> dict[str, object]:
        """The body to send, as JSON."""
        ...

    def read(self, body: JsonObject) -> Vectors:
        """What is in an answer, in the order of the texts."""
        ...


@dataclass(frozen=True, slots=True)
class OpenAIEmbeddingWire:
    """OpenAI's protocol, whose vectors are numbered and may come in any order.

    `key_header` is where this server wants the key, `query` is added to the address.
    """

    key_header: KeyHeader = BEARER
    query: Mapping[str, str] = field(default_factory=dict)

    def path(self, model: str) -> str:
        """The same for every model."""
        return "embeddings" + (f"?{urlencode(self.query)}" if self.query else "")

    def request(self, model: str, texts: Sequence[str]) -> dict[str, object]:
        """The body to send."""
        return {"model": model, "input": list(texts), "encoding_format": "float"}

    def read(self, body: JsonObject) -> Vectors:
        """The vectors by their numbers; two of one number are one too few."""
        entries = objects_of(body, "data")
        numbered = {count_of(entry, "index"): entry.get("embedding") for entry in entries}
        in_order = [numbered[index] for index in range(len(entries)) if index in numbered]
        usage = object_of(body, "usage") or {}
        return Vectors(in_order, count_of(usage, "prompt_tokens"), text_of(body, "model"))


class GeminiEmbeddingWire:
    """Google's protocol, asked for many texts at once."""

    key_header = GeminiWire.key_header

    def path(self, model: str) -> str:
        """Where `model` is asked.

        Raises:
            ConfigError: its name cannot be part of a path.
        """
        return f"{model_path(model)}:batchEmbedContents"

    def request(self, model: str, texts: Sequence[str]) -> dict[str, object]:
        """The body to send, which names the model with each text."""
        contents = ({"parts": [{"text": text}]} for text in texts)
        return {"requests": [{"model": model_path(model), "content": content} for content in contents]}

    def read(self, body: JsonObject) -> Vectors:
        """The vectors, which come in order."""
        usage = object_of(body, "usageMetadata") or {}
        vectors = [entry.get("values") for entry in objects_of(body, "embeddings")]
        return Vectors(vectors, count_of(usage, "promptTokenCount"), None)


class OllamaEmbeddingWire:
    """Ollama's protocol; a text that is too long is refused, where by default its end is dropped."""

    key_header = BEARER

    def path(self, model: str) -> str:
        """The same for every model."""
        return "api/embed"

    def request(self, model: str, texts: Sequence[str]) -> dict[str, object]:
        """The body to send."""
        return {"model": model, "input": list(texts), "truncate": False}

    def read(self, body: JsonObject) -> Vectors:
        """The vectors, which come in order."""
        vectors = body.get("embeddings")
        counted = count_of(body, "prompt_eval_count")
        return Vectors(vectors if isinstance(vectors, list) else [], counted, text_of(body, "model"))


class HttpEmbedder:
    """An embedder that is reached over HTTP and speaks `wire`.

    Args:
        name: the first part of the ids of its models.
        base_url: what comes before the protocol's own path.
        key: goes into the protocol's header for it; None: none is sent.

    Raises:
        ConfigError: the base URL or the key cannot be used.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        wire: EmbeddingWire,
        key: Secret | None = None,
        timeouts: Timeouts = TIMEOUTS,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        self._wire = wire
        self._http = Http(
            name, base_url, key=key, key_header=wire.key_header, timeouts=timeouts, client=client
        )

    @property
    def name(self) -> str:
        """The first part of the ids of its models."""
        return self._http.provider

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
            await self._embed_batch(model, batch, deadline=started + deadline_s) for batch in _batches(texts)
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


@dataclass(frozen=True, slots=True)
class _Batch:
    """What came of one request."""

    vectors: tuple[tuple[float, ...], ...]
    served_model: str
    usage: Usage


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """The texts in order, some at a time; one that is over the limit by itself goes alone."""
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
