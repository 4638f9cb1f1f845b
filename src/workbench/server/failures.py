"""What is said when a route fails: a refusal as its protocol words it, and of a bug only that there was one.

Starlette lets a bug fly on after it was answered, so that the stack is in the log of the server.
"""

from collections.abc import Callable, Coroutine, Sequence
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from workbench.server.administrator import is_below
from workbench.server.bodies import encoded, error_body
from workbench.server.endpoint import headers_of_refusal
from workbench.server.exchange import Json, Refusal, Wire

Handler = Callable[[Request, Any], Coroutine[Any, Any, Response]]

_BUG = Refusal(500, "internal_error", "the server failed; its log says why")


def handlers(wires: Sequence[Wire] = ()) -> dict[Any, Handler]:
    """A handler for each kind of exception that leaves a route, worded as the protocol of its path does."""
    shapes: dict[str, Callable[[Refusal], Json]] = {wire.path: wire.refused for wire in wires}

    async def answered(request: Request, exc: Exception) -> Response:
        found = (shape for place, shape in shapes.items() if is_below(request.url.path, (place,)))
        return answer(_refusal(exc), shape=next(found, error_body))

    return dict.fromkeys((Refusal, HTTPException, Exception), answered)


def answer(refusal: Refusal, *, shape: Callable[[Refusal], Json] = error_body) -> Response:
    """A refusal as its caller reads it."""
    headers = dict(headers_of_refusal(refusal))
    return Response(encoded(shape(refusal)), refusal.status, headers, media_type="application/json")


def _refusal(exc: Exception) -> Refusal:
    if isinstance(exc, Refusal):
        return exc
    if isinstance(exc, HTTPException):
        phrase = HTTPStatus(exc.status_code).phrase
        code = phrase.lower().replace(" ", "_")
        return Refusal(exc.status_code, code, phrase.lower(), headers=exc.headers or {})
    return _BUG
