"""The pool of connections below `http`, and what its exceptions mean: httpx's interface, aiohttp's sockets.

aiohttp, which takes nearly as long to import as httpx, is imported with the first pool.

Proxies are those of the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`), never for loopback.
Certificates are certifi's, or those of `SSL_CERT_FILE`; there is no switch to go without.
"""

import ssl
import urllib.request
import zlib
from contextvars import ContextVar
from functools import lru_cache
from typing import Literal
from urllib.parse import urlsplit

import httpx

from workbench.providers.addresses import is_loopback

Breakage = Literal["insecure", "late", "unreachable", "not_http", "lost", "unreadable"]
"""No secure connection, none in time, none at all; no HTTP, a connection that broke, or a damaged answer."""


was_opened: ContextVar[bool] = ContextVar("was_opened", default=False)
"""Whether a connection was opened for the request under way; otherwise it goes over one that was kept."""


def pooled(base_url: str, *, connect_s: float) -> httpx.AsyncBaseTransport:
    """A transport to one base URL; httpx's own pool costs more with every call under way."""
    from workbench.providers.transport import PooledTransport

    return PooledTransport(_certificates(), connect_s=connect_s, proxy=_proxy(base_url))


@lru_cache(maxsize=256)
def parsed(url: str) -> httpx.URL:
    """A provider is asked at a few addresses, and parsing one takes as long as sending to it."""
    return httpx.URL(url)


@lru_cache(maxsize=1)
def library_errors() -> tuple[type[Exception], ...]:
    """All that httpx, and the transport below it, raise for an exchange that failed."""
    import aiohttp
    from aiohttp.http_exceptions import HttpProcessingError

    of_httpx = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL)
    of_aiohttp = (aiohttp.ClientError, HttpProcessingError)
    return (*of_httpx, *of_aiohttp, OSError, EOFError, ValueError, zlib.error)


def breakage(exc: BaseException) -> Breakage:
    """What one of `library_errors` says has happened."""
    import aiohttp
    from aiohttp.http_exceptions import HttpProcessingError

    match exc:
        case aiohttp.ClientSSLError() | ssl.SSLError() | aiohttp.ClientConnectorCertificateError():
            return "insecure"
        case aiohttp.ServerTimeoutError() | httpx.TimeoutException():
            return "late"
        case aiohttp.ClientConnectorError() | httpx.ConnectError():
            return "unreachable"
        case aiohttp.ClientResponseError() | HttpProcessingError() | httpx.DecodingError():
            return "not_http"
        case aiohttp.ClientError() | httpx.HTTPError() | OSError() | EOFError():
            return "lost"
    return "unreadable"


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _proxy(base_url: str) -> httpx.Proxy | None:
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    proxy = urllib.request.getproxies().get(parts.scheme)
    return httpx.Proxy(proxy) if proxy else None
