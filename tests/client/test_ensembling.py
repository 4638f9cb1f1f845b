"""Ensembles over real HTTP: all members at once, one answer, and every call paid for."""

import re
import time
from collections.abc import Sequence
from datetime import date

import numpy as np
import pytest

from calling import CATALOG, COST_USD, PRICE, PROMPT, QUICK, client_of, serving
from faults import FaultServer, Script, answer, whole
from workbench import errors
from workbench.budget import Budget
from workbench.catalog import Catalog, ModelSpec, Price
from workbench.client import Limits, connect
from workbench.client.ensembling import ask_ensemble, fuse
from workbench.datasets import tasks
from workbench.providers.simulator import Simulator
from workbench.routing.ensemble import Vote
from workbench.routing.forecast import Forecast, KnownModels, with_mean_costs
from workbench.routing.fusion import Fusion
from workbench.routing.ranker import BestOf
from workbench.types import Decision, Decoding, Prompt

pytestmark = pytest.mark.anyio

MEMBERS = ("one/small", "two/small", "three/large")
FUSER = Catalog([ModelSpec("one", "fuser", PRICE)])
BOUND_USD = CATALOG["one/small"].cost_bound_usd(PROMPT, Decoding())


def majority(*model_ids: str) -> Vote:
    return Vote(model_ids, np.ones(len(model_ids)), np.full(len(model_ids), 0.5))


def last_number(text: str) -> str | None:
    found = re.findall(r"-?\d+", text)
    return found[-1] if found else None


def says(text: str, *, after_s: float = 0.0) -> Script:
    message = {"role": "assistant", "content": text}
    good = whole(answer(choices=[{"index": 0, "message": message, "finish_reason": "stop"}]))

    def script() -> list[bytes | float]:
        return [after_s, *good()]  # type: ignore[list-item]

    return script


def asked(servers: Sequence[FaultServer]) -> list[int]:
    return [len(server.requests) for server in servers]


async def test_the_majority_of_three_answers_and_all_are_paid_for() -> None:
    async with serving(says("5"), says("4"), says("It is 4.")) as servers, client_of(*servers) as client:
        voted = await ask_ensemble(client, majority(*MEMBERS), PROMPT, final_answer=last_number)
        assert client.spent_usd == pytest.approx(3 * COST_USD)
    assert (voted.completion.model_id, voted.completion.text) == ("two/small", "4")
    assert voted.completion.cost_usd == pytest.approx(3 * COST_USD)
    assert [attempt.model_id for attempt in voted.completion.attempts] == list(MEMBERS)
    assert ([one.text for one in voted.answers], voted.failures) == (["5", "4", "It is 4."], ())


async def test_members_are_asked_at_once_and_the_latency_is_the_slowest_ones() -> None:
    slow = [says("4", after_s=0.2), says("4", after_s=0.2), says("4")]
    async with serving(*slow) as servers, client_of(*servers) as client:
        started_s = time.monotonic()
        voted = await ask_ensemble(client, majority(*MEMBERS), PROMPT, final_answer=last_number)
        assert time.monotonic() - started_s < 0.39
    assert 0.2 <= voted.completion.latency_s < 0.39


async def test_the_vote_goes_on_with_those_who_answered() -> None:
    async with serving("401", says("4"), says("5")) as servers, client_of(*servers) as client:
        voted = await ask_ensemble(client, majority(*MEMBERS), PROMPT, final_answer=last_number)
    assert voted.completion.text == "4"
    [(model_id, failure)] = voted.failures
    assert (model_id, type(failure)) == ("one/small", errors.AuthError)
    assert voted.completion.cost_usd == pytest.approx(2 * COST_USD)


async def test_what_a_failed_member_may_have_cost_is_counted() -> None:
    limits = Limits(deadline_s=5.0, max_attempts=1)
    async with (
        serving("malformed", says("4"), says("4")) as servers,
        client_of(*servers, limits=limits, budget=Budget(1.0)) as client,
    ):
        voted = await ask_ensemble(client, majority(*MEMBERS), PROMPT, final_answer=last_number)
        assert client.budget is not None
        assert voted.completion.cost_usd == pytest.approx(client.budget.spent_usd)
    assert voted.completion.cost_usd == pytest.approx(2 * COST_USD + BOUND_USD)


