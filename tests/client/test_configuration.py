"""What a client is made of, and what it refuses to call."""

import pytest

from calling import CATALOG, PROMPT, client_of, serving
from faults import TEXT
from workbench import errors
from workbench.client import Client, Limits, connect
from workbench.providers.chat_completions import ChatCompletions

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("model_id", "problem"),
    [
        ("one/smal", "did you mean one/small"),
        ("nobody/small", "'nobody' is not connected; connected are one"),
        ("small", "no model id"),
        ("/small", "no model id"),
        ("one/", "no model id"),
    ],
)
async def test_a_model_that_cannot_be_called_is_refused_before_any_call(model_id: str, problem: str) -> None:
    async with serving("ok") as [server], client_of(server) as client:
        with pytest.raises(errors.ConfigError, match=problem):
            await client.complete("one/small", PROMPT, fallbacks=[model_id])
    assert server.requests == []


async def test_any_model_of_a_provider_that_the_catalog_does_not_list_is_sent() -> None:
    async with serving("ok") as [server], Client([ChatCompletions("ollama", server.url)]) as client:
        completion = await client.complete("ollama/library/llama:8b", PROMPT)
    assert server.requests[0].body["model"] == "library/llama:8b"
    assert completion.cost_usd is None


async def test_two_providers_of_one_name_are_refused() -> None:
    twice = [ChatCompletions("one", "http://127.0.0.1:1/v1") for _ in range(2)]
    with pytest.raises(errors.ConfigError, match="two providers"):
        Client(twice, catalog=CATALOG)


@pytest.mark.parametrize(
    "bad",
    [
        {"concurrency": 0},
        {"max_attempts": 0},
        {"deadline_s": 0.0},
        {"backoff_s": float("nan")},
        {"requests_per_minute": 0.0},
        {"hedge_after_s": -1.0},
        {"breaker_failures": 0},
        {"ledger_size": 0},
    ],
)
def test_limits_that_cannot_work_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(errors.ConfigError, match=next(iter(bad))):
        Limits(**bad)  # type: ignore[arg-type]


async def test_connect_finds_a_provider_for_every_model() -> None:
    async with serving("ok") as [server]:
        own = ChatCompletions("one", server.url)
        async with connect(
            ["one/small", "simulator/sim-nano", "ollama/any"],
            providers=[own],
            simulator_url=server.url,
            catalog=CATALOG,
        ) as client:
            for model_id in ("one/small", "simulator/sim-nano", "ollama/any"):
                client.check([model_id])
            assert (await client.complete("simulator/sim-nano", PROMPT)).text == TEXT


async def test_connect_finds_a_misspelt_model() -> None:
    own = ChatCompletions("one", "http://127.0.0.1:1/v1")
    with pytest.raises(errors.ConfigError, match="did you mean one/small"):
        connect(["one/smal"], providers=[own], catalog=CATALOG)


async def test_a_retry_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    async with serving(["500", "ok"]) as [server], client_of(server) as client:
        await client.complete("one/small", PROMPT)
    assert capfd.readouterr() == ("", "")
