"""The client: retries, deadlines, fallbacks, budget and ledger, over real HTTP on loopback."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import date

import pytest

from faults import (
    BAD_BODIES,
    DONE,
    HALVES,
    REFUSALS,
    TEXT,
    TRANSIENT,
    FaultServer,
    Script,
    answer,
    delta,
    error,
    refusing_port,
    response,
    stream,
    whole,
)
from workbench import errors
from workbench.budget import Budget
from workbench.catalog import Catalog, ModelSpec, Price
from workbench.client import Client, Limits, connect, wait_before_retry_s
from workbench.providers.chat_completions import ChatCompletions
from workbench.types import Completion, Decision, Decoding, Prompt

pytestmark = pytest.mark.anyio

PROMPT = Prompt("p1", "2 + 2?")
PRICE = Price(1.0, 2.0, "made up for tests", date(2026, 11, 1))
COST_USD = (10 * 1.0 + 5 * 2.0) / 1e6
"""What the good answer of the fault server costs at `PRICE`: 10 tokens in, 5 out."""

CATALOG = Catalog(
    [
        ModelSpec("one", "small", PRICE, context_tokens=8_000),
        ModelSpec("two", "small", PRICE, context_tokens=8_000),
        ModelSpec("three", "large", PRICE, context_tokens=64_000),
        ModelSpec("free", "unpriced"),
    ]
)
QUICK = Limits(deadline_s=5.0, backoff_s=0.01, max_backoff_s=0.02)


@asynccontextmanager
async def client_of(
    *servers: FaultServer, limits: Limits = QUICK, budget: Budget | None = None, catalog: Catalog = CATALOG
) -> AsyncIterator[Client]:
    """A client of providers `one`, `two`, `three` at `servers`."""
    names = ("one", "two", "three")
    providers = [ChatCompletions(name, server.url) for name, server in zip(names, servers, strict=False)]
    client = Client(providers, catalog=catalog, limits=limits, budget=budget, rng=random.Random(0))
    async with client:
        yield client


@asynccontextmanager
async def serving(*scripts: str | Script | Sequence[str | Script]) -> AsyncIterator[list[FaultServer]]:
    """A server for each script, or sequence of scripts."""
    async with AsyncExitStack() as stack:
        each = [[s] if isinstance(s, str) or callable(s) else s for s in scripts]
        yield [await stack.enter_async_context(FaultServer(*script)) for script in each]


async def failure(
    client: Client, target: str = "one/small", **settings: Sequence[str]
) -> errors.ProviderError:
    with pytest.raises(errors.ProviderError) as caught:
        await client.complete(target, PROMPT, **settings)
    return caught.value


async def streamed(client: Client, fallbacks: Sequence[str] = ()) -> Completion:
    pieces = [one async for one in client.stream("one/small", PROMPT, fallbacks=fallbacks)]
    completion = pieces[-1].completion
    assert completion is not None
    assert "".join(piece.text for piece in pieces) == completion.text
    return completion


# Retries


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


# Deadline


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


# Fallbacks


@pytest.mark.parametrize(
    "fault",
    ["401", "402", "404", "429-quota", "429", "500", "malformed", "error-in-200", "null-content", "reset"],
)
async def test_the_next_candidate_is_asked_when_one_fails(fault: str) -> None:
    async with serving(fault, "ok") as servers, client_of(*servers) as client:
        completion = await client.complete("one/small", PROMPT, fallbacks=["two/small"])
    assert completion.model_id == "two/small"
    assert [attempt.is_fallback for attempt in completion.attempts][-1] is True
    assert completion.attempts[0].model_id == "one/small"


async def test_a_refused_connection_falls_back_without_a_wait() -> None:
    limits = Limits(backoff_s=5.0, deadline_s=20.0)
    async with serving("ok") as [server], AsyncExitStack() as stack:
        port = stack.enter_context(refusing_port())
        dead = ChatCompletions("one", f"http://127.0.0.1:{port}/v1")
        providers = [dead, ChatCompletions("two", server.url)]
        client = await stack.enter_async_context(Client(providers, catalog=CATALOG, limits=limits))
        started = time.monotonic()
        completion = await client.complete("one/small", PROMPT, fallbacks=["two/small"])
    assert [attempt.error for attempt in completion.attempts] == ["ConnectError", None]
    assert time.monotonic() - started < 1.0


async def test_a_candidate_that_hangs_leaves_time_for_the_next() -> None:
    limits = Limits(deadline_s=0.6)
    async with serving("hang", "ok") as servers, client_of(*servers, limits=limits) as client:
        completion = await client.complete("one/small", PROMPT, fallbacks=["two/small"])
    assert completion.model_id == "two/small"


async def test_when_all_fail_each_cause_is_listed() -> None:
    async with serving("401", "503", "404") as servers, client_of(*servers) as client:
        caught = await failure(client, fallbacks=["two/small", "three/large"])
    assert isinstance(caught, errors.AllProvidersFailedError)
    assert [type(c) for c in caught.causes] == [
        errors.AuthError,
        errors.ServerError,
        errors.ModelNotFoundError,
    ]
    assert caught.attempts == 1 + 3 + 1 == len(client.ledger)
    assert caught.cost_usd == 0.0


async def test_a_prompt_too_long_goes_only_to_a_longer_window() -> None:
    async with serving("400-context", "ok", "ok") as servers, client_of(*servers) as client:
        completion = await client.complete("one/small", PROMPT, fallbacks=["two/small", "three/large"])
    assert completion.model_id == "three/large"
    assert servers[1].requests == []


async def test_a_provider_that_refused_the_key_is_not_asked_for_another_model() -> None:
    catalog = CATALOG | Catalog([ModelSpec("one", "other", PRICE)])
    async with serving("401", "ok") as servers, client_of(*servers, catalog=catalog) as client:
        completion = await client.complete("one/small", PROMPT, fallbacks=["one/other", "two/small"])
    assert completion.model_id == "two/small"
    assert len(servers[0].requests) == 1


async def test_the_latency_counts_from_the_first_attempt() -> None:
    def slow_failure() -> list[bytes | float]:
        return [0.2, response(b"{}", status="500 No")]

    async with serving([slow_failure, "ok"]) as [server], client_of(server) as client:
        completion = await client.complete("one/small", PROMPT)
    assert completion.latency_s >= 0.2


# Routers


class Chooser:
    """Takes the last candidate, and names the others as fallbacks."""

    name = "chooser"

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        *others, last = candidates
        return Decision(last, self.name, fallbacks=tuple(others))


async def test_a_router_chooses_among_the_models_that_are_connected() -> None:
    async with serving("ok", "ok") as servers, client_of(*servers) as client:
        completion = await client.complete(Chooser(), PROMPT)
    assert completion.model_id == "two/small"


async def test_a_router_chooses_among_the_candidates_given_and_its_fallbacks_follow() -> None:
    async with serving("ok", "ok", "500") as servers, client_of(*servers) as client:
        completion = await client.complete(Chooser(), PROMPT, candidates=["two/small", "three/large"])
    assert [attempt.model_id for attempt in completion.attempts] == ["three/large"] * 3 + ["two/small"]


# Budget


async def test_fifty_calls_with_money_for_ten_send_ten() -> None:
    bound_usd = CATALOG["one/small"].cost_bound_usd(PROMPT, Decoding())
    limits = Limits(concurrency=50, deadline_s=10.0)
    slow = whole(answer(usage={"prompt_tokens": 0, "completion_tokens": 0}))

    def slowly() -> list[bytes | float]:
        return [0.2, *slow()]  # type: ignore[list-item]

    budget = Budget(bound_usd * 10.5)
    async with serving(slowly) as [server], client_of(server, limits=limits, budget=budget) as client:
        calls = [client.complete("one/small", PROMPT) for _ in range(50)]
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert len(server.requests) == 10
    assert sum(isinstance(result, errors.BudgetError) for result in results) == 40


async def test_an_answer_is_settled_at_its_usage() -> None:
    budget = Budget(1.0)
    async with serving("ok") as [server], client_of(server, budget=budget) as client:
        await client.complete("one/small", PROMPT)
    assert (budget.spent_usd, budget.reserved_usd) == (pytest.approx(COST_USD), 0.0)


async def test_a_model_without_a_price_is_not_sent_under_a_budget() -> None:
    async with serving("ok") as [server]:
        provider = ChatCompletions("free", server.url)
        async with Client([provider], catalog=CATALOG, budget=Budget(1.0)) as client:
            with pytest.raises(errors.ConfigError, match="has no price"):
                await client.complete("free/unpriced", PROMPT)
        assert server.requests == []


async def test_a_model_without_a_price_has_no_cost() -> None:
    async with serving("ok") as [server], Client([ChatCompletions("free", server.url)]) as client:
        completion = await client.complete("free/unpriced", PROMPT)
    assert (completion.cost_usd, client.spent_usd) == (None, 0.0)


@pytest.mark.parametrize(
    ("fault", "is_billed"),
    [
        ("401", False),
        ("500", False),
        ("reset", False),
        ("hang", True),
        ("malformed", True),
        ("short-body", True),
    ],
)
async def test_an_attempt_that_may_be_billed_is_settled_at_its_bound(fault: str, is_billed: bool) -> None:
    bound_usd = CATALOG["one/small"].cost_bound_usd(PROMPT, Decoding())
    limits = Limits(deadline_s=0.3, max_attempts=1)
    budget = Budget(1.0)
    async with serving(fault) as [server], client_of(server, limits=limits, budget=budget) as client:
        caught = await failure(client)
    assert caught.cost_usd == budget.spent_usd == pytest.approx(bound_usd if is_billed else 0.0)
    assert budget.reserved_usd == 0.0


async def test_a_retry_that_the_budget_cannot_pay_is_not_made() -> None:
    bound_usd = CATALOG["one/small"].cost_bound_usd(PROMPT, Decoding())
    budget = Budget(bound_usd * 1.5)
    async with serving(["malformed", "ok"]) as [server], client_of(server, budget=budget) as client:
        assert isinstance(await failure(client), errors.BadResponseError)
    assert len(server.requests) == 1


async def test_a_fallback_that_the_budget_cannot_pay_is_passed_over() -> None:
    dear = Price(1000.0, 2000.0, "made up for tests", date(2026, 11, 1))
    catalog = CATALOG | Catalog([ModelSpec("two", "small", dear)])
    budget = Budget(0.01)
    async with (
        serving("404", "ok", "ok") as servers,
        client_of(*servers, budget=budget, catalog=catalog) as client,
    ):
        completion = await client.complete("one/small", PROMPT, fallbacks=["two/small", "three/large"])
    assert completion.model_id == "three/large"
    assert servers[1].requests == []


async def test_a_budget_too_small_for_one_call_says_so() -> None:
    async with serving("ok") as [server], client_of(server, budget=Budget(1e-9)) as client:
        with pytest.raises(errors.BudgetError, match="left"):
            await client.complete("one/small", PROMPT)
    assert server.requests == []


# Streams


async def test_a_stream_is_priced_and_listed() -> None:
    async with serving("stream-ok") as [server], client_of(server) as client:
        completion = await streamed(client)
    assert completion.text == TEXT
    assert completion.cost_usd == pytest.approx(COST_USD)
    assert len(completion.attempts) == 1


@pytest.mark.parametrize("fault", ["error-first-event", "503", "429", "reset", "stream-empty", "sse-html"])
async def test_a_stream_that_fails_before_its_first_text_is_tried_again_unseen(fault: str) -> None:
    async with serving([fault, "stream-ok"]) as [server], client_of(server) as client:
        completion = await streamed(client)
    assert (completion.text, len(completion.attempts)) == (TEXT, 2)


async def test_a_stream_that_fails_before_its_first_text_falls_back_unseen() -> None:
    async with serving("401", "stream-ok") as servers, client_of(*servers) as client:
        completion = await streamed(client, fallbacks=["two/small"])
    assert completion.model_id == "two/small"


@pytest.mark.parametrize("fault", ["stream-eof", "reset-midstream", "error-midstream", "sse-malformed"])
async def test_a_stream_that_breaks_after_text_is_never_continued_by_another(fault: str) -> None:
    async with serving(fault, "stream-ok") as servers, client_of(*servers) as client:
        with pytest.raises(errors.ProviderError) as caught:
            await streamed(client, ["two/small"])
    assert caught.value.partial_text.startswith("The answer ")
    assert (caught.value.attempts, caught.value.cost_usd) == (1, client.ledger[0].cost_usd)
    assert len(servers[0].requests) == 1
    assert servers[1].requests == []


async def test_a_stream_that_breaks_is_settled_at_what_came() -> None:
    budget = Budget(1.0)
    async with serving("reset-midstream") as [server], client_of(server, budget=budget) as client:
        with suppress(errors.StreamTruncatedError):
            await streamed(client)
    [attempt] = client.ledger
    assert attempt.error == "StreamTruncatedError"
    assert attempt.usage is not None
    assert (attempt.usage.output_tokens, attempt.usage.is_estimated) == (len("The answer "), True)
    assert budget.spent_usd == attempt.cost_usd


async def test_leaving_a_stream_closes_its_connection_and_keeps_what_it_cost() -> None:
    endless = stream(HALVES[0], end=(60.0,))
    budget = Budget(1.0)
    async with serving(endless) as [server], client_of(server, budget=budget) as client:
        async for _ in client.stream("one/small", PROMPT):
            break
        await server.all_gone(1.0)
        [attempt] = client.ledger
    assert attempt.error == "CancelledError"
    assert attempt.cost_usd == budget.spent_usd > 0.0
    assert budget.reserved_usd == 0.0


@pytest.mark.parametrize("is_streamed", [False, True], ids=["unary", "streamed"])
async def test_a_cancelled_call_closes_its_connection(is_streamed: bool) -> None:
    endless = stream(HALVES[0], end=(60.0,)) if is_streamed else "hang"
    budget = Budget(1.0)
    async with serving(endless) as [server], client_of(server, budget=budget) as client:
        call = streamed(client) if is_streamed else client.complete("one/small", PROMPT)
        task = asyncio.create_task(call)
        await asyncio.sleep(0.1)
        assert server.n_open == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.all_gone(1.0)
        assert [attempt.error for attempt in client.ledger] == ["CancelledError"]
    assert budget.spent_usd > 0.0


async def test_a_slot_is_free_again_after_a_stream_was_left() -> None:
    limits = Limits(concurrency=1, deadline_s=5.0)
    async with serving("stream-ok") as [server], client_of(server, limits=limits) as client:
        for _ in range(3):
            async for _piece in client.stream("one/small", PROMPT):
                break
        assert (await streamed(client)).text == TEXT


async def test_a_stream_without_usage_is_priced_from_above() -> None:
    script = stream(*HALVES, delta(finish="stop"), DONE)
    async with serving(script) as [server], client_of(server) as client:
        completion = await streamed(client)
    assert completion.usage.is_estimated
    assert completion.cost_usd is not None
    assert completion.cost_usd > 0.0


# Configuration


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
    "bad", [{"concurrency": 0}, {"max_attempts": 0}, {"deadline_s": 0.0}, {"backoff_s": float("nan")}]
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


async def test_the_log_names_model_and_latency_and_not_the_prompt(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(["500", "ok"]) as [server], client_of(server) as client:
        await client.complete("one/small", PROMPT)
    ours = [record.getMessage() for record in caplog.records if record.name == "workbench"]
    assert [message.partition(" in ")[0] for message in ours] == [
        "one/small: ServerError",
        "one/small: HTTP status 500, ServerError",
        "one/small: trying again",
        "one/small: answered",
    ]
    assert PROMPT.text not in caplog.text
    assert TEXT not in caplog.text


async def test_a_retry_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    async with serving(["500", "ok"]) as [server], client_of(server) as client:
        await client.complete("one/small", PROMPT)
    assert capfd.readouterr() == ("", "")
