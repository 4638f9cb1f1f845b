"""Several models that answer as one behind the server: one answer is given, and all of them are paid."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anthropic
import numpy as np
import openai
import pandas as pd
import pytest
from aiohttp import web

from loopback import serving
from server.conftest import Running, running
from workbench import outcomes
from workbench.routing import checkpoint
from workbench.routing.baselines import BestSingle
from workbench.routing.cascade_training import fit_cascade
from workbench.routing.ensemble import Vote
from workbench.routing.forecast import KnownModels
from workbench.routing.fusion import Fusion
from workbench.routing.online import Bandit
from workbench.routing.training_table import from_table
from workbench.server.config import ProviderConfig, ServerConfig
from workbench.server.database import open_database
from workbench.server.usage import export
from workbench.types import Prompt

pytestmark = pytest.mark.anyio

TINY, SMALL, LARGE = "lab/tiny", "lab/small", "lab/large"
FITTED_COST_USD = {TINY: 1e-5, SMALL: 2e-5, LARGE: 1e-3}
PRICES = """provider,model,date,input_usd_per_mtok,output_usd_per_mtok,context_tokens,source
lab,tiny,2026-11-01,1,2,8000,made up for tests
lab,small,2026-11-01,2,4,8000,made up for tests
lab,large,2026-11-01,50,100,8000,made up for tests
lab,spare,2026-11-01,1,1,8000,made up for tests
"""
COST_USD = {TINY: 20e-6, SMALL: 40e-6, LARGE: 1_000e-6, "lab/spare": 15e-6}
"""Of 10 tokens in and 5 out, as `Lab` says of every answer."""


@dataclass
class Lab:
    """What each model says; one that says nothing fails, and `slow` takes its time."""

    said: dict[str, str] = field(default_factory=lambda: {"tiny": "17", "small": "17", "large": "17"})
    asked: list[str] = field(default_factory=list)
    slow: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        name = (await request.json())["model"]
        self.asked.append(name)
        if name == self.slow:
            await asyncio.sleep(30)
        if name not in self.said:
            return web.json_response({"error": {"message": "no"}}, status=400)
        choice = {"index": 0, "message": {"role": "assistant", "content": self.said[name]}}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        body = {"id": "c", "model": name, "choices": [choice | {"finish_reason": "stop"}], "usage": usage}
        return web.json_response(body)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cascade that asks the two cheap models, and the large one where they differ."""
    rng, rows = np.random.default_rng(0), []
    for number in range(120):
        for model_id, cost_usd in FITTED_COST_USD.items():
            is_right = rng.random() < (0.97 if model_id == LARGE else 0.75)
            rows.append(
                {
                    "prompt_id": f"p{number}",
                    "prompt": f"{number} + {number}?",
                    "arm": model_id,
                    "provider": "lab",
                    "model": model_id.removeprefix("lab/"),
                    "response": str(2 * number if is_right else rng.integers(1_000, 9_000)),
                    "quality": float(is_right),
                    "cost_usd": cost_usd,
                }
            )
    path = tmp_path_factory.mktemp("cascade") / "cascade.ckpt"
    checkpoint.save(fit_cascade(from_table(pd.DataFrame(rows)), cost_weight=100.0), path)
    return path


@asynccontextmanager
async def served(config: ServerConfig, saved: Path, lab: Lab, **changes: object) -> AsyncIterator[Running]:
    """A server whose `auto` is the cascade over the models of `lab`."""
    prices = saved.parent / "prices.csv"
    prices.write_text(PRICES)
    async with serving(("POST", "/v1/chat/completions", lab.answer)) as url:
        update = {
            "providers": {"lab": ProviderConfig(base_url=f"{url}/v1")},
            "models": ("lab/spare",),
            "models_file": prices,
            "auto": str(saved),
        }
        async with running(config.model_copy(update=update | changes)) as server:
            yield server


async def key_of(server: Running, **limits: object) -> dict[str, str]:
    made = await server.http.post("/admin/keys", json={"name": "poor"} | limits, headers=server.admin)
    return {"authorization": f"Bearer {made.json()['token']}"}


async def test_two_that_agree_are_asked_and_both_are_paid_by_the_caller(
    config: ServerConfig, saved: Path, tmp_path: Path
) -> None:
    lab = Lab()
    async with served(config, saved, lab) as server:
        answered = await server.ask("17?", model="auto", workbench={"decision": True})
        metrics = (await server.http.get("/metrics", headers=server.admin)).text
    paid_usd = COST_USD[TINY] + COST_USD[SMALL]
    shown = answered.json()["workbench"]
    assert answered.json()["choices"][0]["message"]["content"] == "17"
    assert sorted(lab.asked) == ["small", "tiny"]
    assert [(step["model"], step["error"]) for step in shown["steps"]] == [
        (f"lab/{name}", None) for name in lab.asked
    ]
    assert sum(step["cost_usd"] for step in shown["steps"]) == pytest.approx(paid_usd)
    assert shown["cost_usd"] == pytest.approx(paid_usd)
    assert shown["router"] == "cascade"
    assert answered.headers["x-workbench-steps"] == ",".join(f"lab/{name}" for name in lab.asked)
    assert float(answered.headers["x-workbench-cost-usd"]) == pytest.approx(paid_usd)
    for model_id in (TINY, SMALL):
        labels = f'arm="auto",model="{model_id[4:]}",provider="lab",router="cascade"'
        assert f"workbench_cost_usd_total{{{labels}}} {COST_USD[model_id]}" in metrics
    assert export(open_database(None, config.folder), tmp_path / "served.parquet") == 1
    [row] = outcomes.read(tmp_path / "served.parquet").to_dict("records")
    assert row["cost_usd"] == pytest.approx(paid_usd)
    assert pd.isna(row["propensity"])


