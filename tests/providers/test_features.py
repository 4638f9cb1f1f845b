"""What each protocol can do: every cell of the table in `docs/providers.md`, exercised."""

import json
from typing import Any

import pytest

from batch_server import BatchServer, Line, chat_line, message_line
from dialects import CALLS, DIALECTS, TEXT, Dialect
from faults import FaultServer, whole
from provider_tables import (
    ABSENT,
    ASKED,
    BATCHED,
    DOCUMENT,
    EMBEDDED,
    LEFT_OUT,
    MODELS,
    PLAIN,
    READ,
    REFUSED,
    Asked,
    Read,
    at,
    decoding_of,
    documented,
    planted,
)
from wires import PROMPT, ask, fixture, read_stream
from workbench import errors
from workbench.errors import AllProvidersFailedError, ConfigError, DataError, ProviderError
from workbench.providers import registry
from workbench.providers.batch_api import BatchItem
from workbench.providers.batches import batches
from workbench.settings import Secret
from workbench.types import Completion, Decoding

pytestmark = pytest.mark.anyio

KEY = Secret("canary-of-the-features")
NAMES = {"chat_completions": "openai", "responses": "openai-responses"}
"""A provider that speaks the protocol; the others are called like it."""

every_protocol = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda one: one.name)


async def sent(dialect: Dialect, feature: Asked) -> Any:
    model = MODELS.get(dialect.name, "small")
    _, received = await ask(
        dialect.wire,
        whole(dialect.raw("answer")),
        model=model,
        prompt=feature.prompt,
        decoding=decoding_of(feature),
    )
    return received.body


@every_protocol
@pytest.mark.parametrize("feature", ASKED, ids=lambda one: one.name)
async def test_what_is_asked_for_is_in_its_place(dialect: Dialect, feature: Asked) -> None:
    place = feature.places[dialect.name]
    if place == REFUSED:
        with pytest.raises((ConfigError, DataError)):
            await sent(dialect, feature)
        return
    body = await sent(dialect, feature)
    if place == LEFT_OUT:
        assert feature.sent not in json.dumps(body)
        return
    assert feature.sent.casefold() in json.dumps(at(body, place), ensure_ascii=False).casefold()
    unasked = await sent(dialect, Asked("nothing", "", {}, prompt=PLAIN))
    assert feature.sent not in json.dumps(at(unasked, place), ensure_ascii=False)


@every_protocol
@pytest.mark.parametrize("feature", READ, ids=lambda one: one.name)
async def test_what_is_in_its_place_is_read(dialect: Dialect, feature: Read) -> None:
    plain, _ = await ask(dialect.wire, whole(dialect.raw("answer")))
    if dialect.name not in feature.places:
        assert not feature.shown(plain)
        return
    assert feature.shown(plain) != feature.value
    body = planted(dialect.body("answer"), *feature.places[dialect.name])
    completion, _ = await ask(dialect.wire, whole(json.dumps(body).encode()))
    assert feature.shown(completion) == feature.value
    assert completion.text == TEXT


@every_protocol
async def test_text_and_tools_are_streamed(dialect: Dialect) -> None:
    deltas, completion, _ = await read_stream(dialect.wire, dialect.streamed(*dialect.events("stream")))
    assert (completion.text, len(deltas) > 1) == (TEXT, True)
    deltas, completion, _ = await read_stream(dialect.wire, dialect.streamed(*dialect.events("tools")))
    assert [one.name for one in completion.tool_calls] == [one.name for one in CALLS]


@every_protocol
async def test_texts_are_embedded_where_the_table_says(dialect: Dialect) -> None:
    name, place = NAMES.get(dialect.name, dialect.name), EMBEDDED[dialect.name]
    if place == ABSENT:
        with pytest.raises(ConfigError, match="no embeddings"):
            registry.embedder(name, key=KEY)
        return
    recorded = fixture(f"embeddings/{name.removesuffix('-responses')}.json")
    async with FaultServer(whole(recorded)) as server:
        embedder = registry.embedder(name, base_url=server.url, key=KEY)
        found = await embedder.embed("small", ["one", "two"], deadline_s=5.0)
        await embedder.aclose()
    assert len(found.vectors) == 2
    assert server.requests[0].head.startswith(f"POST /v1/{place.replace('…', 'small')} ")


@every_protocol
async def test_batches_are_taken_where_the_table_says(dialect: Dialect) -> None:
    name = NAMES.get(dialect.name, dialect.name)
    if BATCHED[dialect.name] == ABSENT:
        with pytest.raises(ConfigError, match="no offline batches"):
            batches(name, key=KEY)
        return

    def answer(custom_id: str, _body: object) -> Line:
        body = dialect.body("answer")
        if dialect.name == "anthropic":
            return message_line(custom_id, {"type": "succeeded", "message": body})
        return chat_line(custom_id, body)

    items = {"t-1": BatchItem("t-1", PROMPT, Decoding())}
    async with BatchServer(answer=answer).serving() as url:
        api = batches(name, base_url=url, key=KEY)
        job_id = await api.submit("small", [api.line("small", items["t-1"])], token="t")
        while not await api.has_ended(job_id):
            pass
        ((custom_id, result),) = [pair async for pair in api.results(job_id, "small", items)]
        await api.aclose()
    assert isinstance(result, Completion)
    assert (custom_id, result.text) == ("t-1", TEXT)


def test_the_manual_has_the_tables_as_they_are() -> None:
    text = DOCUMENT.read_text()
    assert documented(text) == text, "write them again: PYTHONPATH=tests .venv/bin/python -m provider_tables"


def test_the_manual_explains_every_error_of_a_provider() -> None:
    text = DOCUMENT.read_text()
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, ProviderError)]
    for kind in kinds:
        if kind is not ProviderError:
            (row,) = [line for line in text.splitlines() if line.startswith(f"| `{kind.__name__}` |")]
            assert kind is AllProvidersFailedError or row.split(" | ")[2].startswith("yes") is kind.retryable
