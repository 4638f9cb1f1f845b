"""Requests and tokens per minute: agreed on, or told by a server."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from calling import PROMPT, client_of, serving
from faults import answer, error, response, whole
from workbench.client import Limits
from workbench.client.rate import RateLimit, seconds_until

TOLD = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "30s",
}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.anyio
async def test_requests_are_spaced_so_that_no_minute_has_more_than_agreed() -> None:
    clock = Clock()
    rate = RateLimit(requests_per_minute=120, clock=clock)
    sent: list[float] = []
    while clock.now < 180.0:
        while rate.wait_s(0) == 0.0:
            await rate.reserve(0)
            sent.append(clock.now)
        clock.now += 0.25
    most = max(sum(start <= at < start + 60.0 for at in sent) for start in sent)
    assert 115 <= most <= 122


@pytest.mark.anyio
async def test_tokens_that_were_reserved_and_not_used_come_back() -> None:
    rate = RateLimit(tokens_per_minute=60_000, clock=lambda: 0.0)
    await rate.reserve(1_000)
    assert rate.wait_s(1_000) == pytest.approx(1.0)
    rate.settle(1_000, 100)
    assert rate.wait_s(1_000) == pytest.approx(0.1)


@pytest.mark.anyio
async def test_what_waits_for_tokens_goes_on_when_they_come_back() -> None:
    rate = RateLimit(tokens_per_minute=600)
    await rate.reserve(100)
    waiting = asyncio.create_task(rate.reserve(10))
    await asyncio.sleep(0)
    rate.settle(100, 0)
    async with asyncio.timeout(0.5):
        await waiting


@pytest.mark.anyio
async def test_a_request_larger_than_the_limit_is_sent_when_nothing_else_is_owed() -> None:
    rate = RateLimit(tokens_per_minute=600, clock=lambda: 0.0)
    assert rate.wait_s(5_000) == 0.0
    await rate.reserve(5_000)
    assert rate.wait_s(1) > 400.0


@pytest.mark.anyio
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
async def test_a_server_that_says_when_all_is_there_again_says_how_fast_it_comes(dialect: str) -> None:
    headers = TOLD
    if dialect == "anthropic":
        headers = {
            "anthropic-ratelimit-requests-limit": "60",
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": (datetime.now(UTC) + timedelta(seconds=30)).isoformat(),
        }
    rate = RateLimit()
    await rate.reserve(0)
    assert rate.hear(headers, 0)
    assert 0.4 < rate.wait_s(0) <= 0.52  # 60 requests in 30 s: the next is there in half a second


@pytest.mark.anyio
async def test_what_is_under_way_is_taken_off_what_remains() -> None:
    rate = RateLimit(clock=lambda: 0.0)
    for _ in range(5):
        await rate.reserve(0)
    rate.hear(TOLD | {"x-ratelimit-remaining-requests": "4"}, 0)
    assert rate.wait_s(0) > 0.0


@pytest.mark.parametrize("written", ["soon", "", "-3s", "NaN", "9e99", "1s2h"])
def test_a_reset_that_is_none_is_not_believed(written: str) -> None:
    assert seconds_until(written) is None
    rate = RateLimit()
    rate.hear(TOLD | {"x-ratelimit-reset-requests": written}, 0)
    assert rate.wait_s(0) == 0.0


@pytest.mark.anyio
async def test_a_client_keeps_to_the_requests_per_minute_of_its_limits() -> None:
    limits = Limits(requests_per_minute=1_200, deadline_s=0.15)
    async with serving("ok") as [server], client_of(server, limits=limits) as client:
        started = time.monotonic()
        await asyncio.gather(*(client.complete("one/small", PROMPT) for _ in range(25)))
        assert time.monotonic() - started >= 0.2
    assert len(server.requests) == 25


@pytest.mark.anyio
async def test_a_client_keeps_to_what_a_server_tells() -> None:
    told = whole(
        answer(),
        X_RateLimit_Limit_Requests="10",
        X_RateLimit_Remaining_Requests="0",
        X_RateLimit_Reset_Requests="2s",
    )
    async with serving([told, "ok"]) as [server], client_of(server) as client:
        await client.complete("one/small", PROMPT)
        started = time.monotonic()
        await client.complete("one/small", PROMPT)
        assert 0.15 <= time.monotonic() - started < 1.0  # a tenth of 2 s


@pytest.mark.anyio
async def test_other_calls_wait_as_well_for_what_a_429_asks() -> None:
    def slowly() -> list[bytes | float]:
        return [0.05, response(answer())]

    refused = error("429 Too Many", retry_after_ms="200")
    async with serving([refused, slowly]) as [server], client_of(server) as client:
        first = asyncio.create_task(client.complete("one/small", PROMPT))
        while not client.ledger:
            await asyncio.sleep(0.005)
        await client.complete("one/small", PROMPT)
        await first
    refusal, *later = sorted(client.ledger, key=lambda attempt: attempt.started_s)
    assert len(later) == 2
    assert min(one.started_s for one in later) - refusal.started_s - refusal.latency_s >= 0.195


@pytest.mark.anyio
async def test_a_rest_longer_than_a_call_is_not_waited_for_and_the_fallback_is_asked() -> None:
    refused = error("429 Too Many", Retry_After="3600")
    async with serving(refused, "ok") as servers, client_of(*servers) as client:
        for _ in range(3):
            completion = await client.complete("one/small", PROMPT, fallbacks=["two/small"])
        assert len(servers[0].requests) == 1
    assert completion.attempts[0].fallback_reason == "rate limit"


async def sent_to(rate: RateLimit, clock: Clock, *, per_s: float, seconds: float) -> list[bool]:
    """Whether each request was taken, sent one by one to a server that takes `per_s` and does not say so."""
    taken: list[bool] = []
    free_at = 0.0
    while clock.now < seconds:
        if rate.wait_s(0) == 0.0:
            await rate.reserve(0)
            taken.append(clock.now > free_at - 1e-6)
            if taken[-1]:
                free_at = clock.now + 1.0 / per_s
                rate.answer()
            else:
                rate.refuse(free_at - clock.now)
                clock.now = free_at  # as it was told
            rate.settle(0, 0)
        clock.now += 0.001
    return taken


@pytest.mark.anyio
async def test_a_rate_that_nobody_told_is_found_out_between_refusals() -> None:
    """A client that does not learn has one request of two refused."""
    clock = Clock()
    taken = await sent_to(RateLimit(clock=clock), clock, per_s=25.0, seconds=20.0)
    assert sum(taken) >= 0.85 * 20.0 * 25.0
    assert taken.count(False) <= 0.2 * len(taken)


@pytest.mark.anyio
async def test_a_rate_that_is_found_out_is_not_lower_than_what_the_server_asked_for() -> None:
    clock = Clock()
    rate = RateLimit(clock=clock)
    for _ in range(20):
        rate.answer()
        clock.now += 10.0
        rate.refuse(0.5)
    assert rate.wait_s(0) <= 0.5


@pytest.mark.anyio
async def test_a_refusal_that_says_no_time_says_nothing_of_a_rate() -> None:
    clock = Clock()
    rate = RateLimit(clock=clock)
    for _ in range(3):
        rate.answer()
        clock.now += 1.0
        rate.refuse(0.0)
    assert rate.wait_s(0) == 0.0
