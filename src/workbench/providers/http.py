"""One provider's HTTP: pooled connections, limits of time and size, and errors that are ours. Owns httpx.

What goes out: requests to one base URL. The key is put on a request as it is sent and taken off
again; redirects are not followed and cookies not kept, so nothing that a server says can carry the key
to another place. What comes back is bounded in time and in bytes, after decompression.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import httpx

from workbench.errors import (
    BadResponseError,
    ConfigError,
    ConnectError,
    ProviderError,
    ProviderTimeoutError,
    TLSError,
    TooLargeError,
)
from workbench.providers.addresses import check_sendable, check_sendable_key, checked_base_url
from workbench.providers.pool import breakage, library_errors, parsed, pooled_client, was_reused
from workbench.redaction import MASK, SHORTEST_KEY
from workbench.settings import Secret

MAX_BODY_BYTES = 16 * 2**20
"""Cap on a decoded body, and on one event of a stream."""

_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "apim-request-id")
"""OpenAI's and most others', Anthropic's, Azure's."""

_PIECE_BYTES = 2**20
_DRAIN_BYTES = 64 * 2**10


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits in seconds within a call's deadline; None: the deadline alone."""

    connect_s: float = 5.0
    first_byte_s: float | None = None
    between_bytes_s: float | None = 30.0


TIMEOUTS = Timeouts()


@dataclass(frozen=True, slots=True)
class KeyHeader:
    """The header that carries the key, and what stands before the key in it."""

    name: str = "authorization"
    prefix: str = "Bearer "


BEARER = KeyHeader()

