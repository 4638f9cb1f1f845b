"""Anthropic's message batches: requests are handed in as one body, and answers fetched as lines.

A batch cannot be given a name of ours, so one that was handed in by a process that was killed before it
had the answer is not found again.

Sources, read 2026-11-23: https://docs.claude.com/en/api/creating-message-batches,
https://docs.claude.com/en/api/retrieving-message-batch-results,
https://docs.claude.com/en/docs/build-with-claude/batch-processing.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence

from workbench.errors import BadResponseError, ProviderTimeoutError, ServerError
from workbench.providers.batch_api import (
    EXCHANGE_S,
    BatchItem,
    Result,
    body_line,
    checked_job_id,
    completion_of,
    creation,
    exchange,
    json_lines,
    refused_item,
)
from workbench.providers.bodies import json_of
from workbench.providers.conversation import as_sent_to
from workbench.providers.json_body import JsonObject, object_of, text_of
from workbench.providers.reply import Reply
from workbench.providers.status import complaint_in
from workbench.providers.wire import HttpProvider

_PATH = "messages/batches"


class AnthropicBatches:
    """Batches of Anthropic's messages."""

    most_items = 100_000
    most_bytes = 128_000_000  # half of what is allowed: a batch is held in memory while it is sent

    def __init__(self, provider: HttpProvider) -> None:
        self._http = provider.http
        self._wire = provider.wire
        self._provider = provider

    def line(self, model: str, item: BatchItem) -> bytes:
        """One call as it is handed in."""
        params = self._wire.request(
            model, as_sent_to(self._http.provider, item.prompt), item.decoding, is_streamed=False
        )
        return body_line({"custom_id": item.custom_id, "params": params}, item)

    async def submit(self, model: str, lines: Sequence[bytes], *, token: str) -> str:
        """Hand in a batch; the id under which it can be asked for."""
        body = b"".join((b'{"requests": [', b",\n".join(lines), b"]}"))
        async with creation(self._http, _PATH, body, limit_s=EXCHANGE_S) as reply:
            return checked_job_id(reply, await json_of(reply))

    async def find(self, token: str) -> str | None:
        """None: a batch does not say what it was handed in as."""
        return None

    async def has_ended(self, job_id: str) -> bool:
        """Whether all of the batch that will be answered has been."""
        async with exchange(self._http, f"{_PATH}/{job_id}") as reply:
            return text_of(await json_of(reply), "processing_status") == "ended"

    async def refusal(self, job_id: str) -> None:
        """None: a batch is looked through as it is handed in."""

    async def results(
        self, job_id: str, model: str, items: Mapping[str, BatchItem]
    ) -> AsyncGenerator[tuple[str, Result]]:
        """What came of each item of a batch that has ended."""
        missing = dict(items)
        path = f"{_PATH}/{job_id}/results"
        async with exchange(self._http, path, limit_s=EXCHANGE_S, model=model) as reply:
            async for line in json_lines(reply):
                if (item := missing.pop(text_of(line, "custom_id") or "", None)) is not None:
                    yield item.custom_id, self._result(object_of(line, "result") or {}, item, reply=reply)
        reason = "the results of its batch do not have it"
        for custom_id in missing:
            yield custom_id, self._http.failure(BadResponseError, model, reason, status=200)

    async def aclose(self) -> None:
        """Close every connection; the batches go on."""
        await self._provider.aclose()

    def _result(self, result: JsonObject, item: BatchItem, *, reply: Reply) -> Result:
        kind, message = text_of(result, "type"), object_of(result, "message")
        if kind == "succeeded" and message is not None:
            return completion_of(message, item, wire=self._wire, reply=reply)
        if kind == "errored":
            error = object_of(result, "error") or {}
            complaint = complaint_in(error)
            return refused_item(self._http, reply.model, complaint, status=complaint.status or 500)
        if kind == "expired":
            late = ProviderTimeoutError(
                self._http.provider, reply.model, "its batch expired after 24 h before this call was made"
            )
            late.was_sent = False
            return late
        if kind == "canceled":
            return self._http.failure(ServerError, reply.model, "its batch was cancelled")
        return reply.failure(BadResponseError, "a line of the results has neither answer nor error")
