"""Every wire protocol with recorded-like answers in it, so that one test asks the same of all.

A folder of `providers/fixtures/every` has, in its protocol's form and written after its public reference:
a whole answer (`answer.json`), one without text (`empty.json`), one that asks for two tools (`tools.json`),
an error beside a status of 200 (`error.json`), and as streams the answer, the tools and the event of an
error. All say the same: `TEXT`, `CALLS`, 19 tokens read and 12 written.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults import Script, chunk, stream
from workbench.errors import BadResponseError, ProviderError, ServerError
from workbench.providers.anthropic import AnthropicWire
from workbench.providers.chat_completions import ChatCompletionsWire
from workbench.providers.gemini import GeminiWire
from workbench.providers.ollama import OllamaWire
from workbench.providers.responses import ResponsesWire
from workbench.providers.wire import Wire
from workbench.types import ToolCall

FIXTURES = Path(__file__).parent / "providers" / "fixtures" / "every"

TEXT = "The answer is 4: naïve 🙂."
CALLS = (ToolCall("call_a", "weather", '{"city": "Oslo"}'), ToolCall("call_b", "time", "{}"))
INPUT_TOKENS, OUTPUT_TOKENS = 19, 12
_COUNTS = ("_tokens", "TokenCount", "_count")


@dataclass(frozen=True, slots=True)
class Dialect:
    """A protocol and its fixtures.

    Requests of the model `small` go to `path` below the base URL; `error` is what an error beside a
    status of 200 amounts to, which is no more than a bad response where the protocol names no kinds.
    """

    name: str
    wire: Wire
    path: str
    error: type[ProviderError] = ServerError

    def body(self, name: str) -> Any:
        """A fixture that is JSON."""
        return json.loads((FIXTURES / self.name / f"{name}.json").read_text())

    def raw(self, name: str) -> bytes:
        """The same, as it is sent."""
        return json.dumps(self.body(name), ensure_ascii=False).encode()

    def events(self, name: str) -> list[bytes]:
        """The events of a fixture that is a stream, each with its end."""
        suffix, end = (".sse", b"\n\n") if self.wire.events == "sse" else (".ndjson", b"\n")
        recorded = (FIXTURES / self.name / f"{name}{suffix}").read_bytes()
        return [one + end for one in recorded.split(end) if one]

    def broken_event(self) -> bytes:
        """An event that is not JSON."""
        return b'data: {"broken\n\n' if self.wire.events == "sse" else b'{"broken\n'

    def streamed(self, *events: bytes) -> Script:
        """A stream of `events`, each in a chunk of its own, in the protocol's content type."""
        if self.wire.events == "sse":
            return stream(*events)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        return lambda: [head, *(chunk(one) for one in events), chunk(b"")]


DIALECTS = [
    Dialect("chat_completions", ChatCompletionsWire(), "/chat/completions"),
    Dialect("responses", ResponsesWire(), "/responses"),
    Dialect("anthropic", AnthropicWire(), "/messages"),
    Dialect("gemini", GeminiWire(), "/models/small:generateContent"),
    Dialect("ollama", OllamaWire(), "/api/chat", BadResponseError),
]


def with_counts(value: Any, change: Callable[[Any], Any]) -> Any:
    """A body with every count of tokens changed; `...` leaves it out."""
    if isinstance(value, list):
        return [with_counts(one, change) for one in value]
    if not isinstance(value, dict):
        return value
    changed = {
        name: change(one) if name.endswith(_COUNTS) and isinstance(one, int) else with_counts(one, change)
        for name, one in value.items()
    }
    return {name: one for name, one in changed.items() if one is not ...}
