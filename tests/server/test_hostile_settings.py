"""Files, names and numbers that were made to do harm to a server: each is refused, and reaches no file."""

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from server.conftest import MODELS, Running
from workbench.errors import ConfigError, WorkbenchError
from workbench.routing.baselines import Fixed
from workbench.server.config import load_config
from workbench.server.router_shelf import RouterShelf
from workbench.server.targets import Target
from workbench.server.tokens import NewToken, new_token

pytestmark = pytest.mark.anyio

LAUGHS = "a: &a [x, x, x, x, x]\nmodels: &b [*a, *a, *a, *a, *a]\nauto: [*b, *b, *b]\n"
PATHS = ["../x", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", ".hidden", "", "x" * 101, "a\0b", "a\nb"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("models: !!python/object/apply:os.system [touch harm]\n", "not plain YAML"),
        ("models: !!python/name:os.system\n", "not plain YAML"),
        (LAUGHS, "anchors and aliases"),
        ("models: [a/b]\nmodels: [c/d]\n", "models"),
        ("models: " + "[" * 5_000, "server.yaml"),
        ("#" * 1_000_001, "at most 1,000,000"),
        ("- models\n", "mapping of keys"),
        ("models: [a/b]\nport: 99999\n", "port"),
        ("models: [a/b]\ncommand: rm\n", "command"),
    ],
    ids=["object", "name", "laughs", "twice", "deep", "huge", "list", "port", "unknown"],
)
def test_a_servers_file_that_is_made_to_do_harm_is_one_error(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "server.yaml").write_text(text)
    with pytest.raises(WorkbenchError, match=told) as caught:
        load_config(tmp_path / "server.yaml")
    assert "experiment" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["server.yaml"]


def test_nothing_in_a_servers_file_is_filled_in_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "lab/canary")
    (tmp_path / "server.yaml").write_text("models: [$CANARY, '${CANARY}', '%CANARY%', '{{CANARY}}']\n")
    models = load_config(tmp_path / "server.yaml").models
    assert models == ("$CANARY", "${CANARY}", "%CANARY%", "{{CANARY}}")


def test_a_file_that_is_not_there_is_called_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match=r"server.*none\.yaml"):
        load_config(tmp_path / "none.yaml")


@pytest.mark.parametrize("name", PATHS, ids=repr)
async def test_an_experiment_is_called_nothing_that_could_be_a_path(server: Running, name: str) -> None:
    arms = [{"name": model[-5:], "target": model, "share": 0.5} for model in MODELS]
    spec = {"name": name, "target": MODELS[0], "arms": arms}
    assert (await server.http.post("/admin/experiments", json=spec, headers=server.admin)).status_code == 400
    assert (await server.http.get("/admin/experiments", headers=server.admin)).json() == []


@pytest.mark.parametrize("path", ["/admin/experiments/..%2f..%2fx/stop", "/admin/experiments/%00/stop"])
async def test_what_is_not_there_cannot_be_stopped(server: Running, path: str) -> None:
    assert (await server.http.post(path, headers=server.admin)).status_code == 404


@pytest.mark.parametrize("request_id", [*PATHS[:5], "a\0b", "' OR 1=1 --", "%", "\ud800"], ids=repr)
async def test_a_request_of_another_name_is_not_there_to_be_scored(server: Running, request_id: str) -> None:
    own = (await server.ask()).headers["x-request-id"]
    body = json.dumps({"request_id": request_id, "quality": 1.0})
    scored = await server.http.post("/v1/feedback", content=body, headers=server.caller)
    assert scored.status_code in (400, 404)
    told = {"request_id": own, "quality": 1.0}
    assert (await server.http.post("/v1/feedback", json=told, headers=server.caller)).status_code == 200


async def test_no_caller_sees_usage_of_anybody(server: Running) -> None:
    for path in ("/admin/usage", "/admin/usage?by=tenant", "/metrics", "/admin/experiments"):
        assert (await server.http.get(path, headers=server.caller)).status_code == 401
    for path in ("/v1/usage", "/v1/feedback/x", "/v1/requests/x"):
        assert (await server.http.get(path, headers=server.caller)).status_code == 404


def test_a_router_of_any_name_is_kept_inside_its_folder(tmp_path: Path) -> None:
    shelf = RouterShelf(tmp_path / "server" / "routers")
    for name in ("../../x", "/etc/passwd", "a\0b", "x" * 300, "CON"):
        shelf.keep(name, "router:x", Target(Fixed("a/b"), ("a/b",), "router:x/1"))
        assert shelf.kept(name, "router:x") is not None
        assert shelf.kept(name, "router:y") is None
    assert [path.name for path in tmp_path.iterdir()] == ["server"]
    assert {path.parent.name for path in tmp_path.rglob("*") if path.is_file()} == {"routers"}


LOOKS: list[Callable[[NewToken], object]] = [repr, str, asdict, copy.copy, copy.deepcopy, lambda one: [one]]


@pytest.mark.parametrize("look", LOOKS, ids=["repr", "str", "asdict", "copy", "deepcopy", "list"])
def test_no_way_of_looking_shows_a_new_token(look: Callable[[NewToken], object]) -> None:
    made = new_token()
    assert made.token.get_secret_value()[-43:] not in repr(look(made))
    with pytest.raises(TypeError):
        pickle.dumps(made)


def test_a_file_that_refuses_its_keys_names_every_problem(tmp_path: Path) -> None:
    (tmp_path / "server.yaml").write_text("port: -1\nworkers: 0\n")
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "server.yaml")
    assert str(caught.value).count("server.yaml") == 2
