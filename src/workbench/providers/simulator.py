"""The simulator: a real HTTP server on loopback that speaks the protocols of OpenAI and Anthropic.

It answers with the made-up models of `fleet`, sleeps as long as they would take, fails as they would
fail, and counts what was asked, so that a whole experiment runs without a key, a network or a bill.
It can also be limited, slow or down, from one request to the next (`trouble`).

| route | answer |
|---|---|
| POST /v1/chat/completions | a completion, whole or as server-sent events |
| POST /v1/messages | the same, as Anthropic's protocol has it |
| GET /v1/models | the simulated models |
| GET /simulator/requests | what was asked so far: totals, and by model and prompt |
"""

import asyncio
import errno
import hashlib
import json
import math
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from aiohttp import web

from workbench.datasets import Task
from workbench.datasets import tasks as embedded_tasks
from workbench.errors import ConfigError
from workbench.providers.fleet import FLEET, PROVIDER, Fleet, SimulatedModel
from workbench.providers.simulated_chat import (
    N_PIECES,
    BadRequestError,
    ChatReply,
    ChatRequest,
    error_body,
    parse,
)
from workbench.providers.simulated_messages import MessagesReply, parse_messages
from workbench.providers.trouble import Gate, Refusal, Trouble

DEFAULT_PORT = 8808
HOST = "127.0.0.1"

FIRST_TOKEN_SHARE = 0.4
"""Share of an answer's latency that passes before the first piece of a stream."""

RETRY_AFTER_S = 0.02
"""What a transient 429 asks for, in seconds; fractions of a second are sent in `retry-after-ms`."""

_STOP_WAIT_S = 1.0
_WELL = Trouble()

_REFUSALS = {
    402: ("Simulated: this key has no credit left.", "billing_error", "insufficient_quota"),
    429: ("Simulated rate limit; try again.", "rate_limit_error", "rate_limit_exceeded"),
    500: ("Simulated failure of this prompt.", "server_error", None),
}
"""Message, type and code of an error; any other status is an overload."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Requests for one prompt of one model, and how many of them were answered (and so would be billed)."""

    n_requests: int
    n_answers: int


class Simulator:
    """The server, while the `async with` block runs.

    Args:
        tasks: prompts whose right answers the models know; None: the embedded ones.
        fleet: the simulated models.
        seed: of everything that the models draw.
        latency_scale: factor on every latency; 0.0 answers at once.
        port: 0 takes a free one.
        trouble: what is wrong with it; may be set again while it runs.
    """

    def __init__(
        self,
        *,
        tasks: Iterable[Task] | None = None,
        fleet: Sequence[SimulatedModel] = FLEET,
        seed: int = 0,
        latency_scale: float = 1.0,
        port: int = 0,
        trouble: Trouble = _WELL,
    ) -> None:
        self.trouble = trouble
        self.fleet = Fleet(embedded_tasks() if tasks is None else tasks, fleet, seed=seed)
        self.port = port
        self._latency_scale = latency_scale
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._answers: Counter[tuple[str, str, int]] = Counter()
        self._gate = Gate()
        self._runner: web.AppRunner | None = None

    @property
    def base_url(self) -> str:
        """What a client is given: `http://127.0.0.1:PORT/v1`."""
        return f"http://{HOST}:{self.port}/v1"

    @property
    def n_requests(self) -> int:
        """Completion requests received for models that there are, failed ones included."""
        return self._requests.total()

    @property
    def n_answers(self) -> int:
        """Completions made: what a provider would have billed."""
        return self._answers.total()

    @property
    def asked(self) -> dict[tuple[str, str], Asked]:
        """By (model, prompt_id): what was asked, over all seeds."""
        totals: Counter[tuple[str, str]] = Counter()
        answers: Counter[tuple[str, str]] = Counter()
        for (model, prompt_id, _), count in self._requests.items():
            totals[model, prompt_id] += count
        for (model, prompt_id, _), count in self._answers.items():
            answers[model, prompt_id] += count
        return {key: Asked(count, answers[key]) for key, count in totals.items()}

    async def __aenter__(self) -> "Simulator":
        app = web.Application(client_max_size=16 * 2**20)
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._chat),
                web.post("/v1/messages", self._messages),
                web.get("/v1/models", self._list_models),
                web.get("/simulator/requests", self._list_requests),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_WAIT_S)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, HOST, self.port, backlog=1024).start()
        except (OSError, OverflowError) as exc:
            await self._runner.cleanup()
            raise _port_error(self.port, exc) from exc
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._taken(request, parse)

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        return await self._taken(request, parse_messages)

    async def _taken(
        self, request: web.Request, parsed: Callable[[bytes], ChatRequest]
    ) -> web.StreamResponse:
        try:
            asked = parsed(await request.read())
        except BadRequestError as exc:
            return _error(400, str(exc))
        except web.HTTPRequestEntityTooLarge as exc:
            return _error(413, exc.text or "the body is too large")
        model = asked.model.removeprefix(f"{PROVIDER}/")
        if model not in self.fleet.models:
            served = ", ".join(self.fleet.models)
            message = f"The simulated model '{asked.model}' does not exist; there are: {served}"
            return _error(404, message, "model_not_found")
        return await self._ask(request, asked, model)

    async def _ask(self, request: web.Request, asked: ChatRequest, model: str) -> web.StreamResponse:
        key = (model, self.fleet.prompt_id(asked.text), _draw_of(asked))
        n_earlier = self._requests[key]
        self._requests[key] += 1
        request_id = "sim-" + hashlib.blake2b(repr((key, n_earlier)).encode(), digest_size=12).hexdigest()
        refusal = self._gate.refusal(self.trouble, _key_of(request))
        if refusal is None:
            status = self.fleet.failure_status(model, asked.text, asked.seed, n_earlier=n_earlier)
            refusal = None if status is None else Refusal(status, RETRY_AFTER_S if status == 429 else None)
        if refusal is not None:
            return _refused(refusal, request_id)
        answer = self.fleet.answer(model, asked.text, asked.seed, max_output_tokens=asked.max_output_tokens)
        if self.trouble.is_uncounted:
            answer = replace(answer, input_tokens=0, output_tokens=0, reasoning_tokens=0)
        reply: ChatReply | MessagesReply = MessagesReply(request_id, model, answer)
        if request.path.endswith("/chat/completions"):
            reply = ChatReply(request_id, model, answer, self.fleet.seed, with_usage=asked.with_usage)
        latency_s = answer.latency_s * self._latency_scale + self.trouble.delay_s
        if asked.stream:
            response = await _send_stream(request, reply, latency_s)
        else:
            await asyncio.sleep(latency_s)
            response = _json(reply.whole(), request_id)
        self._answers[key] += 1
        return response

    async def _list_models(self, request: web.Request) -> web.Response:
        rows = [
            {"id": name, "object": "model", "created": 0, "owned_by": "simulated"}
            for name in self.fleet.models
        ]
        return _json({"object": "list", "data": rows})

    async def _list_requests(self, request: web.Request) -> web.Response:
        rows = [
            {
                "model": model,
                "prompt_id": prompt_id,
                "n_requests": asked.n_requests,
                "n_answers": asked.n_answers,
            }
            for (model, prompt_id), asked in self.asked.items()
        ]
        return _json({"n_requests": self.n_requests, "n_answers": self.n_answers, "prompts": rows})