async def test_where_every_member_fails_each_cause_is_listed() -> None:
    async with serving("401", "404", "404") as servers, client_of(*servers) as client:
        with pytest.raises(errors.AllProvidersFailedError) as caught:
            await ask_ensemble(client, majority(*MEMBERS), PROMPT, final_answer=last_number)
    assert [type(cause) for cause in caught.value.causes] == [
        errors.AuthError,
        errors.ModelNotFoundError,
        errors.ModelNotFoundError,
    ]
    assert caught.value.cost_usd == 0.0


async def test_a_budget_for_two_members_asks_the_first_two() -> None:
    budget = Budget(BOUND_USD * 2.5)
    async with (
        serving(says("4", after_s=0.1), says("4", after_s=0.1), says("5")) as servers,
        client_of(*servers, budget=budget) as client,
    ):
        voted = await ask_ensemble(client, majority(*MEMBERS), PROMPT, final_answer=last_number)
    assert asked(servers) == [1, 1, 0]
    [(model_id, failure)] = voted.failures
    assert (model_id, type(failure)) == ("three/large", errors.BudgetError)
    assert voted.completion.cost_usd == pytest.approx(budget.spent_usd) == pytest.approx(2 * COST_USD)
    assert budget.reserved_usd == 0.0


async def test_a_budget_for_no_member_says_so_and_sends_nothing() -> None:
    async with serving("ok", "ok") as servers, client_of(*servers, budget=Budget(1e-9)) as client:
        with pytest.raises(errors.BudgetError, match="left"):
            await ask_ensemble(client, majority(*MEMBERS[:2]), PROMPT, final_answer=last_number)
    assert asked(servers) == [0, 0]


async def test_a_member_that_is_not_known_is_found_before_anything_is_sent() -> None:
    async with serving("ok") as servers, client_of(*servers) as client:
        with pytest.raises(errors.ConfigError):
            await ask_ensemble(client, majority("one/small", "two/small"), PROMPT, final_answer=last_number)
    assert asked(servers) == [0]


class Foreteller:
    """Expects the second model to be right."""

    name, cost_weight, latency_weight = "foreteller", 0.0, 0.0
    models = KnownModels(("two/small", "other/model"), *(np.full(2, 0.5) for _ in range(3)))

    def forecast(self, prompts: Sequence[Prompt], *, features: object = None) -> Forecast:
        return with_mean_costs(np.tile([0.9, 0.1], (len(prompts), 1)), self.models)

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        return Decision(candidates[0], self.name)


async def test_best_of_n_takes_what_the_forecast_expects_to_be_right() -> None:
    coefficients = np.array([0.0] * 7 + [1.0, 0.0])  # nothing counts but the own predicted quality
    ranker = BestOf(MEMBERS[:2], np.array([0.6, 0.5]), coefficients)
    async with serving(says("5"), says("4")) as servers, client_of(*servers) as client:
        foretold = await ask_ensemble(
            client, ranker, PROMPT, final_answer=last_number, predictor=Foreteller()
        )
        plain = await ask_ensemble(client, ranker, PROMPT, final_answer=last_number)
    assert (foretold.completion.text, plain.completion.text) == ("4", "5")


async def test_a_fusing_model_reads_the_answers_and_its_call_is_counted() -> None:
    fusion = Fusion(majority("two/small", "three/large"), "one/fuser")
    catalog = CATALOG | FUSER
    async with (
        serving(says("4, as both say"), says("4"), says("5")) as servers,
        client_of(*servers, catalog=catalog) as client,
    ):
        fused = await fuse(client, fusion, PROMPT, final_answer=last_number)
    assert (fused.completion.text, fused.completion.model_id) == ("4, as both say", "one/fuser")
    assert fused.completion.cost_usd == pytest.approx(3 * COST_USD)
    assert [one.text for one in fused.answers] == ["4", "5"]
    [rules, question] = servers[0].requests[0].body["messages"]
    assert rules["role"] == "system"
    assert re.search(r"2 \+ 2\?\n\n<(\S+) 1>\n4\n</\1 1>\n\n<\1 2>\n5\n</\1 2>$", question["content"])


