"""One answer of the chat-completions protocol, read from a whole body or the events of a stream.

Nothing in this protocol numbers the events of a stream, so that one sent twice cannot be told from a
model that repeats itself.
"""

from collections.abc import Mapping

from workbench.errors import EmptyCompletionError, ProviderError, ServerError
from workbench.providers.gathered import Counted, Gathered
from workbench.providers.json_body import JsonObject, count_of, object_of, objects_of, text_of
from workbench.providers.status import complaint_in
from workbench.types import FinishReason

FINISH: Mapping[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}


class ChatAnswer:
    """Reads what a server says into `gathered`."""

    def __init__(self, gathered: Gathered) -> None:
        self._gathered = gathered

    def take_whole(self, body: JsonObject) -> None:
        """Take the body of an answer that was not streamed.

        Raises:
            EmptyCompletionError: there is no message in it.
            ProviderError: it is an error after all.
        """
        self._take_head(body)
        choices = objects_of(body, "choices")
        if not choices:
            raise self._gathered.failure(EmptyCompletionError, "the answer has no choices")
        message = object_of(choices[0], "message")
        if message is None:
            raise self._gathered.failure(EmptyCompletionError, "the answer's choice has no message")
        self._take_message(message)
        self._take_finish(choices[0])

    def take_event(self, event: JsonObject) -> None:
        """Take one chunk of a stream.

        Raises:
            ProviderError: it says that the model failed.
        """
        self._take_head(event)
        for choice in objects_of(event, "choices"):
            if choice.get("index", 0) == 0:
                if (delta := object_of(choice, "delta")) is not None:
                    self._take_message(delta)
                self._take_finish(choice)

    def _take_head(self, body: JsonObject) -> None:
        self._gathered.served_by(text_of(body, "model"), answer_id=text_of(body, "id"))
        usage = object_of(body, "usage")
        if usage:
            read = object_of(usage, "prompt_tokens_details") or {}
            written = object_of(usage, "completion_tokens_details") or {}
            self._gathered.counted = Counted(
                count_of(usage, "prompt_tokens"),
                count_of(usage, "completion_tokens"),
                count_of(read, "cached_tokens"),
                count_of(written, "reasoning_tokens"),
            )

    def _take_message(self, message: JsonObject) -> None:
        self._gathered.add_reasoning(
            text_of(message, "reasoning_content") or text_of(message, "reasoning") or ""
        )
        content = _content(message)
        if not content and (refusal := text_of(message, "refusal")):
            self._gathered.add_refusal(refusal)
        self._gathered.add_text(content)
        for position, call in enumerate(objects_of(message, "tool_calls")):
            self._take_tool_call(call, position)

    def _take_tool_call(self, call: JsonObject, position: int) -> None:
        function = object_of(call, "function") or {}
        index = count_of(call, "index")
        self._gathered.add_tool_call(
            position if index is None else index,
            call_id=text_of(call, "id") or "",
            name=text_of(function, "name") or "",
            arguments=text_of(function, "arguments") or "",
        )

    def _take_finish(self, choice: JsonObject) -> None:
        finish = text_of(choice, "finish_reason")
        if choice.get("error"):
            raise self._gathered.refusal(complaint_in(choice))
        if finish == "error":
            raise self._failed()
        if finish:
            self._gathered.finish(FINISH.get(finish, "other"), finish)

    def _failed(self) -> ProviderError:
        return self._gathered.failure(ServerError, "the model failed while it answered")


def _content(message: JsonObject) -> str:
    """The text of a message: a string, or the text parts of a list."""
    parts = objects_of(message, "content")
    if parts:
        return "".join(text_of(part, "text") or "" for part in parts if text_of(part, "type") == "text")
    return text_of(message, "content") or ""