async def test_where_they_differ_a_third_is_asked_and_its_answer_given(
    config: ServerConfig, saved: Path
) -> None:
    lab = Lab({"tiny": "16", "small": "18", "large": "17"})
    async with served(config, saved, lab) as server:
        answered = await server.ask("17?", model="auto")
    assert answered.json()["choices"][0]["message"]["content"] == "17"
    assert answered.json()["model"] == LARGE
    assert answered.headers["x-workbench-answered-by"] == LARGE
    assert len(lab.asked) == 3


async def test_a_stream_is_of_the_answer_that_is_kept(config: ServerConfig, saved: Path) -> None:
    lab = Lab({"tiny": "16", "small": "18", "large": "17"})
    async with served(config, saved, lab) as server:
        key = server.caller["authorization"].removeprefix("Bearer ")
        asked = {"model": "auto", "messages": [{"role": "user", "content": "17?"}], "max_tokens": 50}
        async with openai.AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key=key) as client:
            chunks = [one async for one in await client.chat.completions.create(**asked, stream=True)]
            said = await client.responses.create(model="auto", input="17?", stream=True)
            events = [event async for event in said]
        async with (
            anthropic.AsyncAnthropic(base_url=server.base_url, api_key=key) as client,
            client.messages.stream(**asked) as stream,
        ):
            message = await stream.get_final_message()
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "17"
    assert {chunk.model for chunk in chunks} == {LARGE}
    assert events[-1].response.output_text == "17"
    assert (message.content[0].text, message.model) == ("17", LARGE)


async def test_a_model_that_fails_is_a_step_and_the_others_answer(config: ServerConfig, saved: Path) -> None:
    lab = Lab({"small": "17", "large": "17"})
    async with served(config, saved, lab) as server:
        answered = await server.ask("17?", model="auto", workbench={"decision": True})
    errors = {step["model"]: step["error"] for step in answered.json()["workbench"]["steps"]}
    assert answered.status_code == 200
    assert errors[TINY] == "RequestError"
    assert errors[answered.headers["x-workbench-answered-by"]] is None


async def test_where_all_fail_the_fallback_answers_and_without_one_the_request_is_refused(
    config: ServerConfig, saved: Path
) -> None:
    lab = Lab({"spare": "17"})
    async with served(config, saved, lab) as server:
        failed = await server.ask("17?", model="auto")
        answered = await server.ask("17?", model="auto", workbench={"fallbacks": ["lab/spare"]})
    assert (failed.status_code, failed.json()["error"]["code"]) == (502, "all_providers_failed")
    assert answered.headers["x-workbench-answered-by"] == "lab/spare"
    assert answered.headers["x-workbench-steps"].split(",")[-1] == "lab/spare"


async def test_what_all_models_can_cost_is_reserved_before_the_first_is_asked(
    config: ServerConfig, saved: Path
) -> None:
    lab = Lab()
    async with served(config, saved, lab) as server:
        body = {"model": "auto", "messages": [{"role": "user", "content": "17?"}], "max_tokens": 100}
        enough_for_the_large_one = {"budget_usd": 0.0115}
        poor = await key_of(server, **enough_for_the_large_one)
        refused = await server.http.post("/v1/chat/completions", json=body, headers=poor)
        rich = await key_of(server, budget_usd=0.02)
        answered = await server.http.post("/v1/chat/completions", json=body, headers=rich)
    assert (refused.status_code, refused.json()["error"]["code"]) == (402, "budget_exceeded")
    assert answered.status_code == 200
    assert len(lab.asked) == 2


async def test_the_servers_budget_is_kept_by_all_steps_together(config: ServerConfig, saved: Path) -> None:
    lab = Lab()
    async with served(config, saved, lab, budget_usd=0.02) as server:
        codes = [(await server.ask("17?", model="auto", max_tokens=100)).status_code for _ in range(3)]
        ready = await server.http.get("/admin/usage", headers=server.admin)
    assert codes == [200, 200, 200]
    assert sum(one["cost_usd"] for one in ready.json()) <= 0.02


