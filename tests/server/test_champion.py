"""Routers by the alias of a real MLflow registry: served anew when it moves, and as before when it fails."""

import asyncio
import logging
import re
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from loopback import answering
from loopback import serving as answering_at
from server.conftest import MODELS, Running, running
from workbench.errors import CheckpointError, ConfigError, TrackingError, WorkbenchError
from workbench.routing.baselines import Fixed
from workbench.server.alias import version_at
from workbench.server.config import ServerConfig
from workbench.server.registered import load, load_here
from workbench.server.targets import Target

tracking = pytest.importorskip("workbench.tracking", reason="the extra 'tracking' is not installed")
from workbench.tracking.store import connected  # noqa: E402 - needs mlflow

pytestmark = pytest.mark.anyio

CHAMPION, CHALLENGER = "router:fleet@champion", "router:fleet@challenger"
ROUTERS = {"fleet@champion": CHAMPION, "fleet@challenger": CHALLENGER}
SMALL, LARGE = MODELS
ABROAD = ("openai/gpt-4.1", SMALL)
VERSIONS = ((SMALL, MODELS), (LARGE, MODELS), (ABROAD[0], ABROAD), (SMALL, ABROAD))
ARMS = [
    {"name": "champion", "target": CHAMPION, "share": 0.5},
    {"name": "challenger", "target": CHALLENGER, "share": 0.5},
]
BY_ALIAS = {"name": "by-alias", "target": CHAMPION, "unit": "request", "arms": ARMS}


