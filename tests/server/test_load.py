"""Many at once, upstreams that break off, and callers that go away."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest
from aiohttp import web

from loopback import serving
from server.conftest import Running, running
from workbench.server.config import LimitsConfig, ProviderConfig, ServerConfig

pytestmark = pytest.mark.anyio

N_STREAMS = 200
WORDS = [f"word{number} " for number in range(20)]
MODELS = """provider,model,input_usd_per_mtok,output_usd_per_mtok,context_tokens,source,date
own,m,1,2,8000,made up,2026-11-01
"""


def chunk(word: str | None, *, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {} if word is None else {"content": word}, "finish_reason": finish}
    return f"data: {json.dumps({'id': 'c', 'model': 'm', 'choices': [choice]})}\n\n".encode()


ENDLESS = {"for ever": chunk("again "), "nothing yet": b" "}
"""What is said again and again; the second is what may stand before JSON."""


@dataclass
class Upstream:
    """Streams `WORDS`; breaks the connection off where it is told to, and streams for ever where it is."""

    n_under_way: int = 0
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def respond(self, request: web.Request) -> web.StreamResponse:
        said = (await request.json())["messages"][-1]["content"]
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        self.n_under_way += 1
        try:
            if said in ENDLESS:
                while True:
                    await response.write(ENDLESS[said])
                    await asyncio.sleep(0.01)
            for number, word in enumerate(WORDS):
                if said == "reset" and number == len(WORDS) // 2:
                    assert request.transport is not None
                    request.transport.abort()
                    return response
                await response.write(chunk(word))
            await response.write(chunk(None, finish="stop") + b"data: [DONE]\n\n")
        except (ConnectionError, asyncio.CancelledError):
            self.left.set()
            raise
        finally:
            self.n_under_way -= 1
        return response


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[tuple[Running, Upstream]]:
    """A server before an upstream that counts what it has under way."""
    upstream, models = Upstream(), tmp_path / "models.csv"
    models.write_text(MODELS)
    async with serving(("POST", "/v1/chat/completions", upstream.respond)) as url:
        config = ServerConfig(
            models=("own/m",),
            models_file=models,
            port=0,
            folder=tmp_path / "server",
            providers={"own": ProviderConfig(base_url=f"{url}/v1")},
            limits=LimitsConfig(concurrency=N_STREAMS),
        )
        async with running(config) as server:
            yield server, upstream


async def streamed(server: Running, http: httpx.AsyncClient, text: str) -> tuple[str, str | None, bool]:
    """What was said, the code of the error that it ended with, and whether it ended as it should."""
    body = {"model": "own/m", "messages": [{"role": "user", "content": text}], "stream": True}
    said, code, is_done = "", None, False
    async with http.stream("POST", "/v1/chat/completions", json=body, headers=server.caller) as response:
        async for line in response.aiter_lines():
            is_done = is_done or line == "data: [DONE]"
            if not line.startswith("data: {"):
                continue
            event = json.loads(line[6:])
            code = event["error"]["code"] if "error" in event else code
            said += "".join(one["delta"].get("content") or "" for one in event.get("choices", ()))
    return said, code, is_done


async def test_of_200_streams_those_that_break_off_fail_by_name_and_the_others_are_exact(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as (server, upstream):
        await streamed(server, server.http, "once")
        tasks_before, sockets_before = tasks(), sockets()
        limits = httpx.Limits(max_connections=N_STREAMS)
        async with httpx.AsyncClient(base_url=server.base_url, timeout=60, limits=limits) as http:
            texts = ["reset" if number % 10 == 0 else "whole" for number in range(N_STREAMS)]
            ends = await asyncio.gather(*(streamed(server, http, text) for text in texts))
        broken = [end for end, text in zip(ends, texts, strict=True) if text == "reset"]
        whole = [end for end, text in zip(ends, texts, strict=True) if text == "whole"]
        assert set(whole) == {("".join(WORDS), None, True)}
        assert {(code, is_done) for _, code, is_done in broken} == {("provider_failed", False)}
        assert {"".join(WORDS).startswith(said) for said, _, _ in broken} == {True}
        await settled(
            lambda: upstream.n_under_way == 0 and len(asyncio.all_tasks()) <= tasks_before + N_STREAMS
        )
        ready = (await server.http.get("/metrics", headers=server.admin)).text
        assert 'outcome="failed"' in ready
    assert sockets() <= sockets_before


async def test_a_caller_that_goes_away_ends_the_call_upstream_within_a_second(tmp_path: Path) -> None:
    async with served(tmp_path) as (server, upstream):
        body = {"model": "own/m", "messages": [{"role": "user", "content": "for ever"}], "stream": True}
        async with server.http.stream(
            "POST", "/v1/chat/completions", json=body, headers=server.caller
        ) as response:
            await anext(response.aiter_lines())
            assert upstream.n_under_way == 1
        async with asyncio.timeout(1.0):
            await upstream.left.wait()
        assert upstream.n_under_way == 0


@pytest.mark.parametrize("n_before", [0, 90_000], ids=["a short body", "a body that stopped the reading"])
async def test_who_leaves_before_the_answer_ends_the_call_upstream_within_a_second(
    tmp_path: Path, n_before: int
) -> None:
    async with served(tmp_path) as (server, upstream):
        before = {"role": "user", "content": "Be brief. " * n_before}
        body = {"model": "own/m", "messages": [before, {"role": "user", "content": "nothing yet"}]}
        asking = asyncio.create_task(
            server.http.post("/v1/chat/completions", json=body, headers=server.caller)
        )
        await settled(lambda: upstream.n_under_way == 1)
        asking.cancel()
        async with asyncio.timeout(1.0):
            await upstream.left.wait()


def tasks() -> int:
    """What is under way, but for the upstream's connections, which are kept for the next call."""
    names = (str(getattr(task.get_coro(), "__qualname__", "")) for task in asyncio.all_tasks())
    return sum(name != "RequestHandler.start" for name in names)


def sockets() -> int:
    """Connections that this process has open."""
    return len(psutil.Process().net_connections("tcp"))


async def settled(is_so: Callable[[], bool], within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not is_so():
            await asyncio.sleep(0.02)
