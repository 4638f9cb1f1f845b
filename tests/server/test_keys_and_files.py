"""Tokens of administrators, and where secrets must not be: open files, the server's own file, reprs."""

import stat
import sys
from pathlib import Path

import pytest
import yaml

from server.conftest import MODELS, Running, running
from workbench import cli
from workbench.errors import ConfigError
from workbench.server.config import ServerConfig, load_config
from workbench.server.database import open_database

pytestmark = pytest.mark.anyio


async def test_the_first_admin_token_is_shown_once_and_kept_as_a_hash(config: ServerConfig) -> None:
    async with running(config) as server:
        token = server.admin["authorization"].removeprefix("Bearer ")
    kept = [path.read_bytes() for path in config.folder.rglob("*") if path.is_file()]
    assert not [content for content in kept if token[-43:].encode() in content]


async def test_admin_tokens_are_changed_and_the_last_one_stays(server: Running) -> None:
    made = (await server.http.post("/admin/tokens", headers=server.admin)).json()
    new = {"authorization": f"Bearer {made['token']}"}
    first, second = sorted(
        (await server.http.get("/admin/tokens", headers=new)).json(), key=lambda one: one["created_at"]
    )
    assert second["token_id"] == made["token_id"]
    assert (await server.http.delete(f"/admin/tokens/{first['token_id']}", headers=new)).status_code == 204
    assert (await server.http.get("/admin/tokens", headers=server.admin)).status_code == 401
    last = await server.http.delete(f"/admin/tokens/{made['token_id']}", headers=new)
    assert (last.status_code, last.json()["error"]["code"]) == (409, "last_token")
    assert (await server.http.delete("/admin/tokens/x", headers=new)).status_code == 404


async def test_a_lost_admin_token_is_replaced_by_whoever_has_the_machine(
    config: ServerConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "server.yaml").write_text(yaml.safe_dump({"models": list(MODELS), "folder": "server"}))
    async with running(config.model_copy(update={"reload_s": 0.05})) as server:
        lost = server.admin["authorization"].split("-")[1]
        new = {"authorization": f"Bearer {said(['server-token', 'server.yaml'], monkeypatch, capsys)}"}
        assert said(["server-token", "server.yaml", "--revoke", lost], monkeypatch, capsys) == "revoked"
        for _ in range(100):
            if (await server.http.get("/admin/keys", headers=server.admin)).status_code == 401:
                break
        assert (await server.http.get("/admin/keys", headers=new)).status_code == 200


def said(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command line says of `arguments`."""
    monkeypatch.setattr(sys, "argv", ["workbench", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code in (0, None)
    return capsys.readouterr().out.strip()


async def test_nobody_else_on_the_machine_can_read_what_the_server_keeps(
    server: Running, config: ServerConfig
) -> None:
    await server.ask()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in config.folder.rglob("*")}
    assert {"server.db", "server.db-wal"} <= set(modes)
    assert [name for name, mode in modes.items() if mode & (stat.S_IRWXG | stat.S_IRWXO)] == []
    assert stat.S_IMODE(config.folder.stat().st_mode) == 0o700


def test_a_database_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "server.db").touch(mode=0o644)
    open_database(None, tmp_path).dispose()
    assert stat.S_IMODE((tmp_path / "server.db").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ({"api_key": "canary"}, "api_key"),
        ({"models": ["sk-canary0123456789abcdef"]}, "looks like a key"),
        ({"providers": {"lab": {"base_url": "http://x/v1", "key": "canary"}}}, "providers.lab.key"),
        ({"providers": {"lab": {"base_url": "http://me:canary@x/v1"}}}, "providers.lab"),
        ({"database": "postgresql+psycopg://me:canary@host/name"}, "database"),
        ({"redis_url": "redis://:canary@host/0"}, "redis_url"),
    ],
    ids=["name", "form", "provider", "address", "database", "redis"],
)  # fmt: skip
def test_the_servers_file_may_have_no_secret_and_its_refusal_says_none(
    tmp_path: Path, written: dict[str, object], named: str
) -> None:
    (tmp_path / "server.yaml").write_text(yaml.safe_dump({"models": list(MODELS)} | written))
    with pytest.raises(ConfigError, match=named) as caught:
        load_config(tmp_path / "server.yaml")
    assert "canary" not in str(caught.value)


def test_the_address_of_a_database_is_not_shown() -> None:
    config = ServerConfig(models=MODELS, database="postgresql+psycopg://me:canary@host/name")
    assert "canary" not in repr(config) + str(config)
