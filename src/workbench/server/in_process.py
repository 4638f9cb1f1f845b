"""The server inside a process that does other things as well: a notebook, a test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from workbench.errors import ConfigError
from workbench.server.config import ServerConfig
from workbench.server.server import Server, uvicorn_server
from workbench.server.targets import Load
from workbench.settings import Secret

_LOOK_AGAIN_S = 0.01


@dataclass(frozen=True, slots=True)
class Served:
    """A server that takes requests at `base_url`, with the first token of its administrator."""

    app: Server
    base_url: str
    port: int
    admin_token: Secret

    @property
    def as_admin(self) -> dict[str, str]:
        """The header that administrators send."""
        return {"authorization": f"Bearer {self.admin_token.get_secret_value()}"}


@asynccontextmanager
async def serving(config: ServerConfig, *, load: Load | None = None) -> AsyncIterator[Served]:
    """Serve `config` while the block runs; port 0 takes a free one.

    Raises:
        ConfigError, StorageError: what cannot work; or the database has an admin token already, which nobody
            can show again.
    """
    app, tokens = Server(config, load=load), list[Secret | None]()
    app.on_ready = tokens.append
    server = uvicorn_server(app, config)
    running = asyncio.create_task(server.serve())
    try:
        while not server.started:
            if running.done():
                await running
                raise ConfigError(f"the server did not start on port {config.port}; is it taken?")
            await asyncio.sleep(_LOOK_AGAIN_S)
        if tokens[0] is None:
            raise ConfigError(f"{config.folder} was served from before; take an empty folder")
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Served(app, f"http://127.0.0.1:{port}", port, tokens[0])
    finally:
        server.should_exit = True
        await running
