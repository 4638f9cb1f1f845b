"""A connection to the server: how large the head of a request may be, and how long it may take to come.

uvicorn waits for a head for ever, and keeps all of it. Owns the protocol class of uvicorn.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from workbench.server.bodies import encoded, error_body
from workbench.server.config import LimitsConfig
from workbench.server.exchange import Refusal
from workbench.server.guard import LEFT, SECURITY, WHOLE

_REASONS = {
    400: b"Bad Request",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}
_BAD = Refusal(400, "bad_http", "this is no HTTP request that the server takes")
_TOO_MANY = Refusal(503, "too_many_connections", "the server has no room for one more caller now")
_TOO_LARGE = Refusal(431, "headers_too_large", "the headers are too large")


class BoundedConnection(HttpToolsProtocol):
    """Closes when a head is over `header_bytes`, or is not whole within `upload_s`; and where it is one more
    than `most_callers`.

    So it does when the rest of a body is late whose request was answered already. Only paths are taken as
    targets: an absolute address could name another host than the `Host` that was checked.
    """

    def __init__(self, limits: LimitsConfig, most_callers: float, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._limits = limits
        self._most_callers = most_callers
        self._deadline: asyncio.TimerHandle | None = None
        self._left: asyncio.Future[None] = self.loop.create_future()
        self._is_in_head = True
        self._n_head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        if len(self.connections) > self._most_callers:
            self._refuse(_TOO_MANY)
            return
        self._wait(self._limits.upload_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        if not self._left.done():
            self._left.set_result(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._n_head_bytes = self._n_head_bytes + len(data) if self._is_in_head else 0
        if self._n_head_bytes > self._limits.header_bytes and not self.transport.is_closing():
            self._refuse(_TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {LEFT: {"future": self._left}}
        self._is_in_head = True
        if self._deadline is None:
            self._wait(self._limits.upload_s)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._stop_waiting()
        if not self.url.startswith(b"/"):
            raise ValueError("the target is no path")  # the parser gives it to `send_400_response`
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.scope["extensions"][WHOLE] = {}
        if not self.pipeline:
            self.flow.resume_reading()  # whoever leaves is heard of by reading

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing() and self.cycle.response_complete:
            self._wait(self.timeout_keep_alive + self._limits.upload_s)

    def send_400_response(self, msg: str) -> None:
        """What breaks HTTP is told so in the shape of every other refusal."""
        self._refuse(_BAD)

    def _refuse(self, refusal: Refusal) -> None:
        body = encoded(error_body(refusal))
        lines = [b"HTTP/1.1 %d %s" % (refusal.status, _REASONS[refusal.status])]
        lines += [b"content-type: application/json", b"content-length: %d" % len(body), b"connection: close"]
        lines += [b"retry-after: 1"] if refusal is _TOO_MANY else []
        lines += [name + b": " + value for name, value in SECURITY]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        self.transport.close()

    def _wait(self, within_s: float) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(within_s, self.timeout_keep_alive_handler)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
