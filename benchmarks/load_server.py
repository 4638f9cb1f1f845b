"""A chat-completions server that costs next to nothing, for `client.py` and `server.py`; it prints its port.

| path begins with | answer |
|---|---|
| `/whole` | one answer, always the same |
| `/c500g1b0` | a stream of 500 chunks, one a millisecond; `b1000`: held until 1,000 streams are open |
| `/c500g1b0r10` | the same, but every tenth stream is broken off in its middle |
| `/down` | 503 |
| `/f10` | the same answer as `/whole`, but 503 to every tenth request |
| `/l8m50` | the same answer after 50 ms; 429 where 8 are being answered |
| `/levels` | how many of those were under way at each request since it was last asked |
| `/stats` | this process's CPU seconds, and the requests it has answered |

Bytes are made before the first request, and one write is one chunk, so that a client reads as many.
"""

import asyncio
import json
import re
import resource
import time

TEXT = "The answer is four, because two and two make four. " * 4
USAGE = {"prompt_tokens": 40, "completion_tokens": 44, "total_tokens": 84}
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_FAILING = re.compile(rb"f(\d+)")
_LIMITED = re.compile(rb"l(\d+)m(\d+)")
_STREAM = re.compile(rb"c(\d+)g(\d+)b(\d+)(?:r(\d+))?")


def main() -> None:
    """Serve until standard input ends or the process is killed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(serve())


async def serve() -> None:
    """Listen on a free port of loopback, and say which."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Connection(asyncio.Protocol):
    """Reads requests one after another and answers each by the first part of its path."""

    n_answered = 0
    n_under_way = 0
    n_of_failing = 0
    n_of_breaking = 0
    levels: list[int] = []  # noqa: RUF012 - of all connections
    held: list["Connection"] = []  # noqa: RUF012 - one list for all: the streams that wait for each other

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end:
            return
        length = _LENGTH.search(head)
        if length is not None and len(body) < int(length[1]):
            return
        self.received = b""
        Connection.n_answered += 1
        self._answer(head.split(b"/", 2)[1].split(b" ")[0])

    def _answer(self, kind: bytes) -> None:
        if stream := _STREAM.fullmatch(kind):
            n_chunks, gap_ms, n_held, every = (int(number or 0) for number in stream.groups())
            self.chunks, self.gap_s, self.n_left = stream_of(n_chunks), gap_ms / 1e3, n_chunks
            Connection.n_of_breaking += every > 0
            breaks = every and Connection.n_of_breaking % every == 0
            self.n_never_sent = n_chunks // 2 if breaks else -1
            self.transport.write(STREAM_HEAD)
            Connection.held.append(self)
            if len(Connection.held) >= n_held:
                waiting, Connection.held = Connection.held, []
                for one in waiting:
                    one._send_chunk()
        elif limited := _LIMITED.fullmatch(kind):
            self._answer_later(*map(int, limited.groups()))
        elif failing := _FAILING.fullmatch(kind):
            Connection.n_of_failing += 1
            fails = Connection.n_of_failing % int(failing[1]) == 0
            self.transport.write(UNAVAILABLE if fails else WHOLE)
        elif kind == b"levels":
            levels, Connection.levels = Connection.levels, []
            self.transport.write(whole(levels))
        elif kind == b"stats":
            self.transport.write(whole({"cpu_s": time.process_time(), "n_answered": Connection.n_answered}))
        else:
            self.transport.write(UNAVAILABLE if kind == b"down" else WHOLE)

    def _answer_later(self, most: int, latency_ms: int) -> None:
        Connection.levels.append(Connection.n_under_way + 1)
        if Connection.n_under_way >= most:
            self.transport.write(TOO_MANY)
            return
        Connection.n_under_way += 1

        def answer() -> None:
            Connection.n_under_way -= 1
            self.transport.write(WHOLE)

        asyncio.get_running_loop().call_later(latency_ms / 1e3, answer)

    def _send_chunk(self) -> None:
        if self.transport.is_closing():
            return
        if self.n_left == self.n_never_sent:
            self.transport.abort()
            return
        if self.n_left == 0:
            self.transport.write(STREAM_END)
            return
        self.transport.write(self.chunks[len(self.chunks) - self.n_left])
        self.n_left -= 1
        loop = asyncio.get_running_loop()
        if self.gap_s:
            loop.call_later(self.gap_s, self._send_chunk)
        else:
            loop.call_soon(self._send_chunk)


def whole(body: object, *, status: str = "200 OK") -> bytes:
    """A response with `body` as JSON."""
    encoded = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(encoded)}\r\n\r\n"
    return head.encode() + encoded


def event(**fields: object) -> bytes:
    """One chunk of a stream, as an event in a chunk of HTTP."""
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "small", **fields}
    encoded = b"data: " + json.dumps(body).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(encoded), encoded)


def stream_of(n_chunks: int) -> list[bytes]:
    """`n_chunks` events with text; made once for each number."""
    if n_chunks not in _streams:
        deltas = [{"role": "assistant", "content": f" word {number % 10}"} for number in range(n_chunks)]
        _streams[n_chunks] = [
            event(choices=[{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas
        ]
    return _streams[n_chunks]


_streams: dict[int, list[bytes]] = {}
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAM_END = (
    event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
    + event(choices=[], usage=USAGE)
    + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
)
WHOLE = whole(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "small",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
        "usage": USAGE,
    }
)
TOO_MANY = whole({"error": {"message": "too many"}}, status="429 Too Many Requests")
UNAVAILABLE = whole({"error": {"message": "overloaded"}}, status="503 Service Unavailable")

if __name__ == "__main__":
    main()
