"""The rows of providers: well formed, keys from the environment or `.env`, clear errors."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from faults import CANARY, FaultServer
from workbench.errors import ConfigError
from workbench.providers import registry
from workbench.providers.registry import ENDPOINTS, Endpoint
from workbench.settings import Secret
from workbench.types import Decoding, Prompt


@pytest.mark.parametrize("row", ENDPOINTS, ids=lambda row: row.name)
def test_a_row_is_well_formed(row: Endpoint) -> None:
    assert "/" not in row.name
    if row.base_url is None:
        assert row.name == registry.SIMULATOR
        return
    parts = urlsplit(row.base_url)
    is_local = parts.hostname == "localhost"
    assert parts.scheme == ("http" if is_local else "https")
    assert (row.key_var is None) == is_local
    assert not row.base_url.endswith("/")


def test_names_and_keys_are_unique() -> None:
    assert len({row.name for row in ENDPOINTS}) == len(ENDPOINTS)
    keys = [row.key_var for row in ENDPOINTS if row.key_var]
    assert len(set(keys)) == len(keys)


def test_a_misspelt_provider_gets_a_hint() -> None:
    with pytest.raises(ConfigError, match=r"no provider 'opanai'.*openai"):
        registry.provider("opanai")


def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"OPENAI_API_KEY is not set; export it or put it in \.env"):
        registry.provider("openai")


async def header_sent(name: str, url: str, **settings: Secret) -> None:
    provider = registry.provider(name, base_url=url, **settings)
    await provider.complete("small", Prompt("p1", "2 + 2?"), Decoding(), deadline_s=5.0)
    await provider.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize("where", ["environment", "file", "argument"])
async def test_a_key_comes_from_the_argument_the_environment_or_a_file(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    if where == "environment":
        monkeypatch.setenv("GROQ_API_KEY", CANARY)
    if where == "file":
        Path(".env").write_text(f"GROQ_API_KEY={CANARY}\n")
        Path(".env").chmod(0o600)
    settings = {"key": Secret(CANARY)} if where == "argument" else {}
    async with FaultServer("ok") as server:
        await header_sent("groq", server.url, **settings)
    assert server.requests[0].header("authorization") == f"Bearer {CANARY}"


@pytest.mark.anyio
async def test_a_local_server_is_sent_no_key() -> None:
    async with FaultServer("ok") as server:
        await header_sent("vllm", server.url)
    assert server.requests[0].header("authorization") is None


@pytest.mark.anyio
async def test_the_simulator_is_found_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="WORKBENCH_SIMULATOR_URL"):
        registry.provider("simulator")
    monkeypatch.setenv("WORKBENCH_SIMULATOR_URL", "http://127.0.0.1:9/v1")
    await registry.provider("simulator").aclose()
