"""One answer of the Gemini protocol; the events of a stream are answers too, each with the next part.

A part may carry the signature of the model's thoughts, in a stream also one without text at the end. Then all
parts are kept for the next request; a signed one is never joined with another.

Sources: https://ai.google.dev/api/generate-content#generatecontentresponse and
https://ai.google.dev/gemini-api/docs/thought-signatures, read 2026-11-23
"""

import json
from collections.abc import Mapping, Sequence
from itertools import groupby

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
from workbench.types import FinishReason, TokenLogprob

_FINISH: Mapping[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "ESCALATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
}
_UNSPECIFIED = "FINISH_REASON_UNSPECIFIED"


class GeminiAnswer:
    """Reads what a server says into `gathered`."""

    def __init__(self, gathered: Gathered) -> None:
        self._gathered = gathered
        self._n_calls = 0
        self._parts: list[JsonObject] = []

    def take_whole(self, body: JsonObject) -> None:
        """Take an answer that was not streamed; one that the prompt was refused has no candidates."""
        self.take_event(body)

    def take_event(self, event: JsonObject) -> None:
        """Take the next part of an answer."""
        self._gathered.served_by(text_of(event, "modelVersion"), answer_id=text_of(event, "responseId"))
        for candidate in objects_of(event, "candidates"):
            if candidate.get("index", 0) == 0:
                self._take_candidate(candidate)
        feedback = object_of(event, "promptFeedback") or {}
        if blocked := text_of(feedback, "blockReason"):
            self._gathered.finish("content_filter", blocked)
        if usage := object_of(event, "usageMetadata"):
            self._gathered.counted = _counted(usage, has_output=bool(self._gathered.text or self._n_calls))

    def _take_candidate(self, candidate: JsonObject) -> None:
        for part in objects_of(object_of(candidate, "content") or {}, "parts"):
            self._take_part(part)
        for logprob in _logprobs(object_of(candidate, "logprobsResult") or {}):
            self._gathered.add_logprob(logprob)
        reason = text_of(candidate, "finishReason")
        if reason and reason != _UNSPECIFIED:
            self._gathered.finish(_FINISH.get(reason, "other"), reason)
            if any("thoughtSignature" in part for part in self._parts):
                self._gathered.keep({"parts": _joined(self._parts)})

    def _take_part(self, part: JsonObject) -> None:
        text = text_of(part, "text") or ""
        if part.get("thought") is True:
            self._gathered.add_reasoning(text)
        else:
            self._gathered.add_text(text)
        if call := object_of(part, "functionCall"):
            arguments = json.dumps(object_of(call, "args") or {}, ensure_ascii=False)
            name, call_id = text_of(call, "name") or "", text_of(call, "id") or f"call_{self._n_calls}"
            self._gathered.add_tool_call(self._n_calls, call_id=call_id, name=name, arguments=arguments)
            self._n_calls += 1
            part = {**part, "functionCall": {**call, "id": call_id}}  # that its result has something to name
        self._parts.append(self._gathered.held(part))


def _joined(parts: Sequence[JsonObject]) -> list[JsonObject]:
    """`parts` with the pieces of one text in one; a text that is signed stays by itself."""
    joined: list[JsonObject] = []
    for kind, run in groupby(parts, key=_kind):
        if kind is None:
            joined += run
        else:
            joined.append(dict(kind) | {"text": "".join(part["text"] for part in run)})
    return [part for part in joined if part != {"text": ""}]


def _kind(part: JsonObject) -> tuple[tuple[str, bool], ...] | None:
    """What a text is beside a text, such as a thought; None: it is to be left alone."""
    if not part.keys() <= {"text", "thought"} or not isinstance(part.get("text"), str):
        return None
    return (("thought", True),) if part.get("thought") is True else ()


def _counted(usage: JsonObject, *, has_output: bool) -> Counted:
    """The counts in our meaning: thoughts, which Google counts apart, are output; a count left out is 0.

    An answer with something in it and no count of it was not counted.
    """
    prompt = _sum(usage, ("promptTokenCount", "toolUsePromptTokenCount"))
    output = _sum(usage, ("candidatesTokenCount", "thoughtsTokenCount"))
    return Counted(
        input_tokens=prompt if "promptTokenCount" in usage else None,
        output_tokens=None if has_output and "candidatesTokenCount" not in usage else output,
        cached_input_tokens=count_of(usage, "cachedContentTokenCount"),
        reasoning_tokens=count_of(usage, "thoughtsTokenCount"),
    )


def _sum(usage: JsonObject, names: Sequence[str]) -> int | None:
    """The sum of the counts that are there; None: one of them is no count."""
    counts = [count_of(usage, name) for name in names if name in usage]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _logprobs(result: JsonObject) -> list[TokenLogprob]:
    """The tokens of an answer with those likeliest at each step, where they are given."""
    chosen = [_token(one) for one in objects_of(result, "chosenCandidates")]
    tops = [objects_of(step, "candidates") for step in objects_of(result, "topCandidates")]
    tops += [[]] * (len(chosen) - len(tops))
    return [
        TokenLogprob(*token, top=tuple(pair for pair in map(_token, top) if pair is not None))
        for token, top in zip(chosen, tops, strict=False)
        if token is not None
    ]


def _token(candidate: JsonObject) -> tuple[str, float] | None:
    token, logprob = text_of(candidate, "token"), number_of(candidate, "logProbability")
    if token is None or logprob is None or not is_encodable(token):
        return None
    return token, logprob
