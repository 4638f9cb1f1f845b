"""The OpenAPI document says what the server does, and the server does nothing else."""

import pytest

from server.conftest import Running

pytestmark = pytest.mark.anyio

OPEN = {"/health/live", "/health/ready"}


async def test_every_path_but_health_asks_for_a_token(server: Running) -> None:
    document = (await server.http.get("/openapi.json")).json()
    assert {"/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/embeddings", "/v1/models",
            "/v1/feedback", "/admin/keys", "/metrics"} <= set(document["paths"])  # fmt: skip
    for path, methods in document["paths"].items():
        for method in methods:
            url = path.replace("{key_id}", "x")
            response = await server.http.request(method, url, json={})
            assert response.status_code == (200 if path in OPEN else 401), (method, path)


async def test_a_callers_token_administers_nothing(server: Running) -> None:
    document = (await server.http.get("/openapi.json")).json()
    for path, methods in document["paths"].items():
        if path.startswith("/admin") or path == "/metrics":
            for method in methods:
                url = path.replace("{key_id}", "x")
                response = await server.http.request(method, url, json={}, headers=server.caller)
                assert response.status_code == 401, (method, path)
