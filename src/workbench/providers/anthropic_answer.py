"""One answer of Anthropic's messages protocol, read from a whole message or the events of a stream.

A stream is blocks, each with a start, pieces and an end. The signature of a block of thoughts is no text,
and is passed over, as is every event and every block that this module does not know.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming, read 2026-11-23
"""

import json
from collections.abc import Mapping

from workbench.providers.gathered import Counted, Gathered
from workbench.providers.json_body import JsonObject, count_of, object_of, objects_of, text_of
from workbench.types import FinishReason

_FINISH: Mapping[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_INPUT_COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
"""Input is counted in three parts: what no cache had a share in, what was read from one, and put into one."""


class AnthropicAnswer:
    """Reads what a server says into `gathered`."""

    def __init__(self, gathered: Gathered) -> None:
        self._gathered = gathered
        self._calls: dict[int, _Call] = {}
        self._usage: dict[str, object] = {}

    def take_whole(self, body: JsonObject) -> None:
        """Take a message that was not streamed."""
        self._gathered.served_by(text_of(body, "model"), answer_id=text_of(body, "id"))
        for position, block in enumerate(objects_of(body, "content")):
            self._start(block, position)
            self._stop(position)
        self._count(object_of(body, "usage"))
        self._finish(body)

    def take_event(self, event: JsonObject) -> None:
        """Take one event of a stream."""
        match text_of(event, "type"):
            case "message_start":
                message = object_of(event, "message") or {}
                self._gathered.served_by(text_of(message, "model"), answer_id=text_of(message, "id"))
                usage = object_of(message, "usage") or {}
                # The output counted here is what the model had begun with, not what it came to.
                self._count({name: usage[name] for name in _INPUT_COUNTS if name in usage})
            case "content_block_start":
                self._start(object_of(event, "content_block") or {}, count_of(event, "index") or 0)
            case "content_block_delta":
                self._take_delta(object_of(event, "delta") or {}, count_of(event, "index") or 0)
            case "content_block_stop":
                self._stop(count_of(event, "index") or 0)
            case "message_delta":
                self._count(object_of(event, "usage"))
                self._finish(object_of(event, "delta") or {})
            case "message_stop":
                self._gathered.has_ended = self._gathered.is_finished

    def _start(self, block: JsonObject, position: int) -> None:
        match text_of(block, "type"):
            case "text":
                self._gathered.add_text(text_of(block, "text") or "")
            case "thinking":
                self._gathered.add_reasoning(text_of(block, "thinking") or "")
            case "tool_use":
                call = self._calls[position] = _Call(len(self._calls), object_of(block, "input") or {})
                name, call_id = text_of(block, "name") or "", text_of(block, "id") or ""
                self._gathered.add_tool_call(call.index, call_id=call_id, name=name)

    def _take_delta(self, delta: JsonObject, position: int) -> None:
        match text_of(delta, "type"):
            case "text_delta":
                self._gathered.add_text(text_of(delta, "text") or "")
            case "thinking_delta":
                self._gathered.add_reasoning(text_of(delta, "thinking") or "")
            case "input_json_delta" if position in self._calls:
                self._write_arguments(self._calls[position], text_of(delta, "partial_json") or "")

    def _write_arguments(self, call: "_Call", piece: str) -> None:
        call.is_begun = call.is_begun or bool(piece)
        self._gathered.add_tool_call(call.index, arguments=piece)

    def _stop(self, position: int) -> None:
        """A call whose arguments did not come in pieces has those that it started with, often none."""
        call = self._calls.get(position)
        if call is not None and not call.is_begun:
            self._write_arguments(call, json.dumps(call.given, ensure_ascii=False))

    def _finish(self, message: JsonObject) -> None:
        if reason := text_of(message, "stop_reason"):
            self._gathered.finish(_FINISH.get(reason, "other"), reason)

    def _count(self, usage: JsonObject | None) -> None:
        """Take the counts of `usage`, which replace earlier ones and are in all."""
        self._usage |= {name: value for name, value in (usage or {}).items() if value is not None}
        details = object_of(self._usage, "output_tokens_details") or {}
        parts = [count_of(self._usage, name) for name in _INPUT_COUNTS if name in self._usage]
        known = [part for part in parts if part is not None]
        is_sound = len(known) == len(parts) and "input_tokens" in self._usage
        self._gathered.counted = Counted(
            input_tokens=sum(known) if is_sound else None,
            output_tokens=count_of(self._usage, "output_tokens"),
            cached_input_tokens=count_of(self._usage, "cache_read_input_tokens"),
            reasoning_tokens=count_of(details, "thinking_tokens"),
            cache_write_tokens=count_of(self._usage, "cache_creation_input_tokens"),
        )


class _Call:
    """A tool call of a stream: its number among the calls, and the arguments that it started with."""

    def __init__(self, index: int, given: JsonObject) -> None:
        self.index = index
        self.given = given
        self.is_begun = False
