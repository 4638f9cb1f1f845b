"""The server as a process: it finishes what it began, reads its file again, and works as several."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import sqlalchemy as sa
import yaml
from aiohttp import web

import redis_server
from loopback import serving
from workbench.server.database import open_database, outcomes

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ASKED = {"model": "lab/m", "messages": [{"role": "user", "content": "canary-of-a-prompt"}]}


async def slow(request: web.Request) -> web.StreamResponse:
    """Streams ten pieces in a second; answers at once where it is not a stream."""
    body = await request.json()
    if body["model"] == "broken":
        return web.json_response({"error": {"message": "no"}}, status=500)
    usage = {"prompt_tokens": 5, "completion_tokens": 10}
    if not body.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
        return web.json_response({"id": "c", "model": "m", "choices": [choice], "usage": usage})
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for number in range(10):
        choice = {"index": 0, "delta": {"content": f"{number} "}, "finish_reason": None}
        await response.write(
            f"data: {json.dumps({'id': 'c', 'model': 'm', 'choices': [choice]})}\n\n".encode()
        )
        await asyncio.sleep(0.1)
    choice = {"index": 0, "delta": {}, "finish_reason": "stop"}
    last = {"id": "c", "model": "m", "choices": [choice], "usage": usage}
    await response.write(f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n".encode())
    return response


@dataclass
class Process:
    """A server of its own process; `file` is what it read."""

    popen: subprocess.Popen[str]
    file: Path
    settings: dict[str, Any]
    admin: dict[str, str]
    http: httpx.AsyncClient
    log: Path
    caller: dict[str, str] = field(default_factory=dict)

    async def key(self, **limits: object) -> dict[str, str]:
        """The headers of a new caller."""
        made = await self.http.post("/admin/keys", json={"name": "a", **limits}, headers=self.admin)
        return {"authorization": f"Bearer {made.json()['token']}"}

    async def ask(self, headers: dict[str, str] | None = None, **changed: object) -> httpx.Response:
        """A chat completion."""
        return await self.http.post(
            "/v1/chat/completions", json=ASKED | changed, headers=headers or self.caller
        )

    def write(self, **settings: object) -> None:
        """Change the file."""
        self.settings |= settings
        self.file.write_text(yaml.safe_dump(self.settings))

    def lines(self) -> list[dict[str, Any]]:
        """What is in the log."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and wait for the end."""
        self.popen.send_signal(number)
        return self.popen.wait(timeout=20)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(folder: Path, url: str, **settings: object) -> Iterator[tuple[subprocess.Popen[str], Path, str]]:
    port, file = free_port(), folder / "server.yaml"
    prices = folder / "models.csv"
    lab = {"lab": {"base_url": f"{url}/v1"}}
    written = {
        "models": ["lab/m", "lab/broken"],
        "providers": lab,
        "port": port,
        "folder": str(folder / "server"),
        **settings,
    }
    if prices.exists():
        written["models_file"] = str(prices)
    file.write_text(yaml.safe_dump(written))
    with (folder / "log").open("w") as log:
        command = [sys.executable, "-m", "workbench", "serve", str(file)]
        popen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        token = ""
        assert popen.stdout is not None
        while not token:
            line = popen.stdout.readline()
            assert line, (folder / "log").read_text()
            found = re.search(r"shown this once: (\S+)", line)
            token = found[1] if found else ""
        yield popen, file, token
    finally:
        if popen.poll() is None:
            popen.terminate()
            try:
                popen.wait(timeout=15)
            except subprocess.TimeoutExpired:
                popen.kill()
                popen.wait()
        popen.stdout.close()


@asynccontextmanager
async def process(folder: Path, **settings: object) -> AsyncIterator[Process]:
    async with serving(("POST", "/v1/chat/completions", slow)) as url:
        with started(folder, url, **settings) as (popen, file, token):
            written = yaml.safe_load(file.read_text())
            admin = {"authorization": f"Bearer {token}"}
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{written['port']}", timeout=30) as http:
                found = Process(popen, file, written, admin, http, folder / "log")
                found.caller = await found.key()
                if settings.get("workers", 1) != 1:
                    await asyncio.sleep(1.0)  # until all workers know it
                yield found


def kept(folder: Path) -> list[sa.Row[Any]]:
    engine = open_database(None, folder / "server")
    with engine.connect() as connection:
        rows = list(connection.execute(sa.select(outcomes).order_by(outcomes.c.at)).all())
    engine.dispose()
    return rows


async def until(is_so: Any, *, within_s: float = 15.0) -> None:
    limit = time.monotonic() + within_s
    while not await is_so():
        assert time.monotonic() < limit, "it did not come to be so"
        await asyncio.sleep(0.05)


