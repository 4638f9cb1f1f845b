"""What has come of one answer, in any protocol: checked, masked, counted, and whole only when it is.

A protocol reads its own JSON and says here what it found (`add_text`, `finish`, ...). What must hold of
every answer is looked after in this one place: characters cut between two pieces are joined, our own key
is masked, an answer without end is stopped, and counts of tokens that cannot be are replaced by bounds.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from workbench.errors import (
    BadResponseError,
    EmptyCompletionError,
    ProviderError,
    StreamTruncatedError,
    TooLargeError,
)
from workbench.providers.conversation import texts_in
from workbench.providers.counted import Counted, usage_of
from workbench.providers.http import Http
from workbench.providers.json_body import JsonObject
from workbench.providers.masked_text import MaskedText
from workbench.providers.reply import Reply
from workbench.providers.status import Complaint, refused
from workbench.types import (
    Completion,
    Decoding,
    Delta,
    FinishReason,
    Prompt,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    Usage,
    Verbatim,
)

_CHARACTERS_PER_TOKEN = 256
"""More than the longest token of any vocabulary in use (128 spaces in OpenAI's o200k)."""

_CHARACTERS_FLOOR = 4096
_MOST_TOOL_CALLS = 1024
_OVERHEAD_OF_HELD = 64


class Gathered:
    """One answer as it grows.

    `has_ended` is for the protocol to set, once nothing of use can follow; `is_finished` says that the
    model had its say, after which only the count of tokens may be missing.
    """

    __slots__ = (
        "_calls", "_decoding", "_finish", "_id", "_is_refused", "_kept", "_last_served",
        "_logprobs", "_n_characters", "_n_held", "_new", "_prompt", "_reasoning", "_reply",
        "_served", "_text", "counted", "first_token_s", "has_ended",
    )  # fmt: skip

    def __init__(self, reply: Reply, prompt: Prompt, decoding: Decoding) -> None:
        self.first_token_s: float | None = None
        self.has_ended = False
        self.counted = Counted()
        self._reply = reply
        self._prompt = prompt
        self._decoding = decoding
        self._text = MaskedText(reply)
        self._reasoning = MaskedText(reply)
        self._calls: dict[int, _Call] = {}
        self._logprobs: list[TokenLogprob] = []
        self._new: list[Delta] = []
        self._n_characters = 0
        self._n_held = 0
        self._kept: JsonObject | None = None
        self._finish: tuple[FinishReason, str] | None = None
        self._is_refused = False
        self._served: list[str] = []
        self._last_served: tuple[str | None, str | None] = None, None
        self._id: str | None = None

    @property
    def text(self) -> str:
        """What has come so far, our own key masked."""
        return self._text.shown

    @property
    def has_tool_calls(self) -> bool:
        """Whether the model asked for a tool."""
        return bool(self._calls)

    @property
    def is_finished(self) -> bool:
        """Whether the server said why the model stopped."""
        return self._finish is not None

    def served_by(self, model: str | None, *, answer_id: str | None = None) -> None:
        """Note who the server says answers, and how it calls this answer.

        A server that names another model in the middle of an answer is taken at its word: the completion's
        `served_model` then is all their names, which is no model that was asked for.
        """
        if (model, answer_id) == self._last_served:
            return
        self._last_served = model, answer_id
        name = self._http.redacted(model or "")
        if name and name not in self._served:
            self._served.append(name)
        self._id = self._http.redacted(answer_id or "") or self._id

    def add_text(self, piece: str) -> None:
        """Add to the answer.

        Raises:
            TooLargeError: the model goes on after its limit.
            BadResponseError: it is not text.
        """
        if piece and (shown := self._measured(self._text.feed(piece))):
            self._new.append(Delta(shown))

    def add_refusal(self, piece: str) -> None:
        """Add what the model says where it will not answer: the answer counts as filtered."""
        self._is_refused = True
        self.add_text(piece)

    def add_reasoning(self, piece: str) -> None:
        """Add to what the provider shows of the model's thoughts."""
        if piece and (shown := self._measured(self._reasoning.feed(piece))):
            self._new.append(Delta("", reasoning=shown))

    def add_tool_call(self, index: int, *, call_id: str = "", name: str = "", arguments: str = "") -> None:
        """Add to the tool call at `index`; a call without an id is given one.

        Raises:
            BadResponseError: there are calls without number.
        """
        if index not in self._calls and len(self._calls) >= _MOST_TOOL_CALLS:
            raise self.failure(BadResponseError, f"the answer asks for more than {_MOST_TOOL_CALLS} tools")
        call = self._calls.setdefault(index, _Call(MaskedText(self._reply)))
        is_new = not call.call_id
        call.call_id = call.call_id or self._http.redacted(call_id) or f"call_{index}"
        call.name = call.name or self._http.redacted(name)
        shown = self._measured(call.arguments.feed(arguments))
        if is_new or shown:
            delta = ToolCallDelta(index, call.call_id, call.name, shown)
            self._new.append(Delta("", tool_call=delta if is_new else ToolCallDelta(index, arguments=shown)))

    def add_logprob(self, token: TokenLogprob) -> None:
        """Add the log-probability of the answer's next token."""
        self._measured(token.token or " ")
        self._logprobs.append(token)

    def held(self, value: JsonObject) -> JsonObject:
        """`value`, which the protocol may have to `keep`.

        Raises:
            TooLargeError: with it, there is more than a body may have.
        """
        self._n_held += _OVERHEAD_OF_HELD + sum(map(len, texts_in(value)))
        if self._n_held > self._http.max_body_bytes:
            raise self.failure(TooLargeError, f"the answer is over {self._http.max_body_bytes} bytes")
        return value

    def keep(self, answer: JsonObject) -> None:
        """Keep `answer`, which holds what the provider wants back as it is: signatures of thoughts."""
        self._kept = answer

    def finish(self, reason: FinishReason, raw: str) -> None:
        """Note why the model stopped, in our words and in the server's."""
        self._finish = reason, self._http.redacted(raw)

    def end(self) -> None:
        """There is no more: release the ends that were held back while they could have become our key."""
        if rest := self._text.end():
            self._new.append(Delta(rest))
        if rest := self._reasoning.end():
            self._new.append(Delta("", reasoning=rest))
        for index, call in self._calls.items():
            if rest := call.arguments.end():
                self._new.append(Delta("", tool_call=ToolCallDelta(index, arguments=rest)))

    def deltas(self) -> Iterator[Delta]:
        """What is new since this was last asked."""
        new, self._new = self._new, []
        return iter(new)

    def failure(self, kind: type[ProviderError], reason: str) -> ProviderError:
        """An error of `kind` about this answer."""
        return self._reply.failure(kind, reason)

    def refusal(self, complaint: Complaint) -> ProviderError:
        """The error of an answer that turned out to be the server's complaint."""
        error = refused(self._reply, complaint, status=complaint.status or 200)
        error.partial_text = self._http.redacted(self.text)
        return error

    def truncated(self, reason: str) -> StreamTruncatedError:
        """The error of a stream that ended before the model had finished."""
        redacted = self._http.redacted
        error = StreamTruncatedError(
            self._http.provider, self._reply.model, redacted(reason), partial_text=redacted(self.text)
        )
        error.status, error.request_id = self._reply.status, self._reply.request_id
        return error

    def completion(self, *, latency_s: float) -> Completion:
        """The whole answer, after `end`.

        Raises:
            EmptyCompletionError: the model finished without a word and without asking for a tool.
            BadResponseError: the server did not say that the model had finished, or it cannot be right.
        """
        finish, raw = self._checked_finish()
        return Completion(
            text=self.text,
            model=self._reply.model,
            served_model=", ".join(self._served) or self._reply.model,
            provider=self._http.provider,
            usage=self._usage(),
            latency_s=latency_s,
            finish_reason=finish,
            raw_finish_reason=raw,
            first_token_s=self.first_token_s,
            request_id=self._reply.request_id or self._id,
            tool_calls=tuple(self._tool_call(self._calls[index]) for index in sorted(self._calls)),
            logprobs=self._shown_logprobs(),
            reasoning=self._reasoning.shown,
            verbatim=self._verbatim(),
        )

    @property
    def _http(self) -> Http:
        return self._reply.http

    def _checked_finish(self) -> tuple[FinishReason, str]:
        """Servers that say `stop` where the model asks for a tool mean that."""
        if self._finish is None and (self.text or self._calls):
            raise self.failure(BadResponseError, "the answer has no finish reason")
        finish, raw = self._finish or ("other", "")
        if self._is_refused:
            finish, raw = "content_filter", "refusal"
        if not self.text and not self._calls and finish != "content_filter":
            reason = f"an answer without text (finish reason {raw!r})"
            raise self.failure(EmptyCompletionError, reason)
        return ("tool_calls" if self._calls and finish == "stop" else finish), raw

    def _tool_call(self, call: "_Call") -> ToolCall:
        if not call.name:
            raise self.failure(BadResponseError, f"the tool call {call.call_id!r} names no tool")
        return ToolCall(call.call_id, call.name, call.arguments.shown)

    def _shown_logprobs(self) -> tuple[TokenLogprob, ...]:
        """None at all where the tokens spell our key: which of them do is not worth telling."""
        if not self._logprobs:
            return ()
        written = "".join(one.token + "".join(name for name, _ in one.top) for one in self._logprobs)
        spelt = "".join(one.token for one in self._logprobs)
        is_safe = all(self._http.redacted(text) == text for text in (written, spelt))
        return tuple(self._logprobs) if is_safe else ()

    def _verbatim(self) -> Verbatim | None:
        """None where our key is in it: the answer would be refused if it was masked."""
        redacted = self._http.redacted
        if self._kept is None or any(redacted(text) != text for text in texts_in(self._kept)):
            return None
        return Verbatim(self._http.provider, json.dumps(self._kept))

    def _measured(self, piece: str) -> str:
        self._n_characters += len(piece)
        most = _CHARACTERS_FLOOR + _CHARACTERS_PER_TOKEN * self._decoding.max_output_tokens
        if self._n_characters > most:
            reason = f"the answer goes on after {self._decoding.max_output_tokens} tokens, its limit"
            raise self.failure(TooLargeError, reason)
        return piece

    def _usage(self) -> Usage:
        channels = (self._text, self._reasoning, *(call.arguments for call in self._calls.values()))
        n_bytes = sum(len(channel.shown.encode()) for channel in channels)
        return usage_of(self.counted, self._prompt, self._decoding, n_bytes=n_bytes)


@dataclass(slots=True)
class _Call:
    """A tool call as it grows."""

    arguments: MaskedText
    call_id: str = ""
    name: str = ""
