"""Callers of a server, for `server.py`: as many as are told, each on a connection that it keeps.

A command is one line of JSON on standard input, its result one on standard output. Plain sockets, so that
the callers cost less than what they measure.
"""

import asyncio
import json
import resource
import sys
import time
from dataclasses import dataclass, field
from typing import Any

END_OF_STREAM, ERROR_IN_STREAM = b"data: [DONE]", b'data: {"error":'
BROKEN_OFF = 502
"""How a stream counts that began, and ended with an error in it."""


@dataclass(slots=True)
class Load:
    """What is asked: `n` requests in all, `concurrency` at a time."""

    port: int
    token: str
    model: str
    n: int
    concurrency: int
    is_streamed: bool = False
    next_number: int = 0

    def request(self) -> bytes:
        """The next request; no two have the same prompt, so that no cache can answer them."""
        self.next_number += 1
        text = f"Question {self.next_number}: a train leaves at nine with {self.next_number % 97} people. "
        content = text + "How many seats are taken when half of them get off at the third stop, and why?"
        body: dict[str, Any] = {"model": self.model, "messages": [{"role": "user", "content": content}]}
        body |= {"max_tokens": 64, "stream": self.is_streamed}
        sent = json.dumps(body).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n\r\n"
        )
        return head.encode() + sent


@dataclass(slots=True)
class Measured:
    """What came of it; `statuses` counts answers by status, 0 for those that did not come whole."""

    wall_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    def add(self, status: int, latency_s: float) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.latencies_s.append(latency_s)

    def summary(self) -> dict[str, Any]:
        """Throughput, and quantiles of the latency."""
        ordered, n = sorted(self.latencies_s), len(self.latencies_s)
        return {
            "n": n,
            "wall_s": self.wall_s,
            "p50_ms": 1e3 * ordered[n // 2],
            "p95_ms": 1e3 * ordered[min(n - 1, round(0.95 * n))],
            "statuses": self.statuses,
            "n_errors": n - self.statuses.get(200, 0),
        }


async def measured(load: Load) -> dict[str, Any]:
    """Ask all of it."""
    found, started_s = Measured(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(load.concurrency):
            group.create_task(_caller(load, found))
    found.wall_s = time.perf_counter() - started_s
    return found.summary()


async def _caller(load: Load, found: Measured) -> None:
    """Ask one request after another; a connection that breaks is opened again."""
    while load.next_number < load.n:
        reader, writer = await asyncio.open_connection("127.0.0.1", load.port)
        try:
            while load.next_number < load.n:
                sent, started_s = load.request(), time.perf_counter()
                try:
                    writer.write(sent)
                    status = await _answer(reader)
                except (OSError, asyncio.IncompleteReadError, ValueError):
                    found.add(0, time.perf_counter() - started_s)
                    break
                found.add(status, time.perf_counter() - started_s)
        finally:
            writer.close()


async def _answer(reader: asyncio.StreamReader) -> int:
    """The status of an answer that came whole, or told that it broke off."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head.split(b" ", 2)[1])
    _, found, length = head.partition(b"content-length: ")
    if found:
        await reader.readexactly(int(length.split(b"\r\n")[0]))
        return status
    ended = 0
    while size := int(await reader.readline(), 16):
        piece = await reader.readexactly(size + 2)
        ended = BROKEN_OFF if ERROR_IN_STREAM in piece else status if END_OF_STREAM in piece else ended
    await reader.readline()
    return ended


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for line in sys.stdin:
        print(json.dumps(asyncio.run(measured(Load(**json.loads(line))))), flush=True)


if __name__ == "__main__":
    main()
