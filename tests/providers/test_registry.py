"""The rows of providers: well formed, keys from the environment or `.env`, clear errors."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from faults import CANARY, FaultServer, Received
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
    assert not row.base_url.endswith("/")
    parts = urlsplit(row.base_url)
    is_local = parts.hostname == "localhost"
    if not row.base_url.startswith("{"):
        assert parts.scheme == ("http" if is_local else "https")
    assert (row.key_var is None) == is_local


def test_names_are_unique_and_a_key_goes_to_one_host() -> None:
    assert len({row.name for row in ENDPOINTS}) == len(ENDPOINTS)
    hosts = {(row.key_var, urlsplit(row.base_url or "").hostname) for row in ENDPOINTS if row.key_var}
    assert len(hosts) == len({variable for variable, _ in hosts})


@pytest.mark.anyio
@pytest.mark.parametrize("row", [row for row in ENDPOINTS if row.key_var], ids=lambda row: row.name)
async def test_every_row_connects(row: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_OPENAI_ENDPOINT", "WORKBENCH_BASE_URL", "WORKBENCH_ANTHROPIC_URL"):
        monkeypatch.setenv(name, "https://example.com/")
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", "account-1")
    provider = registry.provider(row.name, key=Secret(CANARY))
    assert provider.name == row.name
    assert "{" not in repr(provider)
    assert "//" not in repr(provider).replace("https://", "").replace("http://", "")
    await provider.aclose()


def test_a_misspelt_provider_gets_a_hint() -> None:
    with pytest.raises(ConfigError, match=r"no provider 'opanai'.*openai"):
        registry.provider("opanai")


def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"OPENAI_API_KEY is not set; export it, put it in \.env"):
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


PLAIN = Decoding()


async def sent(
    name: str, *, decoding: Decoding = PLAIN, model: str = "small", is_streamed: bool = False
) -> Received:
    """The request as it came to a server that a row's provider was sent to."""
    async with FaultServer("stream-ok" if is_streamed else "ok") as server:
        provider = registry.provider(name, base_url=server.url, key=Secret(CANARY))
        prompt = Prompt("p1", "2 + 2?")
        if is_streamed:
            assert [delta async for delta in provider.stream(model, prompt, decoding, deadline_s=5.0)]
        else:
            await provider.complete(model, prompt, decoding, deadline_s=5.0)
        await provider.aclose()
    return server.requests[0]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "field", "refused"),
    [
        ("openai", "max_completion_tokens", "max_tokens"),
        ("azure", "max_completion_tokens", "max_tokens"),
        ("cerebras", "max_completion_tokens", "max_tokens"),
        ("mistral", "random_seed", "seed"),
        ("mistral", "stream", "stream_options"),
        ("cohere", "stream", "stream_options"),
        ("together", "stream_options", "max_completion_tokens"),
    ],
)
async def test_a_row_knows_how_its_server_calls_a_field(name: str, field: str, refused: str) -> None:
    body = (await sent(name, decoding=Decoding(seed=3), is_streamed=True)).body
    assert field in body
    assert refused not in body


@pytest.mark.anyio
async def test_what_a_server_is_known_to_refuse_is_not_sent() -> None:
    with pytest.raises(ConfigError, match="logprobs, top_logprobs"):
        await sent("groq", decoding=Decoding(top_logprobs=2))


@pytest.mark.anyio
async def test_azure_gets_its_key_and_version_where_it_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await sent("azure")).head.startswith("POST /v1/chat/completions HTTP/1.1")
    monkeypatch.setenv("AZURE_OPENAI_API_VERSION", "preview")
    received = await sent("azure")
    assert received.head.startswith("POST /v1/chat/completions?api-version=preview HTTP/1.1")
    assert received.header("api-key") == CANARY
    assert received.header("authorization") is None


@pytest.mark.anyio
async def test_an_account_is_a_part_of_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUDFLARE_ACCOUNT_ID", raising=False)
    with pytest.raises(ConfigError, match="CLOUDFLARE_ACCOUNT_ID is not set"):
        registry.provider("cloudflare", key=Secret(CANARY))
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", "a/../b?c")
    provider = registry.provider("cloudflare", key=Secret(CANARY))
    assert "/accounts/a%2F..%2Fb%3Fc/ai/v1" in repr(provider)
    await provider.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("model", "is_sent"),
    [
        ("gpt-4o", True),
        ("gpt-4.1-mini", True),
        ("gpt-5-chat-latest", True),
        ("gpt-5-mini", False),
        ("gpt-6.1-sol", False),
        ("gpt-10", False),
        ("o4-mini", False),
    ],
)
async def test_a_model_that_reasons_is_sent_no_temperature(model: str, is_sent: bool) -> None:
    assert ("temperature" in (await sent("openai", model=model)).body) == is_sent
    effortless = Decoding(reasoning_effort="none")
    assert "temperature" in (await sent("openai", model=model, decoding=effortless)).body


@pytest.mark.anyio
@pytest.mark.parametrize(
    "decoding", [Decoding(temperature=0.7), Decoding(top_p=0.9)], ids=["temperature", "top-p"]
)
async def test_a_temperature_that_a_model_cannot_have_is_refused(decoding: Decoding) -> None:
    with pytest.raises(ConfigError, match="o4-mini samples as it does"):
        await sent("openai", model="o4-mini", decoding=decoding)


@pytest.mark.anyio
async def test_any_server_is_reached_by_its_base_url(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FaultServer("ok") as server:
        await header_sent("mine", server.url)
        monkeypatch.setenv("WORKBENCH_BASE_URL", server.url)
        provider = registry.provider("custom")
        await provider.complete("small", Prompt("p1", "2 + 2?"), Decoding(), deadline_s=5.0)
        await provider.aclose()
    assert [one.header("authorization") for one in server.requests] == [None, None]


def test_a_name_with_a_slash_is_no_providers() -> None:
    with pytest.raises(ConfigError, match="before its first slash"):
        registry.provider("my/server", base_url="http://127.0.0.1:9/v1")
