"""What every request passes first: its host, its size, the time it takes to come, and who asks.

Pure ASGI, so that a stream costs nothing more. Refused here, a request reaches no other code.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from workbench.server.bodies import encoded, error_body
from workbench.server.config import ServerConfig
from workbench.server.exchange import Refusal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
LEFT = "workbench.left"
"""The extension of a scope that has a `future`, which is done when the caller has gone."""
WHOLE = "workbench.whole"
"""The extension of a scope whose body has come."""
_CLOSE = {"connection": "close"}
"""Where the rest of a body is not read."""
_N_TRIES = 20
_TRIES_S = 60.0
_N_PEERS = 10_000


class FailedAttempts:
    """Wrong tokens of each peer: after `_N_TRIES` in a minute it must wait, unless it has a right one."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._tries: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def check(self, peer: str) -> None:
        """
        Raises:
            Refusal: there were too many wrong tokens from there.
        """
        n_tries, since_s = self._tries.get(peer, (0, 0.0))
        wait_s = since_s + _TRIES_S - self._now_s()
        if n_tries >= _N_TRIES and wait_s > 0:
            raise Refusal(429, "too_many_attempts", "too many wrong tokens; wait", retry_after_s=wait_s)

    def add(self, peer: str) -> None:
        """Count a wrong token."""
        n_tries, since_s = self._tries.pop(peer, (0, self._now_s()))
        if self._now_s() - since_s > _TRIES_S:
            n_tries, since_s = 0, self._now_s()
        self._tries[peer] = (n_tries + 1, since_s)
        if len(self._tries) > _N_PEERS:
            self._tries.popitem(last=False)


class Guard:
    """An ASGI app around another: refuses what no request of ours may be."""

    def __init__(self, app: App, config: ServerConfig) -> None:
        self._app = app
        self._hosts = config.allowed_hosts
        self._cors = config.cors
        self._limits = config.limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        extra = [*SECURITY, *self._cors_headers(scope)]

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *extra]
            await send(message)

        if (problem := self._problem(scope)) is not None:
            await refuse(problem, secured)
        elif scope["method"] == "OPTIONS" and _header(scope, b"access-control-request-method") is not None:
            status = 204 if self._is_allowed_origin(scope) else 403
            await secured({"type": "http.response.start", "status": status, "headers": []})
            await secured({"type": "http.response.body", "body": b""})
        else:
            await self._app(scope, receive, secured)

    def _problem(self, scope: Scope) -> Refusal | None:
        hosts, n_bytes, first = list[bytes](), 0, dict[bytes, bytes]()
        for name, value in scope["headers"]:
            n_bytes += len(name) + len(value)
            first.setdefault(name, value)
            if name == b"host":
                hosts.append(value)
        if len(hosts) != 1 or _host_name(hosts[0]) not in self._hosts:
            return Refusal(400, "wrong_host", "this server is not called so; add the name to `hosts`")
        if n_bytes > self._limits.header_bytes:
            return Refusal(431, "headers_too_large", "the headers are too large")
        if first.get(b"content-encoding") not in (None, b"", b"identity"):
            return Refusal(415, "unsupported_encoding", "send the body uncompressed")
        length = first.get(b"content-length")
        if length is not None and (not length.isdigit() or int(length) > self._limits.body_bytes):
            return too_large(self._limits.body_bytes)
        return None

    def _is_allowed_origin(self, scope: Scope) -> bool:
        origin = _header(scope, b"origin")
        return origin is not None and (
            origin.decode("latin-1") in self._cors.origins or "*" in self._cors.origins
        )

    def _cors_headers(self, scope: Scope) -> Iterable[tuple[bytes, bytes]]:
        if not self._cors.origins or not self._is_allowed_origin(scope):
            return
        yield b"access-control-allow-origin", _header(scope, b"origin") or b""
        yield b"vary", b"origin"
        yield b"access-control-allow-headers", b"authorization, content-type, x-api-key"
        yield b"access-control-allow-methods", b"GET, POST"
        yield b"access-control-expose-headers", b"x-request-id"
        if self._cors.credentials:
            yield b"access-control-allow-credentials", b"true"


async def body_of(scope: Scope, receive: Receive, *, most_bytes: int, within_s: float) -> bytes:
    """The body of a request.

    Raises:
        Refusal: it is too large, or does not come in time.
    """
    if WHOLE in scope["extensions"]:
        return await _read(receive, most_bytes)
    try:
        async with asyncio.timeout(within_s):
            return await _read(receive, most_bytes)
    except TimeoutError as exc:
        late = f"the body did not come in {within_s:g} s"
        raise Refusal(408, "upload_timeout", late, headers=_CLOSE) from exc


async def _read(receive: Receive, most_bytes: int) -> bytes:
    parts, n_bytes, has_more = [], 0, True
    while has_more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "left", "the body did not come whole")
        parts.append(message.get("body", b""))
        n_bytes += len(parts[-1])
        if n_bytes > most_bytes:
            raise too_large(most_bytes)
        has_more = message.get("more_body", False)
    return b"".join(parts)


def too_large(most_bytes: int) -> Refusal:
    """What a body that is over the limit is told."""
    return Refusal(413, "body_too_large", f"the body is over {most_bytes:,} bytes", headers=_CLOSE)


async def refuse(refusal: Refusal, send: Send) -> None:
    """Answer a request that reached no protocol, in OpenAI's shape, which most clients read."""
    status, body = refusal.status, encoded(error_body(refusal))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers.append((b"connection", b"close"))  # its body was not read
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _header(scope: Scope, name: bytes) -> bytes | None:
    return next((value for key, value in scope["headers"] if key == name), None)


def _host_name(host: bytes) -> str:
    text = host.decode("latin-1").lower()
    if text.startswith("["):
        return text.partition("]")[0] + "]"
    return text.partition(":")[0]
