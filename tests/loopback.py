"""A loopback HTTP server of routes written in a test: real requests, real sockets."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(*routes: tuple[str, str, Respond], max_bytes: int = 2**28) -> AsyncIterator[str]:
    """The base URL of a server of `routes`: method, path, and what answers it."""
    app = web.Application(client_max_size=max_bytes)
    for method, path, respond in routes:
        app.router.add_route(method, path, respond)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def answering(body: object, *, status: int = 200) -> Respond:
    """Answers every request with `body` as JSON, or as it is where it is bytes."""

    async def respond(_request: web.Request) -> web.StreamResponse:
        if isinstance(body, bytes):
            return web.Response(body=body, status=status)
        return web.json_response(body, status=status)

    return respond
