"""A line and a span for each request: its id, who asked, what answered, what it cost, how it ended.

No prompt, no token and no key is in either; a path is there without its query.
"""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.server.exchange import Routed, Served, new_request_id
from workbench.server.guard import App, Message, Receive, Scope, Send
from workbench.server.virtual_keys import VirtualKey

if TYPE_CHECKING:  # an extra, and what takes as long to import as a server's protocols
    from workbench.client.event_log import Lines
    from workbench.client.spans import Serving

_LONGEST_PATH = 200
_WORST = 500


@dataclass(slots=True)
class Request:
    """What is known of the request under way; None: not yet."""

    request_id: str
    key_id: str | None = None
    model: str | None = None
    arm: str | None = None
    cost_usd: float | None = None
    error: str | None = None
    status: int = 0


_under_way: ContextVar[Request | None] = ContextVar("request", default=None)


def request_id() -> str:
    """The id of the request under way, or a new one where requests are not logged."""
    request = _under_way.get()
    return new_request_id() if request is None else request.request_id


def note(*, key_id: str | None = None, error: str | None = None) -> None:
    """Add to what is known of the request under way."""
    request = _under_way.get()
    if request is not None:
        request.key_id = key_id or request.key_id
        request.error = request.error or error


class Noted:
    """A record of the gateway: notes what became of the request."""

    def served(self, key: VirtualKey, served: Served) -> None:
        """It was answered."""
        request = _under_way.get()
        if request is not None:
            completion = served.completion
            request.key_id, request.arm = key.key_id, served.routed.arm
            request.model, request.cost_usd = completion.model_id, completion.cost_usd

    def failed(
        self,
        key: VirtualKey,
        routed: Routed,
        failure: BaseException,
        *,
        cost_usd: float | None,
        latency_s: float,
    ) -> None:
        """Nobody answered, or the caller left."""
        request = _under_way.get()
        if request is not None:
            request.key_id, request.arm = key.key_id, routed.arm
            request.model, request.cost_usd = routed.decision.model_id, cost_usd
            request.error = type(failure).__name__


class RequestLog:
    """An ASGI app around another.

    Args:
        lines: where to log; None: nothing is logged.
        spans: what makes spans; None: none are made.
    """

    def __init__(
        self, app: App, *, lines: "Lines | None", spans: "Serving | None", routes: frozenset[str]
    ) -> None:
        """`routes` are the paths that a span may be called by."""
        self._app = app
        self._lines = lines
        self._spans = spans
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(new_request_id())

        async def heard(message: Message) -> None:
            if message["type"] == "http.response.start":
                request.status = message["status"]
            await send(message)

        async with self._told(scope, request):
            await self._app(scope, receive, heard)

    @asynccontextmanager
    async def _told(self, scope: Scope, request: Request) -> AsyncIterator[None]:
        started_s, token = time.monotonic(), _under_way.set(request)
        try:
            async with AsyncExitStack() as stack:
                if self._lines is not None:
                    stack.enter_context(self._lines.bound(request_id=request.request_id))
                if self._spans is not None:
                    self._in_span(self._spans, stack, scope, request)
                stack.callback(self._write, scope, request, started_s)
                try:
                    yield
                except BaseException as exc:
                    request.error = request.error or type(exc).__name__
                    raise
        finally:
            _under_way.reset(token)

    def _in_span(self, spans: "Serving", stack: AsyncExitStack, scope: Scope, request: Request) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        route = scope["path"] if scope["path"] in self._routes else "other"
        span = stack.enter_context(spans.span(scope["method"], route, headers))
        stack.callback(lambda: spans.end(span, request.status, _attributes(request)))

    def _write(self, scope: Scope, request: Request, started_s: float) -> None:
        if self._lines is not None:
            self._lines.write(
                "request",
                is_warning=request.status >= _WORST or not request.status,
                method=scope["method"],
                path=scope["path"][:_LONGEST_PATH],
                status=request.status or None,
                key_id=request.key_id,
                model=request.model,
                arm=request.arm,
                latency_s=round(time.monotonic() - started_s, 4),
                cost_usd=request.cost_usd,
                error=request.error,
            )


def _attributes(request: Request) -> dict[str, str | float | None]:
    return {
        "workbench.request_id": request.request_id,
        "workbench.key_id": request.key_id,
        "workbench.arm": request.arm,
        "workbench.cost_usd": request.cost_usd,
        "error.type": request.error,
    }
