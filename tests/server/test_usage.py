"""What is kept of served requests, in SQLite and in a real PostgreSQL."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

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
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL on a Unix socket, which does not run as root."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb") or (str(programs[-1]) if programs else None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed; .ci/run installs it")
        pytest.skip("PostgreSQL is not installed")
    folder = tmp_path_factory.mktemp("postgresql")
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres")
        for parent in folder.parents:
            if parent.stat().st_uid == 0 and parent != Path("/") and parent.is_relative_to("/tmp"):
                parent.chmod(parent.stat().st_mode | 0o011)
    run = [*as_user, found, "-D", str(folder / "data"), "-A", "trust", "-U", "workbench"]
    subprocess.run(run, check=True, capture_output=True, cwd=folder)
    program = str(Path(found).with_name("postgres"))
    options = ["-D", str(folder / "data"), "-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off"]
    process = subprocess.Popen([*as_user, program, *options], stderr=subprocess.PIPE, text=True, cwd=folder)
    assert process.stderr is not None
    for line in process.stderr:
        if "ready to accept connections" in line:
            break
    yield f"postgresql+psycopg://workbench@/postgres?host={folder}"
    process.terminate()
    process.wait(timeout=30)
    process.stderr.close()


async def test_postgresql_keeps_what_was_served(postgresql: str, config: ServerConfig) -> None:
    async with running(config.model_copy(update={"database": postgresql})) as server:
        request_id = (await server.ask()).headers["x-request-id"]
        told = {"request_id": request_id, "quality": 0.25}
        assert (await server.http.post("/v1/feedback", json=told, headers=server.caller)).status_code == 200
    engine = open_database(postgresql, config.folder)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    assert [total.n_requests for total in totals(engine, by="day")] == [1]
    engine.dispose()
