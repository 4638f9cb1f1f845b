"""The least that a proxy can be, for `server.py`: Starlette takes a body, and aiohttp sends it on.

    python benchmarks/bare_server.py UPSTREAM PORT

No key is looked at, nothing is parsed, decided, counted or kept.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def app(upstream: str) -> Starlette:
    """Sends each chat completion to `upstream`."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            app.state.session = session
            yield

    async def complete(request: Request) -> Response:
        body, headers = await request.body(), {"content-type": "application/json"}
        session = request.app.state.session
        async with session.post(f"{upstream}/chat/completions", data=body, headers=headers) as answer:
            return Response(await answer.read(), answer.status, media_type="application/json")

    routes = [Route("/v1/chat/completions", complete, methods=["POST"])]
    return Starlette(routes=routes, lifespan=lifespan)


if __name__ == "__main__":
    uvicorn.run(
        app(sys.argv[1]),
        port=int(sys.argv[2]),
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        backlog=2048,
    )
