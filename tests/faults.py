"""A loopback HTTP server that fails on purpose, in the ways of real providers and worse.

A fault is a script: bytes are written, numbers are seconds to wait, `RESET` and `CLOSE` end the
connection. The server plays one script a request, in the order given, and the last one from then on.
"""

import asyncio
import gzip
import json
import socket
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import formatdate
from time import time
from types import TracebackType
from typing import Any, Literal

RESET: Literal["reset"] = "reset"
CLOSE: Literal["close"] = "close"
Step = bytes | float | Literal["reset", "close"]
Script = Callable[[], Iterable[Step]]

CANARY = "canary-7f3a9c51e0"
TEXT = "The answer is 4."


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came."""

    head: str
    body: dict[str, Any]
    connection: int

    def header(self, name: str) -> str | None:
        lines = (line.partition(":") for line in self.head.split("\r\n")[1:])
        return next((value.strip() for key, _, value in lines if key.lower() == name), None)


class FaultServer:
    """Plays `scripts`, names of `FAULTS` or scripts of one's own, to any client on loopback."""

    def __init__(self, *scripts: str | Script) -> None:
        self._scripts = [FAULTS[script] if isinstance(script, str) else script for script in scripts]
        self.requests: list[Received] = []
        self.n_connections = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._gone = asyncio.Condition()

    async def __aenter__(self) -> "FaultServer":
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(asyncio.StreamReader(), self._serve), "127.0.0.1", 0
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, frames: TracebackType | None
    ) -> None:
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await self.all_gone(5.0)

    @property
    def n_open(self) -> int:
        return len(self._open)

    async def all_gone(self, within_s: float) -> None:
        """Wait until every connection was closed; TimeoutError: one was not."""
        async with asyncio.timeout(within_s), self._gone:
            await self._gone.wait_for(lambda: not self._open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.n_connections += 1
        number = self.n_connections
        self._open.add(writer)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._answer(reader, writer, number):
                    pass
        finally:
            writer.close()
            self._open.discard(writer)
            async with self._gone:
                self._gone.notify_all()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        received = Received(head, {}, number)
        length = int(received.header("content-length") or 0)
        received = Received(head, json.loads(await reader.readexactly(length)), number)
        script = self._scripts[min(len(self.requests), len(self._scripts) - 1)]
        self.requests.append(received)
        playing = asyncio.ensure_future(_play(script, writer))
        watching = asyncio.ensure_future(writer.transport.get_protocol().lost.wait())  # type: ignore[union-attr]
        done, _ = await asyncio.wait({playing, watching}, return_when=asyncio.FIRST_COMPLETED)
        for task in {playing, watching} - done:
            task.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await task
        return playing in done and playing.result()


async def _play(script: Script, writer: asyncio.StreamWriter) -> bool:
    """Whether the connection is still of use afterwards."""
    for step in script():
        if step == RESET:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        if step == CLOSE:
            return False
        if isinstance(step, bytes):
            writer.write(step)
            await writer.drain()
        elif isinstance(step, int | float):
            await asyncio.sleep(step)
    return True


class _Connection(asyncio.StreamReaderProtocol):
    """Knows at once when the client has hung up."""

    def __init__(self, reader: asyncio.StreamReader, serve: Callable[..., Any]) -> None:
        super().__init__(reader, serve)
        self.lost = asyncio.Event()

    def eof_received(self) -> bool:
        super().eof_received()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.lost.set()


def response(body: bytes, *, status: str = "200 OK", kind: str = "application/json", **headers: str) -> bytes:
    """A whole response with its length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answer(**changes: Any) -> bytes:
    """The body of a good answer, with fields changed, or left out by `...`."""
    choice = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
    whole = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "small",
        "choices": [choice],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    } | changes
    return json.dumps({name: value for name, value in whole.items() if value is not ...}).encode()


def message(**fields: Any) -> bytes:
    """The body of an answer whose choice is made of `fields`."""
    return answer(choices=[{"index": 0, "finish_reason": "stop", **fields}])


def error(status: str, text: str = "it failed", *, code: str | None = None, **headers: str) -> Script:
    body = json.dumps({"error": {"message": text, "type": "error", "code": code}}).encode()
    return lambda: [response(body, status=status, **headers)]


def whole(body: bytes, **headers: str) -> Script:
    return lambda: [response(body, **headers)]


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


END = chunk(b"")


def event(data: str) -> bytes:
    return f"data: {data}\n\n".encode()


def delta(text: str | None = None, *, finish: str | None = None) -> bytes:
    """One event of a stream."""
    choice = {"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": finish}
    return event(json.dumps({"id": "c", "model": "small", "choices": [choice]}, ensure_ascii=False))


USAGE = event(json.dumps({"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}))
DONE = event("[DONE]")
HALVES = (delta("The answer "), delta("is 4."))
GOOD = (*HALVES, delta(finish="stop"), USAGE, DONE)


def stream(*events: bytes, end: Iterable[Step] = (END,), pause_s: float = 0.0) -> Script:
    """A stream of `events`, each in a chunk of its own."""

    def steps() -> Iterator[Step]:
        yield STREAM_HEAD
        for one in events:
            yield chunk(one)
            yield pause_s
        yield from end

    return steps


def body_of_stream(data: bytes, *, size: int = 2**14) -> Script:
    """A stream of these very bytes, cut every `size`."""
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    return stream(*pieces)


def _endless(head: bytes, one: bytes, pause_s: float = 0.0) -> Script:
    def steps() -> Iterator[Step]:
        yield head
        while True:
            yield one
            yield pause_s

    return steps


def _bomb(mib: int) -> bytes:
    """Zeros as gzip packs them; each MiB begins anew and so has the same bytes."""
    packer, zeros = zlib.compressobj(9, wbits=31), bytes(2**20)
    first, again = (packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    checksum = 0
    for _ in range(mib):
        checksum = zlib.crc32(zeros, checksum)
    end = zlib.compressobj(wbits=-15).flush() + struct.pack("<II", checksum, mib * 2**20)
    return first + again * (mib - 1) + end


def _huge(mib: int) -> Iterator[Step]:
    yield f"HTTP/1.1 200 OK\r\nContent-Length: {mib * 2**20}\r\n\r\n".encode()
    for _ in range(mib):
        yield b" " * 2**20


def _dated(seconds: float) -> str:
    return formatdate(time() + seconds, usegmt=True)


_HTML = b"<!DOCTYPE html><html><body>" + b"<p>down for maintenance</p>" * 100 + b"</body></html>"
_GZIPPED = gzip.compress(answer())
_ECHO = json.dumps({"error": {"message": f"bad key Bearer {CANARY} of yours"}}).encode()

REFUSALS: dict[str, Script] = {
    "400": error("400 Bad Request"),
    "404": error("404 Not Found", "no such model", code="model_not_found"),
    "413": error("413 Payload Too Large"),
    "418": error("418 I'm a teapot"),
    "422": lambda: [response(b'{"detail": [{"msg": "bad"}]}', status="422 Unprocessable Entity")],
    "400-context": error("400 Bad Request", "maximum context length is 8", code="context_length_exceeded"),
    "400-context-words": error("400 Bad Request", "This model's maximum context length is 4096 tokens"),
    "401": error("401 Unauthorized"),
    "401-echo-key": lambda: [response(_ECHO, status="401 Unauthorized")],
    "401-echo-header": lambda: [response(b"", status="401 No", X_Request_Id=CANARY, X_Echo=CANARY)],
    "403": error("403 Forbidden"),
    "402": error("402 Payment Required"),
    "429-quota": error("429 Too Many Requests", "pay first", code="insufficient_quota"),
    "429-do-not-retry": error("429 Too Many Requests", X_Should_Retry="false"),
    "307": error("307 Temporary Redirect", Location="http://127.0.0.1:1/elsewhere"),
}
"""Asked once, never again."""

TRANSIENT: dict[str, Script] = {
    "429": error("429 Too Many Requests"),
    "429-soon": error("429 Too Many Requests", Retry_After="soon"),
    "429-negative": error("429 Too Many Requests", Retry_After="-5"),
    "429-nan": error("429 Too Many Requests", Retry_After="NaN"),
    "500": error("500 Internal Server Error"),
    "502": error("502 Bad Gateway"),
    "502-html": lambda: [response(_HTML, status="502 Bad Gateway", kind="text/html")],
    "503": error("503 Service Unavailable"),
    "504": error("504 Gateway Timeout"),
    "520": error("520 Unknown"),
    "529": error("529 Overloaded"),
    "408": error("408 Request Timeout"),
    "409": error("409 Conflict"),
}
"""Tried three times."""

BAD_BODIES: dict[str, Script] = {
    "malformed": whole(b'{"choices": ['),
    "empty": whole(b""),
    "array": whole(b"[]"),
    "null": whole(b"null"),
    "string": whole(b'"hello"'),
    "deep": whole(b'{"a":' + b"[" * 200_000),
    "html-200": whole(_HTML),
    "invalid-utf8": whole(answer().replace(b"answer", b"\xff\xfe")),
    "nan": whole(answer(temperature=float("nan"))),
    "big-int": whole(answer().replace(b'"total_tokens": 15', b'"total_tokens": ' + b"9" * 5000)),
    "lone-surrogate": whole(message(message={"content": "half \ud83d"})),
    "empty-choices": whole(answer(choices=[])),
    "missing-choices": whole(answer(choices=...)),
    "missing-message": whole(message()),
    "null-content": whole(message(message={"content": None})),
    "empty-content": whole(message(message={"content": ""})),
    "no-finish": whole(message(message={"content": TEXT}, finish_reason=None)),
    "204": lambda: [b"HTTP/1.1 204 No Content\r\n\r\n"],
    "304": lambda: [b"HTTP/1.1 304 Not Modified\r\n\r\n"],
    "gzip-corrupt": whole(_GZIPPED[:20] + b"\0\0\0\0" + _GZIPPED[24:], Content_Encoding="gzip"),
    "gzip-truncated": whole(_GZIPPED[:-12], Content_Encoding="gzip"),
    "br-unasked": whole(b"\x0b\x02\x80", Content_Encoding="br"),
    "long-body": lambda: [b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + answer()],
    "garbage-status": lambda: [b"BANANA\r\n\r\n", CLOSE],
    "http-0.9": lambda: [b"hello", CLOSE],
    "bad-chunk": lambda: [STREAM_HEAD.replace(b"event-stream", b"json"), b"zz\r\n{}\r\n", CLOSE],
    "300-kb-header": whole(answer(), X_Big="a" * 300_000),
    "5000-headers": whole(answer(), **{f"X_{n}": "a" for n in range(5000)}),
}
"""A status of 200 and nothing to trust: asked once more at most."""

TOO_LARGE: dict[str, Script] = {
    "gzip-bomb": whole(_bomb(512), Content_Encoding="gzip"),
    "huge-body": lambda: _huge(64),
}

BROKEN: dict[str, Script] = {
    "reset": lambda: [RESET],
    "close": lambda: [CLOSE],
    "short-body": lambda: [response(answer())[:-20], CLOSE],
    "reset-midbody": lambda: [response(answer())[:-20], 0.02, RESET],
}

SLOW: dict[str, Script] = {
    "hang": lambda: [60.0],
    "slow-headers": _endless(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n", 0.05),
    "slow-loris": _endless(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" ", 0.05),
    "100-flood": _endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.001),
}

BROKEN_STREAMS: dict[str, Script] = {
    "stream-eof": stream(*HALVES),
    "done-without-finish": stream(*HALVES, DONE),
    "truncated-sse": stream(HALVES[0], HALVES[1][:-9]),
    "reset-midstream": stream(HALVES[0], end=(0.02, RESET)),
    "close-midstream": stream(HALVES[0], end=(0.02, CLOSE)),
}

BAD_STREAMS: dict[str, Script] = {
    "stream-empty": stream(),
    "sse-html": stream(_HTML),
    "error-in-200": whole(json.dumps({"error": {"code": 503, "message": "upstream"}}).encode()),
    "error-first-event": stream(event(json.dumps({"error": {"code": 503, "message": "upstream"}}))),
    "error-midstream": stream(HALVES[0], event(json.dumps({"error": {"message": f"lost {CANARY}"}}))),
    "error-event": stream(HALVES[0], b'event: error\ndata: {"message": "overloaded"}\n\n'),
    "error-finish": stream(HALVES[0], delta(finish="error")),
    "sse-malformed": stream(HALVES[0], event('{"choices": [')),
    "sse-bad-utf8": stream(HALVES[0], b"data: \xff\xfe\n\n"),
    "sse-no-text": stream(delta(finish="stop"), DONE),
}

SLOW_STREAMS: dict[str, Script] = {
    "stall-midstream": stream(HALVES[0], end=(60.0,)),
    "sse-comments-forever": _endless(STREAM_HEAD, chunk(b": ping\n\n"), 0.02),
}

LONG_STREAMS: dict[str, Script] = {
    "sse-infinite": _endless(STREAM_HEAD, chunk(delta("more and more " * 100))),
    "sse-long-line": _endless(STREAM_HEAD + chunk(b"data: "), chunk(b"a" * 2**16)),
}

GOOD_STREAMS: dict[str, Script] = {
    "stream-ok": stream(*GOOD),
    "no-done": stream(*HALVES, delta(finish="stop"), USAGE),
    "json-when-stream": whole(answer()),
    "reset-after-finish": stream(*GOOD[:4], end=(0.02, RESET)),
    "stall-after-done": stream(*GOOD, end=(60.0,)),
    "crlf": stream(*(one.replace(b"\n", b"\r\n") for one in GOOD)),
    "cr": stream(*(one.replace(b"\n", b"\r") for one in GOOD)),
    "bom": stream(b"\xef\xbb\xbf" + GOOD[0], *GOOD[1:]),
    "comments": stream(b": hello\n\n", GOOD[0], b":\n", *GOOD[1:]),
    "no-space": stream(*(one.replace(b"data: ", b"data:", 1) for one in GOOD)),
    "empty-events": stream(
        b"\n\n\n", GOOD[0], b"event: ping\n\n", b"data\n\n".replace(b"data", b"id: 1"), *GOOD[1:]
    ),
    "unknown-event": stream(b"event: ping\ndata: now\n\n", *GOOD),
    "unknown-field": stream(b"retry: 10\nwhat: ever\nid: 7\n" + GOOD[0], *GOOD[1:]),
    "multiline-data": stream(GOOD[0].replace(b', "choices"', b'\ndata: , "choices"'), *GOOD[1:]),
    "one-chunk": stream(b"".join(GOOD)),
    "byte-by-byte": body_of_stream(b"".join(GOOD), size=1),
    "gzip": lambda: [
        response(gzip.compress(b"".join(GOOD)), kind="text/event-stream", Content_Encoding="gzip")
    ],
}

OK: dict[str, Script] = {
    "ok": whole(answer()),
    "json-as-text": lambda: [response(answer(), kind="text/plain")],
    "gzip-ok": whole(_GZIPPED, Content_Encoding="gzip"),
    "bom-body": whole(b"\xef\xbb\xbf" + answer()),
    "duplicate-keys": whole(b'{"model": "other", ' + answer()[1:]),
    "content-parts": whole(message(message={"content": [{"type": "text", "text": TEXT}]})),
}

FAULTS: dict[str, Script] = {
    **REFUSALS, **TRANSIENT, **BAD_BODIES, **TOO_LARGE, **BROKEN, **SLOW, **BROKEN_STREAMS, **BAD_STREAMS,
    **SLOW_STREAMS, **LONG_STREAMS, **GOOD_STREAMS, **OK,
}  # fmt: skip


@contextmanager
def refusing_port() -> Iterator[int]:
    """A port on which nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@contextmanager
def unaccepting_port() -> Iterator[int]:
    """A port whose queue of connections is full, so that a new one is neither accepted nor refused."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        try:
            yield port
        finally:
            for sock in waiting:
                sock.close()