async def test_the_fusing_models_time_comes_after_the_slowest_members() -> None:
    fusion = Fusion(majority("two/small", "three/large"), "one/fuser")
    late = [says("4", after_s=0.1) for _ in range(2)] + [says("5")]
    async with serving(*late) as servers, client_of(*servers, catalog=CATALOG | FUSER) as client:
        fused = await fuse(client, fusion, PROMPT, final_answer=last_number)
    assert fused.completion.latency_s >= 0.2


async def test_members_who_agree_are_not_fused() -> None:
    fusion = Fusion(majority("two/small", "three/large"), "one/fuser")
    async with (
        serving("ok", says("4"), says("It is 4")) as servers,
        client_of(*servers, catalog=CATALOG | FUSER) as client,
    ):
        fused = await fuse(client, fusion, PROMPT, final_answer=last_number)
    assert (fused.completion.text, asked(servers)) == ("4", [0, 1, 1])


@pytest.mark.parametrize("fault", ["404", "malformed"])
async def test_where_the_fusing_model_fails_the_vote_answers(fault: str) -> None:
    fusion = Fusion(majority("two/small", "three/large"), "one/fuser")
    async with (
        serving(fault, says("4"), says("5")) as servers,
        client_of(*servers, catalog=CATALOG | FUSER, limits=QUICK) as client,
    ):
        fused = await fuse(client, fusion, PROMPT, final_answer=last_number)
        assert fused.completion.cost_usd == pytest.approx(client.spent_usd)
    assert fused.completion.text == "4"
    assert [model_id for model_id, _ in fused.failures] == ["one/fuser"]


async def test_where_the_money_left_does_not_pay_the_fusing_model_the_vote_answers() -> None:
    fusion = Fusion(majority("two/small", "three/large"), "one/fuser")
    dear = Catalog([ModelSpec("one", "fuser", Price(9.0, 9.0, "made up for tests", date(2026, 11, 1)))])
    budget = Budget(BOUND_USD * 2.01)
    async with (
        serving("ok", says("4"), says("5")) as servers,
        client_of(*servers, catalog=CATALOG | dear, budget=budget) as client,
    ):
        fused = await fuse(client, fusion, PROMPT, final_answer=last_number)
    assert (fused.completion.text, asked(servers)) == ("4", [0, 1, 1])
    assert type(fused.failures[0][1]) is errors.BudgetError


async def test_a_vote_of_the_simulated_fleet_is_right_more_often_than_its_members() -> None:
    """Three models of .8 or so, on 60 prompts; what each said is scored as the fleet knows it."""
    names = [f"simulator/{name}" for name in ("sim-medium", "sim-coder", "sim-reasoner")]
    prompts = [task.prompt for task in tasks()[:60]]

    def final(text: str) -> str:
        return text.rpartition("Answer:")[2].strip()

    n_right, n_single = 0, np.zeros(len(names))
    async with (
        Simulator(latency_scale=0.0) as simulator,
        connect(names, simulator_url=simulator.base_url, limits=QUICK, budget=Budget(5.0)) as client,
    ):
        for prompt in prompts:
            voted = await ask_ensemble(client, majority(*names), prompt, final_answer=final)
            n_right += final(voted.completion.text) == prompt.reference
            said = {one.model_id: final(one.text) == prompt.reference for one in voted.answers}
            n_single += [said.get(name, False) for name in names]
        assert client.budget is not None
        assert client.budget.spent_usd == pytest.approx(client.spent_usd)
    assert n_right > n_single.max()