idempotency_key: ContextVar[str | None] = ContextVar("idempotency_key", default=None)
"""The name of the logical call that is under way, the same for all its attempts; None: it has none.

It is sent as `Idempotency-Key`, so that a server that knows the header answers and bills the call once.
Source: https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

head_observer: ContextVar[Callable[[Mapping[str, str]], object] | None] = ContextVar(
    "head_observer", default=None
)
"""Is given the headers of every response to the call that is under way, such as the limits they tell."""


class LibraryError(Exception):
    """What an HTTP library said, as text: its own exception, with the frames and headers in it, is let go."""


class Reply:
    """A response whose head has come; its body is still on the way. The names in `headers` are lower-case."""

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
        self.headers = headers
        told = (headers.get(name, "") for name in _REQUEST_ID_HEADERS)
        self.request_id = http.redacted(next(filter(None, told), ""))[:200] or None
        self.http = http
        self.model = model
        self._response = response
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
        if not isinstance(self._response.stream, httpx.AsyncByteStream):
            raise ConfigError(f"the httpx client given for {self.http.provider} is not an async one")
        return aiter(self._response.stream)

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


class Http:
    """Connections to one base URL, for one provider.

    Args:
        provider: its name in errors.
        base_url: `http` or `https`; plain `http` carries a key to loopback only.
        key: sent in `key_header`; None: none is sent.
        headers: sent with every request; not the place for a key.
        client: an httpx client to use instead of our own; it is closed with this object.

    Raises:
        ConfigError: the base URL, a header or the key cannot be sent, or not safely.
    """

    def __init__(
        self,
        provider: str,
        base_url: str,
        *,
        key: Secret | None = None,
        key_header: KeyHeader = BEARER,
        headers: Mapping[str, str] | None = None,
        timeouts: Timeouts = TIMEOUTS,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        check_sendable(provider, what="a provider's name")
        self.provider = provider
        self.base_url = checked_base_url(base_url, provider=provider, has_key=key is not None)
        self.timeouts = timeouts
        self.max_body_bytes = MAX_BODY_BYTES
        self.key = key
        self._auth = _KeyAuth(key, key_header) if key is not None else httpx.Auth()
        if key is not None:
            check_sendable_key(key, what=f"the key of {provider}")
        for name, value in (headers or {}).items():
            check_sendable(name, what=f"a header name of {provider}")
            check_sendable(value, what=f"the header {name} of {provider}")
        self._headers = {**(headers or {}), "content-type": "application/json", "accept-encoding": "gzip"}
        self._client = (
            client if client is not None else pooled_client(self.base_url, connect_s=timeouts.connect_s)
        )

    def __repr__(self) -> str:
        return f"Http({self.provider!r}, {self.base_url!r})"

    def post(
        self,
        path: str,
        body: bytes,
        *,
        model: str,
        deadline: float,
        accept: str = "application/json",
        content_type: str = "application/json",
    ) -> AbstractAsyncContextManager[Reply]:
        """Send `body` and give the reply as soon as its head is there; the connection is let go at the end.

        Args:
            deadline: when the whole exchange must be over, on the event loop's clock.

        Raises:
            ProviderError: no connection, no answer in time, or nothing that is HTTP.
        """
        headers = {**self._headers, "accept": accept, "content-type": content_type}
        if (call := idempotency_key.get()) is not None:
            check_sendable(call, what=f"the idempotency key of a call to {self.provider}")
            headers["idempotency-key"] = call
        request = self._client.build_request("POST", self._url(path), content=body, headers=headers)
        return self._exchange(request, model=model, deadline=deadline)

    def post_once(
        self, path: str, body: bytes, *, model: str, deadline: float
    ) -> AbstractAsyncContextManager[Reply]:
        """As `post`, for what must not be done twice: it is not sent again where a kept connection broke."""
        headers = {**self._headers, "accept": "application/json"}
        request = self._client.build_request("POST", self._url(path), content=body, headers=headers)
        return self._exchange(request, model=model, deadline=deadline, may_resend=False)

    def get(self, path: str, *, model: str, deadline: float) -> AbstractAsyncContextManager[Reply]:
        """Ask for what is at `path`, which follows the base URL and a slash; errors as `post`.

        Args:
            model: what an error is said to be about, where it is no model.
        """
        headers = {name: value for name, value in self._headers.items() if name != "content-type"}
        request = self._client.build_request("GET", self._url(path), headers=headers)
        return self._exchange(request, model=model, deadline=deadline)

    @asynccontextmanager
    async def _exchange(
        self, request: httpx.Request, *, model: str, deadline: float, may_resend: bool = True
    ) -> AsyncGenerator[Reply]:
        send = self._sent if may_resend else self._sent_once
        response = await send(request, model=model, deadline=deadline)
        try:
            headers = dict(response.headers.items())  # looked up a score of times, which httpx does slowly
            if (observe := head_observer.get()) is not None:
                observe(headers)
            yield Reply(self, response, headers=headers, model=model, deadline=deadline)
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close every connection; a call after this is a `ConfigError`."""
        await self._client.aclose()

    def redacted(self, text: str) -> str:
        """`text` with the key, wherever a server echoed it, masked."""
        if self.key is None or len(self.key) < SHORTEST_KEY:
            return text
        return text.replace(self.key.get_secret_value(), MASK)

    def failure(
        self,
        kind: type[ProviderError],
        model: str,
        reason: str,
        *,
        status: int | None = None,
        request_id: str | None = None,
    ) -> ProviderError:
        """An error of `kind`, without the key in it."""
        error = kind(self.provider, model, self.redacted(reason))
        error.status, error.request_id = status, request_id
        return error

    def timed_out(self, model: str, kind: str) -> ProviderTimeoutError:
        """The error of the limit `kind`."""
        match kind:
            case "connect":
                error = ProviderTimeoutError(
                    self.provider, model, f"no connection in {self.timeouts.connect_s:g} s", kind="connect"
                )
                error.was_sent = False
                return error
            case "first_byte":
                return ProviderTimeoutError(
                    self.provider, model, f"no answer in {self.timeouts.first_byte_s:g} s", kind="first_byte"
                )
            case "between_bytes":
                reason = f"nothing more came for {self.timeouts.between_bytes_s:g} s"
                return ProviderTimeoutError(self.provider, model, reason, kind="between_bytes")
        return ProviderTimeoutError(self.provider, model, "the deadline passed before the answer was whole")

    def translated(self, exc: BaseException, model: str) -> ProviderError:
        """What an exception of the HTTP libraries means.

        httpx's own names are not relied on: the transport below it calls a lost connection a
        `ConnectTimeout`. The exception that it replaced says what happened.
        """
        root = exc.__cause__ or exc
        error: ProviderError
        match breakage(root):
            case "insecure":
                error = self.failure(TLSError, model, f"no secure connection: {_said(root)}")
                error.was_sent = False
            case "late":
                error = self.timed_out(model, "connect")
            case "unreachable":
                error = self.failure(ConnectError, model, f"no connection: {_said(root)}")
                error.was_sent = False
            case "not_http":
                error = self.failure(BadResponseError, model, f"the answer is not HTTP: {_said(root)}")
            case "lost":
                error = self.failure(ConnectError, model, f"the connection broke: {_said(root)}")
            case "unreadable":
                error = self.failure(BadResponseError, model, f"the answer cannot be read: {_said(root)}")
        error.__cause__ = LibraryError(self.redacted(f"{type(root).__name__}: {_said(root)}"))
        return error

    def _url(self, path: str) -> httpx.URL:
        return parsed(f"{self.base_url}/{path}")

    async def _sent(self, request: httpx.Request, *, model: str, deadline: float) -> httpx.Response:
        """Send, and once more where a kept connection had been closed by the server meanwhile.

        The server closes idle connections when it likes; a request that meets the closing was not read.
        """
        for may_resend in (True, False):
            token = was_reused.set(False)
            try:
                return await self._sent_once(request, model=model, deadline=deadline)
            except ConnectError as exc:
                if not (may_resend and exc.was_sent and was_reused.get()):
                    raise
            finally:
                was_reused.reset(token)
        raise AssertionError("unreachable")

    async def _sent_once(self, request: httpx.Request, *, model: str, deadline: float) -> httpx.Response:
        if self._client.is_closed:
            raise ConfigError(f"the connections of {self.provider} are closed; open a new client")
        loop = asyncio.get_running_loop()
        limit = deadline
        if self.timeouts.first_byte_s is not None:
            limit = min(limit, loop.time() + self.timeouts.first_byte_s)
        failure: ProviderError
        try:
            async with asyncio.timeout_at(limit):
                return await self._client.send(request, auth=self._auth, stream=True, follow_redirects=False)
        except TimeoutError:
            failure = self.timed_out(model, "total" if loop.time() >= deadline else "first_byte")
        except library_errors() as exc:
            failure = self.translated(exc, model)
        raise failure


def seal(exc: BaseException) -> None:
    """Take from `exc` the frames it came through and the exceptions behind it, before it is raised on.

    Those hold headers and bodies, and a traceback can be shown with its locals. To be called in the last
    frame that holds neither: `except BaseException as exc: seal(exc); raise`.
    """
    exc.__context__ = None
    exc.__traceback__ = None


class _KeyAuth(httpx.Auth):
    """Puts the key on a request while it is sent."""

    def __init__(self, key: Secret, header: KeyHeader) -> None:
        self._key = key
        self._header = header

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers[self._header.name] = f"{self._header.prefix}{self._key.get_secret_value()}"
        try:
            yield request
        finally:
            del request.headers[self._header.name]


def _said(exc: BaseException) -> str:
    return (str(exc) or type(exc).__name__)[:200]
