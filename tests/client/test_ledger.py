"""The ledger: totals for ever, the last attempts, and what is said of each."""

import gc
import subprocess
import sys
import tracemalloc

import pytest

from calling import COST_USD, PROMPT, client_of, serving, streamed
from faults import HALVES, STREAM_HEAD, chunk, stream
from workbench.client import Ledger, Limits
from workbench.client.ledger_table import COLUMNS
from workbench.types import Attempt, Usage


def attempt(number: int = 1, *, model_id: str = "one/small", account: str = "") -> Attempt:
    return Attempt(
        model_id, number, 1.5 * number, 0.25, 0.5, Usage(10, 5), None, f"p{number}", account=account
    )


def test_twenty_thousand_attempts_take_no_more_memory_than_a_thousand() -> None:
    ledger = Ledger(1_000)
    for number in range(2_000):
        ledger.add(attempt(number))
    tracemalloc.start()
    for number in range(20_000):
        ledger.add(attempt(number))
    gc.collect()
    grown_bytes = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert grown_bytes <= 1.5e6
    assert (len(ledger), ledger.total.n_attempts) == (1_000, 22_000)
    assert ledger.total.cost_usd == 11_000.0


def test_totals_are_kept_of_what_is_forgotten() -> None:
    ledger = Ledger(1)
    for model_id, account in (("one/small", "a"), ("one/small", "b"), ("one/large", "a"), ("two/small", "")):
        ledger.add(attempt(model_id=model_id, account=account))
    assert {name: one.n_attempts for name, one in ledger.totals("model").items()} == {
        "one/small": 2,
        "one/large": 1,
        "two/small": 1,
    }
    assert ledger.totals("provider")["one"].input_tokens == 30
    assert ledger.totals("account")["one:a"].cost_usd == 1.0


@pytest.mark.anyio
async def test_an_observer_is_given_every_attempt() -> None:
    seen: list[Attempt] = []
    limits = Limits(ledger_size=1, backoff_s=0.01)
    async with serving(["503", "ok"]) as [server], client_of(server, limits=limits) as client:
        client.ledger.on_attempt = seen.append
        completion = await client.complete("one/small", PROMPT)
    assert tuple(seen) == completion.attempts
    assert len(client.ledger) == 1


@pytest.mark.anyio
async def test_the_money_of_forgotten_attempts_counts() -> None:
    limits = Limits(ledger_size=1)
    async with serving("ok") as [server], client_of(server, limits=limits) as client:
        for _ in range(3):
            await client.complete("one/small", PROMPT)
    assert client.spent_usd == pytest.approx(3 * COST_USD)


@pytest.mark.anyio
async def test_the_time_to_the_first_piece_is_noted_of_a_stream_that_breaks_too() -> None:
    slow_start = stream(HALVES[0])
    head = [STREAM_HEAD, 0.1, chunk(HALVES[0])]
    async with (
        serving([lambda: [*head, 0.1, "close"], slow_start]) as [server],
        client_of(server) as client,
    ):
        with pytest.raises(Exception, match="small"):
            await streamed(client)
        [broken] = client.ledger
    assert broken.first_token_s is not None
    assert 0.1 <= broken.first_token_s < broken.latency_s


@pytest.mark.anyio
async def test_a_fallback_says_why() -> None:
    async with serving("404", "ok") as servers, client_of(*servers) as client:
        completion = await client.complete("one/small", PROMPT, fallbacks=["two/small"])
    assert [one.fallback_reason for one in completion.attempts] == [None, "ModelNotFoundError"]


@pytest.mark.anyio
async def test_the_table_has_a_row_for_each_attempt() -> None:
    async with serving(["503", "ok"]) as [server], client_of(server) as client:
        await client.complete("one/small", PROMPT)
    table = client.ledger.table()
    assert list(table.columns) == list(COLUMNS)
    assert table["error"].isna().tolist() == [False, True]
    assert table["number"].tolist() == [1, 2]
    assert table["cost_usd"].sum() == pytest.approx(COST_USD)
    assert table["provider"].tolist() == ["one", "one"]


def test_an_empty_ledger_is_an_empty_table() -> None:
    table = Ledger(1).table()
    assert table.empty
    assert table.dtypes.astype(str).to_dict()["number"] == "int64"


def test_a_client_loads_neither_pandas_nor_cryptography() -> None:
    heavy = "{'pandas', 'cryptography', 'torch', 'mlflow'} & set(sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", f"import sys, workbench.client; print(sorted({heavy}))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "[]"
