"""What is kept of served requests, in SQLite and in a real PostgreSQL."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

import postgresql_server
from postgresql_server import PostgresServer
from server.conftest import MODELS, Running, running
from workbench import outcomes
from workbench.errors import StorageError
from workbench.server import database
from workbench.server.config import ServerConfig
from workbench.server.database import REVISION, metadata, open_database
from workbench.server.outcome_log import SHADOW, OutcomeLog
from workbench.server.usage import By, export, forget, totals

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


DAY_S = 86_400.0
NOON = 20_000 * DAY_S + DAY_S / 2
"""Of a day some years ago."""


def kept(engine: sa.Engine, number: int, *, at: float, **changed: object) -> None:
    """One more outcome, of half a dollar."""
    row = {
        "request_id": f"r{number}", "at": at, "key_id": "k", "tenant": "t", "arm": "auto", "router": "r",
        "asked_model": "m", "model": "m", "provider": "p", "cost_usd": 0.5, "input_tokens": 2**30,
        "output_tokens": 3, "error": None, "experiment": None,
    }  # fmt: skip
    with engine.begin() as connection:
        connection.execute(sa.insert(database.outcomes).values(row | changed))


def assert_that_what_was_spent_survives(engine: sa.Engine, folder: Path) -> None:
    for number in range(14):
        kept(engine, number, at=NOON + number * 3600.0)  # the last ones on the day after
    kept(engine, 20, at=NOON, arm=SHADOW, experiment="e", key_id="other")
    kept(engine, 21, at=NOON, error="ProviderError", cost_usd=None, input_tokens=None, output_tokens=None)
    by: tuple[By, ...] = get_args(By)
    before = {one: set(totals(engine, by=one)) for one in by}
    log = OutcomeLog(engine, folder, with_content=False)
    for hour in (0.5, 1.5, 30.0):  # the sums of a day grow
        forget(engine, before=NOON + hour * 3600.0)
        assert {one: set(totals(engine, by=one)) for one in by} == before
        assert (log.spent_usd("k"), log.spent_on_usd("e", SHADOW), log.spent_in_all_usd()) == (7.0, 0.5, 7.5)
    with engine.connect() as connection:
        tables = (database.outcomes, database.past_usage)
        counted = (sa.select(sa.func.count()).select_from(one) for one in tables)
        assert [connection.execute(one).scalar() for one in counted] == [0, 3]
    assert [one.group for one in totals(engine, by="day", since=NOON)] == ["20001"]  # whole days


def test_what_was_spent_is_known_when_the_outcomes_are_deleted(tmp_path: Path) -> None:
    assert_that_what_was_spent_survives(open_database(None, tmp_path), tmp_path)


async def test_a_budget_is_not_given_back_by_retention(config: ServerConfig) -> None:
    async with running(config) as server:
        limits = {"name": "poor", "budget_usd": 0.01}
        made = (await server.http.post("/admin/keys", json=limits, headers=server.admin)).json()
    engine = open_database(None, config.folder)
    kept(engine, 0, at=NOON, key_id=made["key_id"])
    engine.dispose()
    brief = config.model_copy(update={"retention_days": 1.0})
    async with running(brief) as server:
        await asyncio.sleep(0.2)
        assert n_kept(config) == 0
    async with running(brief) as server:
        poor = {"authorization": f"Bearer {made['token']}"}
        body = {"model": MODELS[1], "messages": [{"role": "user", "content": "2 + 2?"}]}
        refused = await server.http.post("/v1/chat/completions", json=body, headers=poor)
        assert (refused.status_code, refused.json()["error"]["code"]) == (402, "budget_exceeded")
        [used] = (await server.http.get("/admin/usage", headers=server.admin)).json()
        assert (used["group"], used["cost_usd"]) == (made["key_id"], 0.5)


def n_kept(config: ServerConfig) -> int:
    engine = open_database(None, config.folder)
    with engine.connect() as connection:
        n = connection.execute(sa.select(sa.func.count()).select_from(database.outcomes)).scalar_one()
    engine.dispose()
    return int(n)


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


def test_postgresql_knows_what_was_spent_when_the_outcomes_are_deleted(
    postgresql: PostgresServer, tmp_path: Path
) -> None:
    engine = open_database(postgresql.url, tmp_path)
    assert_that_what_was_spent_survives(engine, tmp_path)
    for number in range(100):
        kept(engine, 100 + number, at=NOON, key_id="busy")
    with ThreadPoolExecutor(4) as workers:  # those of four workers, at once
        gone = list(workers.map(lambda _: forget(engine, before=NOON + 1.0), range(4)))
    assert sum(gone) == 100
    [busy] = [one for one in totals(engine, by="key_id") if one.group == "busy"]
    assert (busy.n_requests, busy.cost_usd) == (100, 50.0)
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
