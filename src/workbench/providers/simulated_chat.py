"""OpenAI's chat-completions protocol from the server's side: requests read, replies worded. No I/O."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.providers.fleet import SimulatedAnswer, asked_text

N_PIECES = 6
"""Pieces of text in which a streamed answer comes."""


class BadRequestError(ValueError):
    """A body that is not a chat-completions request; the message goes to the caller."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What the simulator heeds of a request; `text` is the system message and the user's last."""

    model: str
    text: str
    seed: int
    max_output_tokens: int
    stream: bool
    with_usage: bool


@dataclass(frozen=True, slots=True)
class ChatReply:
    """An answer in the words of the protocol."""

    request_id: str
    model: str
    answer: SimulatedAnswer
    fleet_seed: int = 0
    with_usage: bool = False

    def whole(self) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        message = {"role": "assistant", "content": self.answer.text, "refusal": None}
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": self.answer.finish_reason,
        }
        return self._head("chat.completion") | {"choices": [choice], "usage": self._usage()}

    def events(self) -> Iterator[bytes]:
        """The events of a stream: the role, the pieces of text, the end, the usage if asked."""
        for chunk in self._chunks():
            yield f"data: {json.dumps(chunk)}\n\n".encode()
        yield b"data: [DONE]\n\n"

    def _chunks(self) -> Iterator[dict[str, Any]]:
        head = self._head("chat.completion.chunk")
        yield head | {"choices": [_choice({"role": "assistant", "content": ""})]}
        for piece in pieces_of(self.answer.text):
            yield head | {"choices": [_choice({"content": piece})]}
        yield head | {"choices": [_choice({}, finish_reason=self.answer.finish_reason)]}
        if self.with_usage:
            yield head | {"choices": [], "usage": self._usage()}

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.request_id}",
            "object": kind,
            "created": int(time.time()),
            "model": self.model,
            "system_fingerprint": f"simulated-{self.fleet_seed}",
        }

    def _usage(self) -> dict[str, Any]:
        answer = self.answer
        return {
            "prompt_tokens": answer.input_tokens,
            "completion_tokens": answer.output_tokens,
            "total_tokens": answer.input_tokens + answer.output_tokens,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
        }


def pieces_of(text: str) -> list[str]:
    """`text` in up to `N_PIECES` pieces."""
    size = -(-len(text) // N_PIECES) or 1
    return [text[at : at + size] for at in range(0, len(text), size)]


def _choice(delta: Mapping[str, str], *, finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def parse(body: bytes) -> ChatRequest:
    """Read the body of a request.

    Raises:
        BadRequestError: it is not JSON, or a field is not what the protocol says.
    """
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise BadRequestError(f"the body is not JSON: {exc}") from exc
    if not isinstance(fields, dict):
        raise BadRequestError("the body must be a JSON object")
    model, messages = fields.get("model"), fields.get("messages")
    if not isinstance(model, str) or not model:
        raise BadRequestError("'model' must be the name of a model")
    if not isinstance(messages, list) or not messages:
        raise BadRequestError("'messages' must be a list with at least one message")
    options = fields.get("stream_options")
    return ChatRequest(
        model=model,
        text=asked_text(_system_text(fields, messages), _last_user_text(messages)),
        seed=_whole(fields, "seed", default=0),
        max_output_tokens=_limit(fields),
        stream=fields.get("stream") is True,
        with_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def _last_user_text(messages: Sequence[Any]) -> str:
    for message in reversed(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise BadRequestError("every message must be an object with a 'role'")
        if message["role"] == "user":
            # Half of a surrogate pair is JSON, but no text that can be encoded.
            return _content(message.get("content")).encode(errors="replace").decode()
    raise BadRequestError("'messages' must have one of role 'user'")


def _system_text(fields: Mapping[str, Any], messages: Sequence[Any]) -> str | None:
    """The system message: the first of the messages in OpenAI's protocol, a field in Anthropic's."""
    if fields.get("system") is not None:
        content = fields["system"]
    else:
        first = messages[0]
        content = first.get("content") if isinstance(first, dict) and first.get("role") == "system" else None
    return None if content is None else _content(content).encode(errors="replace").decode()


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        return "".join(str(part.get("text", "")) for part in content if part.get("type") == "text")
    raise BadRequestError("a message's 'content' must be text or a list of parts")


def _limit(fields: Mapping[str, Any]) -> int:
    name = "max_completion_tokens" if fields.get("max_completion_tokens") is not None else "max_tokens"
    limit = _whole(fields, name, default=512)
    if limit < 1:
        raise BadRequestError(f"'{name}' must be at least 1")
    return limit


def _whole(fields: Mapping[str, Any], name: str, *, default: int) -> int:
    value = fields.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequestError(f"'{name}' must be a whole number")
    return value


def error_body(message: str, kind: str, code: str | None) -> dict[str, Any]:
    """An error in OpenAI's shape, which with its type beside it is Anthropic's too."""
    return {"type": "error", "error": {"message": message, "type": kind, "param": None, "code": code}}
