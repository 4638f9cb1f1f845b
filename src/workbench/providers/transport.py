"""The transport below `http`: httpx's interface, and aiohttp's connections without a detour to them.

Import it late: aiohttp takes nearly as long to import as httpx.
"""

import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.tracing import Trace
from httpx_aiohttp import AiohttpTransport
from httpx_aiohttp.transport import map_aiohttp_exceptions

from workbench.providers.pool import was_opened


class PooledTransport(AiohttpTransport):
    """Without a limit on connections: how many calls run at once is the client's business.

    It does what `AiohttpTransport` does with a body that is there and comes back undecoded, in half the time.
    What came whole with its head, as a short answer does, is there at once.
    """

    def __init__(self, certificates: ssl.SSLContext, *, connect_s: float, proxy: httpx.Proxy | None) -> None:
        super().__init__(verify=certificates, proxy=proxy, client=self._session)
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_s, sock_connect=connect_s)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response as soon as its head is there."""
        if not isinstance(self.client, aiohttp.ClientSession):
            self.client = self.get_client()
        with map_aiohttp_exceptions():
            response = await self.client.request(
                request.method,
                str(request.url),
                headers=[
                    (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw
                ],
                data=request.content or None,
                allow_redirects=False,
                **_through(self.proxy),
            )
        is_whole = response.content.is_eof()
        stream = httpx.ByteStream(response.content.read_nowait()) if is_whole else _Body(response)
        return httpx.Response(response.status, headers=response.raw_headers, stream=stream)

    def _session(self) -> aiohttp.ClientSession:
        """Made where there is an event loop."""
        return aiohttp.ClientSession(
            connector=_Connector(limit=0, ssl=self.ssl_context),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            auto_decompress=False,
        )


class _Body(httpx.AsyncByteStream):
    """What comes of a body, as it comes."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = await self._response.content.readany()
        except aiohttp.ClientError as exc:
            raise httpx.ReadError(str(exc)) from exc
        if not piece:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """Let the connection go: back into the pool, if all of the body was read."""
        self._response.release()
        await self._response.wait_for_close()


class _Connector(aiohttp.TCPConnector):
    """Notes that it opens a connection; aiohttp's tracing would tell as well, at each request."""

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - it is aiohttp's
    ) -> ResponseHandler:
        was_opened.set(True)
        return await super()._create_connection(req, traces, timeout)


def _through(proxy: httpx.Proxy | None) -> dict[str, Any]:
    if proxy is None:
        return {}
    auth = None if proxy.auth is None else aiohttp.BasicAuth(*proxy.auth)
    return {"proxy": str(proxy.url), "proxy_auth": auth, "proxy_headers": proxy.headers}
