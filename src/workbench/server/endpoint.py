"""One protocol over HTTP: a token, a body, an answer or a stream of it, and refusals in the protocol's shape.

Plain ASGI: no framework stands between a piece of a stream and its socket.
"""

import asyncio
import math
from collections.abc import Coroutine, Iterable
from contextlib import aclosing
from dataclasses import replace

from workbench.providers.cache import deltas_of
from workbench.server.bodies import encoded
from workbench.server.config import LimitsConfig
from workbench.server.exchange import Refusal, Routed, Wire, headers_of
from workbench.server.gateway import Gateway
from workbench.server.guard import LEFT, FailedAttempts, Receive, Scope, Send, body_of
from workbench.server.request_log import note
from workbench.server.request_log import request_id as id_of_request
from workbench.server.virtual_keys import Caller, VirtualKeys

Headers = Iterable[tuple[str, str]]

_JSON = ("content-type", "application/json")
_SSE = ("content-type", "text/event-stream; charset=utf-8")


class Door:
    """Who may come in: virtual keys, and how often a wrong one may be tried."""

    def __init__(self, keys: VirtualKeys, attempts: FailedAttempts) -> None:
        self._keys = keys
        self._attempts = attempts

    def caller(self, scope: Scope) -> Caller:
        """Who asks.

        Raises:
            Refusal: nobody whom this server knows; the same, whatever is wrong with the token.
        """
        peer = peer_of(scope)
        caller = self._keys.caller(token_of(scope))
        if caller is None:
            self._attempts.check(peer)
            self._attempts.add(peer)
            raise unauthorised()
        note(key_id=caller.key.key_id)
        return caller


class Endpoint:
    """The ASGI app of one protocol."""

    def __init__(self, wire: Wire, gateway: Gateway, door: Door, limits: LimitsConfig) -> None:
        self._wire = wire
        self._gateway = gateway
        self._door = door
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = id_of_request()
        try:
            await self._answer(scope, receive, send, request_id)
        except Refusal as refusal:
            note(error=refusal.code)
            headers = [("x-request-id", request_id), *headers_of_refusal(refusal)]
            await whole(send, refusal.status, headers, encoded(self._wire.refused(refusal)))

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        if scope["method"] != "POST":
            raise Refusal(405, "method_not_allowed", "use POST", headers={"allow": "POST"})
        caller = self._door.caller(scope)
        limits = self._limits
        body = await body_of(scope, receive, most_bytes=limits.body_bytes, within_s=limits.upload_s)
        asked = self._wire.read(body, request_id=request_id)
        routed = await self._gateway.route(caller, asked, request_id=request_id)
        await _until_left(self._work(caller, routed, send), scope)

    def _work(self, caller: Caller, routed: Routed, send: Send) -> Coroutine[None, None, None]:
        if not routed.asked.is_streamed:
            return self._serve(caller, routed, send)
        return (self._stream if routed.panel is None else self._serve_as_stream)(caller, routed, send)

    async def _serve(self, caller: Caller, routed: Routed, send: Send) -> None:
        served = await self._gateway.serve(caller, routed)
        await whole(send, 200, headers_of(routed, served), encoded(self._wire.whole(served)))

    async def _serve_as_stream(self, caller: Caller, routed: Routed, send: Send) -> None:
        """A stream of what several models answered together, once it is known which answer is kept."""
        served = await self._gateway.serve(caller, routed)
        completion = served.completion
        kept = replace(routed.decision, model_id=completion.model_id)
        worded = self._wire.stream(replace(routed, decision=kept))
        pieces = (worded.piece(delta) for delta in deltas_of(completion) if delta.completion is None)
        await _start(send, 200, [_SSE, *headers_of(routed, served)])
        body = b"".join((worded.start(), *pieces, worded.end(served)))
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, caller: Caller, routed: Routed, send: Send) -> None:
        """The status is sent with the first piece: a call that fails before is refused like any other."""
        worded, is_begun = self._wire.stream(routed), False
        try:
            async with aclosing(self._gateway.stream(caller, routed)) as pieces:
                async for piece in pieces:
                    said = b"" if is_begun else worded.start()
                    if not is_begun:
                        await _start(send, 200, [_SSE, *headers_of(routed)])
                        is_begun = True
                    said += worded.piece(piece.delta)
                    if piece.served is not None:
                        said += worded.end(piece.served)
                    if said:
                        await send({"type": "http.response.body", "body": said, "more_body": True})
        except Refusal as refusal:
            if not is_begun:
                raise
            note(error=refusal.code)
            await send({"type": "http.response.body", "body": worded.failure(refusal), "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _until_left(work: Coroutine[None, None, None], scope: Scope) -> None:
    """Do the work, unless the caller goes away first: then it ends, so that nothing more is paid for."""
    doing = asyncio.current_task()
    gone: asyncio.Future[None] = scope["extensions"][LEFT]["future"]
    has_left = False

    def leave(_: object) -> None:
        nonlocal has_left
        has_left = True
        if doing is not None:
            doing.cancel()

    gone.add_done_callback(leave)
    try:
        await work
    except asyncio.CancelledError:
        if not has_left or doing is None or doing.uncancel():
            raise  # by the server, which stops
    finally:
        gone.remove_done_callback(leave)


def token_of(scope: Scope) -> str:
    """The token that a request carries, as OpenAI's clients send it or as Anthropic's do; empty: none."""
    found = ""
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, token = value.decode("latin-1").partition(" ")
            return token.strip() if kind.lower() == "bearer" else ""
        if name == b"x-api-key":
            found = value.decode("latin-1")
    return found


def peer_of(scope: Scope) -> str:
    """The address that a request came from; what a proxy says of it is not believed."""
    client = scope.get("client")
    return client[0] if client else ""


def unauthorised() -> Refusal:
    """The one thing that is said of a missing, wrong, revoked or expired token."""
    return Refusal(401, "invalid_api_key", "a valid token is needed", headers={"www-authenticate": "Bearer"})


def headers_of_refusal(refusal: Refusal) -> Headers:
    """What a refusal says in headers, such as how many seconds to wait."""
    if refusal.retry_after_s is not None:
        yield "retry-after", str(max(1, math.ceil(refusal.retry_after_s)))
    yield from refusal.headers.items()


async def whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send an answer that is not streamed."""
    await _start(send, status, [_JSON, ("content-length", str(len(body))), *headers])
    await send({"type": "http.response.body", "body": body})


async def _start(send: Send, status: int, headers: Headers) -> None:
    raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": raw})
