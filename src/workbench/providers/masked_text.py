"""A text that comes in pieces, of which our own key is never shown."""

from workbench.errors import BadResponseError
from workbench.providers.json_body import is_encodable
from workbench.providers.reply import Reply
from workbench.redaction import StreamMask


class MaskedText:
    """One text that comes in pieces: joined where a character was cut, and our own key masked."""

    __slots__ = ("_half", "_mask", "_pieces", "_reply")

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._mask = StreamMask(reply.http.key)
        self._pieces: list[str] = []
        self._half = ""

    @property
    def shown(self) -> str:
        """All that can be shown so far."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    def feed(self, piece: str) -> str:
        """What can be shown once `piece` has come."""
        return self._kept(self._mask.feed(self._mended(piece)))

    def end(self) -> str:
        """What was held back, once there is no more."""
        if self._half:
            raise self._reply.failure(BadResponseError, "the text ends in half of a surrogate pair")
        return self._kept(self._mask.rest())

    def _kept(self, piece: str) -> str:
        if piece:
            self._pieces.append(piece)
        return piece

    def _mended(self, piece: str) -> str:
        """`piece` with surrogate pairs joined, also one that was cut between two pieces."""
        piece, self._half = self._half + piece, ""
        if "\ud800" <= piece[-1:] <= "\udbff":
            piece, self._half = piece[:-1], piece[-1]
        if is_encodable(piece):
            return piece
        try:
            return piece.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            failure = self._reply.failure(BadResponseError, "the text has half of a surrogate pair")
        raise failure
