"""What those who run the server see of it."""

import pytest

from server.conftest import MODELS, Running

pytestmark = pytest.mark.anyio


async def test_health_is_open_and_its_details_are_not(server: Running) -> None:
    assert (await server.http.get("/health/live")).json() == {"status": "alive"}
    assert (await server.http.get("/health/ready")).json() == {"is_ready": True, "parts": []}
    await server.ask()
    parts = (await server.http.get("/health/ready", headers=server.admin)).json()["parts"]
    assert {part["part"] for part in parts} == {"database", "routers", "provider simulator"}
    assert all(part["health"] == "well" and part["latency_s"] >= 0 for part in parts)


async def test_metrics_are_for_administrators_and_count_what_was_served(server: Running) -> None:
    for headers in ({}, server.caller):
        assert (await server.http.get("/metrics", headers=headers)).status_code == 401
    await server.ask()
    await server.ask(stream=True)
    text = (await server.http.get("/metrics", headers=server.admin)).text
    labels = 'arm="simulator/sim-large",model="sim-large",outcome="answered",provider="simulator"'
    assert f"workbench_requests_total{{{labels}" in text
    assert "workbench_first_token_seconds_count" in text
    assert 'workbench_breaker_open{account="",model="sim-large",provider="simulator"} 0.0' in text


async def test_administrators_see_targets_and_providers(server: Running) -> None:
    await server.ask()
    targets = (await server.http.post("/admin/targets/reload", headers=server.admin)).json()
    assert [(one["name"], one["problem"]) for one in targets] == [(name, None) for name in MODELS]
    channels = (await server.http.get("/admin/providers", headers=server.admin)).json()
    asked = {"provider": "simulator", "model": "sim-large", "account": "", "breaker": "closed"}
    assert asked in channels
