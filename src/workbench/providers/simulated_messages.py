"""Anthropic's messages protocol from the server's side: requests read, replies worded. No I/O.

Source: https://docs.anthropic.com/en/api/messages and .../messages-streaming, read 2026-11-23.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from workbench.providers.fleet import SimulatedAnswer
from workbench.providers.simulated_chat import ChatRequest, parse, pieces_of

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens"}


@dataclass(frozen=True, slots=True)
class MessagesReply:
    """An answer in the words of the protocol."""

    request_id: str
    model: str
    answer: SimulatedAnswer

    def whole(self) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        content = [{"type": "text", "text": self.answer.text}]
        return self._head() | {"content": content, "stop_reason": self._stop_reason, "usage": self._usage()}

    def events(self) -> Iterator[bytes]:
        """The events of a stream: the beginning, the pieces of text, the end with the usage."""
        begun = self._head() | {"content": [], "stop_reason": None, "usage": self._usage(n_written=1)}
        block = {"type": "text", "text": ""}
        start = _event("message_start", message=begun)
        yield start + _event("content_block_start", index=0, content_block=block)
        for piece in pieces_of(self.answer.text):
            yield _event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
        yield _event("content_block_stop", index=0)
        end = {"stop_reason": self._stop_reason, "stop_sequence": None}
        yield _event("message_delta", delta=end, usage={"output_tokens": self.answer.output_tokens})
        yield _event("message_stop")

    def _head(self) -> dict[str, Any]:
        return {
            "id": f"msg_{self.request_id}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "stop_sequence": None,
        }

    @property
    def _stop_reason(self) -> str:
        return _STOP_REASONS[self.answer.finish_reason]

    def _usage(self, n_written: int | None = None) -> dict[str, int]:
        written = self.answer.output_tokens if n_written is None else n_written
        return {"input_tokens": self.answer.input_tokens, "output_tokens": written}


def parse_messages(body: bytes) -> ChatRequest:
    """Read the body of a request, whose fields that matter here are those of chat completions; no seed.

    Raises:
        BadRequestError: it is not JSON, or a field is not what the protocol says.
    """
    return replace(parse(body), seed=0)


def _event(name: str, **fields: Mapping[str, Any] | int) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode()
