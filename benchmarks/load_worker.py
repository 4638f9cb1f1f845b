"""One client under load, for `client.py`: each line of standard input is a command, and is answered by one.

It runs in a process of its own, so that its CPU time and memory are its own, and needs nothing but the
library it is named for: `python load_worker.py httpx http://127.0.0.1:8000`.
"""

import asyncio
import gc
import json
import os
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

PROMPT = "What is two and two? Answer in one sentence, and say why. " * 3
KEY = "a-key-for-the-benchmark"
BODY: dict[str, Any] = {
    "model": "small",
    "messages": [{"role": "user", "content": PROMPT}],
    "max_tokens": 512,
}
STREAMED = {**BODY, "stream": True, "stream_options": {"include_usage": True}}
HEADERS = {"Authorization": f"Bearer {KEY}"}
MOST = 1_000_000
TIMEOUT_S = 120.0
PROC = Path("/proc/self")

Ask = Callable[[str], Awaitable[int]]
"""Asks the given base URL, and gives the number of characters, or chunks, that came."""


def main() -> None:
    name, url = sys.argv[1:]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(obey(name, url))


async def obey(name: str, url: str) -> None:
    """Answer commands until there are no more."""
    async with CLIENTS[name](url) as (complete, stream):
        for line in sys.stdin:  # blocks the loop, which has nothing else to do then
            command = json.loads(line)
            if command["do"] == "outage":
                measured: dict[str, Any] = await outage(url, command["n"])
            elif command["do"] == "limited":
                measured = await limited(f"{url}/{command['path']}/v1", command["n"], command["concurrency"])
            elif command["do"] == "callbacks":
                with longest_callback() as longest:
                    load = await under_load(stream, f"{url}/{command['path']}/v1", **command["load"])
                measured = {**load, **longest}
            else:
                ask = complete if command["do"] == "whole" else stream
                measured = await under_load(ask, f"{url}/{command['path']}/v1", **command["load"])
            print(json.dumps(measured), flush=True)


async def under_load(ask: Ask, url: str, *, n: int, concurrency: int, expected: int) -> dict[str, Any]:
    """CPU seconds (user and system), wall seconds and errors of `n` calls, `concurrency` at a time."""
    gc.collect()
    before_kib = resident_kib()
    left = iter(range(n))
    n_right = 0

    async def caller() -> None:
        nonlocal n_right
        for _ in left:
            is_right = await ask(url) == expected
            n_right += is_right

    wall_s, cpu_s = time.perf_counter(), time.process_time()
    ends = await asyncio.gather(*(caller() for _ in range(concurrency)), return_exceptions=True)
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    gc.collect()
    return {
        "n": n,
        "cpu_s": cpu_s,
        "wall_s": wall_s,
        "n_errors": n - n_right,
        "first_error": next((repr(end)[:200] for end in ends if end is not None), None),
        "before_kib": before_kib,
        "after_kib": resident_kib(),
        "peak_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "n_descriptors": n_descriptors(),
    }


def resident_kib() -> int:
    """Memory in use now; where there is no /proc, the most that was."""
    if not PROC.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int((PROC / "statm").read_text().split()[1]) * resource.getpagesize() // 1024


def n_descriptors() -> int:
    """Open ones; 0 where there is no /proc."""
    return len(list((PROC / "fd").iterdir())) if PROC.exists() else 0


@asynccontextmanager
async def raw_httpx(_url: str) -> AsyncIterator[tuple[Ask, Ask]]:
    import httpx

    client = httpx.AsyncClient(headers=HEADERS, timeout=TIMEOUT_S)

    async def complete(url: str) -> int:
        response = await client.post(f"{url}/chat/completions", json=BODY)
        response.raise_for_status()
        return len(response.json()["choices"][0]["message"]["content"])

    async def stream(url: str) -> int:
        async with client.stream("POST", f"{url}/chat/completions", json=STREAMED) as response:
            response.raise_for_status()
            return await _n_chunks(response.aiter_lines())

    async with client:
        yield complete, stream


@asynccontextmanager
async def raw_aiohttp(_url: str) -> AsyncIterator[tuple[Ask, Ask]]:
    import aiohttp

    async def complete(url: str) -> int:
        async with session.post(f"{url}/chat/completions", json=BODY) as response:
            response.raise_for_status()
            return len((await response.json())["choices"][0]["message"]["content"])

    async def stream(url: str) -> int:
        async with session.post(f"{url}/chat/completions", json=STREAMED) as response:
            response.raise_for_status()
            return await _n_chunks(line.decode().rstrip() async for line in response.content)

    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(TIMEOUT_S)
    async with aiohttp.ClientSession(headers=HEADERS, connector=connector, timeout=timeout) as session:
        yield complete, stream


@asynccontextmanager
async def openai_sdk(url: str) -> AsyncIterator[tuple[Ask, Ask]]:
    import openai

    client = openai.AsyncOpenAI(api_key=KEY, base_url=url, timeout=TIMEOUT_S)

    async def complete(url: str) -> int:
        client.base_url = url
        answer = await client.chat.completions.create(**BODY)
        return len(answer.choices[0].message.content or "")

    async def stream(url: str) -> int:
        client.base_url = url
        return await _n_texts(await client.chat.completions.create(**STREAMED))

    async with client:
        yield complete, stream


