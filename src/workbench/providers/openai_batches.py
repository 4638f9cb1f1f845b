"""OpenAI's offline batches: a file of requests is handed in, and files of answers and errors are fetched.

Sources, read 2026-11-23: https://platform.openai.com/docs/api-reference/batch,
https://platform.openai.com/docs/api-reference/files/create, https://platform.openai.com/docs/guides/batch.
"""

import json
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence

from workbench.errors import BadResponseError, ProviderError, ProviderTimeoutError, RequestError, ServerError
from workbench.providers.batch_api import (
    ASK_S,
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
from workbench.providers.json_body import JsonObject, count_of, object_of, objects_of, text_of
from workbench.providers.reply import Reply
from workbench.providers.status import complaint_in
from workbench.providers.wire import HttpProvider

_ENDED = {"completed", "failed", "expired", "cancelled"}
_WINDOW = "24h"
_TOKEN = "workbench_batch"  # noqa: S105 - the name of a field
_LOOK_BACK = 100
"""How many of the account's last batches are looked at for one of ours."""


class OpenAIBatches:
    """Batches of a provider that has OpenAI's `files` and `batches`."""

    most_items = 50_000
    most_bytes = 100_000_000  # half of what is allowed: a file is held in memory while it is sent

    def __init__(self, provider: HttpProvider) -> None:
        self._http = provider.http
        self._wire = provider.wire
        self._provider = provider

    def line(self, model: str, item: BatchItem) -> bytes:
        """One call as it is handed in."""
        body = self._wire.request(
            model, as_sent_to(self._http.provider, item.prompt), item.decoding, is_streamed=False
        )
        fields = {"custom_id": item.custom_id, "method": "POST", "url": self._url(model), "body": body}
        return body_line(fields, item)

    async def submit(self, model: str, lines: Sequence[bytes], *, token: str) -> str:
        """Hand in a batch; the id under which it can be asked for."""
        file_id = await self._uploaded(b"\n".join(lines) + b"\n", name=f"{token}.jsonl")
        fields = {
            "input_file_id": file_id,
            "endpoint": self._url(model),
            "completion_window": _WINDOW,
            "metadata": {_TOKEN: token},
        }
        async with creation(self._http, "batches", json.dumps(fields).encode(), limit_s=ASK_S) as reply:
            return checked_job_id(reply, await json_of(reply))

    async def _uploaded(self, content: bytes, *, name: str) -> str:
        """The id of a file with `content`. Without a batch of it, a file costs nothing and does nothing."""
        body, content_type = _form(content, name=name)
        try:
            async with exchange(
                self._http, "files", body, limit_s=EXCHANGE_S, content_type=content_type
            ) as reply:
                return checked_job_id(reply, await json_of(reply))
        except ProviderError as exc:
            exc.was_sent = False
            raise

    async def find(self, token: str) -> str | None:
        """The id of the batch that was handed in as `token`; None: it is not among the last."""
        async with exchange(self._http, f"batches?limit={_LOOK_BACK}") as reply:
            listed = objects_of(await json_of(reply), "data")
            for batch in listed:
                if text_of(object_of(batch, "metadata") or {}, _TOKEN) == token:
                    return checked_job_id(reply, batch)
        return None

    async def has_ended(self, job_id: str) -> bool:
        """Whether all of the batch that will be answered has been."""
        batch, _ = await self._batch(job_id)
        return text_of(batch, "status") in _ENDED

    async def refusal(self, job_id: str) -> ProviderError | None:
        """Why nothing of a batch that has ended was carried out or billed; None: something was."""
        batch, reply = await self._batch(job_id)
        return self._missing(batch, reply.model) if text_of(batch, "status") == "failed" else None

    async def results(
        self, job_id: str, model: str, items: Mapping[str, BatchItem]
    ) -> AsyncGenerator[tuple[str, Result]]:
        """What came of each item of a batch that has ended."""
        batch, failure = await self._batch(job_id)
        missing = dict(items)
        for name in ("output_file_id", "error_file_id"):
            if not batch.get(name):
                continue
            file_id = checked_job_id(failure, batch, name)
            async with exchange(
                self._http, f"files/{file_id}/content", limit_s=EXCHANGE_S, model=model
            ) as reply:
                async for line in json_lines(reply):
                    if (item := missing.pop(text_of(line, "custom_id") or "", None)) is not None:
                        yield item.custom_id, self._result(line, item, reply=reply)
        for custom_id in missing:
            yield custom_id, self._missing(batch, model)

    async def aclose(self) -> None:
        """Close every connection; the batches go on."""
        await self._provider.aclose()

    def _result(self, line: JsonObject, item: BatchItem, *, reply: Reply) -> Result:
        if (error := object_of(line, "error")) is not None:
            return self._not_executed(text_of(error, "code") or "", reply.model)
        response = object_of(line, "response") or {}
        body = object_of(response, "body")
        if body is None:
            return reply.failure(BadResponseError, "a line of the results has neither answer nor error")
        status = count_of(response, "status_code", most=999) or 200
        complaint = complaint_in(body)
        if status >= 400 or body.get("error"):
            status = max(status, complaint.status or 400)
            return refused_item(self._http, reply.model, complaint, status=status)
        return completion_of(body, item, wire=self._wire, reply=reply)

    def _not_executed(self, code: str, model: str) -> ProviderError:
        """The error of a call that was never made, or whose answer was not waited for."""
        if code == "request_timeout":
            return ProviderTimeoutError(self._http.provider, model, "no answer in time, in a batch")
        if code == "batch_expired":
            return self._expired(model)
        return self._http.failure(ServerError, model, f"not answered in its batch ({code or 'no reason'})")

    def _missing(self, batch: JsonObject, model: str) -> ProviderError:
        """The error of a call that the results do not have; it may be billed if the batch was completed."""
        status = text_of(batch, "status")
        if status == "expired":
            return self._expired(model)
        if status == "completed":
            reason = "the results of its batch do not have it"
            return self._http.failure(BadResponseError, model, reason, status=200)
        problems = objects_of(object_of(batch, "errors") or {}, "data")
        told = "; ".join(text_of(problem, "message") or "" for problem in problems[:3])
        return self._http.failure(
            RequestError, model, f"its batch is {status}: {told[:200] or 'no reason given'}"
        )

    def _expired(self, model: str) -> ProviderError:
        error = ProviderTimeoutError(
            self._http.provider, model, f"its batch expired after {_WINDOW} before this call was made"
        )
        error.was_sent = False
        return error

    def _url(self, model: str) -> str:
        return f"/v1/{self._wire.path(model, is_streamed=False).partition('?')[0]}"

    async def _batch(self, job_id: str) -> tuple[JsonObject, Reply]:
        async with exchange(self._http, f"batches/{job_id}") as reply:
            return await json_of(reply), reply


def _form(content: bytes, *, name: str) -> tuple[bytes, str]:
    """A form with a file for a batch, and its content type."""
    boundary = secrets.token_hex(16)
    head = (
        f'--{boundary}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="{name}"\r\n'
        "content-type: application/jsonl\r\n\r\n"
    )
    return (
        b"".join((head.encode(), content, f"\r\n--{boundary}--\r\n".encode())),
        f"multipart/form-data; boundary={boundary}",
    )
