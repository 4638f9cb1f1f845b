"""A Redis for each worker, and the stores that must all do the same."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from redis_server import RedisServer, serving
from workbench.cache import DiskStore, MemoryStore, Store
from workbench.cache.redis import RedisStore


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that no test ends."""
    with serving(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["memory", "disk", "redis"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Each kind of store, empty."""
    if request.param == "memory":
        made: Store = MemoryStore()
    elif request.param == "disk":
        made = DiskStore(tmp_path / "answers")
    else:
        server: RedisServer = request.getfixturevalue("redis")
        server.command("FLUSHALL")
        made = RedisStore(server.url, patience_s=5.0)
    yield made
    await made.aclose()
