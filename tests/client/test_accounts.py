"""Accounts: which keys are found, which is asked, and which is passed over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from calling import CATALOG, PROMPT, QUICK, serving
from faults import FaultServer, error
from workbench import errors
from workbench.client import Account, Client, Limits, accounts_of, connect
from workbench.client.key_file import PASSWORD_VARIABLE, read_keys, write_keys
from workbench.providers.chat_completions import ChatCompletions
from workbench.settings import Secret, known_secrets

KEYS = ("first-canary-key", "second-canary-key", "third-canary-key")


@asynccontextmanager
async def two_accounts(*servers: FaultServer, limits: Limits = QUICK) -> AsyncIterator[Client]:
    """Accounts `a`, `b`, ... of provider `one`, each at a server of its own."""
    accounts = [
        Account(ChatCompletions("one", server.url, key=Secret(key)), alias)
        for alias, key, server in zip("abc", KEYS, servers, strict=False)
    ]
    async with Client(accounts, catalog=CATALOG, limits=limits) as client:
        yield client


@pytest.mark.anyio
async def test_accounts_take_turns() -> None:
    async with serving("ok", "ok", "ok") as servers, two_accounts(*servers) as client:
        for _ in range(6):
            await client.complete("one/small", PROMPT)
        assert [attempt.account for attempt in client.ledger] == ["a", "b", "c"] * 2
    sent = [server.requests[0].header("authorization") for server in servers]
    assert sent == [f"Bearer {key}" for key in KEYS]


@pytest.mark.anyio
async def test_the_least_busy_account_is_asked() -> None:
    def slowly() -> list[bytes | float]:
        return [30.0]

    async with serving(slowly, "ok") as servers, two_accounts(*servers) as client:
        slow = asyncio.create_task(client.complete("one/small", PROMPT))
        while not servers[0].requests:
            await asyncio.sleep(0.005)
        for _ in range(4):
            await client.complete("one/small", PROMPT)
        assert len(servers[1].requests) == 4
        slow.cancel()


@pytest.mark.anyio
@pytest.mark.parametrize("fault", ["401", "402", "429-quota", "429"])
async def test_another_account_is_asked_at_once(fault: str) -> None:
    limits = Limits(backoff_s=20.0, max_backoff_s=20.0)
    async with serving(fault, "ok") as servers, two_accounts(*servers, limits=limits) as client:
        async with asyncio.timeout(5.0):
            completion = await client.complete("one/small", PROMPT)
    assert [attempt.account for attempt in completion.attempts] == ["a", "b"]
    assert not completion.attempts[1].is_fallback


@pytest.mark.anyio
@pytest.mark.parametrize("fault", ["401", "402", "429-quota", error("429 Too Many", Retry_After="60")])
async def test_an_account_that_refused_is_passed_over_for_a_while(fault: str) -> None:
    async with serving(fault, "ok") as servers, two_accounts(*servers) as client:
        for _ in range(5):
            await client.complete("one/small", PROMPT)
        assert [len(server.requests) for server in servers] == [1, 5]


@pytest.mark.anyio
async def test_when_every_account_refuses_each_was_asked_once() -> None:
    async with serving("401", "401", "401") as servers, two_accounts(*servers) as client:
        with pytest.raises(errors.AuthError) as caught:
            await client.complete("one/small", PROMPT)
    assert caught.value.attempts == 3
    assert [len(server.requests) for server in servers] == [1, 1, 1]


@pytest.mark.anyio
async def test_a_breaker_is_of_one_account() -> None:
    limits = Limits(max_attempts=1)
    async with serving("503", "ok") as servers, two_accounts(*servers, limits=limits) as client:
        for _ in range(20):
            try:
                await client.complete("one/small", PROMPT)
            except errors.ServerError:
                continue
        states = {key.account: breaker.state for key, breaker in client.breakers.items()}
    assert states == {"a": "open", "b": "closed"}
    assert len(servers[0].requests) == 3


@pytest.mark.anyio
async def test_usage_is_summed_by_account() -> None:
    async with serving("ok", "ok") as servers, two_accounts(*servers) as client:
        for _ in range(3):
            await client.complete("one/small", PROMPT)
        totals = client.ledger.totals("account")
    assert {name: one.n_attempts for name, one in totals.items()} == {"one:a": 2, "one:b": 1}


def test_two_accounts_of_one_alias_are_refused() -> None:
    twice = [Account(ChatCompletions("one", "http://127.0.0.1:1/v1"), "a") for _ in range(2)]
    with pytest.raises(errors.ConfigError, match="alias"):
        Client(twice, catalog=CATALOG)


@pytest.mark.anyio
async def test_every_key_of_the_environment_and_of_dotenv_is_an_account(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEYS[0])
    monkeypatch.setenv("OPENAI_API_KEY_5", "a gap ends the list")
    dotenv = Path(".env")
    dotenv.write_text(f"OPENAI_API_KEY_2={KEYS[1]}\nOPENAI_API_KEY_3={KEYS[0]}\n")
    dotenv.chmod(0o600)
    async with AsyncExitStack() as stack:
        accounts = accounts_of("openai")
        for account in accounts:
            stack.push_async_callback(account.provider.aclose)
    assert [account.alias for account in accounts] == ["OPENAI_API_KEY", "OPENAI_API_KEY_2"]


@pytest.mark.anyio
async def test_connect_uses_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEYS[0])
    monkeypatch.setenv("OPENAI_API_KEY_2", KEYS[1])
    async with connect(["openai/gpt-4o-mini"]) as client:
        assert {key.account for key in client.breakers} == {"OPENAI_API_KEY", "OPENAI_API_KEY_2"}


# The encrypted file


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(PASSWORD_VARIABLE, "a long password")
    path = tmp_path / "keys"
    write_keys(path, {"GROQ_API_KEY": Secret(KEYS[0]), "GROQ_API_KEY_2": Secret(KEYS[1])})
    return path


def test_a_key_file_gives_its_keys_and_shows_none(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_KEY_FILE", str(key_file))
    assert [account.alias for account in accounts_of("groq")] == ["GROQ_API_KEY", "GROQ_API_KEY_2"]
    assert read_keys(key_file)["GROQ_API_KEY"].get_secret_value() == KEYS[0]
    assert not any(key.encode() in key_file.read_bytes() for key in KEYS)
    assert key_file.stat().st_mode & 0o777 == 0o600


def test_a_key_file_does_not_open_with_another_password(key_file: Path) -> None:
    with pytest.raises(errors.ConfigError, match="another one") as caught:
        read_keys(key_file, Secret("another password"))
    assert "another password" not in str(caught.value)


def test_a_key_file_that_others_can_read_is_refused(key_file: Path) -> None:
    key_file.chmod(0o640)
    with pytest.raises(errors.ConfigError, match="chmod 600"):
        read_keys(key_file)


@pytest.mark.parametrize("content", [b"", b"keys\n", b"workbench-keys-1\n!!\n!!"])
def test_a_file_that_is_no_key_file_says_so(key_file: Path, content: bytes) -> None:
    key_file.write_bytes(content)
    with pytest.raises(errors.ConfigError, match="keys"):
        read_keys(key_file)


def test_keys_are_not_written_into_a_repository(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    with pytest.raises(errors.ConfigError, match="repository"):
        write_keys(tmp_path / "deep" / "keys", {}, Secret("a long password"))


def test_a_key_file_without_a_password_names_the_variable(
    key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE)
    with pytest.raises(errors.ConfigError, match=PASSWORD_VARIABLE):
        read_keys(key_file)


def test_a_numbered_key_is_masked_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOBODYS_API_KEY_2", KEYS[2])
    assert Secret(KEYS[2]) in list(known_secrets())
