"""What an offline batch is to the rest of the workbench: calls handed in at once, and their answers later.

A batch outlives the process that handed it in. All that is needed to collect it again is its id and what
each `custom_id` stood for. One answer that cannot be read is one error, and never that of its neighbours.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from workbench.errors import BadResponseError, ProviderError, TooLargeError
from workbench.providers.bodies import encoded, raise_for_status
from workbench.providers.gathered import Gathered
from workbench.providers.http import Http, seal
from workbench.providers.json_body import JsonError, JsonObject, decode_utf8, parse_object, text_of
from workbench.providers.reply import Reply
from workbench.providers.status import Complaint, refusal
from workbench.providers.wire import Wire
from workbench.types import Completion, Decoding, Prompt

EXCHANGE_S = 600.0
"""The longest that handing in or fetching one file may take."""

ASK_S = 60.0
"""The longest that any other request to a batch API may take."""

ABOUT = "batch"
"""What an error about a batch as a whole names in the place of a model."""

_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")

Result = Completion | ProviderError
"""What came of one call of a batch; `latency_s` of a completion is 0.0, since none was measured."""


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One call of a batch; `custom_id`, unique in it, has up to 64 letters, digits, `_` and `-`."""

    custom_id: str
    prompt: Prompt
    decoding: Decoding


class BatchApi(Protocol):
    """One provider's batches of calls to one model.

    `most_items` and `most_bytes` are what one batch may hold, `most_bytes` of all its `line`s together.
    """

    most_items: int
    most_bytes: int

    def line(self, model: str, item: BatchItem) -> bytes:
        """One call as it is handed in.

        Raises:
            ConfigError, DataError: it cannot be sent.
        """
        ...

    async def submit(self, model: str, lines: Sequence[bytes], *, token: str) -> str:
        """Hand in a batch; the id under which it can be asked for.

        Args:
            token: our own name of the batch, by which `find` knows it again.

        Raises:
            ProviderError: it was not handed in; only with `may_be_there` of the error can it have been.
        """
        ...

    async def find(self, token: str) -> str | None:
        """The id of the batch that was handed in as `token`; None: there is none, or this cannot be told."""
        ...

    async def has_ended(self, job_id: str) -> bool:
        """Whether all of the batch that will be answered has been."""
        ...

    async def refusal(self, job_id: str) -> ProviderError | None:
        """Why nothing of a batch that has ended was carried out or billed; None: something was."""
        ...

    def results(
        self, job_id: str, model: str, items: Mapping[str, BatchItem]
    ) -> AsyncGenerator[tuple[str, Result]]:
        """What came of each item of a batch that has ended, by `custom_id`, in any order, each once.

        Raises:
            ProviderError: the results cannot be fetched now.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection; the batches go on."""
        ...


@asynccontextmanager
async def exchange(
    http: Http,
    path: str,
    body: bytes | None = None,
    *,
    limit_s: float = ASK_S,
    content_type: str = "application/json",
    model: str = ABOUT,
) -> AsyncGenerator[Reply]:
    """Ask for what is at `path`, or send `body` there, and give the reply to it if that is not a refusal.

    Raises:
        ProviderError: no reply, or a refusal.
    """
    deadline = asyncio.get_running_loop().time() + limit_s
    if body is None:
        sent = http.get(path, model=model, deadline=deadline)
    else:
        sent = http.post(path, body, model=model, deadline=deadline, content_type=content_type)
    async with _accepted(sent) as reply:
        yield reply


@asynccontextmanager
async def creation(http: Http, path: str, body: bytes, *, limit_s: float) -> AsyncGenerator[Reply]:
    """Hand in a batch, once and never again on its own: each is paid for. Errors as `exchange`."""
    deadline = asyncio.get_running_loop().time() + limit_s
    async with _accepted(http.post_once(path, body, model=ABOUT, deadline=deadline)) as reply:
        yield reply


@asynccontextmanager
async def _accepted(sent: AbstractAsyncContextManager[Reply]) -> AsyncGenerator[Reply]:
    try:
        async with sent as reply:
            await raise_for_status(reply)
            yield reply
    except ProviderError as exc:
        seal(exc)
        raise


def may_be_there(error: ProviderError) -> bool:
    """Whether a request that ended in `error` may have been carried out all the same."""
    is_refused = error.status is not None and error.status >= 400
    return error.was_sent and not is_refused


def checked_job_id(reply: Reply, body: JsonObject, name: str = "id") -> str:
    """The id at `name`, which becomes part of a path.

    Raises:
        BadResponseError: there is none, or none that can be.
    """
    job_id = text_of(body, name) or ""
    if not _JOB_ID.fullmatch(job_id):
        raise reply.failure(BadResponseError, f"the answer has no {name} of a batch or file")
    return job_id


def body_line(fields: Mapping[str, object], item: BatchItem) -> bytes:
    """A line of a batch, without its end."""
    return encoded(fields, what=f"prompt {item.prompt.prompt_id!r}")


def completion_of(body: JsonObject, item: BatchItem, *, wire: Wire, reply: Reply) -> Result:
    """The answer in the body of one call, read as one that came alone is."""
    try:
        gathered = Gathered(reply, item.prompt, item.decoding)
        wire.answer(gathered).take_whole(body)
        gathered.end()
        return gathered.completion(latency_s=0.0)
    except ProviderError as exc:
        return exc


def refused_item(http: Http, model: str, complaint: Complaint, *, status: int) -> ProviderError:
    """The error of an item that was refused, which is not billed."""
    kind = refusal(status, complaint)
    return http.failure(kind, model, f"HTTP {status}: {complaint.message}", status=status)


async def json_lines(reply: Reply) -> AsyncIterator[JsonObject]:
    """The objects of a file of one JSON object a line; a line that is none is passed over.

    Raises:
        TooLargeError: a line is over the cap of a body.
        ProviderError: the file broke off.
    """
    rest = b""
    while (piece := await reply.piece()) is not None:
        *lines, rest = (rest + piece).split(b"\n")
        for body in _objects(lines):
            yield body
        if len(rest) > reply.http.max_body_bytes:
            raise reply.failure(TooLargeError, f"a result is over {reply.http.max_body_bytes} bytes")
    for body in _objects([rest]):
        yield body


def _objects(lines: Iterable[bytes]) -> Iterable[JsonObject]:
    for line in lines:
        try:
            yield parse_object(decode_utf8(line))
        except JsonError:
            continue
