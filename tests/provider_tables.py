"""The tables of `docs/providers.md`, written from what `providers/test_features.py` exercises.

    PYTHONPATH=tests .venv/bin/python -m provider_tables

writes them again. Every cell is a test: one that says where a thing goes is held to a request that asks for
it, one that says where it is read from to an answer that has it there.
"""

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dialects import DIALECTS
from wires import CALLS, LINKED, PNG, RESULTS, SCHEMA, TOOLS
from workbench.catalog.models import SAME_MODELS
from workbench.providers.registry import ENDPOINTS
from workbench.settings import Settings
from workbench.types import Completion, Decoding, Message, Prompt

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "providers.md"
PROTOCOLS = tuple(one.name for one in DIALECTS)
PLAIN = Prompt("p1", "And now?")
REFUSED, LEFT_OUT, ABSENT, YES = "refused", "left out", "none", "yes"
"""Cells without a place: an error before sending, asked for in vain, not in the protocol, and there."""

MODELS = {"anthropic": "claude-opus-4-6", "gemini": "gemini-3-pro"}
"""Models with which all there is can be asked for; elsewhere the name does not matter."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A feature of requests: what asks for it, what it looks like when sent, and where, by protocol."""

    name: str
    sent: str
    places: Mapping[str, str]
    prompt: Prompt = PLAIN
    decoding: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Read:
    """A feature of answers: what is read, its value, and by protocol its place and what stands there."""

    name: str
    shown: Callable[[Completion], object]
    value: object
    places: Mapping[str, tuple[str, Any]]


def _everywhere(*places: str) -> dict[str, str]:
    return dict(zip(PROTOCOLS, places, strict=True))


_TURNS = (
    Message("user", "Which city is this?"),
    Message("assistant", "Let me look.", tool_calls=CALLS[:1]),
    RESULTS[0],
)

ASKED = (
    Asked(
        "system message",
        "Be brief.",
        _everywhere("messages[0]", "instructions", "system", "systemInstruction", "messages[0]"),
        prompt=Prompt("p1", "And now?", system="Be brief."),
    ),
    Asked(
        "several turns",
        "Oh, Oslo.",
        _everywhere("messages", "input", "messages", "contents", "messages"),
        prompt=Prompt(
            "p1", "And now?", history=(Message("user", "Where?"), Message("assistant", "Oh, Oslo."))
        ),
    ),
    Asked(
        "image, its bytes",
        "cG5n",
        _everywhere("messages", "input", "messages", "contents", "messages"),
        prompt=Prompt("p1", "What is this?", images=(PNG,)),
    ),
    Asked(
        "image, its address",
        "https://a.example/b.jpg",
        _everywhere("messages", "input", "messages", "contents", REFUSED),
        prompt=Prompt("p1", "What is this?", images=(LINKED,)),
    ),
    Asked(
        "tools",
        "The weather in a city",
        _everywhere("tools", "tools", "tools", "tools[0].functionDeclarations", "tools"),
        decoding={"tools": TOOLS},
    ),
    Asked(
        "results of tools",
        "rain",
        _everywhere("messages", "input", "messages", "contents", "messages"),
        prompt=Prompt("p1", "And now?", history=_TURNS),
    ),
    Asked(
        "one tool must be called",
        "weather",
        _everywhere("tool_choice", "tool_choice", "tool_choice", "toolConfig", REFUSED),
        decoding={"tools": TOOLS, "tool_choice": "weather"},
    ),
    Asked(
        "structured output",
        '"required": ["answer"]',
        _everywhere(
            "response_format",
            "text.format",
            "output_config.format",
            "generationConfig.responseJsonSchema",
            "format",
        ),
        decoding={"json_schema": SCHEMA},
    ),
    Asked(
        "reasoning effort",
        "high",
        _everywhere(
            "reasoning_effort",
            "reasoning.effort",
            "output_config.effort",
            "generationConfig.thinkingConfig",
            "think",
        ),
        decoding={"reasoning_effort": "high", "temperature": None},
    ),
    Asked(
        "log-probabilities",
        "3",
        _everywhere("top_logprobs", "top_logprobs", REFUSED, "generationConfig.logprobs", "top_logprobs"),
        decoding={"top_logprobs": 3},
    ),
    Asked(
        "seed",
        "77",
        _everywhere("seed", LEFT_OUT, LEFT_OUT, "generationConfig.seed", "options.seed"),
        decoding={"seed": 77},
    ),
    Asked(
        "stop sequences",
        "END",
        _everywhere("stop", REFUSED, "stop_sequences", "generationConfig.stopSequences", "options.stop"),
        decoding={"stop": ("END",)},
    ),
)

_LOGPROB = {"token": "4", "logprob": -0.5, "top_logprobs": []}
_CHOSEN = {"chosenCandidates": [{"token": "4", "logProbability": -0.5}]}
_SIGNATURE = "CiQBcsjafK2xbGEgc2lnbmF0dXJl"
_SIGNED_CALL = {
    "id": "call_a",
    "function": {"name": "clock", "arguments": "{}"},
    "extra_content": {"google": {"thought_signature": _SIGNATURE}},
}
_SUMMARY = [{"type": "summary_text", "text": "Two and two."}]

