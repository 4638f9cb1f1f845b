"""The server inside a process that does other things as well: a notebook, a test."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from workbench.errors import ConfigError
from workbench.server.config import ServerConfig
from workbench.server.registered import load_here
from workbench.server.server import Server, uvicorn_server
from workbench.server.targets import Load
from workbench.settings import Secret

_LOOK_AGAIN_S = 0.01


@dataclass(frozen=True, slots=True)
class Served:
    """A server that takes requests at `base_url`, with a token of its administrator."""

    app: Server
    base_url: str
    port: int
    admin_token: Secret

    @property
    def as_admin(self) -> dict[str, str]:
        """The header that administrators send."""
        return {"authorization": f"Bearer {self.admin_token.get_secret_value()}"}


@asynccontextmanager
async def serving(config: ServerConfig, *, load: Load = load_here) -> AsyncIterator[Served]:
    """Serve `config` while the block runs; port 0 takes a free one.

    Raises:
        WorkbenchError: what cannot work.
    """
    app, tokens = Server(config, load=load), list[Secret | None]()
    app.on_ready = tokens.append
    server = uvicorn_server(app, config)
    running = asyncio.create_task(_ended(server.serve()))
    try:
        while not server.started:
            if running.done():
                await running
                raise app.failure or ConfigError(f"port {config.port} cannot be served on; is it taken?")
            await asyncio.sleep(_LOOK_AGAIN_S)
        token = tokens[0] or app.new_admin_token()  # the first one was shown when the folder was new
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Served(app, f"http://127.0.0.1:{port}", port, token)
    finally:
        server.should_exit = True
        await running


async def _ended(serving: Coroutine[None, None, None]) -> None:
    with suppress(SystemExit):  # uvicorn's word for "not started", which would end the whole process
        await serving
