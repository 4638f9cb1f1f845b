"""The events of a stream, piece by piece: server-sent ones as the standard has them, or one a line.

Lines end with CR, LF or both and nothing else (a U+2028 in an answer is text), an event has a size cap,
and the work is linear in the bytes. Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from collections.abc import Iterator
from dataclasses import dataclass

_BOM = b"\xef\xbb\xbf"


class EventTooLongError(ValueError):
    """A line, or all lines of one event, went over the cap."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `name` is `message` where the server gave none."""

    name: str
    data: str


class EventParser:
    """Feed it bytes as they come, cut anywhere; it gives the server-sent events that are whole."""

    __slots__ = ("_data", "_lines", "_name")

    def __init__(self, *, max_event_bytes: int) -> None:
        self._lines = _Lines(max_event_bytes)
        self._name = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that end in `chunk`.

        Raises:
            EventTooLongError: an event is over the cap.
            UnicodeDecodeError: a line is not UTF-8.
        """
        for line in self._lines.feed(chunk):
            if line:
                self._read_field(line)
                continue
            if self._data:
                yield Event(self._name or "message", "\n".join(self._data))
            self._name, self._data = "", []
            self._lines.start_event()

    def rest(self) -> Iterator[Event]:
        """None: an event without its empty line was cut off."""
        return iter(())

    def _read_field(self, line: bytes) -> None:
        name, _, value = line.decode("utf-8").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._name = value


class LineParser:
    """The same for streams that have one JSON object a line; the last line need not have an end."""

    def __init__(self, *, max_event_bytes: int) -> None:
        self._lines = _Lines(max_event_bytes)

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that end in `chunk`.

        Raises:
            EventTooLongError: a line is over the cap.
            UnicodeDecodeError: a line is not UTF-8.
        """
        for line in self._lines.feed(chunk):
            self._lines.start_event()
            if line.strip():
                yield Event("message", line.decode("utf-8"))

    def rest(self) -> Iterator[Event]:
        """The last line, where it has no end; one that was cut off is no JSON."""
        return self.feed(b"\n")


class _Lines:
    """Cuts bytes into lines, and counts those of one event."""

    __slots__ = ("_event_bytes", "_is_after_cr", "_is_first_line", "_max_event_bytes", "_pieces")

    def __init__(self, max_event_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes
        self._event_bytes = 0
        self._pieces: list[bytes] = []
        self._is_after_cr = False
        self._is_first_line = True

    def start_event(self) -> None:
        self._event_bytes = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that end in `chunk`, without their ends."""
        if self._is_after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
            self._is_after_cr = False
        if not chunk:
            return
        self._is_after_cr = chunk.endswith(b"\r")
        for piece in chunk.splitlines(keepends=True):  # of bytes: at CR, LF and CRLF only
            line = piece.rstrip(b"\r\n")
            self._pieces.append(line)
            self._event_bytes += len(line)
            if self._event_bytes > self._max_event_bytes:
                raise EventTooLongError(f"an event of the stream is over {self._max_event_bytes} bytes")
            if len(line) < len(piece):
                yield self._whole_line()

    def _whole_line(self) -> bytes:
        line = b"".join(self._pieces)
        self._pieces = []
        if self._is_first_line:
            self._is_first_line = False
            return line.removeprefix(_BOM)
        return line
