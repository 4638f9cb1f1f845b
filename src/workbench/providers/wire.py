"""What a wire protocol is, and a provider that speaks any of them over HTTP: whole answers and streams.

A new protocol is one file: a `Wire` that says what to send where, and an `Answer` that reads what comes
back into a `Gathered`. The rest is here: deadlines, statuses, JSON, events and the end of a stream.

An answer counts only after the server said that the model had finished. A stream that ends without
that is a `StreamTruncatedError`, and what had come by then is in its `partial_text`.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Literal, Protocol

import httpx

from workbench.errors import (
    BadResponseError,
    ConnectError,
    ProviderError,
    ProviderTimeoutError,
)
from workbench.providers.addresses import check_sendable
from workbench.providers.bodies import encoded, json_of, raise_for_status
from workbench.providers.conversation import as_sent_to
from workbench.providers.events import events_in, parser_of
from workbench.providers.gathered import Gathered
from workbench.providers.http import TIMEOUTS, Http, Timeouts, seal
from workbench.providers.json_body import JsonError, JsonObject, parse_object
from workbench.providers.key_header import KeyHeader
from workbench.providers.reply import Reply
from workbench.providers.sse import Event
from workbench.providers.status import complaint_in, complaint_of
from workbench.settings import Secret
from workbench.types import Completion, Decoding, Delta, Prompt

_USAGE_WAIT_S = 2.0
"""How long a finished stream may take to say what it cost."""

_CLOSE_WAIT_S = 0.1
"""How long it may take to end after its last event; a connection that was read to its end is used again."""


class Answer(Protocol):
    """Reads one answer of its protocol into the `Gathered` that it was made with.

    Bodies and events with an `error` in them are refused before they come here.
    """

    def take_whole(self, body: JsonObject) -> None:
        """Take the body of an answer that was not streamed.

        Raises:
            ProviderError: it is no answer.
        """
        ...

    def take_event(self, event: JsonObject) -> None:
        """Take what one event of a stream says.

        Raises:
            ProviderError: it is not what was promised.
        """
        ...


class Wire(Protocol):
    """One protocol: what is sent where, and how the answer is read."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Sent with every request; not the place for a key."""
        ...

    @property
    def key_header(self) -> KeyHeader:
        """Where the key goes."""
        ...

    @property
    def events(self) -> Literal["sse", "lines"]:
        """How a stream is cut: server-sent events, or one JSON object a line."""
        ...

    def path(self, model: str, *, is_streamed: bool) -> str:
        """What follows the base URL and a slash; a model's name in it is quoted."""
        ...

    def request(
        self, model: str, prompt: Prompt, decoding: Decoding, *, is_streamed: bool
    ) -> dict[str, object]:
        """The body to send, as JSON.

        Raises:
            DataError: the prompt has something that this protocol cannot carry.
        """
        ...

    def answer(self, gathered: Gathered) -> Answer:
        """A reader of one answer."""
        ...