@asynccontextmanager
async def litellm_sdk(_url: str) -> AsyncIterator[tuple[Ask, Ask]]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would ask for a newer one meanwhile
    import litellm

    same = {"api_key": KEY, "timeout": TIMEOUT_S}

    async def complete(url: str) -> int:
        answer = await litellm.acompletion(**{**BODY, "model": "openai/small"}, api_base=url, **same)
        return len(answer.choices[0].message.content)

    async def stream(url: str) -> int:
        asked = {**STREAMED, "model": "openai/small"}
        return await _n_texts(await litellm.acompletion(**asked, api_base=url, **same))

    yield complete, stream


@asynccontextmanager
async def workbench(url: str) -> AsyncIterator[tuple[Ask, Ask]]:
    """Ours with everything on: rates, slots, ledger, retries, breaker, cost, budget, a ceiling a call."""
    from workbench.budget import Budget
    from workbench.client import Client, Limits
    from workbench.providers.chat_completions import ChatCompletions
    from workbench.settings import Secret
    from workbench.types import Decoding, Prompt

    limits = Limits(
        concurrency=2_000,
        deadline_s=TIMEOUT_S,
        requests_per_minute=float(60 * MOST),
        tokens_per_minute=float(60 * MOST * 1_000),
        max_call_cost_usd=1.0,
    )
    prompt, decoding = Prompt("p1", PROMPT), Decoding(max_output_tokens=512)
    clients: dict[str, Client] = {}

    def client_of(url: str) -> Client:
        if url not in clients:
            provider = ChatCompletions("first", url, key=Secret(KEY))
            clients[url] = Client([provider], catalog=_catalog(), limits=limits, budget=Budget(1e9))
        return clients[url]

    async def complete(url: str) -> int:
        return len((await client_of(url).complete("first/small", prompt, decoding=decoding)).text)

    async def stream(url: str) -> int:
        deltas = client_of(url).stream("first/small", prompt, decoding=decoding)
        return sum([1 async for delta in deltas if delta.text])

    yield complete, stream
    for client in clients.values():
        await client.aclose()


async def outage(url: str, n: int) -> dict[str, Any]:
    """`n` calls, one after another, of a model whose provider is down, with a fallback that is not."""
    from workbench.client import Client
    from workbench.providers.chat_completions import ChatCompletions
    from workbench.types import Prompt

    providers = [ChatCompletions("first", f"{url}/down/v1"), ChatCompletions("second", f"{url}/whole/v1")]
    latencies_s: list[float] = []
    n_reached = 0
    async with Client(providers, catalog=_catalog()) as client:
        for number in range(n):
            started_s = time.perf_counter()
            answer = await client.complete(
                "first/small", Prompt(f"p{number}", PROMPT), fallbacks=["second/small"]
            )
            latencies_s.append(time.perf_counter() - started_s)
            n_reached += any(attempt.model_id == "first/small" for attempt in answer.attempts)
        n_requests = client.ledger.totals()["first/small"].n_attempts
    return {"latencies_s": latencies_s, "n_reached": n_reached, "n_requests": n_requests}


async def limited(url: str, n: int, concurrency: int) -> dict[str, Any]:
    """`n` calls at once of a server that takes fewer, by a client that has `concurrency` slots."""
    from workbench.client import Client, Limits
    from workbench.providers.chat_completions import ChatCompletions
    from workbench.types import Prompt

    limits, provider = Limits(concurrency=concurrency), ChatCompletions("first", url)
    async with Client([provider], catalog=_catalog(), limits=limits) as client:
        started_s = time.perf_counter()
        calls = (client.complete("first/small", Prompt(f"p{number}", PROMPT)) for number in range(n))
        ends = await asyncio.gather(*calls, return_exceptions=True)
        wall_s = time.perf_counter() - started_s
        n_lost = sum(isinstance(end, BaseException) for end in ends)
        return {"wall_s": wall_s, "n_lost": n_lost, "n_requests": client.ledger.total.n_attempts}


@contextmanager
def longest_callback() -> Iterator[dict[str, float]]:
    """The most that one callback of the event loop took, in CPU seconds and in seconds of the clock."""
    longest = {"callback_cpu_s": 0.0, "callback_s": 0.0}
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        cpu_s, wall_s = time.thread_time(), time.perf_counter()
        run(handle)
        longest["callback_cpu_s"] = max(longest["callback_cpu_s"], time.thread_time() - cpu_s)
        longest["callback_s"] = max(longest["callback_s"], time.perf_counter() - wall_s)

    asyncio.Handle._run = timed  # type: ignore[method-assign] - there is no other place to time all of them
    try:
        yield longest
    finally:
        asyncio.Handle._run = run  # type: ignore[method-assign]


def _catalog() -> Any:
    from datetime import date

    from workbench.catalog import Catalog, ModelSpec, Price

    price = Price(1.0, 2.0, "made up for the benchmark", date(2026, 11, 1))
    return Catalog([ModelSpec(name, "small", price, context_tokens=8_000) for name in ("first", "second")])


async def _n_chunks(lines: AsyncIterator[str]) -> int:
    n_chunks = 0
    async for line in lines:
        if line.startswith("data: ") and line != "data: [DONE]":
            choices = json.loads(line[6:])["choices"]
            n_chunks += bool(choices and choices[0]["delta"].get("content"))
    return n_chunks


async def _n_texts(chunks: Any) -> int:
    return sum([1 async for chunk in chunks if chunk.choices and chunk.choices[0].delta.content])


CLIENTS = {
    "httpx": raw_httpx,
    "aiohttp": raw_aiohttp,
    "openai": openai_sdk,
    "litellm": litellm_sdk,
    "workbench": workbench,
}

if __name__ == "__main__":
    main()
