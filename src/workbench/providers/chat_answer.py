"""One answer of the chat-completions protocol, put together from a whole body or the events of a stream."""

from collections.abc import Mapping

from workbench.catalog import token_bound
from workbench.errors import (
    BadResponseError,
    EmptyCompletionError,
    ProviderError,
    ServerError,
    StreamTruncatedError,
    TooLargeError,
)
from workbench.providers.http import Reply
from workbench.providers.json_body import (
    JsonError,
    JsonObject,
    count_of,
    is_encodable,
    object_of,
    objects_of,
    parse_object,
    text_of,
)
from workbench.providers.sse import Event
from workbench.providers.status import Complaint, complaint_in, complaint_of, refused
from workbench.redaction import StreamMask
from workbench.types import Completion, Decoding, FinishReason, Prompt, Usage

_FINISH: Mapping[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
_WITHOUT_TEXT = {"content_filter", "tool_calls"}
"""Reasons to finish with which an answer without text is an answer."""

_IMPLAUSIBLE_FACTOR = 10
_IMPLAUSIBLE_FLOOR = 100_000
_CHARACTERS_PER_TOKEN = 256
"""More than the longest token of any vocabulary in use (128 spaces in OpenAI's o200k)."""

_CHARACTERS_FLOOR = 4096


class ChatAnswer:
    """Takes what a server says, and gives a completion once the server said that it is whole."""

    def __init__(self, reply: Reply, prompt: Prompt, decoding: Decoding) -> None:
        self.first_token_s: float | None = None
        self._reply = reply
        self._mask = StreamMask(reply.http.key)
        self._prompt = prompt
        self._decoding = decoding
        self._pieces: list[str] = []
        self._n_characters = 0
        self._n_hidden_bytes = 0
        self._half = ""
        self._finish: str | None = None
        self._is_refused = False
        self._usage: JsonObject | None = None
        self._served_model: str | None = None
        self._id: str | None = None

    @property
    def text(self) -> str:
        """What has come so far."""
        return "".join(self._pieces)

    @property
    def is_finished(self) -> bool:
        """Whether the server said why the model stopped."""
        return self._finish is not None

    @property
    def has_usage(self) -> bool:
        """Whether the server said how many tokens it counted."""
        return self._usage is not None

    def take_whole(self, answer: JsonObject) -> None:
        """Take the body of an answer that was not streamed.

        Raises:
            BadResponseError: it does not say that the model had finished.
            ProviderError: it is an error after all.
        """
        self._take_head(answer)
        choices = objects_of(answer, "choices")
        if not choices:
            raise self._reply.failure(EmptyCompletionError, "the answer has no choices")
        message = object_of(choices[0], "message")
        if message is None:
            raise self._reply.failure(EmptyCompletionError, "the answer's choice has no message")
        self._take_message(message)
        self.rest()
        self._finish = self._finish_of(choices[0])
        if self._finish is None and self.text:
            raise self._reply.failure(BadResponseError, "the answer has no finish reason")

    def take_event(self, event: Event) -> str:
        """Take one event of a stream, and give the text that it adds.

        Raises:
            BadResponseError: it is not what was promised.
            ProviderError: it is an error.
        """
        if event.name == "error":
            raise self._refusal(complaint_of(event.data))
        try:
            chunk = parse_object(event.data)
        except JsonError as exc:
            if event.name != "message":
                return ""
            problem = f"an event of the stream is {exc}"
        else:
            return self._take_chunk(chunk)
        raise self._reply.failure(BadResponseError, problem)

    def rest(self) -> str:
        """The end of the text, once there is no more: it was held back while it could have become the key."""
        piece = self._mask.rest()
        self._pieces.append(piece)
        return piece

    def truncated(self, reason: str) -> StreamTruncatedError:
        """The error of a stream that ended before the model had finished."""
        http = self._reply.http
        error = StreamTruncatedError(
            http.provider, self._reply.model, http.redacted(reason), partial_text=http.redacted(self.text)
        )
        error.status, error.request_id = self._reply.status, self._reply.request_id
        return error

    def completion(self, *, latency_s: float) -> Completion:
        """The whole answer.

        Raises:
            EmptyCompletionError: the model finished without a word.
            BadResponseError: the text ends in half a character.
        """
        raw = "refusal" if self._is_refused else self._finish or ""
        finish = "content_filter" if self._is_refused else _FINISH.get(raw, "other")
        if self._half:
            raise self._reply.failure(BadResponseError, "the text ends in half of a surrogate pair")
        if not self.text and finish not in _WITHOUT_TEXT:
            raise self._reply.failure(EmptyCompletionError, f"an answer without text (finish reason {raw!r})")
        return Completion(
            text=self.text,
            model=self._reply.model,
            served_model=self._served_model or self._reply.model,
            provider=self._reply.http.provider,
            usage=self._checked_usage(),
            latency_s=latency_s,
            finish_reason=finish,
            raw_finish_reason=raw,
            first_token_s=self.first_token_s,
            request_id=self._reply.request_id or self._id,
        )

    def _take_head(self, answer: JsonObject) -> None:
        if answer.get("error"):
            raise self._refusal(complaint_in(answer))
        redacted = self._reply.http.redacted
        self._served_model = redacted(text_of(answer, "model") or "") or self._served_model
        self._id = redacted(text_of(answer, "id") or "") or self._id
        self._usage = object_of(answer, "usage") or self._usage

    def _take_chunk(self, chunk: JsonObject) -> str:
        self._take_head(chunk)
        choices = [choice for choice in objects_of(chunk, "choices") if choice.get("index", 0) == 0]
        if not choices:
            return ""
        piece = ""
        if (delta := object_of(choices[0], "delta")) is not None:
            piece = self._take_message(delta)
        self._finish = self._finish_of(choices[0]) or self._finish
        return piece

    def _take_message(self, message: JsonObject) -> str:
        content = _content(message)
        if not content and (refusal := text_of(message, "refusal")):
            content, self._is_refused = refusal, True
        if not content and objects_of(message, "tool_calls"):
            self._finish = self._finish or "tool_calls"
        hidden = text_of(message, "reasoning_content") or text_of(message, "reasoning") or ""
        self._n_hidden_bytes += len(hidden)
        piece = self._mask.feed(self._mended(content))
        self._n_characters += len(piece)
        most = _CHARACTERS_FLOOR + _CHARACTERS_PER_TOKEN * self._decoding.max_output_tokens
        if self._n_characters > most:
            reason = f"the answer goes on after {self._decoding.max_output_tokens} tokens, its limit"
            raise self._reply.failure(TooLargeError, reason)
        if piece:
            self._pieces.append(piece)
        return piece

    def _finish_of(self, choice: JsonObject) -> str | None:
        finish = text_of(choice, "finish_reason")
        if finish == "error" or choice.get("error"):
            complaint = complaint_in(choice) if choice.get("error") else None
            if complaint is None:
                raise self._reply.failure(ServerError, "the model failed while it answered")
            raise self._refusal(complaint)
        return finish and self._reply.http.redacted(finish)

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

    def _checked_usage(self) -> Usage:
        """What the server counted; where it is absent or absurd, the most that it can have been."""
        most_input = token_bound(self._prompt)
        shown_bytes = len(self.text.encode()) + self._n_hidden_bytes
        most_output = min(self._decoding.max_output_tokens, max(shown_bytes, 1))
        usage = self._usage or {}
        input_tokens = _plausible(usage, "prompt_tokens", most_input)
        output_tokens = _plausible(usage, "completion_tokens", self._decoding.max_output_tokens)
        read = object_of(usage, "prompt_tokens_details") or {}
        written = object_of(usage, "completion_tokens_details") or {}
        counted_input = most_input if input_tokens is None else input_tokens
        counted_output = most_output if output_tokens is None else output_tokens
        return Usage(
            counted_input,
            counted_output,
            count_of(read, "cached_tokens", most=counted_input) or 0,
            count_of(written, "reasoning_tokens", most=counted_output) or 0,
            is_estimated=input_tokens is None or output_tokens is None,
        )

    def _refusal(self, complaint: Complaint) -> ProviderError:
        error = refused(self._reply, complaint, status=complaint.status or 200)
        error.partial_text = self._reply.http.redacted(self.text)
        return error


def _content(message: JsonObject) -> str:
    """The text of a message: a string, or the text parts of a list."""
    parts = objects_of(message, "content")
    if parts:
        return "".join(text_of(part, "text") or "" for part in parts if text_of(part, "type") == "text")
    return text_of(message, "content") or ""


def _plausible(usage: JsonObject, name: str, bound: int) -> int | None:
    """The count, unless it is absurd: servers may add to a prompt, but not without measure."""
    return count_of(usage, name, most=max(_IMPLAUSIBLE_FLOOR, _IMPLAUSIBLE_FACTOR * bound))
