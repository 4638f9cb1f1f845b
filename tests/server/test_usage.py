"""What is kept of served requests, in SQLite and in a real PostgreSQL."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

import postgresql_server
from postgresql_server import PostgresServer
from server.conftest import Running, running
from workbench import outcomes
from workbench.errors import StorageError
from workbench.server.config import ServerConfig
from workbench.server.database import REVISION, metadata, open_database
from workbench.server.usage import export, forget, totals

pytestmark = pytest.mark.anyio


def test_the_migrations_make_the_tables_that_the_code_describes(tmp_path: Path) -> None:
    engine = open_database(None, tmp_path)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_database_that_has_had_every_migration_is_known_by_its_revision(tmp_path: Path) -> None:
    with open_database(None, tmp_path).connect() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == REVISION


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    with open_database(None, tmp_path).begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StorageError, match="newer than this workbench"):
        open_database(None, tmp_path)


def test_processes_that_start_together_make_the_tables_once(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from workbench.server.database import open_database; " \
           "open_database(None, Path(sys.argv[1])).connect()"  # fmt: skip
    started = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(4)]
    assert [process.wait(timeout=120) for process in started] == [0] * 4


async def test_feedback_is_of_the_tenant_that_was_served(server: Running) -> None:
    request_id = (await server.ask()).headers["x-request-id"]
    told = {"request_id": request_id, "quality": 0.5}
    other = await server.http.post("/admin/keys", json={"name": "b", "tenant": "b"}, headers=server.admin)
    stranger = {"authorization": f"Bearer {other.json()['token']}"}
    assert (await server.http.post("/v1/feedback", json=told, headers=stranger)).status_code == 404
    assert (await server.http.post("/v1/feedback", json=told, headers=server.caller)).json() == told
    wrong = told | {"quality": 2}
    assert (await server.http.post("/v1/feedback", json=wrong, headers=server.caller)).status_code == 400


async def test_what_was_served_is_an_outcome_table(config: ServerConfig, tmp_path: Path) -> None:
    async with running(config.model_copy(update={"prompts_are_kept": True})) as server:
        served = [await server.ask(f"What is {n} + 2?", user="u") for n in range(3)]
        told = {"request_id": served[0].headers["x-request-id"], "quality": 1.0}
        await server.http.post("/v1/feedback", json=told, headers=server.caller)
    engine = open_database(None, config.folder)
    assert export(engine, tmp_path / "served.parquet") == 3
    table = outcomes.read(tmp_path / "served.parquet")
    assert set(table["prompt"]) == {"What is 0 + 2?", "What is 1 + 2?", "What is 2 + 2?"}
    assert table["cluster"].nunique() == 1
    assert table["quality"].tolist()[0] == 1.0
    assert table["propensity"].tolist() == [1.0] * 3
    [total] = totals(engine, by="model")
    assert (total.group, total.n_requests) == ("sim-large", 3)
    assert total.cost_usd == pytest.approx(table["cost_usd"].sum())
    assert forget(engine, before=pd.Timestamp.now().timestamp() + 1) == 3


async def test_prompts_are_kept_only_where_the_server_is_told_to(
    server: Running, config: ServerConfig
) -> None:
    canary = "canary-of-a-prompt"
    await server.ask(canary)
    await asyncio.sleep(0.6)
    files = [path.read_bytes() for path in config.folder.iterdir() if path.is_file()]
    assert files
    assert not any(canary.encode() in content for content in files)


@pytest.fixture(scope="module")
def started() -> Iterator[PostgresServer]:
    with postgresql_server.serving() as server:
        yield server


@pytest.fixture
def postgresql(started: PostgresServer) -> PostgresServer:
    """One that is empty."""
    engine = sa.create_engine(started.url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()
    return started


async def test_postgresql_keeps_what_was_served(postgresql: PostgresServer, config: ServerConfig) -> None:
    changed = {"database": postgresql.url, "prompts_are_kept": True}
    async with running(config.model_copy(update=changed)) as server:
        request_id = (await server.ask("a NUL: \0")).headers["x-request-id"]
        told = {"request_id": request_id, "quality": 0.25}
        assert (await server.http.post("/v1/feedback", json=told, headers=server.caller)).status_code == 200
    engine = open_database(postgresql.url, config.folder)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    assert [total.n_requests for total in totals(engine, by="day")] == [1]
    engine.dispose()


async def database_health(server: Running) -> tuple[int, str]:
    answer = await server.http.get("/health/ready", headers=server.admin)
    parts = {part["part"]: part["health"] for part in answer.json()["parts"]}
    return answer.status_code, parts["database"]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["dead", "hanging"])
async def test_requests_are_served_and_kept_while_postgresql_is_not_there(
    postgresql: PostgresServer, config: ServerConfig, fault: str
) -> None:
    async with running(config.model_copy(update={"database": postgresql.url})) as server:
        with contextlib.ExitStack() as stack:
            if fault == "dead":
                postgresql.kill()
                stack.callback(postgresql.start)
            else:
                stack.enter_context(postgresql.stopped())
            answers = [await server.ask() for _ in range(3)]
            assert [answer.status_code for answer in answers] == [200] * 3
            assert await database_health(server) == (200, "impaired")
            await asyncio.sleep(0.5)
            assert (await server.ask()).status_code == 200
        while await database_health(server) != (200, "well"):
            await asyncio.sleep(0.1)
        request_id = answers[0].headers["x-request-id"]
        told = {"request_id": request_id, "quality": 0.25}
        assert (await server.http.post("/v1/feedback", json=told, headers=server.caller)).status_code == 200
        key_id = server.caller["authorization"].split("-")[1]
    engine = open_database(postgresql.url, config.folder)
    found = {total.group: total.n_requests for total in totals(engine, by="key_id")}
    engine.dispose()
    assert found[key_id] == 4
