"""The events of a stream, cut from its bytes: server-sent ones, or one JSON object a line."""

from collections.abc import Iterator
from typing import Literal

from workbench.errors import BadResponseError, ProviderError, TooLargeError
from workbench.providers.reply import Reply
from workbench.providers.sse import Event, EventParser, EventTooLongError, LineParser


def parser_of(kind: Literal["sse", "lines"], *, max_event_bytes: int) -> EventParser | LineParser:
    """What cuts a stream of this kind; no event is longer than `max_event_bytes`."""
    return (EventParser if kind == "sse" else LineParser)(max_event_bytes=max_event_bytes)


def events_in(parser: EventParser | LineParser, piece: bytes | None, reply: Reply) -> Iterator[Event]:
    """The events that end in `piece`; None: the stream is over."""
    failure: ProviderError
    try:
        yield from parser.rest() if piece is None else parser.feed(piece)
    except EventTooLongError as exc:
        failure = reply.failure(TooLargeError, str(exc))
    except UnicodeDecodeError:
        failure = reply.failure(BadResponseError, "an event of the stream is not UTF-8")
    else:
        return
    raise failure
