"""The simulator as a client sees it: real HTTP on loopback, in OpenAI's protocol."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from httpx_aiohttp import AiohttpTransport

from workbench.datasets import Task
from workbench.errors import ConfigError
from workbench.providers.fleet import FLEET, SimulatedModel
from workbench.providers.simulator import Simulator, serve
from workbench.types import Prompt

pytestmark = pytest.mark.anyio

TASKS = tuple(
    Task(Prompt(f"p{number}", f"What is {number} + 1?", "arithmetic", reference=str(number + 1)), 1, "train")
    for number in range(400)
)
QUESTION = TASKS[3].prompt
STEADY = SimulatedModel("sim-steady", {}, 50.0, 20, 0.05, transient_rate=0.0, persistent_rate=0.0)
BROKEN = SimulatedModel("sim-broken", {}, 0.0, 20, 0.0, transient_rate=0.0, persistent_rate=1.0)
FICKLE = SimulatedModel("sim-fickle", {}, 50.0, 20, 0.0, transient_rate=1.0, persistent_rate=0.0)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(tasks=TASKS, fleet=(*FLEET, STEADY, BROKEN, FICKLE), latency_scale=0.0) as running:
        yield running


@pytest.fixture
async def http(simulator: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=simulator.base_url, timeout=10.0) as client:
        yield client


def body_of(model: str, text: str = QUESTION.text, **settings: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}]} | settings


async def ask(
    http: httpx.AsyncClient, model: str, text: str = QUESTION.text, **settings: Any
) -> httpx.Response:
    return await http.post("chat/completions", json=body_of(model, text, **settings))


def events_of(text: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


async def test_an_answer_ends_in_the_reference_and_counts_its_tokens(http: httpx.AsyncClient) -> None:
    response = await ask(http, "sim-steady")
    body = response.json()
    assert body["choices"][0]["message"]["content"].endswith("\nAnswer: 4")
    assert (
        body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]
    )
    assert (body["object"], body["choices"][0]["finish_reason"]) == ("chat.completion", "stop")
    assert response.headers["x-request-id"] in body["id"]


async def test_nothing_can_be_mistaken_for_a_real_model(http: httpx.AsyncClient) -> None:
    assert "simulated" in (await ask(http, "sim-steady")).json()["system_fingerprint"]
    rows = (await http.get("models")).json()["data"]
    assert {row["owned_by"] for row in rows} == {"simulated"}
    assert all(row["id"].startswith("sim-") for row in rows)


async def test_a_stream_says_what_the_whole_answer_says(http: httpx.AsyncClient) -> None:
    whole = (await ask(http, "sim-steady")).json()
    options = {"include_usage": True}
    response = await ask(http, "sim-steady", stream=True, stream_options=options)
    events = events_of(response.text)
    pieces = [event["choices"][0]["delta"].get("content", "") for event in events if event["choices"]]
    assert "".join(pieces) == whole["choices"][0]["message"]["content"]
    assert [event["choices"][0]["finish_reason"] for event in events[-2:-1]] == ["stop"]
    assert (events[-1]["choices"], events[-1]["usage"]) == ([], whole["usage"])


async def test_a_stream_has_usage_only_where_asked(http: httpx.AsyncClient) -> None:
    events = events_of((await ask(http, "sim-steady", stream=True)).text)
    assert all(event["choices"] and "usage" not in event for event in events)


async def test_a_stream_comes_piece_by_piece() -> None:
    slow = SimulatedModel(
        "sim-slow", {}, 50.0, 60, 0.2, latency_sigma=0.0, transient_rate=0.0, persistent_rate=0.0
    )
    async with Simulator(tasks=TASKS, fleet=[slow]) as simulator, httpx.AsyncClient() as http:
        before, body = time.perf_counter(), body_of("sim-slow", stream=True)
        async with http.stream("POST", f"{simulator.base_url}/chat/completions", json=body) as response:
            times = [time.perf_counter() - before async for _ in response.aiter_raw()]
    assert times[0] >= 0.08 * 0.95
    assert times[-1] >= 0.2 * 0.95
    assert len(times) >= 4


async def test_latency_is_slept_and_scaled() -> None:
    async with httpx.AsyncClient() as http:
        took = {}
        for scale in (1.0, 4.0):
            async with Simulator(tasks=TASKS, fleet=[STEADY], latency_scale=scale) as simulator:
                before = time.perf_counter()
                await http.post(f"{simulator.base_url}/chat/completions", json=body_of("sim-steady"))
                took[scale] = time.perf_counter() - before
                expected = simulator.fleet.answer(
                    "sim-steady", QUESTION.text, 0, max_output_tokens=99
                ).latency_s
                assert took[scale] >= expected * scale * 0.98
    assert took[4.0] > took[1.0]


async def test_the_seed_of_the_request_chooses_the_draw(http: httpx.AsyncClient) -> None:
    texts = [(await ask(http, "sim-nano", seed=seed)).json().get("choices") for seed in (1, 1, 2, 3, 4, 5, 6)]
    assert texts[0] == texts[1]
    assert len({str(text) for text in texts}) > 2


async def test_a_failure_that_passes_is_mended_by_one_retry(http: httpx.AsyncClient) -> None:
    seen: Counter[int] = Counter()
    for seed in range(40):
        first, second = await ask(http, "sim-fickle", seed=seed), await ask(http, "sim-fickle", seed=seed)
        seen[first.status_code] += 1
        assert second.status_code == 200
        if first.status_code == 429:
            assert 0 < int(first.headers["retry-after-ms"]) <= 100
            assert first.json()["error"]["code"] == "rate_limit_exceeded"
    assert set(seen) == {429, 503}


async def test_a_failure_that_stays_is_not_mended(http: httpx.AsyncClient) -> None:
    for _ in range(3):
        response = await ask(http, "sim-broken")
        assert (response.status_code, response.json()["error"]["type"]) == (500, "server_error")


async def test_requests_and_answers_are_counted_by_model_and_prompt(
    http: httpx.AsyncClient, simulator: Simulator
) -> None:
    for model in ("sim-steady", "sim-steady", "sim-broken", "sim-fickle"):
        await ask(http, model)
    await ask(http, "no-such-model")
    assert (simulator.n_requests, simulator.n_answers) == (4, 2)
    counted = simulator.asked["sim-steady", "p3"]
    assert (counted.n_requests, counted.n_answers) == (2, 2)
    outside = (await http.get(simulator.base_url.replace("/v1", "/simulator/requests"))).json()
    assert {"model": "sim-broken", "prompt_id": "p3", "n_requests": 1, "n_answers": 0} in outside["prompts"]
    assert (outside["n_requests"], outside["n_answers"]) == (4, 2)


async def test_an_unknown_prompt_is_answered_honestly(http: httpx.AsyncClient) -> None:
    body = (await ask(http, "sim-steady", "What is the meaning of this?")).json()
    assert "cannot answer" in body["choices"][0]["message"]["content"]


async def test_a_short_limit_cuts_the_answer_and_says_so(http: httpx.AsyncClient) -> None:
    body = (await ask(http, "sim-large", max_completion_tokens=10)).json()
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 10
    assert "Answer:" not in body["choices"][0]["message"]["content"]


async def test_the_prompt_may_come_in_parts_and_after_a_system_message(http: httpx.AsyncClient) -> None:
    parts = [{"type": "text", "text": QUESTION.text[:6]}, {"type": "text", "text": QUESTION.text[6:]}]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}]
    response = await http.post("chat/completions", json={"model": "sim-steady", "messages": messages})
    assert response.json()["choices"][0]["message"]["content"].endswith("Answer: 4")


async def test_an_unknown_model_is_a_404_that_names_those_there_are(http: httpx.AsyncClient) -> None:
    response = await ask(http, "gpt-9")
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["type"]) == (
        404,
        "model_not_found",
        "invalid_request_error",
    )
    assert "'gpt-9' does not exist" in error["message"]
    assert "sim-nano" in error["message"]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "JSON object"),
        (b"{}", "'model'"),
        (b'{"model": "sim-nano"}', "'messages'"),
        (b'{"model": "sim-nano", "messages": []}', "'messages'"),
        (b'{"model": "sim-nano", "messages": ["hi"]}', "'role'"),
        (b'{"model": "sim-nano", "messages": [{"role": "system", "content": "x"}]}', "role 'user'"),
        (b'{"model": "sim-nano", "messages": [{"role": "user", "content": 5}]}', "'content'"),
        (b'{"model": "sim-nano", "messages": [{"role": "user", "content": "x"}], "seed": "a"}', "'seed'"),
        (
            b'{"model": "sim-nano", "messages": [{"role": "user", "content": "x"}], "max_tokens": 0}',
            "'max_tokens'",
        ),
    ],
)
async def test_a_bad_request_is_a_400_that_says_why(http: httpx.AsyncClient, body: bytes, what: str) -> None:
    response = await http.post("chat/completions", content=body)
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")
    assert what in response.json()["error"]["message"]


async def test_half_a_surrogate_pair_is_answered(http: httpx.AsyncClient) -> None:
    body = b'{"model": "sim-steady", "messages": [{"role": "user", "content": "\\ud800"}]}'
    assert (await http.post("chat/completions", content=body)).status_code == 200


async def test_a_body_beyond_the_cap_is_refused(http: httpx.AsyncClient) -> None:
    response = await http.post("chat/completions", content=b"x" * (17 * 2**20))
    assert (response.status_code, response.json()["error"]["type"]) == (413, "invalid_request_error")


async def test_a_client_that_leaves_in_the_middle_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async with Simulator(tasks=TASKS, fleet=[STEADY]) as simulator, httpx.AsyncClient() as http:
        url = f"{simulator.base_url}/chat/completions"
        async with http.stream("POST", url, json=body_of("sim-steady", stream=True)) as response:
            async for _ in response.aiter_raw():
                break
        await asyncio.sleep(0.15)
        assert (await http.post(url, json=body_of("sim-steady"))).status_code == 200
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_thousand_requests_at_concurrency_64_are_all_answered() -> None:
    limit = asyncio.Semaphore(64)
    statuses: Counter[int] = Counter()
    async with (
        Simulator(tasks=TASKS, latency_scale=0.05) as simulator,
        httpx.AsyncClient(transport=AiohttpTransport(), timeout=60.0) as http,
    ):
        url = f"{simulator.base_url}/chat/completions"

        async def one(number: int) -> None:
            async with limit:
                body = body_of(FLEET[number % 7].name, TASKS[number % 400].prompt.text)
                statuses[(await http.post(url, json=body)).status_code] += 1

        async with asyncio.TaskGroup() as group:
            for number in range(1000):
                group.create_task(one(number))
        assert simulator.n_requests == 1000
    assert statuses[200] >= 970
    assert set(statuses) <= {200, 429, 500, 503}


async def test_a_port_in_use_is_named(simulator: Simulator) -> None:
    with pytest.raises(
        ConfigError, match=rf"port {simulator.port} of 127\.0\.0\.1 is already in use; choose another"
    ):
        async with Simulator(tasks=TASKS, port=simulator.port):
            pass


async def test_an_impossible_port_is_named() -> None:
    with pytest.raises(ConfigError, match="port 99999"):
        await serve(99_999)


async def test_a_simulator_that_stopped_leaves_its_port_free() -> None:
    async with Simulator(tasks=TASKS) as simulator:
        port = simulator.port
    async with Simulator(tasks=TASKS, port=port) as again:
        assert again.base_url == f"http://127.0.0.1:{port}/v1"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_serving_ends_cleanly_on_a_signal(number: signal.Signals) -> None:
    code = (
        "import asyncio; from workbench.providers.simulator import serve\n"
        "asyncio.run(serve(0, on_ready=lambda simulator: print(simulator.port, flush=True)))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        port = int(process.stdout.readline())
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        before = time.perf_counter()
        process.send_signal(number)
        errors = process.stderr.read()
    assert (process.returncode, errors) == (0, b"")
    assert time.perf_counter() - before < 5.0
