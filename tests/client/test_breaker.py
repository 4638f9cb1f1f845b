"""Circuit breakers: when they open, who may look whether all is well again, and what an outage costs."""

import asyncio
import time
from contextlib import suppress
from statistics import median

import pytest

from calling import CATALOG, PRICE, PROMPT, QUICK, client_of, serving, streamed
from faults import answer, error, response
from workbench import errors
from workbench.catalog import Catalog, ModelSpec
from workbench.client import Client, Limits
from workbench.client.breaker import Breaker
from workbench.client.channel import ChannelKey

ONE = ChannelKey("one", "small", "")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(n_failures=3, open_s=30.0, clock=clock)
    for _ in range(3):
        breaker.fail()
    return breaker


async def given_up(client: Client, *fallbacks: str) -> None:
    with pytest.raises(errors.ProviderError):
        await client.complete("one/small", PROMPT, fallbacks=fallbacks)


def test_it_opens_after_failures_in_a_row_and_not_before() -> None:
    breaker = Breaker(n_failures=3, open_s=30.0)
    for outcome in (breaker.fail, breaker.fail, breaker.answer, breaker.fail, breaker.fail):
        outcome()
        assert breaker.state == "closed"
    breaker.fail()
    assert (breaker.state, breaker.admits) == ("open", False)


def test_it_opens_when_every_other_call_fails() -> None:
    breaker = Breaker(n_failures=3, open_s=30.0)
    for _ in range(10):
        breaker.answer()
        assert breaker.state == "closed"
        breaker.fail()
    assert breaker.state == "open"


def test_half_open_it_admits_one_probe_until_that_is_over() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 30.0
    assert (breaker.state, breaker.admits) == ("half-open", True)
    assert breaker.enter()
    assert not breaker.admits
    assert not breaker.enter()
    breaker.leave(is_probe=True)
    assert breaker.admits


@pytest.mark.parametrize("is_well", [True, False])
def test_the_probe_decides(is_well: bool) -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 30.0
    breaker.enter()
    breaker.answer() if is_well else breaker.fail(is_probe=True)
    assert breaker.state == ("closed" if is_well else "open")
    clock.now = 59.9
    assert breaker.admits is is_well


@pytest.mark.anyio
async def test_a_dead_upstream_is_asked_little_more_than_once_a_call() -> None:
    n_attempts_when_open: list[int] = []
    async with serving("503") as [server], client_of(server) as client:
        client.ledger.on_attempt = lambda attempt: n_attempts_when_open.append(
            len(server.requests) if client.breakers[ONE].state != "closed" else 10**6
        )

        async def work() -> None:
            for _ in range(4):
                await given_up(client)

        await asyncio.gather(*(work() for _ in range(50)))
        assert client.breakers[ONE].state == "open"
    assert len(server.requests) <= 1.2 * 200
    assert min(n_attempts_when_open) <= 20 + 1


@pytest.mark.anyio
async def test_one_failing_request_in_ten_costs_hardly_an_answer() -> None:
    """A thousand calls, which meet the failing request three times with a chance of 0.1 ** 3 each.

    So three attempts would lose one call on average, and none would lose a hundred. A budget of retries that
    gives back too little is used up by the 500th request.
    """
    n_requests = 0

    def every_tenth() -> list[bytes]:
        nonlocal n_requests
        n_requests += 1
        return [response(b"{}", status="503 No") if n_requests % 10 == 0 else response(answer())]

    async with serving(every_tenth) as [server], client_of(server) as client:

        async def work() -> int:
            n_answered = 0
            for _ in range(125):
                with suppress(errors.ServerError):
                    await client.complete("one/small", PROMPT)
                    n_answered += 1
            return n_answered

        assert sum(await asyncio.gather(*(work() for _ in range(8)))) >= 999
    assert len(server.requests) <= 1.15 * 1_000


@pytest.mark.anyio
async def test_in_an_outage_three_calls_notice_and_the_others_go_to_the_fallback_at_once() -> None:
    took_s = []
    async with serving("503", "ok") as servers, client_of(*servers) as client:
        for _ in range(15):
            started = time.monotonic()
            completion = await client.complete("one/small", PROMPT, fallbacks=["two/small"])
            took_s.append(time.monotonic() - started)
            assert completion.model_id == "two/small"
        n_reached = sum(attempt.model_id == "one/small" and attempt.number == 1 for attempt in client.ledger)
    assert n_reached == 3
    assert median(took_s) < 0.05
    assert completion.attempts[0].fallback_reason == "breaker open"


