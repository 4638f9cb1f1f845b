"""An exchange: one request and its reply, and what the call that it is for wants to tell and to hear."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING

import httpx

from workbench.errors import ConfigError
from workbench.providers.reply import Reply

if TYPE_CHECKING:
    from workbench.providers.http import Http

idempotency_key: ContextVar[str | None] = ContextVar("idempotency_key", default=None)
"""The name of the logical call that is under way, the same for all its attempts; None: it has none.

It is sent as `Idempotency-Key`, so that a server that knows the header answers and bills the call once.
Source: https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

head_observer: ContextVar[Callable[[Mapping[str, str]], object] | None] = ContextVar(
    "head_observer", default=None
)
"""Is given the headers of every response to the call that is under way, such as the limits they tell."""

_NO_REQUEST, _NO_HEADERS = httpx.Request("POST", "https://nowhere.invalid"), httpx.Headers()


class Exchange:
    """A request, from when it is sent until its reply is let go.

    A thousand streams are a thousand of these: what httpx remembers of a request and of the head of its
    response is let go once it was looked at, and this is no generator, which would hold its frame.
    """

    __slots__ = ("_deadline", "_http", "_may_resend", "_model", "_request", "_response")

    def __init__(
        self, http: "Http", request: httpx.Request, *, model: str, deadline: float, may_resend: bool
    ) -> None:
        self._http = http
        self._request: httpx.Request | None = request
        self._response: httpx.Response | None = None
        self._model = model
        self._deadline = deadline
        self._may_resend = may_resend

    async def __aenter__(self) -> Reply:
        http, request, self._request = self._http, self._request, None
        send = http.sent if self._may_resend else http.sent_once
        if request is None:
            raise ConfigError("an exchange is made once")
        self._response = response = await send(request, model=self._model, deadline=self._deadline)
        headers = _texts(response.headers)
        response.request, response.headers = _NO_REQUEST, _NO_HEADERS
        if (observe := head_observer.get()) is not None:
            try:
                observe(headers)
            except BaseException:
                await response.aclose()
                raise
        return Reply(http, response, headers=headers, model=self._model, deadline=self._deadline)

    async def __aexit__(self, *exc: object) -> None:
        if self._response is not None:
            await self._response.aclose()


def _texts(headers: httpx.Headers) -> dict[str, str]:
    """Looked up a score of times, which httpx does slowly; one that comes twice is joined by a comma."""
    texts: dict[str, str] = {}
    for raw_name, raw_value in headers.raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        texts[name] = f"{texts[name]}, {value}" if name in texts else value
    return texts