async def test_who_leaves_pays_for_the_steps_that_were_taken(
    config: ServerConfig, saved: Path, tmp_path: Path
) -> None:
    lab = Lab()
    async with served(config, saved, lab) as server:
        first = (await server.ask("17?", model="auto")).headers["x-workbench-steps"].split(",")
        lab.asked.clear()
        lab.slow = first[1].removeprefix("lab/")
        asking = asyncio.create_task(server.ask("17?", model="auto", max_tokens=100))
        while len(lab.asked) < 2:
            await asyncio.sleep(0.02)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.sleep(0.5)
    export(open_database(None, config.folder), tmp_path / "served.parquet")
    left = outcomes.read(tmp_path / "served.parquet").iloc[-1]
    assert left["error"] == "CancelledError"
    assert left["cost_usd"] > COST_USD[first[0]]


async def test_tools_are_refused_as_calls_are_not_compared(config: ServerConfig, saved: Path) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    async with served(config, saved, Lab()) as server:
        refused = await server.ask("17?", model="auto", tools=[tool])
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_request")


async def test_an_arm_of_an_experiment_and_its_shadow_may_be_cascades(
    config: ServerConfig, saved: Path
) -> None:
    spec = {
        "name": "cascade-or-spare",
        "target": "lab/spare",
        "arms": [
            {"name": "spare", "target": "lab/spare", "share": 0.5},
            {"name": "cascade", "target": "auto", "share": 0.5},
        ],
        "shadow": {"target": "auto", "budget_usd": 1.0},
    }
    lab = Lab(dict.fromkeys(("tiny", "small", "large", "spare"), "17"))
    async with served(config, saved, lab) as server:
        made = await server.http.post("/admin/experiments", json=spec, headers=server.admin)
        assert made.status_code == 201
        answers = [await server.ask("17?", model="lab/spare", user=f"u{n}") for n in range(12)]
        await asyncio.sleep(0.5)
        usage = await server.http.get("/admin/usage", params={"by": "arm"}, headers=server.admin)
    by_arm = {one["group"]: one for one in usage.json()}
    by_name = {one.headers["x-workbench-arm"]: one.headers for one in answers}
    assert by_name["cascade"]["x-workbench-steps"].count(",") == 1
    assert by_name["cascade"]["x-workbench-propensity"] == "0.5"
    assert by_name["spare"]["x-workbench-propensity"] == "0.5"
    paid_usd = COST_USD[TINY] + COST_USD[SMALL]
    assert by_arm["shadow"]["cost_usd"] == pytest.approx(12 * paid_usd)
    assert by_arm["cascade"]["cost_usd"] == pytest.approx(by_arm["cascade"]["n_requests"] * paid_usd)


async def test_an_ensemble_asks_its_members_at_once_and_gives_what_most_say(
    config: ServerConfig, saved: Path
) -> None:
    vote, path = Vote((LARGE, SMALL, TINY), np.ones(3), np.array([0.9, 0.7, 0.6])), saved.parent / "vote.ckpt"
    checkpoint.save(vote, path)
    lab = Lab({"tiny": "17", "small": "17", "large": "18"})
    async with served(config, saved, lab, auto=str(path)) as server:
        answered = await server.ask("17?", model="auto")
    assert answered.json()["choices"][0]["message"]["content"] == "17"
    assert answered.headers["x-workbench-answered-by"] == SMALL
    assert set(answered.headers["x-workbench-steps"].split(",")) == {TINY, SMALL, LARGE}
    paid_usd = COST_USD[TINY] + COST_USD[SMALL] + COST_USD[LARGE]
    assert float(answered.headers["x-workbench-cost-usd"]) == pytest.approx(paid_usd)


async def test_a_fusion_writes_its_answer_from_those_of_its_members(
    config: ServerConfig, saved: Path
) -> None:
    vote, path = Vote((SMALL, TINY), np.ones(2), np.array([0.7, 0.6])), saved.parent / "fusion.ckpt"
    checkpoint.save(Fusion(vote, LARGE), path)
    lab = Lab({"tiny": "16", "small": "18", "large": "17"})
    async with served(config, saved, lab, auto=str(path)) as server:
        answered = await server.ask("17?", model="auto")
    assert answered.json()["choices"][0]["message"]["content"] == "17"
    assert answered.headers["x-workbench-steps"].split(",")[-1] == LARGE


async def test_a_bandit_serves_with_the_propensities_of_its_choices(
    config: ServerConfig, saved: Path, tmp_path: Path
) -> None:
    means = np.array([0.5, 0.7]), np.array([0.1, 0.2]), np.array([1.0, 1.0])
    bandit, path = Bandit(BestSingle(KnownModels((TINY, SMALL), *means))), saved.parent / "bandit.ckpt"
    checkpoint.save(bandit, path)
    chances = bandit.probabilities(Prompt("p", "17?"), (TINY, SMALL))
    async with served(config, saved, Lab(), auto=str(path)) as server:
        answers = [await server.ask("17?", model="auto") for _ in range(20)]
    for answer in answers:
        chance = chances[(TINY, SMALL).index(answer.headers["x-workbench-model"])]
        assert float(answer.headers["x-workbench-propensity"]) == pytest.approx(chance, rel=1e-5)
    assert {answer.headers["x-workbench-model"] for answer in answers} == {TINY, SMALL}
