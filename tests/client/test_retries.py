"""Retries: which failures are tried again, how often, and after what wait."""

import asyncio
import math
import random
import time
from collections.abc import Iterator

import pytest

from calling import COST_USD, PROMPT, client_of, failure, serving
from faults import BAD_BODIES, REFUSALS, TEXT, TRANSIENT, FaultServer, Step, answer, error, response
from workbench import errors
from workbench.client import Limits, wait_before_retry_s
from workbench.client.retry import MOST_REQUESTS
from workbench.types import Completion, Prompt

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("fault", REFUSALS)
async def test_a_refusal_is_asked_once(fault: str) -> None:
    async with serving(fault) as [server], client_of(server) as client:
        assert (await failure(client)).attempts == 1
    assert len(server.requests) == 1


@pytest.mark.parametrize("fault", TRANSIENT)
async def test_a_passing_failure_is_asked_three_times_and_no_more(fault: str) -> None:
    async with serving(fault) as [server], client_of(server) as client:
        assert (await failure(client)).attempts == 3
        assert len(client.ledger) == 3
    assert len(server.requests) == 3


@pytest.mark.parametrize("fault", ["malformed", "null-content", "html-200", "invalid-utf8", "204"])
async def test_an_answer_that_is_none_is_asked_for_once_more(fault: str) -> None:
    assert fault in BAD_BODIES
    async with serving(fault) as [server], client_of(server) as client:
        assert (await failure(client)).attempts == 2
    assert len(server.requests) == 2


@pytest.mark.parametrize("fault", ["reset", "close", "503", "429", "short-body", "reset-midbody"])
async def test_an_answer_at_the_second_attempt_counts(fault: str) -> None:
    async with serving([fault, "ok"]) as [server], client_of(server) as client:
        completion = await client.complete("one/small", PROMPT)
    assert completion.text == TEXT
    assert [attempt.number for attempt in completion.attempts] == [1, 2]
    assert [attempt.error is None for attempt in completion.attempts] == [False, True]


async def test_the_cost_of_a_refused_attempt_is_nothing() -> None:
    async with serving(["503", "ok"]) as [server], client_of(server) as client:
        completion = await client.complete("one/small", PROMPT)
    assert completion.cost_usd == pytest.approx(COST_USD)
    assert client.spent_usd == pytest.approx(COST_USD)


@pytest.mark.parametrize(
    ("header", "wait_s"), [({"Retry_After": "1"}, 1.0), ({"retry_after_ms": "150"}, 0.15)], ids=["s", "ms"]
)
async def test_what_a_provider_asks_to_wait_is_waited(header: dict[str, str], wait_s: float) -> None:
    async with serving([error("429 Too Many", **header), "ok"]) as [server], client_of(server) as client:
        first, second = (await client.complete("one/small", PROMPT)).attempts
    waited_s = second.started_s - first.started_s - first.latency_s
    assert wait_s <= waited_s <= wait_s * 1.25 + 0.1


async def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    started = time.monotonic()
    async with serving(error("429 Too Many", Retry_After="86400")) as [server], client_of(server) as client:
        caught = await failure(client)
    assert (caught.retry_after_s, caught.attempts, len(server.requests)) == (86400.0, 1, 1)
    assert time.monotonic() - started < 1.0


@pytest.mark.parametrize(("attempts", "most_s"), [(1, 1.0), (2, 2.0), (3, 3.0), (4, 3.0)])
def test_backoff_is_drawn_anew_below_a_growing_limit(attempts: int, most_s: float) -> None:
    limits = Limits(backoff_s=1.0, max_backoff_s=3.0, max_attempts=9)
    failed = errors.ServerError("one", "small", "no")
    failed.attempts = attempts
    rng = random.Random(0)
    waits = [wait_before_retry_s(failed, limits, rng) or 0.0 for _ in range(500)]
    assert sum(waits) / 500 == pytest.approx(most_s / 2, rel=0.1)
    assert max(waits) <= most_s


async def test_all_requests_of_a_call_have_one_name_and_another_call_has_another() -> None:
    async with serving(["503", "503", "ok"], "ok") as servers, client_of(*servers) as client:
        await client.complete("one/small", PROMPT, fallbacks=["two/small"])
        await client.complete("one/small", PROMPT)
    *first, last = [received.header("idempotency-key") for received in servers[0].requests]
    assert len(first) == 3
    assert len(set(first)) == 1
    assert last not in (None, first[0])


async def test_a_server_that_keeps_failing_is_not_worth_retries() -> None:
    async with serving("503") as [server], client_of(server) as client:
        for _ in range(20):
            await failure(client)
    assert len(server.requests) <= 20 + 5


class PushesBack:
    """Refuses one prompt `n_times`, each time when another was answered since; answers all others."""

    def __init__(self, status: str, *, n_times: float) -> None:
        self.server: FaultServer | None = None
        self._status, self._n_left = status, n_times
        self._n_others = self._n_seen = 0

    def __call__(self) -> Iterator[Step]:
        assert self.server is not None
        if PROMPT.text in str(self.server.requests[-1].body) and self._n_left > 0:
            self._n_left -= 1
            while self._n_others == self._n_seen:
                yield 0.001
            self._n_seen = self._n_others
            yield response(b"{}", status=self._status, retry_after_ms="2")
        else:
            yield response(answer())
            self._n_others += 1


async def end_of_a_call_beside_others(script: PushesBack) -> Completion | BaseException:
    """What becomes of a call while others of the same client come and go."""
    async with serving(script) as [server], client_of(server) as client:
        script.server = server
        call = asyncio.create_task(client.complete("one/small", PROMPT))
        while not call.done():
            await client.complete("one/small", Prompt("p2", "Another."))
        return (await asyncio.gather(call, return_exceptions=True))[0]


@pytest.mark.parametrize("status", ["429 Too Many", "503 Busy"])
async def test_a_refusal_while_others_are_answered_costs_no_attempt(status: str) -> None:
    end = await end_of_a_call_beside_others(PushesBack(status, n_times=6))
    assert isinstance(end, Completion)
    assert len(end.attempts) == 7


async def test_a_call_is_not_pushed_back_for_ever() -> None:
    end = await end_of_a_call_beside_others(PushesBack("429 Too Many", n_times=math.inf))
    assert isinstance(end, errors.RateLimitError)
    assert end.attempts == MOST_REQUESTS


@pytest.mark.parametrize("status", ["429 Too Many", "503 Busy"])
async def test_a_crowd_that_is_refused_to_the_last_has_three_attempts_a_call(status: str) -> None:
    async with serving(error(status, retry_after_ms="5")) as [server], client_of(server) as client:
        calls = [client.complete("one/small", PROMPT) for _ in range(12)]
        ends = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(end, errors.ProviderError) for end in ends)
    assert len(server.requests) <= 3 * 12