READ = (
    Read(
        "thoughts",
        lambda one: one.reasoning,
        "Two and two.",
        {
            "chat_completions": ("choices[0].message.reasoning_content", "Two and two."),
            "responses": ("output[0].summary", _SUMMARY),
            "anthropic": ("content[+]", {"type": "thinking", "thinking": "Two and two."}),
            "gemini": ("candidates[0].content.parts[+]", {"thought": True, "text": "Two and two."}),
            "ollama": ("message.thinking", "Two and two."),
        },
    ),
    Read(
        "signed thoughts, sent back",
        lambda one: _SIGNATURE in (one.verbatim.json if one.verbatim else ""),
        True,
        {
            "chat_completions": ("choices[0].message.tool_calls", [_SIGNED_CALL]),
            "responses": ("output[0].encrypted_content", _SIGNATURE),
            "anthropic": ("content[+]", {"type": "thinking", "thinking": "", "signature": _SIGNATURE}),
            "gemini": ("candidates[0].content.parts[+]", {"text": "", "thoughtSignature": _SIGNATURE}),
        },
    ),
    Read(
        "log-probabilities, read",
        lambda one: [(token.token, token.logprob) for token in one.logprobs],
        [("4", -0.5)],
        {
            "chat_completions": ("choices[0].logprobs.content", [_LOGPROB]),
            "responses": ("output[1].content[0].logprobs", [_LOGPROB]),
            "gemini": ("candidates[0].logprobsResult", _CHOSEN),
            "ollama": ("logprobs", [_LOGPROB]),
        },
    ),
    Read(
        "cached tokens",
        lambda one: one.usage.cached_input_tokens,
        7,
        {
            "chat_completions": ("usage.prompt_tokens_details.cached_tokens", 7),
            "responses": ("usage.input_tokens_details.cached_tokens", 7),
            "anthropic": ("usage.cache_read_input_tokens", 7),
            "gemini": ("usageMetadata.cachedContentTokenCount", 7),
        },
    ),
    Read(
        "reasoning tokens",
        lambda one: one.usage.reasoning_tokens,
        5,
        {
            "chat_completions": ("usage.completion_tokens_details.reasoning_tokens", 5),
            "responses": ("usage.output_tokens_details.reasoning_tokens", 5),
            "anthropic": ("usage.output_tokens_details.thinking_tokens", 5),
            "gemini": ("usageMetadata.thoughtsTokenCount", 5),
        },
    ),
)

STREAMED = {"sse": "server-sent events", "lines": "a JSON object a line"}
EMBEDDED = _everywhere("embeddings", "embeddings", ABSENT, "models/…:batchEmbedContents", "api/embed")
BATCHED = _everywhere(YES, YES, YES, ABSENT, ABSENT)


def decoding_of(feature: Asked) -> Decoding:
    """What asks for it, with room to think."""
    return Decoding(**{"max_output_tokens": 2000, **feature.decoding})


def steps_of(place: str) -> list[str | int]:
    """The keys and indices of a place; `[+]` is before the first.

    >>> steps_of("tools[0].name"), steps_of("content[+]")
    (['tools', 0, 'name'], ['content', '+'])
    """
    found = re.findall(r"\[(\d+|\+)\]|([^.\[\]]+)", place)
    return [name or (int(index) if index.isdigit() else index) for index, name in found]


def at(body: Any, place: str) -> Any:
    """What is at `place` of a body; None: nothing."""
    for step in steps_of(place):
        try:
            body = body[step]
        except (KeyError, IndexError):
            return None
    return body


def planted(body: Any, place: str, value: Any) -> Any:
    """`body` with `value` at `place`."""
    body = json.loads(json.dumps(body))
    *way, last = steps_of(place)
    inner = body
    for step in way:
        if isinstance(inner, dict) and inner.get(step) is None:
            inner[step] = {}
        inner = inner[step]
    if last == "+":
        inner.insert(0, value)
    else:
        inner[last] = value
    return body


def feature_table() -> str:
    """A protocol a column, a feature a row."""
    rows = [[one.name, *(one.places[name] for name in PROTOCOLS)] for one in ASKED]
    rows += [[one.name, *(one.places.get(name, (ABSENT,))[0] for name in PROTOCOLS)] for one in READ]
    events = [STREAMED[one.wire.events] for one in DIALECTS]
    rows += [["streams, also of tools", *events]]
    rows += [[name, *of.values()] for name, of in (("embeddings", EMBEDDED), ("batches", BATCHED))]
    words = {REFUSED, LEFT_OUT, ABSENT, YES, *events}
    shown = [[row[0], *(one if one in words else f"`{one}`" for one in row[1:])] for row in rows]
    return _table(("", *(f"`{name}`" for name in PROTOCOLS)), shown)


def endpoint_table() -> str:
    """A row of the registry a row."""
    rows = []
    for row in ENDPOINTS:
        notes = [f"`{old}` is `{new}`" if new else f"no `{old}`" for old, new in row.renamed.items()]
        if row.name in SAME_MODELS:
            notes.append(f"models and prices of `{SAME_MODELS[row.name]}`")
        key = "none" if row.key_var is None else f"`{row.key_var}`"
        key += ", may be unset" if row.is_key_optional else ""
        base_url = f"`{row.base_url}`" if row.base_url else "`WORKBENCH_SIMULATOR_URL`"
        rows.append([f"`{row.name}`", base_url, key, f"`{row.wire}`", ", ".join(notes)])
    return _table(("name", "base URL", "key", "protocol", "what is special"), rows)


def setting_table() -> str:
    """A setting of the workbench a row."""
    fields = Settings.model_fields.items()
    rows = [[f"`WORKBENCH_{name.upper()}`", one.description or ""] for name, one in fields]
    return _table(("variable", "what it is"), rows)


def documented(text: str) -> str:
    """The manual with its tables as they are now."""
    tables = {"features": feature_table(), "endpoints": endpoint_table(), "settings": setting_table()}
    for name, table in tables.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        head, _, rest = text.partition(begin)
        text = head + begin + table + end + rest.partition(end)[2]
    return text


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    DOCUMENT.write_text(documented(DOCUMENT.read_text()))
    sys.stdout.write(f"wrote the tables of {DOCUMENT.name}\n")
