"""Many calls at once, and many one after another: all answered, and nothing left behind."""

import asyncio
import gc
import subprocess
import sys
import tracemalloc

import pytest

from calling import PROMPT, client_of, serving, streamed
from faults import FAULTS, TEXT
from workbench import errors
from workbench.client import Limits

pytestmark = pytest.mark.anyio

N_STREAMS = 300
AT_ONCE = Limits(concurrency=N_STREAMS, deadline_s=30.0)
UNDER_A_LOW_LIMIT = f"""
import asyncio, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
sys.path[:0] = {sys.path!r}
from workbench.catalog import Catalog, ModelSpec
from workbench.client import Client, Limits
from workbench.providers.chat_completions import ChatCompletions
from workbench.types import Prompt

async def main():
    limits = Limits(concurrency=400, deadline_s=30.0, max_attempts=1)
    catalog = Catalog([ModelSpec("one", "small")])
    async with Client([ChatCompletions("one", sys.argv[1])], limits=limits, catalog=catalog) as client:
        calls = (client.complete("one/small", Prompt(str(number), "2 + 2?")) for number in range(400))
        answers = await asyncio.gather(*calls)
    print(len([answer for answer in answers if answer.text == {TEXT!r}]), client.ledger.total.n_errors)

asyncio.run(main())
"""


async def test_streams_at_once_are_all_exact_and_leave_nothing_behind() -> None:
    async with serving("stream-ok") as [server]:
        tasks = asyncio.all_tasks()
        async with client_of(server, limits=AT_ONCE) as client:
            answers = await asyncio.gather(*(streamed(client) for _ in range(N_STREAMS)))
        await server.all_gone(5.0)
        left = asyncio.all_tasks() - tasks
    assert [answer.text for answer in answers] == [TEXT] * N_STREAMS
    assert len(server.requests) == client.ledger.total.n_attempts == N_STREAMS
    assert not left


async def test_streams_that_break_at_once_with_others_are_typed_and_spoil_none() -> None:
    scripts = ["stream-ok" if number % 10 else "reset-midstream" for number in range(N_STREAMS)]
    async with serving(scripts) as [server]:
        async with client_of(server, limits=AT_ONCE) as client:
            ends = await asyncio.gather(*(streamed(client) for _ in range(N_STREAMS)), return_exceptions=True)
        await server.all_gone(5.0)
    broken = [end for end in ends if isinstance(end, BaseException)]
    assert [type(end) for end in broken] == [errors.StreamTruncatedError] * (N_STREAMS // 10)
    assert {end.text for end in ends if not isinstance(end, BaseException)} == {TEXT}


async def test_calls_queue_where_the_process_may_open_few_descriptors() -> None:
    async with serving(lambda: [0.1, *FAULTS["ok"]()]) as [server]:
        command = [sys.executable, "-c", UNDER_A_LOW_LIMIT, server.url]
        ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
        most = server.n_connections
    assert ended.stdout.split() == ["400", "0"], ended.stderr[-2000:]
    assert 100 < most < 256


async def test_calls_one_after_another_need_no_more_memory_and_one_connection() -> None:
    async with serving("ok") as [server], client_of(server, limits=Limits(ledger_size=100)) as client:

        async def ask(n_calls: int) -> int:
            for _ in range(n_calls):
                await client.complete("one/small", PROMPT)
            server.requests.clear()
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        await ask(120)
        tracemalloc.start()
        try:
            grown_bytes = -await ask(100) + await ask(400)
        finally:
            tracemalloc.stop()
    assert grown_bytes < 60_000, "150 bytes a call"
    assert server.n_connections == 1