async def test_sigterm_lets_a_stream_finish_and_refuses_new_connections(tmp_path: Path) -> None:
    async with process(tmp_path, limits={"drain_s": 10}) as server:
        whole = await server.ask()
        body, text, sent_s = ASKED | {"stream": True}, "", 0.0
        async with server.http.stream(
            "POST", "/v1/chat/completions", json=body, headers=server.caller
        ) as stream:
            async for piece in stream.aiter_text():
                text += piece
                if not sent_s:
                    server.popen.send_signal(signal.SIGTERM)
                    sent_s = time.monotonic()
                    await asyncio.sleep(0.4)
                    with pytest.raises(OSError):
                        socket.create_connection(("127.0.0.1", server.settings["port"]), timeout=1).close()
        assert text.rstrip().endswith("data: [DONE]")
        assert "9 " in text
        assert await asyncio.to_thread(server.popen.wait, 12) == 0
        assert time.monotonic() - sent_s < 10
    assert whole.status_code == 200
    assert [(row.error, row.output_tokens) for row in kept(tmp_path)] == [(None, 10), (None, 10)]


async def test_a_stream_that_outlasts_the_drain_is_ended_and_kept(tmp_path: Path) -> None:
    async with process(tmp_path, limits={"drain_s": 0}) as server:
        body = ASKED | {"stream": True}
        async with server.http.stream(
            "POST", "/v1/chat/completions", json=body, headers=server.caller
        ) as stream:
            await anext(stream.aiter_raw())
            server.popen.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.popen.wait, 10) == 0
    [row] = kept(tmp_path)
    assert row.error == "CancelledError"


async def test_with_few_descriptors_one_caller_too_many_is_told_and_no_other_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nulimit -n 256\nexec {sys.executable} "$@"\n')
    script.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(script))
    limits = httpx.Limits(max_connections=240)
    async with (
        process(tmp_path, limits={"concurrency": 1024}) as server,
        httpx.AsyncClient(base_url=server.http.base_url, timeout=30, limits=limits) as http,
    ):
        body = ASKED | {"stream": True}
        asked = (http.post("/v1/chat/completions", json=body, headers=server.caller) for _ in range(240))
        ends = await asyncio.gather(*asked, return_exceptions=True)
    statuses = Counter(end.status_code for end in ends if isinstance(end, httpx.Response))
    assert set(statuses) <= {200, 503}
    assert statuses[200] >= 90
    assert all(isinstance(end, httpx.Response | httpx.TransportError) for end in ends)
    assert "Too many open files" not in server.log.read_text()


async def test_a_killed_server_has_every_answer_that_it_gave(tmp_path: Path) -> None:
    async with process(tmp_path) as server:
        answers = await asyncio.gather(*(server.ask() for _ in range(8)))
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    async with process_again(tmp_path):
        pass
    assert {row.request_id for row in kept(tmp_path)} == {one.headers["x-request-id"] for one in answers}


@asynccontextmanager
async def process_again(folder: Path) -> AsyncIterator[None]:
    """The same server once more, in this process: it has its token already, and shows none."""
    from workbench.server.config import load_config
    from workbench.server.foundation import laid

    async with laid(load_config(folder / "server.yaml")):
        yield


async def test_sighup_takes_a_good_file_and_leaves_a_bad_one(tmp_path: Path) -> None:
    async with process(tmp_path) as server:
        names = await server.http.get("/v1/models", headers=server.caller)
        assert [one["id"] for one in names.json()["data"]] == ["lab/m", "lab/broken"]
        stream = asyncio.create_task(server.ask(stream=True))
        await asyncio.sleep(0.3)
        server.write(models=["lab/m", "lab/new"], hosts=["new.example"])
        server.popen.send_signal(signal.SIGHUP)

        async def has_new_host() -> bool:
            headers = server.caller | {"host": "new.example"}
            return (await server.http.get("/v1/models", headers=headers)).status_code == 200

        await until(has_new_host)
        names = await server.http.get("/v1/models", headers=server.caller)
        assert [one["id"] for one in names.json()["data"]] == ["lab/m", "lab/new"]
        assert (await stream).text.rstrip().endswith("[DONE]")

        for bad, why in (({"modles": []}, "modles"), ({"folder": "elsewhere"}, "cannot change")):
            server.write(**bad)
            server.popen.send_signal(signal.SIGHUP)

            async def is_told(why: str = why) -> bool:
                return why in server.log.read_text()

            await until(is_told)
            assert await has_new_host()
            server.settings = {**server.settings, "folder": str(tmp_path / "server")}
            server.settings.pop("modles", None)
        assert (await server.ask()).status_code == 200
        assert server.stop() == 0
    assert [row.error for row in kept(tmp_path)] == [None, None]


async def test_each_request_is_a_line_with_its_id_and_without_what_was_said(tmp_path: Path) -> None:
    async with process(tmp_path, log="json") as server:
        good, bad = await server.ask(), await server.ask(model="lab/broken")
        missing = await server.ask(headers={"authorization": "Bearer canary-of-a-token"})
        await server.ask(stream=True)
        assert server.stop() == 0
        text, lines = server.log.read_text(), server.lines()
    requests = [line for line in lines if line["event"] == "request" and line["path"].startswith("/v1")]
    assert [line["status"] for line in requests] == [200, 502, 401, 200]
    first = requests[0]
    assert (first["method"], first["model"], first["arm"]) == ("POST", "lab/m", "lab/m")
    assert first["key_id"]
    assert first["latency_s"] > 0
    assert [line.get("error") for line in requests] == [None, "ServerError", "invalid_api_key", None]
    assert requests[1]["level"] == "warning"
    ids = [line["request_id"] for line in requests]
    assert ids[:3] == [one.headers["x-request-id"] for one in (good, bad, missing)]
    finished = [line for line in lines if line["event"] == "call_finished"]
    assert [line["request_id"] for line in finished] == [ids[0], ids[1], ids[3]]
    assert finished[0]["provider_request_id"] == "c"
    assert "canary" not in text
    for headers in (server.admin, server.caller):
        assert headers["authorization"].split("-", 2)[-1] not in text


