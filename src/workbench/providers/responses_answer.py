"""One answer of OpenAI's Responses protocol, read from a whole body or the events of a stream.

The events are numbered, and the last one repeats the whole answer: one that comes twice is taken once,
and a stream whose pieces do not add up to the answer is refused.
Source: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from workbench.errors import BadResponseError
from workbench.providers.chat_answer import token_logprob
from workbench.providers.counted import Counted
from workbench.providers.gathered import Gathered
from workbench.providers.json_body import JsonObject, count_of, object_of, objects_of, text_of
from workbench.providers.status import complaint_in
from workbench.types import FinishReason

_INCOMPLETE: Mapping[str, FinishReason] = {
    "max_output_tokens": "length",
    "content_filter": "content_filter",
}
_TEXTS = {"output_text": "text", "refusal": "refusal"}
"""The parts of a message, and the field that each has its words in."""

_BETWEEN_THOUGHTS = "\n\n"


class ResponsesAnswer:
    """Reads what a server says into `gathered`."""

    def __init__(self, gathered: Gathered) -> None:
        self._gathered = gathered
        self._last_number = 0
        self._text: list[str] = []
        self._calls: list[_Call] = []
        self._thought: tuple[object, ...] | None = None

    def take_whole(self, body: JsonObject) -> None:
        """Take the body of an answer that was not streamed.

        Raises:
            ProviderError: the model failed.
        """
        self._take_end(body)

    def take_event(self, event: JsonObject) -> None:
        """Take one event of a stream; those of other kinds, as of a search, are passed over.

        Raises:
            BadResponseError: the pieces are not those of the whole answer, which came with the last event.
            ProviderError: the model failed.
        """
        number = count_of(event, "sequence_number")
        if number:  # where a server does not count, all have the number 0
            if number <= self._last_number:
                return
            self._last_number = number
        match text_of(event, "type"):
            case "response.output_text.delta":
                self._add_text(text_of(event, "delta") or "", objects_of(event, "logprobs"))
            case "response.refusal.delta":
                self._add_refusal(text_of(event, "delta") or "")
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                self._add_thought(event)
            case "response.output_item.added":
                self._add_call(object_of(event, "item") or {}, count_of(event, "output_index"))
            case "response.function_call_arguments.delta":
                self._add_arguments(count_of(event, "output_index"), text_of(event, "delta") or "")
            case "response.completed" | "response.incomplete" | "response.failed":
                self._take_end(object_of(event, "response") or {})
                self._gathered.has_ended = True
            case "error":
                raise self._gathered.refusal(complaint_in(event))

    def _take_end(self, body: JsonObject) -> None:
        """Take the whole answer: what was not streamed of it is added, what was must be the same."""
        self._gathered.served_by(text_of(body, "model"), answer_id=text_of(body, "id"))
        if text_of(body, "status") == "failed" or body.get("error"):
            raise self._gathered.refusal(complaint_in(body))
        output = objects_of(body, "output")
        if self._thought is None:
            self._take_thoughts(output)
        self._settle_text(output)
        self._settle_calls(output)
        self._take_usage(object_of(body, "usage") or {})
        self._take_status(body)

    def _settle_text(self, output: Sequence[JsonObject]) -> None:
        parts = list(_message_parts(output))
        whole = "".join(text_of(part, _TEXTS[kind]) or "" for kind, part in parts)
        if self._text:
            if whole and _joined("".join(self._text)) != _joined(whole):
                raise self._gathered.failure(BadResponseError, "the pieces of the stream are not its answer")
            return
        for kind, part in parts:
            if kind == "refusal":
                self._add_refusal(text_of(part, "refusal") or "")
            else:
                self._add_text(text_of(part, "text") or "", objects_of(part, "logprobs"))

    def _settle_calls(self, output: Sequence[JsonObject]) -> None:
        for position, item in enumerate(output):
            if text_of(item, "type") == "function_call":
                call = self._add_call(item, position)
                whole = text_of(item, "arguments") or ""
                if not call.arguments:
                    self._add_arguments(call.position, whole)
                elif _joined("".join(call.arguments)) != _joined(whole):
                    reason = "the pieces of a tool call are not the call"
                    raise self._gathered.failure(BadResponseError, reason)

    def _take_usage(self, usage: JsonObject) -> None:
        read = object_of(usage, "input_tokens_details") or {}
        written = object_of(usage, "output_tokens_details") or {}
        self._gathered.counted = Counted(
            count_of(usage, "input_tokens"),
            count_of(usage, "output_tokens"),
            count_of(read, "cached_tokens"),
            count_of(written, "reasoning_tokens"),
            count_of(read, "cache_write_tokens"),
        )

    def _take_status(self, body: JsonObject) -> None:
        status = text_of(body, "status")
        if status == "completed":
            self._gathered.finish("stop", status)
            output = objects_of(body, "output")
            if any(item.get("encrypted_content") for item in output):
                self._gathered.keep({"output": output})
        elif status == "incomplete":
            reason = text_of(object_of(body, "incomplete_details") or {}, "reason") or status
            self._gathered.finish(_INCOMPLETE.get(reason, "other"), reason)

    def _take_thoughts(self, output: Sequence[JsonObject]) -> None:
        """The summary of what the model thought, or where the server shows it, what it thought."""
        for position, item in enumerate(output):
            if text_of(item, "type") == "reasoning":
                for place, part in enumerate(objects_of(item, "summary") or objects_of(item, "content")):
                    thought = {"output_index": position, "summary_index": place, "delta": part.get("text")}
                    self._add_thought(thought)

    def _add_text(self, piece: str, logprobs: Sequence[JsonObject]) -> None:
        self._text.append(piece)
        self._gathered.add_text(piece)
        for token in logprobs:
            if (logprob := token_logprob(token)) is not None:
                self._gathered.add_logprob(logprob)

    def _add_refusal(self, piece: str) -> None:
        self._text.append(piece)
        self._gathered.add_refusal(piece)

    def _add_thought(self, event: JsonObject) -> None:
        names = ("output_index", "summary_index", "content_index")
        place = tuple(count_of(event, name) for name in names)
        if self._thought not in (None, place):
            self._gathered.add_reasoning(_BETWEEN_THOUGHTS)
        self._thought = place
        self._gathered.add_reasoning(text_of(event, "delta") or "")

    def _add_call(self, item: JsonObject, position: int | None) -> "_Call":
        """The tool call that `item` is, begun where it is new; it is known by its id."""
        call_id = text_of(item, "call_id") or ""
        if text_of(item, "type") != "function_call":
            return _Call(position, call_id)
        for call in self._calls:
            if call_id in ("", call.call_id) and (call_id or call.position == position):
                return call
        call = _Call(position, call_id)
        self._calls.append(call)
        name = text_of(item, "name") or ""
        self._gathered.add_tool_call(len(self._calls) - 1, call_id=call_id, name=name)
        return call

    def _add_arguments(self, position: int | None, piece: str) -> None:
        for number, call in enumerate(self._calls):
            if call.position == position:
                call.arguments.append(piece)
                self._gathered.add_tool_call(number, arguments=piece)
                return
        raise self._gathered.failure(BadResponseError, "the stream adds to a tool call that did not begin")


@dataclass(slots=True)
class _Call:
    """A tool call, at its position in the output, and the pieces of its arguments."""

    position: int | None
    call_id: str
    arguments: list[str] = field(default_factory=list)


def _message_parts(output: Sequence[JsonObject]) -> Iterator[tuple[str, JsonObject]]:
    for item in output:
        if text_of(item, "type") == "message":
            for part in objects_of(item, "content"):
                if (kind := text_of(part, "type")) in _TEXTS and kind is not None:
                    yield kind, part


def _joined(text: str) -> str:
    """`text` with the halves of a character that was cut between two pieces joined."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
