"""One answer of Anthropic's messages protocol, read from a whole message or the events of a stream.

A stream is blocks, each with a start, pieces and an end. An event and a piece that this module does not know
is passed over. Blocks of thoughts are signed, or encrypted where they were redacted: an answer with such a
block is kept whole, as it must come back in the order and to the letter in which it was given.

Sources, read 2026-11-23: https://platform.claude.com/docs/en/build-with-claude/streaming and
https://platform.claude.com/docs/en/build-with-claude/extended-thinking#preserving-thinking-blocks
"""

import json
from collections.abc import Mapping

from workbench.providers.counted import Counted
from workbench.providers.gathered import Gathered
from workbench.providers.json_body import (
    JsonError,
    JsonObject,
    count_of,
    object_of,
    objects_of,
    parse_object,
    text_of,
)
from workbench.types import FinishReason

_FINISH: Mapping[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_PIECES = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}
"""The field of a piece that has its words in it, by the piece's type."""

_INPUT_COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
"""Input is counted in three parts: what no cache had a share in, what was read from one, and put into one."""


class AnthropicAnswer:
    """Reads what a server says into `gathered`."""

    def __init__(self, gathered: Gathered) -> None:
        self._gathered = gathered
        self._blocks: dict[int, _Block] = {}
        self._n_calls = 0
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
        begun = self._blocks[position] = _Block(self._gathered.held(block))
        match text_of(block, "type"):
            case "text":
                self._gathered.add_text(text_of(block, "text") or "")
            case "thinking":
                self._gathered.add_reasoning(text_of(block, "thinking") or "")
            case "tool_use":
                begun.call_index, self._n_calls = self._n_calls, self._n_calls + 1
                name, call_id = text_of(block, "name") or "", text_of(block, "id") or ""
                self._gathered.add_tool_call(begun.call_index, call_id=call_id, name=name)

    def _take_delta(self, delta: JsonObject, position: int) -> None:
        block = self._blocks.get(position) or _Block({})
        name = _PIECES.get(text_of(delta, "type") or "", "")
        piece = text_of(delta, name) or ""
        block.add(name, piece)
        match name:
            case "text":
                self._gathered.add_text(piece)
            case "thinking":
                self._gathered.add_reasoning(piece)
            case "signature":
                self._gathered.held({name: piece})
            case "partial_json" if block.call_index is not None:
                self._gathered.add_tool_call(block.call_index, arguments=piece)

    def _stop(self, position: int) -> None:
        """A call whose arguments did not come in pieces has those that it started with, often none."""
        block = self._blocks.get(position)
        if block is not None and block.call_index is not None and "partial_json" not in block.pieces:
            given = json.dumps(object_of(block.start, "input") or {}, ensure_ascii=False)
            self._gathered.add_tool_call(block.call_index, arguments=given)

    def _finish(self, message: JsonObject) -> None:
        if reason := text_of(message, "stop_reason"):
            self._gathered.finish(_FINISH.get(reason, "other"), reason)
            self._keep()

    def _keep(self) -> None:
        """Keep an answer with signed thoughts; one that was cut off within a call cannot be sent back."""
        try:
            blocks = [block.whole() for _, block in sorted(self._blocks.items())]
        except JsonError:
            return
        if any(_is_signed(block) for block in blocks):
            self._gathered.keep({"content": [block for block in blocks if _is_sendable(block)]})

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


class _Block:
    """A block: how it started, its pieces by the field that they add to, and which call of a tool it is."""

    __slots__ = ("call_index", "pieces", "start")

    def __init__(self, start: JsonObject) -> None:
        self.start = start
        self.pieces: dict[str, list[str]] = {}
        self.call_index: int | None = None

    def add(self, name: str, piece: str) -> None:
        """Take the next piece of the field `name`."""
        if piece:
            self.pieces.setdefault(name, []).append(piece)

    def whole(self) -> JsonObject:
        """The block as it would be in an answer that was not streamed.

        Raises:
            JsonError: the arguments of its call are not whole.
        """
        whole = dict(self.start)
        for name, pieces in self.pieces.items():
            if name == "partial_json":
                whole["input"] = parse_object("".join(pieces))
            else:
                whole[name] = (text_of(self.start, name) or "") + "".join(pieces)
        return whole


def _is_signed(block: JsonObject) -> bool:
    return bool(text_of(block, "signature") or text_of(block, "type") == "redacted_thinking")


def _is_sendable(block: JsonObject) -> bool:
    """Thoughts that were cut off have no signature, and a text must not be empty."""
    match text_of(block, "type"):
        case "thinking":
            return _is_signed(block)
        case "text":
            return bool(text_of(block, "text"))
    return True
