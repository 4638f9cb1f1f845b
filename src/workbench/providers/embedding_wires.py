"""The embedding protocols of OpenAI and those who speak it, of Gemini and of Ollama.

Sources: https://platform.openai.com/docs/api-reference/embeddings, https://ai.google.dev/api/embeddings and
https://docs.ollama.com/api/embed, read 2026-11-23.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlencode

from workbench.providers.chat_completions import ChatCompletionsWire
from workbench.providers.gemini import GeminiWire, model_path
from workbench.providers.json_body import JsonObject, count_of, object_of, objects_of, text_of
from workbench.providers.ollama import OllamaWire
from workbench.providers.responses import ResponsesWire
from workbench.providers.wire import Wire


@dataclass(frozen=True, slots=True)
class Vectors:
    """What one answer holds, not yet checked; `input_tokens` None: the server did not count."""

    vectors: Sequence[object]
    input_tokens: int | None
    served_model: str | None


class EmbeddingWire(Protocol):
    """One protocol: what is sent where, and how the answer is read."""

    def path(self, model: str) -> str:
        """What follows the base URL and a slash."""
        ...

    def request(self, model: str, texts: Sequence[str]) -> dict[str, object]:
        """The body to send, as JSON."""
        ...

    def read(self, body: JsonObject) -> Vectors:
        """What is in an answer, in the order of the texts."""
        ...


@dataclass(frozen=True, slots=True)
class OpenAIEmbeddingWire:
    """OpenAI's protocol, whose vectors are numbered; `query` is added to the address."""

    query: Mapping[str, str] = field(default_factory=dict)

    def path(self, model: str) -> str:
        """The same for every model."""
        return "embeddings" + (f"?{urlencode(self.query)}" if self.query else "")

    def request(self, model: str, texts: Sequence[str]) -> dict[str, object]:
        """The body to send."""
        return {"model": model, "input": list(texts), "encoding_format": "float"}

    def read(self, body: JsonObject) -> Vectors:
        """The vectors by their numbers; two of one number are one too few."""
        entries = objects_of(body, "data")
        numbered = {count_of(entry, "index"): entry.get("embedding") for entry in entries}
        in_order = [numbered[index] for index in range(len(entries)) if index in numbered]
        usage = object_of(body, "usage") or {}
        return Vectors(in_order, count_of(usage, "prompt_tokens"), text_of(body, "model"))


class GeminiEmbeddingWire:
    """Google's protocol, asked for many texts at once."""

    def path(self, model: str) -> str:
        """Where `model` is asked.

        Raises:
            ConfigError: its name cannot be part of a path.
        """
        return f"{model_path(model)}:batchEmbedContents"

    def request(self, model: str, texts: Sequence[str]) -> dict[str, object]:
        """The body to send, which names the model with each text."""
        contents = ({"parts": [{"text": text}]} for text in texts)
        return {"requests": [{"model": model_path(model), "content": content} for content in contents]}

    def read(self, body: JsonObject) -> Vectors:
        """The vectors, which come in order."""
        usage = object_of(body, "usageMetadata") or {}
        vectors = [entry.get("values") for entry in objects_of(body, "embeddings")]
        return Vectors(vectors, count_of(usage, "promptTokenCount"), None)


class OllamaEmbeddingWire:
    """Ollama's protocol; a text that is too long is refused, where by default its end is dropped."""

    def path(self, model: str) -> str:
        """The same for every model."""
        return "api/embed"

    def request(self, model: str, texts: Sequence[str]) -> dict[str, object]:
        """The body to send."""
        return {"model": model, "input": list(texts), "truncate": False}

    def read(self, body: JsonObject) -> Vectors:
        """The vectors, which come in order."""
        vectors = body.get("embeddings")
        counted = count_of(body, "prompt_eval_count")
        return Vectors(vectors if isinstance(vectors, list) else [], counted, text_of(body, "model"))


def embedding_wire(wire: Wire) -> EmbeddingWire | None:
    """How a server that speaks `wire` is asked for vectors; None: it has none."""
    match wire:
        case ChatCompletionsWire():
            return OpenAIEmbeddingWire(wire.query)
        case ResponsesWire():
            return OpenAIEmbeddingWire()
        case GeminiWire():
            return GeminiEmbeddingWire()
        case OllamaWire():
            return OllamaEmbeddingWire()
    return None
