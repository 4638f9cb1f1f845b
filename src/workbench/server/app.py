"""The server's ASGI app: protocols, models, health and the admin API behind one guard."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.routing import Mount, Route, Router

from workbench.client.events import server_spans
from workbench.server.administrator import AdminDoor, Administrator
from workbench.server.chat_completions import ChatCompletionsWire
from workbench.server.config import ServerConfig
from workbench.server.embeddings import PATH as EMBEDDINGS
from workbench.server.embeddings import EmbeddingsEndpoint
from workbench.server.endpoint import Door, Endpoint
from workbench.server.exchange import Wire
from workbench.server.failures import handlers
from workbench.server.feedback import PATH as FEEDBACK
from workbench.server.feedback import FeedbackEndpoint
from workbench.server.foundation import Foundation
from workbench.server.gateway import Gateway
from workbench.server.guard import App, Guard, Receive, Scope, Send
from workbench.server.messages import MessagesWire
from workbench.server.model_list import PATH as MODELS
from workbench.server.model_list import ModelList
from workbench.server.operations import operation_routes
from workbench.server.request_log import RequestLog
from workbench.server.responses import ResponsesWire


@dataclass(frozen=True, slots=True)
class Parts:
    """What the app is made of; `server` opens and closes them."""

    config: ServerConfig
    gateway: Gateway
    foundation: Foundation


def make_app(parts: Parts) -> App:
    """The app. It opens nothing: `parts` are open when the first request comes."""
    kept, attempts = parts.foundation, parts.foundation.attempts
    door = Door(kept.keys, attempts)
    wires: list[Wire] = [ChatCompletionsWire(), ResponsesWire(), MessagesWire()]
    endpoints = [
        Route(wire.path, Endpoint(wire, parts.gateway, door, parts.config.limits), methods=None)
        for wire in wires
    ]

    def administration() -> App:
        from workbench.server import administration  # FastAPI, which is not needed to route

        return administration.administration(parts.gateway, kept, wires)

    administrator = Administrator(kept.admins, attempts)
    operations = operation_routes(parts.gateway, kept, administrator)
    behind = Router(operations, redirect_slashes=False, default=_Late(administration))
    limits, models = parts.config.limits, ModelList(parts.gateway.targets, door)
    app = Starlette(
        routes=[
            *endpoints,
            Route(MODELS, models, methods=None),
            Route(MODELS + "/{name:path}", models, methods=None),
            Route(FEEDBACK, FeedbackEndpoint(parts.gateway.log, door, limits), methods=None),
            Route(EMBEDDINGS, EmbeddingsEndpoint(parts.gateway, door, limits), methods=None),
            Mount("/", AdminDoor(behind, administrator, limits)),
        ],
        exception_handlers=handlers(wires),
    )
    app.router.redirect_slashes = False
    return _watched(Guard(app, parts.config), parts.config, app)


class _Late:
    """An app that is made, beside the requests that go on, when the first request for it comes."""

    def __init__(self, make: Callable[[], App]) -> None:
        self._make = make
        self._app: App | None = None
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._turn:
            if self._app is None:
                self._app = await asyncio.to_thread(self._make)
        await self._app(scope, receive, send)


def _watched(guarded: App, config: ServerConfig, app: Starlette) -> App:
    """With a line in the log and a span for each request, where the file says so."""
    if config.log == "off" and not config.tracing:
        return guarded
    routes = frozenset(route.path for route in app.routes if isinstance(route, Route))
    lines, spans = None, server_spans() if config.tracing else None
    if config.log == "json":
        from workbench.client.event_log import Lines  # structlog, which takes as long to import as httpx

        lines = Lines()
    return RequestLog(guarded, lines=lines, spans=spans, routes=routes)