async def serve(
    port: int = DEFAULT_PORT,
    *,
    seed: int = 0,
    latency_scale: float = 1.0,
    on_ready: Callable[[Simulator], None] = lambda simulator: None,
) -> None:
    """Serve on `port` until SIGINT or SIGTERM; `on_ready` is called once requests are taken.

    Raises:
        ConfigError: the port is taken or may not be used.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with Simulator(seed=seed, latency_scale=latency_scale, port=port) as simulator:
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt instead
                loop.add_signal_handler(number, stopped.set)
        try:
            on_ready(simulator)
            await stopped.wait()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                with suppress(NotImplementedError):
                    loop.remove_signal_handler(number)


async def _send_stream(
    request: web.Request, reply: ChatReply | MessagesReply, latency_s: float
) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-cache",
            "x-request-id": reply.request_id,
        }
    )
    rest_s = latency_s * (1 - FIRST_TOKEN_SHARE)
    with suppress(ConnectionResetError):  # the client left in the middle: what it asked for is billed
        await response.prepare(request)
        await asyncio.sleep(latency_s * FIRST_TOKEN_SHARE)
        async for event in _paced(reply.events(), rest_s):
            await response.write(event)
        await response.write_eof()
    return response


async def _paced(events: Iterable[bytes], duration_s: float) -> AsyncIterator[bytes]:
    """The events with `duration_s` spread over the gaps between pieces of text."""
    for number, event in enumerate(events):
        if 2 <= number <= N_PIECES and duration_s:
            await asyncio.sleep(duration_s / (N_PIECES - 1))
        yield event


def _draw_of(asked: ChatRequest) -> int:
    """Tells apart what is drawn anew for one prompt: another seed, or other words around it."""
    return int.from_bytes(hashlib.blake2b(f"{asked.seed} {asked.text}".encode(), digest_size=8).digest())


def _key_of(request: web.Request) -> str:
    """The key that a request came with; empty: none."""
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
    return request.headers.get("x-api-key", bearer)


def _refused(refusal: Refusal, request_id: str) -> web.Response:
    message, kind, code = _REFUSALS.get(
        refusal.status, ("Simulated overload; try again.", "server_error", None)
    )
    response = _json(error_body(message, kind, code), request_id, status=refusal.status)
    if refusal.retry_after_s is not None:
        response.headers["retry-after-ms"] = str(math.ceil(refusal.retry_after_s * 1000))
        # In whole seconds, for clients that know no other header.
        response.headers["retry-after"] = str(math.ceil(refusal.retry_after_s))
    return response


def _error(status: int, message: str, code: str | None = None) -> web.Response:
    return _json(error_body(message, "invalid_request_error", code), status=status)


def _json(body: Mapping[str, Any], request_id: str = "sim-0", *, status: int = 200) -> web.Response:
    return web.Response(
        body=json.dumps(body).encode(),
        status=status,
        content_type="application/json",
        headers={"x-request-id": request_id},
    )


def _port_error(port: int, cause: Exception) -> ConfigError:
    taken = isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE
    what = "is already in use" if taken else f"cannot be served on ({cause})"
    return ConfigError(f"port {port} of {HOST} {what}; choose another with --port, or 0 for any free one")
