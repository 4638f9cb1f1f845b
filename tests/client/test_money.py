"""Money: reserved before a request is sent, settled when it is known."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date

import pytest

from calling import CATALOG, COST_USD, PROMPT, client_of, failure, serving
from faults import TEXT, answer, whole
from workbench import errors
from workbench.budget import Budget
from workbench.catalog import Catalog, ModelSpec, Price
from workbench.client import Client, Limits
from workbench.providers.chat_completions import ChatCompletions
from workbench.types import Completion, Decoding, Delta, Prompt, Usage

pytestmark = pytest.mark.anyio


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


async def test_a_call_costs_no_more_than_its_ceiling_with_all_its_fallbacks() -> None:
    dear = Price(1000.0, 2000.0, "made up for tests", date(2026, 11, 1))
    catalog = CATALOG | Catalog([ModelSpec("two", "small", dear)])
    limits = Limits(max_call_cost_usd=0.01, backoff_s=0.01)
    async with (
        serving("404", "ok", "ok") as servers,
        client_of(*servers, limits=limits, catalog=catalog) as client,
    ):
        completion = await client.complete("one/small", PROMPT, fallbacks=["two/small", "three/large"])
    assert completion.model_id == "three/large"
    assert completion.attempts[-1].fallback_reason == "BudgetError"
    assert servers[1].requests == []


async def test_what_a_failed_attempt_cost_counts_towards_the_ceiling() -> None:
    bound_usd = CATALOG["one/small"].cost_bound_usd(PROMPT, Decoding())
    limits = Limits(max_call_cost_usd=bound_usd * 1.5, backoff_s=0.01)
    async with serving("malformed", "ok") as servers, client_of(*servers, limits=limits) as client:
        assert isinstance(await failure(client, fallbacks=["two/small"]), errors.BadResponseError)
    assert [len(server.requests) for server in servers] == [1, 0]


class Remembering:
    """A provider that was asked before, and answers from what it kept."""

    name = "one"

    async def complete(
        self, model: str, prompt: Prompt, decoding: Decoding, *, deadline_s: float
    ) -> Completion:
        return Completion(TEXT, model, model, "one", Usage(10, 5), 0.0, "stop", cost_usd=0.0, is_cached=True)

    async def stream(
        self, model: str, prompt: Prompt, decoding: Decoding, *, deadline_s: float
    ) -> AsyncIterator[Delta]:
        yield Delta("", await self.complete(model, prompt, decoding, deadline_s=deadline_s))

    async def aclose(self) -> None:
        """Nothing is open."""


async def test_an_answer_that_was_paid_for_before_costs_nothing_and_uses_no_tokens() -> None:
    budget = Budget(1.0)
    async with Client([Remembering()], catalog=CATALOG, budget=budget) as client:
        assert (await client.complete("one/small", PROMPT)).cost_usd == 0.0
        [attempt] = client.ledger
    assert (attempt.cost_usd, attempt.usage, budget.spent_usd) == (0.0, None, 0.0)
