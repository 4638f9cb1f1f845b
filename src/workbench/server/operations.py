"""Routes for those who run the server: is it alive, is it ready, and its numbers."""

import asyncio

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from workbench.server.administrator import Administrator
from workbench.server.foundation import Foundation
from workbench.server.gateway import Gateway
from workbench.server.health import Check, Health, examined, is_ready
from workbench.server.metrics import CONTENT_TYPE


class Alive(BaseModel):
    """The process answers."""

    status: str = "alive"


class Part(BaseModel):
    """One part of the server; `problem` null: nothing is wrong with it."""

    part: str
    health: Health
    latency_s: float
    problem: str | None


class Ready(BaseModel):
    """Whether requests can be served; `parts` is for administrators, and empty for others."""

    is_ready: bool
    parts: list[Part] = []


def operation_routes(gateway: Gateway, kept: Foundation, administrator: Administrator) -> list[Route]:
    """`/health/live` and `/health/ready`, which anyone may ask, and `/metrics`, for administrators."""

    async def live(_: Request) -> Response:
        return _said(Alive())

    async def ready(request: Request) -> Response:
        parts = await examined(_checks(gateway) | _redis_check(kept))
        shown = [Part(**_fields(part)) for part in parts] if administrator.is_one(request.scope) else []
        said = Ready(is_ready=is_ready(parts), parts=shown)
        return _said(said, 200 if said.is_ready else 503)

    async def numbers(_: Request) -> Response:
        return Response(await asyncio.to_thread(kept.metrics.exposition), media_type=CONTENT_TYPE)

    return [Route("/health/live", live), Route("/health/ready", ready), Route("/metrics", numbers)]


def _said(body: BaseModel, status: int = 200) -> Response:
    return Response(body.model_dump_json(), status, media_type="application/json")


def _fields(part: object) -> dict[str, object]:
    return {name: getattr(part, name) for name in Part.model_fields}


def _checks(gateway: Gateway) -> dict[str, Check]:
    async def database() -> tuple[Health, str | None]:
        if gateway.log.is_full:
            return "down", "what is served can be kept nowhere"
        problem = await gateway.log.problem_now()
        return ("well", None) if problem is None else ("impaired", problem)

    async def routers() -> tuple[Health, str | None]:
        problems = gateway.targets.problems
        return ("impaired", f"not loaded anew: {', '.join(problems)}") if problems else ("well", None)

    return {"database": database, "routers": routers} | _provider_checks(gateway)


def _redis_check(kept: Foundation) -> dict[str, Check]:
    """Where limits are shared; requests are served without it, each worker keeping to its share."""
    if (shared := kept.shared) is None:
        return {}

    async def redis() -> tuple[Health, str | None]:
        problem = await shared.link.problem_now()
        return ("well", None) if problem is None else ("impaired", problem)

    return {"redis": redis}


def _provider_checks(gateway: Gateway) -> dict[str, Check]:
    """A provider is as its breakers are: asking it would cost money."""
    states: dict[str, list[str]] = {}
    for channel, breaker in gateway.client.breakers.items():
        states.setdefault(channel.provider, []).append(breaker.state)

    def check(provider: str) -> Check:
        async def asked() -> tuple[Health, str | None]:
            n_open = sum(state != "closed" for state in states[provider])
            if not n_open:
                return "well", None
            return "impaired", f"{n_open} of {len(states[provider])} breakers are open"

        return asked

    return {f"provider {name}": check(name) for name in states}
