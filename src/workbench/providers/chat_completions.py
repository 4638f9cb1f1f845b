"""OpenAI's chat-completions protocol, as the many servers that speak it do: whole answers and streams.

An answer counts only after the server said that the model had finished. A stream that ends without
that is a `StreamTruncatedError`, and what had come by then is in its `partial_text`.

Source: https://platform.openai.com/docs/api-reference/chat
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import httpx

from workbench.errors import (
    BadResponseError,
    ConnectError,
    DataError,
    ProviderError,
    ProviderTimeoutError,
    TooLargeError,
)
from workbench.providers.addresses import check_sendable
from workbench.providers.chat_answer import ChatAnswer
from workbench.providers.http import TIMEOUTS, Http, Reply, Timeouts, seal
from workbench.providers.json_body import JsonError, JsonObject, decode_utf8, is_encodable, parse_object
from workbench.providers.sse import Event, EventParser, EventTooLongError
from workbench.providers.status import Complaint, complaint_of, refused
from workbench.settings import Secret
from workbench.types import Completion, Decoding, Delta, Prompt

_USAGE_WAIT_S = 2.0
"""How long a finished stream may take to say what it cost."""

_CLOSE_WAIT_S = 0.1
"""How long it may take to end after `[DONE]`; a connection that was read to its end is used again."""


class ChatCompletions:
    """A provider that speaks chat completions.

    Args:
        name: the first part of the ids of its models.
        base_url: what comes before `/chat/completions`.
        key: sent as a bearer token; None: none is sent.
        renamed: fields of the request that this server calls otherwise; None: it does not know the field.

    Raises:
        ConfigError: the base URL or the key cannot be used.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        key: Secret | None = None,
        renamed: Mapping[str, str | None] | None = None,
        timeouts: Timeouts = TIMEOUTS,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        self._name = name
        self._renamed = dict(renamed or {})
        self._http = Http(name, base_url, key=key, timeouts=timeouts, client=client)

    @property
    def name(self) -> str:
        """The first part of the ids of its models."""
        return self._name

    def __repr__(self) -> str:
        return f"ChatCompletions({self._name!r}, {self._http.base_url!r})"

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
        body = self._request(model, prompt, decoding, is_streamed=False)
        async with self._http.post(
            "chat/completions", body, model=model, deadline=started + deadline_s
        ) as reply:
            await self._raise_for_status(reply)
            answer = ChatAnswer(reply, prompt, decoding)
            answer.take_whole(await self._json(reply))
        return answer.completion(latency_s=loop.time() - started)

    async def _stream(
        self, model: str, prompt: Prompt, decoding: Decoding, deadline_s: float
    ) -> AsyncGenerator[Delta]:
        loop = asyncio.get_running_loop()
        started = loop.time()
        body = self._request(model, prompt, decoding, is_streamed=True)
        async with self._http.post(
            "chat/completions",
            body,
            model=model,
            deadline=started + deadline_s,
            accept="text/event-stream",
        ) as reply:
            await self._raise_for_status(reply)
            answer = ChatAnswer(reply, prompt, decoding)
            if "json" in reply.headers.get("content-type", ""):
                answer.take_whole(await self._json(reply))
                if answer.text:
                    yield Delta(answer.text)
            else:
                async with aclosing(self._pieces(reply, answer)) as pieces:
                    async for piece in pieces:
                        if answer.first_token_s is None:
                            answer.first_token_s = loop.time() - started
                        yield Delta(piece)
                if rest := answer.rest():
                    yield Delta(rest)
        yield Delta("", answer.completion(latency_s=loop.time() - started))

    async def _pieces(self, reply: Reply, answer: ChatAnswer) -> AsyncGenerator[str]:
        """The text of each event that has some; ends with the stream, or soon after the model's finish."""
        is_done = False
        failure: ProviderError | None = None
        try:
            async with aclosing(self._events(reply)) as events:
                async for event in events:
                    is_done = is_done or event.data.strip() == "[DONE]"
                    if not is_done and (piece := answer.take_event(event)):
                        yield piece
                    if answer.is_finished:
                        reply.hurry(_CLOSE_WAIT_S if is_done else _USAGE_WAIT_S)
        except (ConnectError, ProviderTimeoutError) as exc:
            failure = exc
        except ProviderError as exc:
            exc.partial_text = self._http.redacted(answer.text)
            raise
        if answer.is_finished:
            return  # whatever became of the connection after that
        if isinstance(failure, ProviderTimeoutError):
            failure.partial_text = self._http.redacted(answer.text)
            raise failure
        raise answer.truncated(failure.reason if failure else "the stream ended without a finish reason")

    async def _events(self, reply: Reply) -> AsyncGenerator[Event]:
        parser = EventParser(max_event_bytes=self._http.max_body_bytes)
        failure: ProviderError
        async for piece in reply.pieces():
            try:
                for event in parser.feed(piece):
                    yield event
            except EventTooLongError as exc:
                failure = reply.failure(TooLargeError, str(exc))
            except UnicodeDecodeError:
                failure = reply.failure(BadResponseError, "an event of the stream is not UTF-8")
            else:
                continue
            raise failure

    def _request(self, model: str, prompt: Prompt, decoding: Decoding, *, is_streamed: bool) -> bytes:
        check_sendable(model, what=f"the model's name at {self._name}")
        fields: dict[str, object] = {
            "model": model,
            "messages": [{"role": m.role, "content": m.content} for m in prompt.messages],
            "max_tokens": decoding.max_output_tokens,
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "seed": decoding.seed,
            "stop": list(decoding.stop) or None,
        }
        if is_streamed:
            fields |= {"stream": True, "stream_options": {"include_usage": True}}
        named = {self._renamed.get(name, name): value for name, value in fields.items() if value is not None}
        named.pop(None, None)
        text = json.dumps(named, ensure_ascii=False)
        if not is_encodable(text):
            raise DataError(f"prompt {prompt.prompt_id!r} has half of a surrogate pair, which is no text")
        return text.encode()

    async def _raise_for_status(self, reply: Reply) -> None:
        if reply.status == 200:
            return
        if reply.status < 400:
            complaint = Complaint("not an answer to a chat request", frozenset(), None)
        else:
            body = await reply.read_refusal()
            complaint = complaint_of(self._http.redacted(body.decode("utf-8", "replace")))
        raise refused(reply, complaint, status=reply.status)

    async def _json(self, reply: Reply) -> JsonObject:
        body = await reply.read()
        try:
            return parse_object(decode_utf8(body))
        except JsonError as exc:
            failure = reply.failure(BadResponseError, f"the answer is {exc}")
        raise failure
