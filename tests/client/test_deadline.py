"""The deadline of a call, and the slots that it waits for."""

import asyncio
import time

import pytest

from calling import PROMPT, client_of, failure, serving
from faults import answer, response
from workbench import errors
from workbench.client import Limits

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("fault", ["hang", "slow-headers", "slow-loris", "100-flood"])
async def test_a_call_ends_with_its_deadline(fault: str) -> None:
    started = time.monotonic()
    limits = Limits(deadline_s=0.4, backoff_s=0.01)
    async with serving(fault) as [server], client_of(server, limits=limits) as client:
        assert isinstance(await failure(client), errors.ProviderTimeoutError)
        assert time.monotonic() - started < 0.9


async def test_a_deadline_does_not_see_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving("ok") as [server], client_of(server) as client:
        monkeypatch.setattr(time, "time", lambda: 3600.0)
        completion = await client.complete("one/small", PROMPT)
    assert 0.0 <= completion.latency_s < 5.0


async def test_waiting_for_a_slot_does_not_count() -> None:
    def slowly() -> list[bytes | float]:
        return [0.2, response(answer())]

    limits = Limits(concurrency=1, deadline_s=0.6)
    async with serving(slowly) as [server], client_of(server, limits=limits) as client:
        calls = [client.complete("one/small", PROMPT) for _ in range(5)]
        assert len(await asyncio.gather(*calls)) == 5


async def test_no_more_calls_than_slots_are_under_way() -> None:
    def slowly() -> list[bytes | float]:
        return [0.05, response(answer())]

    limits = Limits(concurrency=3, deadline_s=10.0)
    async with serving(slowly) as [server], client_of(server, limits=limits) as client:
        await asyncio.gather(*(client.complete("one/small", PROMPT) for _ in range(12)))
    assert server.n_connections == 3