@pytest.fixture(scope="module")
def filled(fresh_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry in which fleet/1, the champion, asks the small model, and fleet/2 the large one.

    fleet/3 asks a provider that the server has no key of; the artifact of fleet/4 is damaged.
    """
    path = tmp_path_factory.mktemp("registry") / "mlflow.db"
    shutil.copy(fresh_store, path)
    uri = f"sqlite:///{path}"
    for model_id, candidates in VERSIONS:
        card = tracking.ModelCard(f"of {candidates}", {}, {}, ["2 + 2?"], candidates=candidates)
        tracking.register(tracking.log_router(Fixed(model_id), card, uri=uri), "fleet", uri=uri)
    tracking.set_alias("fleet/2", "challenger", uri=uri)
    with connected(uri) as client:
        model_id = tracking.versions("fleet", uri=uri)[0].model_id
        location = str(client.get_logged_model(model_id).artifact_location).removeprefix("file://")
    (Path(location) / "data" / "router" / "router.ckpt").write_bytes(b"PK\3\4 damaged")
    return path


@pytest.fixture
def registry(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A copy of it, which the server is set to."""
    with closing(sqlite3.connect(filled)) as source, closing(sqlite3.connect(tmp_path / "mlflow.db")) as copy:
        source.backup(copy)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("WORKBENCH_TRACKING_URI", uri)
    return uri


@pytest.fixture
def by_alias(config: ServerConfig, registry: str) -> ServerConfig:
    return config.model_copy(update={"routers": ROUTERS, "reload_s": 0.1, "judge_s": 0.1})


@pytest.fixture
async def served(by_alias: ServerConfig) -> AsyncIterator[Running]:
    async with running(by_alias) as server:
        yield server


def move(uri: str, version: int, alias: str = "champion") -> None:
    tracking.set_alias(f"fleet/{version}", alias, uri=uri)


def remove(uri: str, alias: str) -> None:
    with connected(uri) as client:
        client.delete_registered_model_alias("fleet", alias)


async def decided(server: Running, target: str = CHAMPION) -> tuple[str, str]:
    """Which version of a router decided, and for which model."""
    headers = (await server.ask(model=target)).headers
    return headers["x-workbench-router-version"], headers["x-workbench-model"]


async def problems(server: Running) -> dict[str, str]:
    shown = (await server.http.get("/admin/targets", headers=server.admin)).json()
    return {one["name"]: one["problem"] for one in shown if one["problem"]}


async def until(is_so: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not await is_so():
            await asyncio.sleep(0.05)


async def test_an_alias_that_is_moved_is_served_without_a_restart(served: Running, registry: str) -> None:
    assert await decided(served) == ("router:fleet/1", SMALL)
    assert await decided(served, CHALLENGER) == ("router:fleet/2", LARGE)
    move(registry, 2)

    async def is_moved() -> bool:
        return await decided(served) == ("router:fleet/2", LARGE)

    await until(is_moved)
    assert not await problems(served)


async def test_what_is_under_way_ends_as_it_began(served: Running, registry: str) -> None:
    body = {"model": CHAMPION, "stream": True, "messages": [{"role": "user", "content": "What is 2 + 2?"}]}
    async with served.http.stream("POST", "/v1/chat/completions", json=body, headers=served.caller) as stream:
        lines = stream.aiter_lines()
        first = await anext(lines)
        move(registry, 2)
        await served.http.post("/admin/targets/reload", headers=served.admin)
        assert await decided(served) == ("router:fleet/2", LARGE)
        rest = [line async for line in lines if line]
    assert first.startswith("data: {")
    assert rest[-1] == "data: [DONE]"
    assert stream.headers["x-workbench-router-version"] == "router:fleet/1"


def without_alias(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    remove(uri, "champion")


def unreachable(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_TRACKING_URI", "http://127.0.0.1:9")


def damaged(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    move(uri, 4)


def elsewhere(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    move(uri, 3)


FAULTS = {
    "without_alias": (without_alias, ConfigError, "'fleet'.* has .*alias 'champion'"),
    "unreachable": (unreachable, TrackingError, "store http://127.0.0.1:9 did not answer for its routers"),
    "damaged": (damaged, CheckpointError, "router:fleet/4 was not loaded: its checkpoint has the SHA-256"),
}


@pytest.mark.parametrize(("break_it", "told"), [(one, told) for one, _, told in FAULTS.values()], ids=FAULTS)
async def test_the_former_champion_serves_while_the_new_one_cannot_be_loaded(
    served: Running,
    registry: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    break_it: Callable[..., None],
    told: str,
) -> None:
    with caplog.at_level(logging.WARNING, "workbench"):
        break_it(registry, monkeypatch)
        await until(lambda: problems(served))
        for _ in range(3):
            await served.http.post("/admin/targets/reload", headers=served.admin)
    [line] = [one.getMessage() for one in caplog.records if "fleet@champion was not loaded" in one.message]
    assert re.search(told, line)
    assert (await problems(served))[CHAMPION] in line
    assert await decided(served) == ("router:fleet/1", SMALL)
    ready = await served.http.get("/health/ready", headers=served.admin)
    [part] = [one for one in ready.json()["parts"] if one["part"] == "routers"]
    assert (ready.status_code, part["health"]) == (200, "impaired")


async def test_a_champion_that_asks_where_the_server_has_no_key_is_not_taken(
    served: Running, registry: str
) -> None:
    move(registry, 3)
    await until(lambda: problems(served))
    assert "openai" in (await problems(served))[CHAMPION]
    assert await decided(served) == ("router:fleet/1", SMALL)
    move(registry, 2)

    async def is_well() -> bool:
        return not await problems(served)

    await until(is_well)
    assert await decided(served) == ("router:fleet/2", LARGE)


@pytest.mark.parametrize(("break_it", "error", "told"), FAULTS.values(), ids=FAULTS)
async def test_what_was_never_served_is_one_clear_error_at_the_start(
    by_alias: ServerConfig,
    registry: str,
    monkeypatch: pytest.MonkeyPatch,
    break_it: Callable[..., None],
    error: type[WorkbenchError],
    told: str,
) -> None:
    break_it(registry, monkeypatch)
    with pytest.raises(error, match=told):
        async with running(by_alias):
            pass


@pytest.mark.parametrize("break_it", [one for one, _, _ in FAULTS.values()], ids=FAULTS)
async def test_a_server_that_is_started_again_serves_what_it_served_last(
    by_alias: ServerConfig, registry: str, monkeypatch: pytest.MonkeyPatch, break_it: Callable[..., None]
) -> None:
    async with running(by_alias):
        pass
    break_it(registry, monkeypatch)
    async with running(by_alias) as server:
        assert await decided(server) == ("router:fleet/1", SMALL)
        assert CHAMPION in await problems(server)
    modes = {path.stat().st_mode & 0o777 for path in (by_alias.folder / "routers").iterdir()}
    assert modes == {0o600}


async def test_a_version_that_was_served_before_is_not_fetched_again(
    by_alias: ServerConfig, registry: str
) -> None:
    loads = list[tuple[Target | None, Target]]()

    def watched(address: str, former: Target | None) -> Target:
        loads.append((former, load_here(address, former)))
        return loads[-1][1]

    patient = by_alias.model_copy(update={"reload_s": 60.0})
    for _ in range(2):
        async with running(patient, load=watched):
            pass
    assert [former is newest for former, newest in loads] == [False, False, True, True]
    move(registry, 2)
    async with running(patient, load=watched) as server:
        assert await decided(server) == ("router:fleet/2", LARGE)


async def test_what_is_kept_for_a_start_is_of_its_address_and_whole(
    by_alias: ServerConfig, registry: str
) -> None:
    async with running(by_alias):
        pass
    remove(registry, "challenger")
    other = by_alias.model_copy(update={"routers": {"fleet@champion": CHALLENGER}})
    with pytest.raises(ConfigError, match="no alias 'challenger'"):
        async with running(other):
            pass
    remove(registry, "champion")
    for saved in (by_alias.folder / "routers").glob("*.ckpt"):
        saved.write_bytes(saved.read_bytes()[:-1])
    with pytest.raises(ConfigError, match="no alias 'champion'"):
        async with running(by_alias):
            pass


async def begun(server: Running, **changed: object) -> dict[str, Any]:
    answer = await server.http.post("/admin/experiments", json=BY_ALIAS | changed, headers=server.admin)
    assert answer.status_code == 201
    return answer.json()


async def standing(server: Running) -> dict[str, Any]:
    return (await server.http.get("/admin/experiments", headers=server.admin)).json()[0]


async def told(server: Running) -> None:
    """One request, and that the large model is liked."""
    given = await server.ask(model=CHAMPION)
    quality = float(given.headers["x-workbench-model"] == LARGE)
    said = {"request_id": given.headers["x-request-id"], "quality": quality}
    assert (await server.http.post("/v1/feedback", json=said, headers=server.caller)).status_code == 200


async def test_champion_and_challenger_are_compared_by_alias_and_the_winner_is_a_version(
    served: Running, registry: str
) -> None:
    assert (await begun(served))["versions"] == {CHAMPION: "router:fleet/1", CHALLENGER: "router:fleet/2"}

    async def is_decided() -> bool:
        await asyncio.gather(*(told(served) for _ in range(30)))
        return (await standing(served))["state"] != "running"

    await until(is_decided)
    found = await standing(served)
    assert (found["state"], found["serves"]) == ("promoted", "challenger")
    assert await decided(served) == ("router:fleet/2", LARGE)
    tracking.promote("fleet", uri=registry)
    move(registry, 1, "challenger")  # the next one, which has won nothing
    await served.http.post("/admin/targets/reload", headers=served.admin)
    assert await decided(served, CHALLENGER) == ("router:fleet/1", SMALL)
    assert await decided(served) == ("router:fleet/2", LARGE)


async def test_an_experiment_ends_when_an_alias_of_its_arms_is_moved(served: Running, registry: str) -> None:
    await begun(served)
    assert "x-workbench-experiment" in (await served.ask(model=CHAMPION)).headers
    move(registry, 1, "challenger")

    async def is_stopped() -> bool:
        return (await standing(served))["state"] == "stopped"

    await until(is_stopped)
    assert "x-workbench-experiment" not in (await served.ask(model=CHAMPION)).headers


async def test_a_worker_that_has_not_looked_since_does_not_stop_an_experiment_of_another(
    by_alias: ServerConfig, registry: str
) -> None:
    late = by_alias.model_copy(update={"reload_s": 60.0})
    async with running(late) as other, running(late) as server:
        move(registry, 1, "challenger")
        await server.http.post("/admin/targets/reload", headers=server.admin)
        assert (await begun(server))["versions"][CHALLENGER] == "router:fleet/1"
        await asyncio.sleep(0.3)
        assert (await standing(other))["state"] == "running"
        assert "x-workbench-experiment" not in (await other.ask(model=CHAMPION)).headers
        await other.http.post("/admin/targets/reload", headers=other.admin)
        assert "x-workbench-experiment" in (await other.ask(model=CHAMPION)).headers


async def test_an_address_without_an_alias_stands_for_the_champion_and_a_version_for_itself(
    registry: str,
) -> None:
    addresses = ("router:fleet", "router:fleet@challenger", "router:fleet/1")
    assert [version_at(one, registry) for one in addresses] == [f"router:fleet/{n}" for n in (1, 2, 1)]


KNOWN = {"model_version": {"name": "fleet", "version": "3"}}
ABSENT = {"error_code": "INVALID_PARAMETER_VALUE", "message": "Registered model alias champion not found."}


async def asked_over_http(body: object, status: int) -> str | None:
    path = "/api/2.0/mlflow/registered-models/alias"
    async with answering_at(("GET", path, answering(body, status=status))) as url:
        return await asyncio.to_thread(version_at, CHAMPION, url)


async def test_a_server_of_mlflow_is_asked_over_http() -> None:
    assert await asked_over_http(KNOWN, 200) == "router:fleet/3"
    assert await asked_over_http({"error_code": "PERMISSION_DENIED"}, 403) is None
    assert await asked_over_http(b"<html>", 502) is None
    with pytest.raises(ConfigError, match="no version of router 'fleet' has the alias 'champion'"):
        await asked_over_http(ABSENT, 400)


@pytest.mark.parametrize(
    ("variables", "sent"),
    [
        ({}, None),
        ({"TOKEN": "canary"}, "Bearer canary"),
        ({"USERNAME": "me", "PASSWORD": "canary", "TOKEN": "other"}, "Basic bWU6Y2FuYXJ5"),
    ],
    ids=["none", "token", "password"],
)
async def test_a_server_of_mlflow_is_told_who_asks(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], sent: str | None
) -> None:
    seen = list[str | None]()

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("authorization"))
        return web.json_response(KNOWN)

    for name, value in variables.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    async with answering_at(("GET", "/api/2.0/mlflow/registered-models/alias", answer)) as url:
        assert await asyncio.to_thread(version_at, CHAMPION, url) == "router:fleet/3"
    assert seen == [sent]


@pytest.mark.slow
def test_a_process_of_its_own_fetches_a_router_or_says_why_not(registry: str) -> None:
    with ThreadPoolExecutor() as pool:
        fine = pool.submit(load, CHAMPION)
        refused = pool.submit(load, "router:fleet@nobody")
        target = fine.result()
        with pytest.raises(ConfigError, match="loaded: router 'fleet' has no alias 'nobody'") as caught:
            refused.result()
    assert (target.version, target.candidates) == ("router:fleet/1", MODELS)
    assert load(CHAMPION, target) is target
    assert "Traceback" not in str(caught.value)
