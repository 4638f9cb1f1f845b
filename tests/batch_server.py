"""A loopback server that speaks the batch APIs of OpenAI and of Anthropic, and counts what was bought."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from loopback import serving

Line = dict[str, Any] | bytes
Answer = Callable[[str, dict[str, Any]], Line | None]
"""custom_id and body of one call -> its line of the results; None: the results do not have it."""


class BatchServer:
    """Batches end after `polls_to_end` questions; `failures` are the statuses of the next answers."""

    def __init__(self, *, answer: Answer, polls_to_end: int = 1, status: str = "completed") -> None:
        self.answer = answer
        self.polls_to_end = polls_to_end
        self.status = status
        self.batches: dict[str, dict[str, Any]] = {}
        self.failures: list[int] = []
        self.uploads: list[bytes] = []
        self.keys: set[str] = set()
        self.n_polls = 0
        self.drops_next_creation = False
        self.is_listed = True
        self.bad: Callable[[dict[str, Any]], bool] = lambda _body: False
        """A call for which its whole batch is refused: at once by Anthropic, after a look by OpenAI."""

    @property
    def n_bought(self) -> int:
        """Calls in all batches."""
        return sum(len(batch["calls"]) for batch in self.batches.values() if not self._is_bad(batch))

    def _is_bad(self, batch: dict[str, Any]) -> bool:
        return any(map(self.bad, batch["calls"].values()))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """The base URL, with /v1."""
        async with serving(
            ("POST", "/v1/files", self._upload),
            ("POST", "/v1/batches", self._create),
            ("GET", "/v1/batches", self._list),
            ("GET", "/v1/batches/{id}", self._retrieve),
            ("GET", "/v1/files/{id}/content", self._content),
            ("POST", "/v1/messages/batches", self._create_messages),
            ("GET", "/v1/messages/batches/{id}", self._retrieve_messages),
            ("GET", "/v1/messages/batches/{id}/results", self._content),
        ) as url:
            yield f"{url}/v1"

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        assert form["purpose"] == "batch"
        self.uploads.append(form["file"].file.read())  # type: ignore[union-attr]  # it is a file
        self.keys.add(request.headers.get("Authorization", ""))
        return web.json_response({"id": f"file-{len(self.uploads)}", "object": "file"})

    async def _create(self, request: web.Request) -> web.StreamResponse:
        wanted = await request.json()
        content = self.uploads[int(wanted["input_file_id"].removeprefix("file-")) - 1]
        lines = [json.loads(line) for line in content.splitlines()]
        assert {line["url"] for line in lines} == {wanted["endpoint"]}
        calls = {line["custom_id"]: line["body"] for line in lines}
        return self._created(request, calls, metadata=wanted["metadata"])

    async def _create_messages(self, request: web.Request) -> web.StreamResponse:
        wanted = await request.json()
        self.keys.add(request.headers["x-api-key"])
        assert request.headers["anthropic-version"] == "2023-06-01"
        calls = {one["custom_id"]: one["params"] for one in wanted["requests"]}
        if any(map(self.bad, calls.values())):
            error = {"type": "invalid_request_error", "message": "requests.2.params: no"}
            return web.json_response({"type": "error", "error": error}, status=400)
        return self._created(request, calls)

    def _created(self, request: web.Request, calls: dict[str, Any], **fields: object) -> web.StreamResponse:
        if self.failures:
            return self._failure()
        name = f"batch_{len(self.batches) + 1}"
        self.batches[name] = {"id": name, "calls": calls, "polls": 0, **fields}
        if self.drops_next_creation:
            self.drops_next_creation = False
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"id": name, "status": "validating", "processing_status": "in_progress"})

    async def _list(self, _request: web.Request) -> web.StreamResponse:
        listed = self.batches.values() if self.is_listed else ()
        return web.json_response({"data": [self._seen(batch) for batch in listed]})

    async def _retrieve(self, request: web.Request) -> web.StreamResponse:
        self.n_polls += 1
        if self.failures:
            return self._failure()
        batch = self.batches.get(request.match_info["id"])
        if batch is None:
            return web.json_response({"error": {"message": "no such batch"}}, status=404)
        batch["polls"] += 1
        return web.json_response(self._seen(batch))

    async def _retrieve_messages(self, request: web.Request) -> web.StreamResponse:
        self.n_polls += 1
        if self.failures:
            return self._failure()
        batch = self.batches[request.match_info["id"]]
        batch["polls"] += 1
        has_ended = batch["polls"] >= self.polls_to_end
        return web.json_response({"processing_status": "ended" if has_ended else "in_progress"})

    async def _content(self, request: web.Request) -> web.StreamResponse:
        if self.failures:
            return self._failure()
        batch = self.batches[request.match_info["id"].removeprefix("out-")]
        lines = [self.answer(name, body) for name, body in reversed(batch["calls"].items())]
        written = [
            line if isinstance(line, bytes) else json.dumps(line).encode()
            for line in lines
            if line is not None
        ]
        return web.Response(body=b"\n".join(written))

    def _seen(self, batch: dict[str, Any]) -> dict[str, object]:
        has_ended = batch["polls"] >= self.polls_to_end
        status = "failed" if self._is_bad(batch) else self.status
        has_output = has_ended and status in ("completed", "expired")
        return {
            "id": batch["id"],
            "status": status if has_ended else "in_progress",
            "output_file_id": f"out-{batch['id']}" if has_output else None,
            "errors": {"data": [{"message": "line 1 is no request"}]} if status == "failed" else None,
            "metadata": batch["metadata"],
        }

    def _failure(self) -> web.StreamResponse:
        return web.json_response({"error": {"message": "not now"}}, status=self.failures.pop(0))


def chat(text: str = "Answer: 4", *, input_tokens: int = 100, output_tokens: int = 10) -> dict[str, object]:
    """An answer of chat completions."""
    return {
        "id": "chatcmpl-1",
        "model": "m",
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": input_tokens, "completion_tokens": output_tokens},
    }


def chat_line(custom_id: str, body: dict[str, object], *, status: int = 200) -> Line:
    """A line of OpenAI's results."""
    response = {"status_code": status, "request_id": "r", "body": body}
    return {"id": "batch_req_1", "custom_id": custom_id, "response": response, "error": None}


def message(text: str = "Answer: 4") -> dict[str, object]:
    """An answer of Anthropic's messages."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 100, "output_tokens": 10},
    }


def message_line(custom_id: str, result: dict[str, object]) -> Line:
    """A line of Anthropic's results."""
    return {"custom_id": custom_id, "result": result}