@pytest.mark.anyio
async def test_of_ten_calls_after_the_pause_one_looks() -> None:
    limits = Limits(max_attempts=1, breaker_open_s=0.1)
    async with serving("503", "ok") as servers, client_of(*servers, limits=limits) as client:
        for _ in range(3):
            await client.complete("one/small", PROMPT, fallbacks=["two/small"])
        await asyncio.sleep(0.1)
        calls = [client.complete("one/small", PROMPT, fallbacks=["two/small"]) for _ in range(10)]
        await asyncio.gather(*calls)
        assert len(servers[0].requests) == 4


@pytest.mark.anyio
async def test_a_cancelled_probe_leaves_room_for_another() -> None:
    limits = Limits(max_attempts=1, breaker_open_s=0.05)
    scripts = [*["503"] * 3, lambda: [60.0], "ok"]
    async with serving(scripts, "ok") as servers, client_of(*servers, limits=limits) as client:
        for _ in range(3):
            await client.complete("one/small", PROMPT, fallbacks=["two/small"])
        await asyncio.sleep(0.06)
        probe = asyncio.create_task(client.complete("one/small", PROMPT, fallbacks=["two/small"]))
        await asyncio.sleep(0.05)
        probe.cancel()
        await asyncio.wait([probe])
        completion = await client.complete("one/small", PROMPT, fallbacks=["two/small"])
        assert completion.model_id == "one/small"
        assert client.breakers[ONE].state == "closed"


@pytest.mark.anyio
async def test_a_stream_is_a_probe_too() -> None:
    limits = Limits(max_attempts=1, breaker_open_s=0.05)
    scripts = [*["503"] * 3, "stream-ok"]
    async with serving(scripts, "stream-ok") as servers, client_of(*servers, limits=limits) as client:
        for _ in range(3):
            await streamed(client, ["two/small"])
        assert client.breakers[ONE].state == "open"
        await asyncio.sleep(0.06)
        assert (await streamed(client, ["two/small"])).model_id == "one/small"
        assert client.breakers[ONE].state == "closed"


@pytest.mark.anyio
async def test_streams_that_break_after_their_first_text_open_it_as_well() -> None:
    async with serving("reset-midstream") as [server], client_of(server) as client:
        for _ in range(10):
            with pytest.raises(errors.StreamTruncatedError):
                await streamed(client)
        assert client.breakers[ONE].state == "open"


@pytest.mark.anyio
async def test_when_all_are_open_all_are_asked() -> None:
    limits = Limits(max_attempts=1)
    scripts = [*["503"] * 3, "ok"]
    async with serving(scripts, "503") as servers, client_of(*servers, limits=limits) as client:
        for _ in range(3):
            await given_up(client, "two/small")
        assert {breaker.state for breaker in client.breakers.values()} == {"open"}
        assert (await client.complete("one/small", PROMPT, fallbacks=["two/small"])).model_id == "one/small"
        assert client.breakers[ONE].state == "closed"


@pytest.mark.anyio
async def test_a_bad_model_does_not_close_its_siblings() -> None:
    catalog = CATALOG | Catalog([ModelSpec("one", "other", PRICE)])
    scripts = [*["503"] * 3, "ok"]
    limits = Limits(max_attempts=1)
    async with (
        serving(scripts, "ok") as servers,
        client_of(*servers, limits=limits, catalog=catalog) as client,
    ):
        for _ in range(3):
            await given_up(client)
        completion = await client.complete("one/other", PROMPT, fallbacks=["two/small"])
    assert client.breakers[ONE].state == "open"
    assert completion.model_id == "one/other"


@pytest.mark.anyio
@pytest.mark.parametrize("fault", ["400", "404", "429", "401"])
async def test_a_refusal_is_no_outage(fault: str) -> None:
    script = error("400 Bad Request") if fault == "400" else fault
    async with serving(script) as [server], client_of(server) as client:
        for _ in range(4):
            await given_up(client)
        assert client.breakers[ONE].state == "closed"


@pytest.mark.anyio
@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
async def test_a_breaker_does_not_see_the_wall_clock(jump_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving("503", "ok") as servers, client_of(*servers, limits=QUICK) as client:
        for _ in range(3):
            await given_up(client)
        jumped = time.time() + jump_s
        monkeypatch.setattr(time, "time", lambda: jumped)
        assert client.breakers[ONE].state == "open"
        completion = await client.complete("one/small", PROMPT, fallbacks=["two/small"])
        assert [attempt.latency_s >= 0.0 for attempt in completion.attempts] == [True]