class HttpProvider:
    """A provider that is reached over HTTP and speaks `wire`.

    Args:
        name: the first part of the ids of its models.
        base_url: what comes before the protocol's own path.
        key: goes into the protocol's header for it; None: none is sent.

    Raises:
        ConfigError: the base URL or the key cannot be used.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        wire: Wire,
        key: Secret | None = None,
        timeouts: Timeouts = TIMEOUTS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._name = name
        self._wire = wire
        self._http = Http(
            name,
            base_url,
            key=key,
            key_header=wire.key_header,
            headers=wire.headers,
            timeouts=timeouts,
            transport=transport,
        )

    @property
    def name(self) -> str:
        """The first part of the ids of its models."""
        return self._name

    @property
    def http(self) -> Http:
        """The connections, for what is not a call: lists of models, and batches."""
        return self._http

    @property
    def wire(self) -> Wire:
        """The protocol that is spoken."""
        return self._wire

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r}, {self._http.base_url!r})"

    async def complete(
        self, model: str, prompt: Prompt, decoding: Decoding, *, deadline_s: float
    ) -> Completion:
        """One request, answered whole within `deadline_s` seconds.

        Raises:
            ProviderError: no answer, or none that can be trusted; its class says which.
            ConfigError, DataError: the model's name or the prompt cannot be sent.
        """
        try:
            return await self._complete(model, prompt, decoding, deadline_s)
        except BaseException as exc:
            seal(exc)
            raise

    async def stream(
        self, model: str, prompt: Prompt, decoding: Decoding, *, deadline_s: float
    ) -> AsyncGenerator[Delta]:
        """The same, piece by piece; the last delta carries the whole completion.

        Raises:
            ProviderError: as `complete`; `partial_text` is what had come.
        """
        try:
            async with aclosing(self._stream(model, prompt, decoding, deadline_s)) as deltas:
                async for delta in deltas:
                    yield delta
        except BaseException as exc:
            seal(exc)
            raise

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def _complete(
        self, model: str, prompt: Prompt, decoding: Decoding, deadline_s: float
    ) -> Completion:
        loop = asyncio.get_running_loop()
        started = loop.time()
        body = self._body(model, prompt, decoding, is_streamed=False)
        path = self._wire.path(model, is_streamed=False)
        async with self._http.post(path, body, model=model, deadline=started + deadline_s) as reply:
            await raise_for_status(reply)
            gathered = Gathered(reply, prompt, decoding)
            await self._take_whole(reply, gathered)
        return gathered.completion(latency_s=loop.time() - started)

    async def _stream(
        self, model: str, prompt: Prompt, decoding: Decoding, deadline_s: float
    ) -> AsyncGenerator[Delta]:
        loop = asyncio.get_running_loop()
        started = loop.time()
        path = self._wire.path(model, is_streamed=True)
        accept = "text/event-stream" if self._wire.events == "sse" else "application/x-ndjson"
        body = self._body(model, prompt, decoding, is_streamed=True)
        sent = self._http.post(path, body, model=model, deadline=started + deadline_s, accept=accept)
        del body  # not held for as long as the stream lasts
        async with sent as reply:
            await raise_for_status(reply)
            gathered = Gathered(reply, prompt, decoding)
            async with aclosing(self._taken(reply, gathered)) as steps:
                async for _ in steps:
                    for delta in gathered.deltas():
                        if gathered.first_token_s is None:
                            gathered.first_token_s = loop.time() - started
                        yield delta
        yield Delta("", gathered.completion(latency_s=loop.time() - started))

    def _body(self, model: str, prompt: Prompt, decoding: Decoding, *, is_streamed: bool) -> bytes:
        check_sendable(model, what=f"the model's name at {self._name}")
        known = as_sent_to(self._name, prompt)
        fields = self._wire.request(model, known, decoding, is_streamed=is_streamed)
        return encoded(fields, what=f"prompt {prompt.prompt_id!r}")

    async def _take_whole(self, reply: Reply, gathered: Gathered) -> None:
        body = await json_of(reply)
        if body.get("error"):
            raise gathered.refusal(complaint_in(body))
        self._wire.answer(gathered).take_whole(body)
        gathered.end()

    async def _taken(self, reply: Reply, gathered: Gathered) -> AsyncGenerator[None]:
        """A step for each event taken, and one at the end, which is soon after the model's finish.

        A server that was asked for events may send its answer whole all the same.
        """
        if self._wire.events == "sse" and "json" in reply.headers.get("content-type", ""):
            await self._take_whole(reply, gathered)
            yield
            return
        answer = self._wire.answer(gathered)
        parser = parser_of(self._wire.events, max_event_bytes=self._http.max_body_bytes)
        piece: bytes | None = b""
        failure: ProviderError | None = None
        try:
            while piece is not None:
                piece = await reply.piece()
                for event in events_in(parser, piece, reply):
                    if not gathered.has_ended:
                        _take(event, answer, gathered)
                        yield
                    if gathered.is_finished:
                        reply.hurry(_CLOSE_WAIT_S if gathered.has_ended else _USAGE_WAIT_S)
        except (ConnectError, ProviderTimeoutError) as exc:
            failure = exc
        except ProviderError as exc:
            exc.partial_text = self._http.redacted(gathered.text)
            raise
        if not gathered.is_finished:  # after that, it does not matter what became of the connection
            raise self._broken_off(gathered, failure)
        gathered.end()
        yield

    def _broken_off(self, gathered: Gathered, failure: ProviderError | None) -> ProviderError:
        """The error of a stream that ended, by `failure` or by itself, before the model had finished."""
        if isinstance(failure, ProviderTimeoutError):
            failure.partial_text = self._http.redacted(gathered.text)
            return failure
        return gathered.truncated(failure.reason if failure else "the stream ended without a finish reason")


def _take(event: Event, answer: Answer, gathered: Gathered) -> None:
    """Have `answer` take `event`, unless it is an error, the end, or of a kind that nobody promised."""
    if event.name == "error":
        raise gathered.refusal(complaint_of(event.data))
    if event.data.strip() == "[DONE]":
        gathered.has_ended = True
        return
    try:
        body = parse_object(event.data)
    except JsonError as exc:
        if event.name != "message":
            return
        failure = gathered.failure(BadResponseError, f"an event of the stream is {exc}")
    else:
        if body.get("error"):
            raise gathered.refusal(complaint_in(body))
        answer.take_event(body)
        return
    raise failure
