"""A reply: the head of a response at once, and its body as it comes, bounded in time and in bytes."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

import httpx

from workbench.errors import BadResponseError, ConfigError, ProviderError, TooLargeError
from workbench.providers.pool import library_errors

if TYPE_CHECKING:
    from workbench.providers.http import Http

_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "apim-request-id")
"""OpenAI's and most others', Anthropic's, Azure's."""

_LOOKED_AT = (
    "content-type",
    "content-encoding",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
)
"""The headers that are looked at after the head was heard; the others are let go."""

_PIECE_BYTES = 2**20
_DRAIN_BYTES = 64 * 2**10


class LibraryError(Exception):
    """What an HTTP library said, as text: its own exception, with the frames and headers in it, is let go."""


class Reply:
    """A response whose head has come; its body is still on the way. `headers` are those that say how to read
    it, or when to come back; their names are lower-case.
    """

    __slots__ = (
        "_at_hand",
        "_compressed",
        "_deadline",
        "_decoder",
        "_raw",
        "_stream",
        "headers",
        "http",
        "model",
        "request_id",
        "status",
    )

    def __init__(
        self,
        http: "Http",
        response: httpx.Response,
        *,
        headers: Mapping[str, str],
        model: str,
        deadline: float,
    ) -> None:
        self.status = response.status_code
        self.headers = {name: headers[name] for name in _LOOKED_AT if name in headers}
        told = (headers.get(name, "") for name in _REQUEST_ID_HEADERS)
        self.request_id = http.redacted(next(filter(None, told), ""))[:200] or None
        self.http = http
        self.model = model
        self._stream = response.stream
        self._at_hand = iter(response.stream) if isinstance(response.stream, httpx.ByteStream) else None
        self._raw: AsyncIterator[bytes] | None = None
        self._decoder: zlib._Decompress | None = None
        self._compressed = b""
        self._deadline = deadline

    async def read(self) -> bytes:
        """The whole body, decoded.

        Raises:
            ProviderError: it is over the cap, broke off, came too slowly or cannot be decoded.
        """
        body = bytearray()
        while (piece := await self.piece()) is not None:
            body += piece
            if len(body) > self.http.max_body_bytes:
                raise self.failure(TooLargeError, f"the answer is over {self.http.max_body_bytes} bytes")
        return bytes(body)

    async def read_refusal(self) -> bytes:
        """The beginning of an error's body; empty where it did not come: the status says enough."""
        body = b""
        try:
            while (piece := await self.piece()) is not None:
                body += piece
                if len(body) > _DRAIN_BYTES:
                    break
        except ProviderError:
            return body
        return body

    async def piece(self) -> bytes | None:
        """What comes next of the body, decoded, at most 1 MiB of it if it is compressed; None: it is over."""
        if self._raw is None:
            self._raw, self._decoder = self._raw_body(), self._decoder_of_body()
        if self._decoder is None:
            return await self._next(self._raw)
        while not self._compressed:
            chunk = await self._next(self._raw)
            if chunk is None:
                if not self._decoder.eof:
                    raise self.failure(BadResponseError, "the compressed body broke off")
                return None
            self._compressed = chunk
        return self._decoded(self._decoder)

    def hurry(self, limit_s: float) -> None:
        """Wait at most `limit_s` seconds more for the rest, which is not needed."""
        self._deadline = min(self._deadline, asyncio.get_running_loop().time() + limit_s)

    def failure(self, kind: type[ProviderError], reason: str) -> ProviderError:
        """An error of `kind` about this response."""
        return self.http.failure(kind, self.model, reason, status=self.status, request_id=self.request_id)

    def _raw_body(self) -> AsyncIterator[bytes]:
        if not isinstance(self._stream, httpx.AsyncByteStream):
            raise ConfigError(f"the transport given for {self.http.provider} is not an async one")
        return aiter(self._stream)

    def _decoder_of_body(self) -> "zlib._Decompress | None":
        coding = self.headers.get("content-encoding", "identity").strip().lower()
        if coding in ("", "identity"):
            return None
        if coding not in ("gzip", "x-gzip"):
            raise self.failure(BadResponseError, f"the body is encoded as {coding[:40]!r}, not gzip as asked")
        return zlib.decompressobj(wbits=31)

    def _decoded(self, decoder: "zlib._Decompress") -> bytes:
        """A piece of bounded size, so that a kilobyte that unpacks to a gigabyte is stopped on its way."""
        try:
            piece = decoder.decompress(self._compressed, _PIECE_BYTES)
        except zlib.error as exc:
            failure = self.failure(BadResponseError, "the compressed body is damaged")
            failure.__cause__ = LibraryError(str(exc))
        else:
            self._compressed = decoder.unconsumed_tail
            return piece
        raise failure

    async def _next(self, raw: AsyncIterator[bytes]) -> bytes | None:
        if self._at_hand is not None:
            return next(self._at_hand, None)
        loop = asyncio.get_running_loop()
        failure: ProviderError
        limit = self._deadline
        if (between_s := self.http.timeouts.between_bytes_s) is not None:
            limit = min(limit, loop.time() + between_s)
        try:
            async with asyncio.timeout_at(limit):
                return await anext(raw, None)
        except TimeoutError:
            is_over = loop.time() >= self._deadline
            failure = self.http.timed_out(self.model, "total" if is_over else "between_bytes")
        except library_errors() as exc:
            failure = self.http.translated(exc, self.model)
        failure.status, failure.request_id = self.status, self.request_id
        raise failure
