"""Connections below `http`, and what the exceptions of their library mean. Owns aiohttp.

aiohttp, which takes as long to import as the whole client, is imported with the first pool.

Proxies are those of the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`), never for loopback.
Certificates are certifi's, or those of `SSL_CERT_FILE`; there is no switch to go without.
"""

import os
import ssl
import urllib.request
import zlib
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from workbench.providers.addresses import is_loopback

if TYPE_CHECKING:
    import aiohttp

    Response = aiohttp.ClientResponse
    """A response whose head has come."""

Breakage = Literal["insecure", "late", "unreachable", "not_http", "lost", "unreadable"]
"""No secure connection, none in time, none at all; no HTTP, a connection that broke, or a damaged answer."""

was_opened: ContextVar[bool] = ContextVar("was_opened", default=False)
"""Whether a connection was opened for the request under way; otherwise it goes over one that was kept."""


class Pool:
    """Connections to one base URL, kept for the next request.

    Redirects are not followed, cookies not kept and bodies not decoded. There is no limit on connections:
    how many calls run at once is the client's business.
    """

    def __init__(self, base_url: str, *, connect_s: float) -> None:
        import aiohttp

        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_s, sock_connect=connect_s)
        self._is_secure = urlsplit(base_url).scheme == "https"
        self._proxy = _proxy(base_url)
        self._session: aiohttp.ClientSession | None = None
        self.is_closed = False

    async def send(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None
    ) -> "Response":
        """The response as soon as its head is there; raises `library_errors`."""
        session = self._session or self._opened()
        return await session.request(
            method, url, headers=headers, data=body, allow_redirects=False, proxy=self._proxy
        )

    async def aclose(self) -> None:
        """Close every connection."""
        self.is_closed = True
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> "aiohttp.ClientSession":
        """The session, which must be made where there is an event loop."""
        import aiohttp

        self._session = aiohttp.ClientSession(
            connector=_connector()(limit=0, ssl=_certificates() if self._is_secure else True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            auto_decompress=False,
        )
        return self._session


@lru_cache(maxsize=1)
def _connector() -> "type[aiohttp.TCPConnector]":
    from aiohttp import ClientRequest, ClientTimeout, TCPConnector
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.tracing import Trace

    class Connector(TCPConnector):
        """Notes that it opens a connection; aiohttp's tracing would tell as well, at each request."""

        async def _create_connection(
            self,
            req: ClientRequest,
            traces: list[Trace],
            timeout: ClientTimeout,  # noqa: ASYNC109 - it is aiohttp's
        ) -> ResponseHandler:
            was_opened.set(True)
            return await super()._create_connection(req, traces, timeout)

    return Connector


@lru_cache(maxsize=1)
def library_errors() -> tuple[type[Exception], ...]:
    """All that aiohttp raises for an exchange that failed."""
    import aiohttp
    from aiohttp.http_exceptions import HttpProcessingError

    return (aiohttp.ClientError, HttpProcessingError, OSError, EOFError, ValueError, zlib.error)


def breakage(exc: BaseException) -> Breakage:
    """What one of `library_errors` says has happened."""
    import aiohttp
    from aiohttp.http_exceptions import HttpProcessingError

    match exc:
        case aiohttp.ClientSSLError() | ssl.SSLError() | aiohttp.ClientConnectorCertificateError():
            return "insecure"
        case aiohttp.ServerTimeoutError():
            return "late"
        case aiohttp.ClientConnectorError():
            return "unreachable"
        case aiohttp.ClientResponseError() | HttpProcessingError():
            return "not_http"
        case aiohttp.ClientError() | OSError() | EOFError():
            return "lost"
    return "unreadable"


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    import certifi  # here, as loopback needs none

    named, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if folder and not named:
        return ssl.create_default_context(capath=folder)
    return ssl.create_default_context(cafile=named or certifi.where())


def _proxy(base_url: str) -> str | None:
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(parts.scheme)
