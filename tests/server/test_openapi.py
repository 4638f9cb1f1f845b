"""The OpenAPI document says what the server does, and the server does nothing else."""

import re
from collections.abc import Iterator

import pytest
from starlette.routing import Mount, Router

from server.conftest import Running
from workbench.server.administrator import is_below

pytestmark = pytest.mark.anyio

OPEN = {"/health/live", "/health/ready"}


def routes_of(app: object) -> Iterator[str]:
    """The paths of an ASGI app as it is served, through what stands around it and what is mounted in it."""
    routes = getattr(app, "routes", None)
    for route in routes or ():
        inner = route.app if isinstance(route, Mount) else getattr(route, "original_router", None)
        if inner is not None:
            yield from routes_of(inner)
        else:
            yield re.sub(r":\w+}", "}", route.path)
    if isinstance(app, Router):
        yield from routes_of(app.default)
    for name in ("_reading", "_app"):
        if routes is None and (inner := getattr(app, name, None)) is not None:
            yield from routes_of(inner)


async def test_every_route_that_is_served_is_in_the_document(server: Running) -> None:
    document = (await server.http.get("/openapi.json")).json()
    served = set(routes_of(server.app))
    assert served - {"/openapi.json"} == set(document["paths"])
    for path in served:
        assert path.startswith("/v1/") or is_below(path, (*OPEN, "/openapi.json", "/admin", "/metrics")), path


async def test_every_path_but_health_asks_for_a_token(server: Running) -> None:
    document = (await server.http.get("/openapi.json")).json()
    assert {"/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/embeddings", "/v1/models",
            "/v1/feedback", "/admin/keys", "/metrics"} <= set(document["paths"])  # fmt: skip
    for path, methods in document["paths"].items():
        for method in methods:
            url = path.replace("{key_id}", "x")
            response = await server.http.request(method, url, json={})
            # 429 is for those who go on without a token, as this test does.
            assert response.status_code in ({200} if path in OPEN else {401, 429}), (method, path)


async def test_a_callers_token_administers_nothing(server: Running) -> None:
    document = (await server.http.get("/openapi.json")).json()
    for path, methods in document["paths"].items():
        if path.startswith("/admin") or path == "/metrics":
            for method in methods:
                url = path.replace("{key_id}", "x")
                response = await server.http.request(method, url, json={}, headers=server.caller)
                assert response.status_code == 401, (method, path)
