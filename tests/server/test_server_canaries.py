"""Keys placed wherever a server takes them from, through every fault of a provider: none comes out."""

import asyncio
import itertools
import logging
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import httpx
import pytest

pytest.importorskip("keyring", reason="the extra 'keys' is not installed")
import keyrings
from faults import CANARY, FAULTS, FaultServer, refusing_port
from server.conftest import Running, running
from workbench.client import key_file
from workbench.errors import StorageError
from workbench.server.config import LimitsConfig, ProviderConfig, ServerConfig
from workbench.server.database import open_database
from workbench.settings import Secret

pytestmark = pytest.mark.anyio

DOTENV, REDIS, DATABASE = "canary/dotenv-4e8b1", "canary-redis-77d20", "canary-database-1f9c3"
KEYRING, KEY_FILE, PASSWORD = "canary/keyring-60f3a", "canary/key-file-a81c5", "canary-password-c3d92"
KEYS = {"CANARY_KEY": CANARY, "DOTENV_KEY": DOTENV, "KEYRING_KEY": KEYRING, "FILE_KEY": KEY_FILE}
"""Of providers: in the environment, in `.env`, in the system's keyring, in the encrypted file."""
OWN_LOGS = ("workbench", "uvicorn", "asyncio", "redis", "sqlalchemy")
N_AT_ONCE = 12
ASKED = ("/metrics", "/openapi.json", "/health/ready", "/admin/usage", "/admin/providers", "/admin/targets",
         "/admin/keys", "/admin/tokens", "/admin/experiments")  # fmt: skip


@asynccontextmanager
async def faulty() -> AsyncIterator[tuple[dict[str, ProviderConfig], list[FaultServer]]]:
    """A provider for each fault, with the keys of all places in turn."""
    variables = itertools.cycle(KEYS)
    async with AsyncExitStack() as stack:
        providers, servers = {}, []
        for number, name in enumerate(FAULTS):
            servers.append(await stack.enter_async_context(FaultServer(name)))
            providers[f"f{number}"] = ProviderConfig(base_url=servers[-1].url, key_var=next(variables))
        yield providers, servers


async def asked(server: Running, provider: str, slots: asyncio.Semaphore) -> str:
    """All that comes back for a whole and a streamed request, headers and bodies."""
    said = []
    turns = [{"role": "user", "content": "?"}]
    for path, is_streamed in (("/v1/chat/completions", False), ("/v1/messages", True)):
        body = {"model": f"{provider}/small", "messages": turns, "max_tokens": 20, "stream": is_streamed}
        async with slots:
            try:
                response = await server.http.post(path, json=body, headers=server.caller)
            except httpx.RemoteProtocolError as exc:
                said.append(repr(exc))
            else:
                assert response.status_code != 500, (provider, response.text)
                said.append(f"{response.headers}\n{response.text}")
    return "\n".join(said)


def kept(folder: Path) -> Iterator[tuple[str, str]]:
    """Every file that the server keeps, as it is; a database as SQL, too."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.name, path.read_bytes().decode("latin-1")
    with closing(sqlite3.connect(folder / "server.db")) as database:
        yield "rows", "\n".join(database.iterdump())


@pytest.fixture
def placed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Each key where its place is."""
    monkeypatch.setenv("CANARY_KEY", CANARY)
    Path(".env").write_text(f"DOTENV_KEY={DOTENV}\nWORKBENCH_KEY_FILE_PASSWORD={PASSWORD}\n")
    Path(".env").chmod(0o600)
    ring = keyrings.Memory()
    ring.set_password("canaries", "KEYRING_KEY", KEYRING)
    monkeypatch.setenv("WORKBENCH_KEYRING", "canaries")
    monkeypatch.setenv("WORKBENCH_KEY_FILE", str(tmp_path / "closed" / "keys"))
    key_file.write_keys(tmp_path / "closed" / "keys", {"FILE_KEY": Secret(KEY_FILE)}, Secret(PASSWORD))
    with keyrings.plugged(ring):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("placed")
async def test_no_key_comes_out_of_the_server_through_any_fault(
    config: ServerConfig,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    with refusing_port() as port:
        monkeypatch.setenv("WORKBENCH_REDIS_URL", f"redis://:{REDIS}@127.0.0.1:{port}/0")
        async with faulty() as (providers, upstreams):
            changed = {
                "providers": providers,
                "models": tuple(f"{name}/small" for name in providers),
                "prompts_are_kept": True,
                "log": "json",
                "shared": "redis",
                "limits": LimitsConfig(deadline_s=2.0),
            }
            shown = {}
            async with running(config.model_copy(update=changed)) as server:
                slots = asyncio.Semaphore(N_AT_ONCE)
                async with asyncio.TaskGroup() as group:
                    tasks = {
                        name: group.create_task(asked(server, provider, slots))
                        for name, provider in zip(FAULTS, providers, strict=True)
                    }
                shown |= {name: task.result() for name, task in tasks.items()}
                for path in ASKED:
                    shown[path] = (await server.http.get(path, headers=server.admin)).text
                shown["reprs"] = repr((server.app, vars(server.app)))
            shown |= dict(kept(config.folder))
            for upstream, key in zip(upstreams, itertools.cycle(KEYS.values()), strict=False):
                assert f"Bearer {key}" in upstream.requests[0].head
    printed = capfd.readouterr()
    shown["screen"] = printed.out + printed.err
    shown["log"] = "\n".join(
        f"{record.getMessage()} {record.exc_info}"
        for record in caplog.records
        if record.name.startswith(OWN_LOGS)
    )
    tokens = [headers["authorization"][-43:] for headers in (server.admin, server.caller)]
    secrets = [*KEYS.values(), PASSWORD, REDIS, *tokens]
    assert len(shown) > len(FAULTS) + 10
    assert "chat/completions" in shown["screen"]
    assert [(name, secret) for name, text in shown.items() for secret in secrets if secret in text] == []


def test_the_password_of_a_database_that_does_not_answer_is_in_no_part_of_the_error(tmp_path: Path) -> None:
    with refusing_port() as port:
        url = f"postgresql+psycopg://me:{DATABASE}@127.0.0.1:{port}/name"
        with pytest.raises(StorageError) as caught:
            open_database(url, tmp_path)
    exc: BaseException | None = caught.value
    while exc is not None:
        assert DATABASE not in f"{exc!r} {exc}"
        exc = exc.__cause__ or exc.__context__
