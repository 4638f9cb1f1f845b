"""A server on a free port of loopback, with the simulated models behind it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from workbench.server.config import ServerConfig
from workbench.server.in_process import serving
from workbench.server.registered import load_here
from workbench.server.server import Server
from workbench.server.targets import Load

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
async def running(config: ServerConfig, *, load: Load = load_here) -> AsyncIterator[Running]:
    """Serve `config` while the block runs; the first admin token makes a key without limits."""
    async with (
        serving(config, load=load) as served,
        httpx.AsyncClient(base_url=served.base_url, timeout=30) as http,
    ):
        made = await http.post("/admin/keys", json={"name": "test"}, headers=served.as_admin)
        caller = {"authorization": f"Bearer {made.json()['token']}"}
        yield Running(served.app, served.base_url, served.port, http, served.as_admin, caller)


@pytest.fixture
def config(tmp_path: Path) -> ServerConfig:
    return ServerConfig(models=MODELS, port=0, folder=tmp_path / "server")


@pytest.fixture
async def server(config: ServerConfig) -> AsyncIterator[Running]:
    async with running(config) as found:
        yield found
