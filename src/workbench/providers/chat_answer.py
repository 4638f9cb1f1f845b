"""One answer of the chat-completions protocol, read from a whole body or the events of a stream.

Nothing in this protocol numbers the events of a stream, so that one sent twice cannot be told from a
model that repeats itself.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.errors import EmptyCompletionError, ProviderError, ServerError
from workbench.providers.counted import Counted
from workbench.providers.gathered import Gathered
from workbench.providers.json_body import (
    JsonObject,
    count_of,
    is_encodable,
    number_of,
    object_of,
    objects_of,
    text_of,
)
from workbench.providers.status import complaint_in
from workbench.types import FinishReason, TokenLogprob

FINISH: Mapping[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
_MOST_ALTERNATIVES = 64

_RETURNED = ("reasoning_content", "reasoning_details")
"""Thoughts that DeepSeek and OpenRouter want back with the calls that they led to. Sources (2026-11-23):
https://api-docs.deepseek.com/guides/thinking_mode, https://openrouter.ai/docs/use-cases/reasoning-tokens"""

_SIGNATURE = "extra_content"
"""Where Google's compatible server has the signature of a call: https://ai.google.dev/gemini-api/docs/openai"""


class ChatAnswer:
    """Reads what a server says into `gathered`."""

    __slots__ = ("_calls", "_gathered", "_returned", "_signatures")

    def __init__(self, gathered: Gathered) -> None:
        self._gathered = gathered
        self._calls: list[tuple[int, str]] = []
        self._returned: dict[str, list[Any]] = {}
        self._signatures: dict[int, JsonObject] = {}

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
        self._take_choice(choices[0])

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
                self._take_choice(choice)

    def _take_head(self, body: JsonObject) -> None:
        self._gathered.served_by(text_of(body, "model"), answer_id=text_of(body, "id"))
        # Groq tells the usage of a stream in a field of its own as well: https://console.groq.com/docs/api-reference
        usage = object_of(body, "usage") or object_of(object_of(body, "x_groq") or {}, "usage")
        if usage:
            self._gathered.counted = _counted(usage)

    def _take_message(self, message: JsonObject) -> None:
        """Reasoning goes by two names: DeepSeek's `reasoning_content` and OpenRouter's `reasoning`."""
        thoughts, content = _thoughts_and_text(message)
        thoughts = text_of(message, "reasoning_content") or text_of(message, "reasoning") or thoughts
        self._gathered.add_reasoning(thoughts)
        if not content and (refusal := text_of(message, "refusal")):
            self._gathered.add_refusal(refusal)
        self._gathered.add_text(content)
        for name in _RETURNED:
            if name in message:
                self._hold(name, message[name])
        for position, call in enumerate(objects_of(message, "tool_calls")):
            self._take_tool_call(call, position)

    def _take_tool_call(self, call: JsonObject, position: int) -> None:
        function = object_of(call, "function") or {}
        index, call_id = count_of(call, "index"), text_of(call, "id") or ""
        arguments = text_of(function, "arguments")
        if arguments is None and (spelt := object_of(function, "arguments")) is not None:
            arguments = json.dumps(spelt)  # Cloudflare's and older servers' form
        place = self._place_of(position if index is None else index, call_id)
        if (signature := object_of(call, _SIGNATURE)) is not None:
            self._signatures[place] = self._gathered.held({_SIGNATURE: signature})
        self._gathered.add_tool_call(
            place,
            call_id=call_id,
            name=text_of(function, "name") or "",
            arguments=arguments or "",
        )

    def _place_of(self, index: int, call_id: str) -> int:
        """Which call this is a piece of: some servers give all calls the index 0, but another id each."""
        known = [place for place, (number, _) in enumerate(self._calls) if number == index]
        if known and call_id in ("", self._calls[known[-1]][1]):
            return known[-1]
        self._calls.append((index, call_id))
        return len(self._calls) - 1

    def _take_choice(self, choice: JsonObject) -> None:
        for kind in ("content", "refusal"):
            for token in objects_of(object_of(choice, "logprobs") or {}, kind):
                if (logprob := token_logprob(token)) is not None:
                    self._gathered.add_logprob(logprob)
        finish = text_of(choice, "finish_reason")
        if choice.get("error"):
            raise self._gathered.refusal(complaint_in(choice))
        if finish == "error":
            raise self._failed()
        if finish:
            self._gathered.finish(FINISH.get(finish, "other"), finish)
            if self._calls and (self._returned or self._signatures):
                self._keep()

    def _hold(self, name: str, value: object) -> None:
        """Hold a text, or a list of parts, as it grows."""
        self._gathered.held({name: value})
        if isinstance(value, str):
            self._returned.setdefault(name, []).append(value)
        elif isinstance(value, list):
            self._returned.setdefault(name, []).extend(value)

    def _keep(self) -> None:
        """Keep what the server wants back with the calls of an answer."""
        message = {
            name: "".join(pieces) if all(isinstance(piece, str) for piece in pieces) else pieces
            for name in _RETURNED
            if (pieces := self._returned.get(name)) is not None
        }
        signatures = [self._signatures.get(place, {}) for place in range(len(self._calls))]
        self._gathered.keep({"message": message, "tool_calls": signatures})

    def _failed(self) -> ProviderError:
        return self._gathered.failure(ServerError, "the model failed while it answered")


def token_logprob(token: JsonObject) -> TokenLogprob | None:
    """A token and its log-probability, as OpenAI's protocols write them; None: it is not that."""
    text, logprob = text_of(token, "token"), number_of(token, "logprob")
    if text is None or logprob is None or not is_encodable(text):
        return None
    others = ((text_of(one, "token"), number_of(one, "logprob")) for one in objects_of(token, "top_logprobs"))
    top = ((name, number) for name, number in others if name is not None and number is not None)
    return TokenLogprob(text, logprob, tuple(one for one in top if is_encodable(one[0]))[:_MOST_ALTERNATIVES])


def _counted(usage: JsonObject) -> Counted:
    """What is in the total and neither read nor written was written out of sight, and is billed.

    xAI and Google do not count a model's thoughts as `completion_tokens`; others do.
    """
    read = object_of(usage, "prompt_tokens_details") or {}
    written = object_of(usage, "completion_tokens_details") or {}
    prompt, completion = count_of(usage, "prompt_tokens"), count_of(usage, "completion_tokens")
    total, reasoning = count_of(usage, "total_tokens"), count_of(written, "reasoning_tokens")
    if prompt is not None and completion is not None and total is not None and total > prompt + completion:
        reasoning = reasoning or total - prompt - completion
        completion = total - prompt
    cached = count_of(read, "cached_tokens")
    if cached is None:  # DeepSeek's name for it: https://api-docs.deepseek.com/guides/kv_cache
        cached = count_of(usage, "prompt_cache_hit_tokens")
    return Counted(prompt, completion, cached, reasoning, count_of(read, "cache_write_tokens"))


def _thoughts_and_text(message: JsonObject) -> tuple[str, str]:
    """The content of a message: a string, or a list of parts; Mistral has thoughts among those.

    Source: https://docs.mistral.ai/capabilities/reasoning/
    """
    parts = objects_of(message, "content")
    if not parts:
        return "", text_of(message, "content") or ""
    thinking = [part for part in parts if text_of(part, "type") == "thinking"]
    thoughts = "".join(_texts(objects_of(part, "thinking")) for part in thinking)
    return thoughts, _texts(parts)


def _texts(parts: Sequence[JsonObject]) -> str:
    return "".join(text_of(part, "text") or "" for part in parts if text_of(part, "type") == "text")
