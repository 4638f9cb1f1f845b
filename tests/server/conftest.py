"""A server on a free port of loopback, with the simulated models behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from workbench.server.config import ServerConfig
from workbench.server.server import Server, uvicorn_server
from workbench.server.targets import Load
from workbench.settings import Secret

MODELS = ("simulator/sim-small", "simulator/sim-large")


@dataclass(frozen=True)
class Running:
    """A server that takes requests; `http` has its address, `admin` and `caller` are headers with tokens."""

    app: Server
    base_url: str
    port: int
    http: httpx.AsyncClient
    admin: dict[str, str]
    caller: dict[str, str]

    async def ask(self, text: str = "What is 2 + 2?", **fields: object) -> httpx.Response:
        """A chat completion of the large model, asked by the caller."""
        body = {"model": MODELS[1], "messages": [{"role": "user", "content": text}]} | fields
        return await self.http.post("/v1/chat/completions", json=body, headers=self.caller)


@asynccontextmanager
async def running(config: ServerConfig, *, load: Load | None = None) -> AsyncIterator[Running]:
    """Serve `config` while the block runs; the first admin token makes a key without limits."""
    app = Server(config, load=load)
    tokens: list[Secret | None] = []
    app.on_ready = tokens.append
    server = uvicorn_server(app, config)
    serving = asyncio.create_task(server.serve())
    try:
        while not server.started:
            if serving.done():
                await serving
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        base_url = f"http://127.0.0.1:{port}"
        assert tokens[0] is not None
        admin = {"authorization": f"Bearer {tokens[0].get_secret_value()}"}
        async with httpx.AsyncClient(base_url=base_url, timeout=30) as http:
            made = await http.post("/admin/keys", json={"name": "test"}, headers=admin)
            caller = {"authorization": f"Bearer {made.json()['token']}"}
            yield Running(app, base_url, port, http, admin, caller)
    finally:
        server.should_exit = True
        await serving


@pytest.fixture
def config(tmp_path: Path) -> ServerConfig:
    return ServerConfig(models=MODELS, port=0, folder=tmp_path / "server")


@pytest.fixture
async def server(config: ServerConfig) -> AsyncIterator[Running]:
    async with running(config) as found:
        yield found
