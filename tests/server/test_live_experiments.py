"""Experiments on live traffic: who meets which arm, what the log says of it, and that it ends by itself."""

import asyncio
from collections import Counter

import numpy as np
import pytest
from scipy.stats import binom

from server.conftest import MODELS, Running, running
from workbench.server.config import ServerConfig
from workbench.server.exchange import Asked
from workbench.server.live_experiment import LiveArm, LiveSpec, ScoredRow, standings, winner
from workbench.types import Decoding, Prompt

SPEC = LiveSpec(
    name="small-or-large",
    target=MODELS[0],
    arms=(
        LiveArm(name="small", target=MODELS[0], share=0.7),
        LiveArm(name="large", target=MODELS[1], share=0.3),
    ),
)


def asked(user: str | None) -> Asked:
    return Asked(MODELS[0], Prompt("p", "?"), Decoding(), user=user)


def test_units_are_divided_by_the_shares_and_stay_where_they_are() -> None:
    met = [SPEC.arm_of(asked(f"user {n}"), tenant="t", request_id="r").name for n in range(2_000)]
    again = [SPEC.arm_of(asked(f"user {n}"), tenant="t", request_id="s").name for n in range(2_000)]
    assert met == again
    low, high = binom.ppf([0.001, 0.999], 2_000, 0.3)
    assert low <= Counter(met)["large"] <= high


def test_a_true_difference_is_found_and_none_is_rarely() -> None:
    rng, n_false = np.random.default_rng(0), 0
    for _ in range(200):
        arms = rng.random(400) < 0.3
        scores = rng.random(400) < 0.7
        rows = [
            ScoredRow("large" if arm else "small", float(score), None)
            for arm, score in zip(arms, scores, strict=True)
        ]
        n_false += winner(SPEC, standings(SPEC, rows)) is not None
    assert n_false <= binom.ppf(0.999, 200, SPEC.alpha)
    better = [ScoredRow("large" if arm else "small", float(arm), None) for arm in rng.random(400) < 0.3]
    decided = winner(SPEC, standings(SPEC, better))
    assert decided is not None
    assert (decided[0], decided[1].name) == ("promoted", "large")


def test_a_unit_counts_once_however_often_it_is_scored() -> None:
    rows = [ScoredRow("small", 1.0, "u"), ScoredRow("small", 0.0, "u"), ScoredRow("large", 1.0, "v")]
    assert [(one.n_scored, one.quality) for one in standings(SPEC, rows)] == [(1, 1.0), (1, 1.0)]


@pytest.mark.anyio
async def test_an_experiment_ends_by_itself_and_its_winner_serves(config: ServerConfig) -> None:
    async with running(config.model_copy(update={"judge_s": 0.1})) as server:
        begun = await server.http.post(
            "/admin/experiments", json=SPEC.model_dump(mode="json"), headers=server.admin
        )
        assert begun.status_code == 201
        again = await server.http.post(
            "/admin/experiments", json=SPEC.model_dump(mode="json") | {"name": "b"}, headers=server.admin
        )
        assert again.status_code == 409
        await asyncio.gather(*(scored(server, f"user {n}") for n in range(150)))
        for _ in range(100):
            [shown] = (await server.http.get("/admin/experiments", headers=server.admin)).json()
            if shown["state"] != "running":
                break
            await asyncio.sleep(0.1)
        assert (shown["state"], shown["serves"]) == ("promoted", "large")
        assert shown["standings"][1]["gain"]["low"] > 0
        after = await server.ask(model=MODELS[0], user="anybody")
        assert after.headers["x-workbench-model"] == MODELS[1]
        assert "x-workbench-experiment" not in after.headers


async def scored(server: Running, user: str) -> None:
    """One request of a user, who likes the large model and no other."""
    response = await server.ask(model=MODELS[0], user=user)
    if response.headers.get("x-workbench-experiment") != SPEC.name:
        return  # it is decided already
    share = {"small": "0.7", "large": "0.3"}[response.headers["x-workbench-arm"]]
    assert response.headers["x-workbench-propensity"] == share
    quality = float(response.headers["x-workbench-arm"] == "large")
    told = {"request_id": response.headers["x-request-id"], "quality": quality}
    assert (await server.http.post("/v1/feedback", json=told, headers=server.caller)).status_code == 200


@pytest.mark.anyio
async def test_a_shadow_is_asked_unseen_and_within_its_budget(config: ServerConfig) -> None:
    shadow = {"target": MODELS[1], "budget_usd": 0.02}
    spec = SPEC.model_dump(mode="json") | {"shadow": shadow}
    async with running(config) as server:
        await server.http.post("/admin/experiments", json=spec, headers=server.admin)
        for number in range(12):
            response = await server.ask(model=MODELS[0], user=f"user {number}", max_tokens=500)
            assert response.headers["x-workbench-arm"] in ("small", "large")
        await asyncio.sleep(1.0)
        usage = await server.http.get("/admin/usage", params={"by": "arm"}, headers=server.admin)
        by_arm = {total["group"]: total for total in usage.json()}
    assert 1 <= by_arm["shadow"]["n_requests"] < 12
    assert 0 < by_arm["shadow"]["cost_usd"] <= shadow["budget_usd"]
    assert sum(by_arm[arm]["n_requests"] for arm in by_arm if arm != "shadow") == 12