@pytest.fixture
def redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis_server.RedisServer]:
    with redis_server.serving(tmp_path / "redis") as server:
        monkeypatch.setenv("WORKBENCH_REDIS_URL", server.url)
        yield server


def pids(server: Process) -> set[int]:
    return {child.pid for child in psutil.Process(server.popen.pid).children()}


async def each_on_its_own(server: Process, n: int) -> list[int]:
    """Requests over connections of their own, so that every worker gets some."""
    statuses = []
    for _ in range(n):
        async with httpx.AsyncClient(base_url=server.http.base_url, timeout=30) as http:
            got = await http.post(
                "/v1/chat/completions", json=ASKED, headers=server.caller | {"connection": "close"}
            )
            statuses.append(got.status_code)
    return statuses


async def test_workers_serve_as_one(redis: redis_server.RedisServer, tmp_path: Path) -> None:
    async with process(tmp_path, workers=2, shared="redis", log="json") as server:
        await until(lambda: both_serve(server))
        assert set(await each_on_its_own(server, 20)) == {200}

        async def all_are_counted() -> bool:
            text = (await server.http.get("/metrics", headers=server.admin)).text
            counts = re.findall(r'^workbench_requests_total{.*outcome="answered".*} (\S+)', text, re.M)
            return sum(map(float, counts)) >= 20

        await until(all_are_counted)
        ready = (await server.http.get("/health/ready", headers=server.admin)).json()
        assert {part["part"]: part["health"] for part in ready["parts"]}["redis"] == "well"

        before = pids(server)
        killed = min(before)
        os.kill(killed, signal.SIGKILL)

        async def is_replaced() -> bool:
            return len(pids(server) - {killed}) == 2

        await until(is_replaced)
        await until(lambda: both_serve(server))
        assert set(await each_on_its_own(server, 4)) == {200}

        streams = [asyncio.create_task(server.ask(stream=True)) for _ in range(4)]
        await asyncio.sleep(0.5)
        assert await asyncio.to_thread(server.stop) == 0
        for stream in streams:
            assert (await stream).text.rstrip().endswith("[DONE]")
    # What the killed worker had not written is in its journal still, if its successor had no time to look.
    journals = (path.read_text().splitlines() for path in tmp_path.glob("**/journal/*/*.jsonl"))
    left = {json.loads(line)["request_id"] for lines in journals for line in lines}
    assert len(left | {row[0] for row in kept(tmp_path)}) == 28


async def both_serve(server: Process) -> bool:
    """Whether each worker has answered something: it is in Redis then, and its numbers in a file."""
    return len(list((Path(server.settings["folder"]) / "metrics").glob("*.prom"))) >= 2


async def test_redis_that_dies_leaves_the_server_impaired_and_serving(
    redis: redis_server.RedisServer, tmp_path: Path
) -> None:
    async with process(tmp_path, shared="redis", cache="redis") as server:
        limited = await server.key(requests_per_minute=600.0)
        assert (await server.ask(limited)).status_code == 200
        redis.kill()
        started_s = time.monotonic()
        assert (await server.ask()).status_code == 200
        assert time.monotonic() - started_s < 2.0

        async def is_impaired() -> bool:
            answer = await server.http.get("/health/ready", headers=server.admin)
            parts = {part["part"]: part for part in answer.json()["parts"]}
            assert answer.status_code == 200
            return parts["redis"]["health"] == "impaired" and parts["redis"]["latency_s"] < 1.0

        await until(is_impaired)
        redis.start()

        async def is_well() -> bool:
            answer = await server.http.get("/health/ready", headers=server.admin)
            return {part["part"]: part["health"] for part in answer.json()["parts"]}["redis"] == "well"

        await until(is_well)
        assert (await server.ask(limited)).status_code in (200, 429)


async def test_answers_are_kept_where_the_file_says(redis: redis_server.RedisServer, tmp_path: Path) -> None:
    async with process(tmp_path, cache="redis") as server:
        said = [(await server.ask(temperature=0, workbench={"decision": True})).json() for _ in range(2)]
        assert [one["workbench"]["is_cached"] for one in said] == [False, True]


def test_several_workers_need_a_redis(tmp_path: Path) -> None:
    file = tmp_path / "server.yaml"
    file.write_text(yaml.safe_dump({"models": ["simulator/sim-small"], "workers": 2, "shared": "redis"}))
    command = [sys.executable, "-m", "workbench", "serve", str(file)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode != 0
    assert "WORKBENCH_REDIS_URL" in ended.stderr
