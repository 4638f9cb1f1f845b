"""The event log: one JSON line an event, safe to show on a terminal, without content unless asked for."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from calling import PROMPT, client_of, failure, serving, streamed
from faults import TEXT, answer, error, whole
from workbench import errors
from workbench.client import Client, connect
from workbench.client.events import configure_events, stop_events
from workbench.settings import Secret
from workbench.types import Prompt

pytestmark = pytest.mark.anyio


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where events go; nothing is left switched on."""
    yield io.StringIO()
    stop_events()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


async def test_a_retried_call_is_five_lines(stream: io.StringIO) -> None:
    configure_events(stream=stream)
    async with serving(["500", "ok"]) as [server], client_of(server) as client:
        completion = await client.complete("one/small", PROMPT)
    started, failed, planned, answered, finished = lines(stream)
    assert started.items() >= {"event": "call_started", "provider": "one", "model": "small"}.items()
    assert failed.items() >= {"event": "attempt_finished", "attempt": 1, "status": 500}.items()
    assert failed["error"] == "ServerError"
    assert list(started)[:4] == ["timestamp", "level", "event", "call_id"]
    assert [failed["level"], planned["level"], answered["level"]] == ["warning", "warning", "info"]
    assert planned["wait_s"] <= 0.02
    assert answered.items() >= {"attempt": 2, "input_tokens": 10, "output_tokens": 5}.items()
    assert answered["is_fallback"] is False
    assert answered["is_cached"] is False
    assert finished["cost_usd"] == completion.cost_usd
    assert finished["n_attempts"] == 2
    assert len({line["call_id"] for line in lines(stream)}) == 1


async def test_a_fallback_and_its_reason_are_in_the_lines(stream: io.StringIO) -> None:
    configure_events(stream=stream)
    async with serving("401", "ok") as servers, client_of(*servers) as client:
        await client.complete("one/small", PROMPT, fallbacks=["two/small"])
    taken = next(line for line in lines(stream) if line["event"] == "fallback_taken")
    assert (taken["provider"], taken["fallback_reason"]) == ("two", "AuthError")
    answered = next(line for line in lines(stream) if line.get("attempt") == 2)
    assert (answered["is_fallback"], answered["fallback_reason"]) == (True, "AuthError")


async def test_a_stream_tells_the_time_to_its_first_token(stream: io.StringIO) -> None:
    configure_events(stream=stream)
    async with serving("stream-ok") as [server], client_of(server) as client:
        await streamed(client)
    answered = next(line for line in lines(stream) if line["event"] == "attempt_finished")
    assert 0.0 < answered["first_token_s"] <= answered["latency_s"]


async def test_prompts_and_answers_are_not_in_the_lines(stream: io.StringIO) -> None:
    configure_events(stream=stream)
    echo = error("400 Bad Request", f"the prompt {PROMPT.text!r} is refused")
    async with serving(["ok", echo]) as [server], client_of(server) as client:
        await client.complete("one/small", PROMPT)
        await failure(client)
    assert PROMPT.text not in stream.getvalue()
    assert TEXT not in stream.getvalue()


async def test_prompts_and_answers_are_there_when_asked_for_with_keys_masked(stream: io.StringIO) -> None:
    key = Secret("canary/content-1a2b")
    configure_events(stream=stream, with_content=True)
    async with serving("ok") as [server], client_of(server) as client:
        await client.complete("one/small", Prompt("p1", f"my key is {key.get_secret_value()}"))
    assert lines(stream)[0]["messages"] == ["user: my key is **********"]
    assert lines(stream)[-1]["answer"] == TEXT


async def test_what_a_server_names_reaches_no_terminal_as_control_characters(stream: io.StringIO) -> None:
    configure_events(stream=stream)
    hostile = whole(answer(id="\x1b[2J\x9b31m\u202eevil\nline"))
    async with serving(hostile) as [server], client_of(server) as client:
        await client.complete("one/small", PROMPT)
    written = stream.getvalue()
    assert written.isascii()
    assert all(character.isprintable() or character == "\n" for character in written)
    assert len(written.splitlines()) == 3


async def test_other_records_of_the_package_are_lines_too(stream: io.StringIO) -> None:
    configure_events(stream=stream)
    logging.getLogger("workbench").warning("the cache is %s: \x1b[2J", "full")
    [line] = lines(stream)
    assert (line["event"], line["level"]) == ("the cache is full: \x1b[2J", "warning")
    assert "\x1b" not in stream.getvalue()


async def test_a_listener_of_the_root_logger_is_told_nothing_twice(
    stream: io.StringIO, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    configure_events(stream=stream)
    configure_events(stream=stream)
    async with serving("ok") as [server], client_of(server) as client:
        await client.complete("one/small", PROMPT)
    assert len(lines(stream)) == 3
    assert [record for record in caplog.records if record.name == "workbench"] == []


async def test_stopping_leaves_the_logger_as_it_was(stream: io.StringIO) -> None:
    logger = logging.getLogger("workbench")
    before = (list(logger.handlers), logger.level, logger.propagate)
    configure_events(stream=stream)
    stop_events()
    assert (logger.handlers, logger.level, logger.propagate) == before
    async with serving("ok") as [server], client_of(server) as client:
        await client.complete("one/small", PROMPT)
    assert stream.getvalue() == ""


async def test_a_stream_that_is_closed_fails_no_call(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    configure_events(stream=stream)
    stream.close()
    async with serving("ok") as [server], client_of(server) as client:
        assert (await client.complete("one/small", PROMPT)).text == TEXT


async def test_one_variable_switches_it_on_for_connected_clients(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stream: io.StringIO
) -> None:
    monkeypatch.setenv("WORKBENCH_LOG", "json")
    async with (
        serving("ok") as [server],
        connect(["simulator/sim-nano"], simulator_url=server.url) as client,
    ):
        await client.complete("simulator/sim-nano", PROMPT)
    written = capsys.readouterr().err.splitlines()
    events = ["call_started", "attempt_finished", "call_finished"]
    assert [json.loads(line)["event"] for line in written] == events


async def test_a_misspelt_switch_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_LOG", "jsn")
    with pytest.raises(errors.ConfigError, match="WORKBENCH_LOG"):
        connect(["simulator/sim-nano"], simulator_url="http://127.0.0.1:1/v1")


def test_nothing_is_imported_for_it_before_it_is_switched_on() -> None:
    check = (
        "import sys, workbench.client; "
        "assert not {'structlog', 'opentelemetry'} & set(sys.modules), 'imported too early'"
    )
    subprocess.run([sys.executable, "-c", check], check=True, timeout=30)


def test_a_client_that_nobody_listens_to_has_no_observer() -> None:
    assert Client([]).observer is None
