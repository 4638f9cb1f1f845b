"""One provider's HTTP: pooled connections, limits of time and size, and errors that are ours. Owns httpx.

What goes out: requests to one base URL. The key is put on a request as it is sent and taken off
again; redirects are not followed and cookies not kept, so nothing that a server says can carry the key
to another place. What comes back is bounded in time and in bytes, after decompression.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import httpx

from workbench import __version__
from workbench.errors import (
    BadResponseError,
    ConfigError,
    ConnectError,
    ProviderError,
    ProviderTimeoutError,
    TLSError,
)
from workbench.providers.addresses import check_sendable, check_sendable_key, checked_base_url
from workbench.providers.exchange import Exchange, idempotency_key
from workbench.providers.key_header import BEARER, KeyHeader
from workbench.providers.pool import breakage, library_errors, parsed, pooled, was_opened
from workbench.providers.reply import LibraryError, Reply
from workbench.redaction import MASK, SHORTEST_KEY
from workbench.settings import Secret

MAX_BODY_BYTES = 16 * 2**20
"""Cap on a decoded body, and on one event of a stream."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits in seconds within a call's deadline; None: the deadline alone."""

    connect_s: float = 5.0
    first_byte_s: float | None = None
    between_bytes_s: float | None = 30.0


TIMEOUTS = Timeouts()


class Http:
    """Connections to one base URL, for one provider.

    Args:
        provider: its name in errors.
        base_url: `http` or `https`; plain `http` carries a key to loopback only.
        key: sent in `key_header`; None: none is sent.
        headers: sent with every request; not the place for a key.
        transport: what sends, instead of our own pool of connections; it is closed with this object.

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
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        check_sendable(provider, what="a provider's name")
        self.provider = provider
        self.base_url = checked_base_url(base_url, provider=provider, has_key=key is not None)
        self.timeouts = timeouts
        self.max_body_bytes = MAX_BODY_BYTES
        self.key = key
        self._key_header = key_header
        if key is not None:
            check_sendable_key(key, what=f"the key of {provider}")
        for name, value in (headers or {}).items():
            check_sendable(name, what=f"a header name of {provider}")
            check_sendable(value, what=f"the header {name} of {provider}")
        self._headers = {
            "user-agent": f"workbench/{__version__}",
            **(headers or {}),
            "content-type": "application/json",
            "accept-encoding": "gzip",
        }
        self._transport = transport or pooled(self.base_url, connect_s=timeouts.connect_s)
        self._is_closed = False

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
        return self._exchange(self._post(path, body, headers), model=model, deadline=deadline)

    def post_once(
        self, path: str, body: bytes, *, model: str, deadline: float
    ) -> AbstractAsyncContextManager[Reply]:
        """As `post`, for what must not be done twice: it is not sent again where a kept connection broke."""
        request = self._post(path, body, {**self._headers, "accept": "application/json"})
        return self._exchange(request, model=model, deadline=deadline, may_resend=False)

    def get(self, path: str, *, model: str, deadline: float) -> AbstractAsyncContextManager[Reply]:
        """Ask for what is at `path`, which follows the base URL and a slash; errors as `post`.

        Args:
            model: what an error is said to be about, where it is no model.
        """
        headers = {name: value for name, value in self._headers.items() if name != "content-type"}
        request = httpx.Request("GET", self._url(path), headers={**headers, "accept": "*/*"})
        return self._exchange(request, model=model, deadline=deadline)

    def _exchange(
        self, request: httpx.Request, *, model: str, deadline: float, may_resend: bool = True
    ) -> Exchange:
        return Exchange(self, request, model=model, deadline=deadline, may_resend=may_resend)

    async def aclose(self) -> None:
        """Close every connection; a call after this is a `ConfigError`."""
        self._is_closed = True
        await self._transport.aclose()

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

    def _post(self, path: str, body: bytes, headers: Mapping[str, str]) -> httpx.Request:
        """With a stream, httpx does not search the headers for a form, a host and a length."""
        url = self._url(path)
        whole = {"host": url.netloc.decode(), **headers, "content-length": str(len(body))}
        request = httpx.Request("POST", url, headers=whole, stream=httpx.ByteStream(body))
        request.read()
        return request

    async def sent(self, request: httpx.Request, *, model: str, deadline: float) -> httpx.Response:
        """Send, and once more where a kept connection had been closed by the server meanwhile.

        The server closes idle connections when it likes; a request that meets the closing was not read.
        """
        for may_resend in (True, False):
            token = was_opened.set(False)
            try:
                return await self.sent_once(request, model=model, deadline=deadline)
            except ConnectError as exc:
                if not (may_resend and exc.was_sent and not was_opened.get()):
                    raise
            finally:
                was_opened.reset(token)
        raise AssertionError("unreachable")

    async def sent_once(self, request: httpx.Request, *, model: str, deadline: float) -> httpx.Response:
        """Send, and give the response as soon as its head is there; errors as `post`."""
        if self._is_closed:
            raise ConfigError(f"the connections of {self.provider} are closed; open a new client")
        loop = asyncio.get_running_loop()
        limit = deadline
        if self.timeouts.first_byte_s is not None:
            limit = min(limit, loop.time() + self.timeouts.first_byte_s)
        failure: ProviderError
        try:
            async with asyncio.timeout_at(limit):
                with self._key_header.on(request, self.key):
                    return await self._transport.handle_async_request(request)
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


def _said(exc: BaseException) -> str:
    return (str(exc) or type(exc).__name__)[:200]
