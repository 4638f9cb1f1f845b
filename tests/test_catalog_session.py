"""The catalog in a terminal: what is printed, and what is written only when asked for."""

import json
from pathlib import Path

import pytest
from aiohttp import web

from loopback import answering, serving
from workbench import catalog_session
from workbench.catalog import read_catalog, today
from workbench.catalog.table import package_file
from workbench.errors import ConfigError, StorageError
from workbench.settings import Secret

pytestmark = pytest.mark.anyio

PRICES = {
    "gpt-5": {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 2.5e-06,
        "output_cost_per_token": 1e-05,
    },
    "gpt-new": {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 1e-06,
        "output_cost_per_token": 2e-06,
    },
    "mistral/m": {"litellm_provider": "mistral", "mode": "chat"},
}


@pytest.fixture
def own_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("WORKBENCH_MODELS_FILE", str(tmp_path / "mine.csv"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "mine.csv"


async def test_a_refresh_prints_what_changed_and_writes_nothing(
    own_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(("GET", "/prices.json", answering(PRICES))) as url:
        await catalog_session.refresh(provider="openai", prices=f"{url}/prices.json")
    printed = capsys.readouterr().out
    (line,) = [line.split() for line in printed.splitlines() if "openai/gpt-5 " in line]
    assert line == ["openai/gpt-5", "input_usd_per_mtok", "1.25", "2.5", "+100.0", "%"]
    assert "added (1): openai/gpt-new" in printed
    assert "removed" in printed
    assert "nothing was written" in printed
    assert not own_file.exists()


async def test_a_refresh_that_may_write_adds_to_the_users_file_and_leaves_the_package_alone(
    own_file: Path, tmp_path: Path
) -> None:
    own_file.write_text(
        "provider,model,input_usd_per_mtok,output_usd_per_mtok,context_tokens,source,date\n"
        "local,mine,0,0,4096,my own machine,2026-01-01\n"
        "openai,gpt-5,1,9,,my contract,2026-02-01\n"
    )
    before = package_file().read_bytes()
    (tmp_path / "prices.json").write_text(json.dumps(PRICES))
    await catalog_session.refresh(provider="openai", prices=str(tmp_path / "prices.json"), write=True)
    kept = read_catalog(own_file)
    assert [spec.model_id for spec in kept] == ["local/mine", "openai/gpt-5", "openai/gpt-new"]
    assert [price.input_usd_per_mtok for price in kept["openai/gpt-5"].prices] == [1.0, 2.5]
    assert kept["openai/gpt-5"].prices[1].date == today()
    assert package_file().read_bytes() == before


async def test_a_second_refresh_finds_nothing_new(own_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own_file.with_name("prices.json").write_text(json.dumps(PRICES))
    await catalog_session.refresh(prices="prices.json", provider="openai", write=True)
    written = own_file.read_bytes()
    capsys.readouterr()
    await catalog_session.refresh(prices="prices.json", provider="openai", write=True)
    assert "nothing to write down" in capsys.readouterr().out
    assert own_file.read_bytes() == written


async def test_a_file_that_cannot_be_written_is_named_and_what_was_there_stays(own_file: Path) -> None:
    own_file.mkdir()
    own_file.with_name("prices.json").write_text(json.dumps(PRICES))
    with pytest.raises(StorageError, match=r"mine\.csv"):
        await catalog_session.refresh(prices="prices.json", write=True)


async def test_the_packages_own_file_is_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_MODELS_FILE", str(package_file()))
    with pytest.raises(ConfigError, match="the package's own"):
        await catalog_session.refresh(prices="prices.json", write=True)


async def test_without_a_file_of_ones_own_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKBENCH_MODELS_FILE", raising=False)
    with pytest.raises(ConfigError, match="WORKBENCH_MODELS_FILE"):
        await catalog_session.refresh(prices="prices.json", write=True)


@pytest.mark.parametrize("provider", [None, "custom"], ids=["every provider", "one"])
async def test_a_key_of_the_encrypted_file_is_asked_with(
    provider: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    key_file = pytest.importorskip("workbench.client.key_file", reason="the extra 'keys' is not installed")
    without_keys(monkeypatch)
    path = tmp_path / "private" / "keys"
    monkeypatch.setenv("WORKBENCH_KEY_FILE", str(path))
    monkeypatch.setenv("WORKBENCH_KEY_FILE_PASSWORD", "a long password")
    key_file.put_key(path, "WORKBENCH_API_KEY", Secret("canary"), None)
    asked_with = []

    async def models(request: web.Request) -> web.StreamResponse:
        asked_with.append(request.headers["Authorization"])
        return web.json_response({"data": [{"id": "new"}]})

    async with serving(("GET", "/models", models)) as url:
        monkeypatch.setenv("WORKBENCH_BASE_URL", url)
        await catalog_session.refresh(provider=provider)
    assert asked_with == ["Bearer canary"]
    assert "added (1): custom/new" in capsys.readouterr().out


def without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for row in catalog_session.registry.ENDPOINTS:
        if row.key_var:
            monkeypatch.delenv(row.key_var, raising=False)


async def test_without_any_key_there_is_nobody_to_ask(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own_file: Path
) -> None:
    without_keys(monkeypatch)
    with pytest.raises(ConfigError, match="nobody to ask"):
        await catalog_session.refresh()


def test_a_model_is_shown_with_every_price_and_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    catalog_session.show_model("google/gemini-3.6-flash")
    printed = capsys.readouterr().out
    assert "from 2027-01-01" in printed
    assert "https://ai.google.dev/gemini-api/docs/pricing" in printed


def test_an_unknown_provider_lists_nothing() -> None:
    with pytest.raises(ConfigError, match="no models of provider 'opnai'"):
        catalog_session.list_models(provider="opnai")


def test_a_check_finds_nothing_in_the_package_and_what_is_wrong_in_the_users_file(
    own_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own_file.write_text(
        "provider,model,input_usd_per_mtok,output_usd_per_mtok,context_tokens,source,date\n"
        "local,mine,,,4096,,\n"
    )
    assert not catalog_session.check()
    assert "mine.csv, line 2: local/mine has no price" in capsys.readouterr().out
