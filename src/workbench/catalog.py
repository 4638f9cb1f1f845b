"""What models exist, what they charge and how much they can read: `data/models.csv`, one row a model.

A price has the page it was read from and the date on which it was; a cost is computed from it and
carries that date into the outcome table.
"""

import csv
import difflib
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

from workbench.errors import ConfigError, DataError
from workbench.settings import data_dir
from workbench.storage import read_bytes
from workbench.types import Decoding, Message, Prompt, Usage

_TOKENS_PER_MESSAGE = 16
"""Upper bound of what a chat template adds around one message or one tool call."""

_TOKENS_PER_IMAGE = 32_768
"""Twice the most that a model is known to make of one image: 16,384 by Qwen2-VL
(https://huggingface.co/Qwen/Qwen2-VL-7B-Instruct), 14,364 by GPT-6, 4,005 by Claude 5.5 and 1,101 by Gemini 3
(measured up to 12 megapixels: https://huggingface.co/datasets/JOHNISKING/image-token-cost); 2026-11-23."""

_TOKENS_OF_INSTRUCTIONS = 1024
"""About twice the longest text that a provider is known to add so that a model can use tools: 530 tokens
(https://docs.anthropic.com/en/docs/tool-use-pricing-and-tokens, 2026-11-23). Taken again for a schema."""

_REWRITTEN = 2
"""JSON that a provider writes out anew, with spaces and line breaks, has at most so many tokens a byte."""


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens, with where and when it was read."""

    input_usd_per_mtok: float
    output_usd_per_mtok: float
    source: str
    date: date

    def cost_usd(self, usage: Usage) -> float:
        """What `usage` costs.

        >>> Price(1.0, 2.0, "here", date(2026, 1, 1)).cost_usd(Usage(500_000, 250_000))
        1.0
        """
        return (
            usage.input_tokens * self.input_usd_per_mtok + usage.output_tokens * self.output_usd_per_mtok
        ) / 1e6


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model of one provider. `price` is None when nobody has said what it costs."""

    provider: str
    model: str
    price: Price | None = None
    context_tokens: int | None = None

    @property
    def model_id(self) -> str:
        """`provider/model`."""
        return f"{self.provider}/{self.model}"

    def cost_bound_usd(self, prompt: Prompt, decoding: Decoding) -> float:
        """The most that one call can cost: what a budget reserves before sending.

        A token is at least one byte of UTF-8 text, so the bytes of the prompt bound its tokens.

        Raises:
            ConfigError: the model has no price, so no bound can be given.
        """
        if self.price is None:
            raise ConfigError(
                f"{self.model_id} has no price, so a budget cannot be kept; add a row to a catalog file, "
                "or run without a budget"
            )
        return self.price.cost_usd(Usage(token_bound(prompt, decoding), decoding.max_output_tokens))


class Catalog:
    """Models by `provider/model`; a later row replaces an earlier one of the same name."""

    def __init__(self, models: Iterable[ModelSpec]) -> None:
        self._models = {spec.model_id: spec for spec in models}

    def __iter__(self) -> Iterator[ModelSpec]:
        return iter(self._models.values())

    def __getitem__(self, model_id: str) -> ModelSpec:
        """The model of this id.

        Raises:
            ConfigError: there is none; the message names the nearest that exist.
        """
        if model_id not in self._models:
            near = difflib.get_close_matches(model_id, self._models, n=3, cutoff=0.3)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise ConfigError(f"no model {model_id!r} in the catalog{hint}")
        return self._models[model_id]

    def get(self, model_id: str) -> ModelSpec | None:
        """The model of this id; None if it is not listed."""
        return self._models.get(model_id)

    def __contains__(self, model_id: object) -> bool:
        return model_id in self._models

    def __or__(self, other: "Catalog") -> "Catalog":
        """Both catalogs; where they disagree, `other` is right."""
        return Catalog([*self, *other])


@lru_cache(maxsize=1)
def default_catalog() -> Catalog:
    """The models that come with the package."""
    return read_catalog(data_dir() / "models.csv")


def read_catalog(path: Path) -> Catalog:
    """Models from a CSV file with the columns of `data/models.csv`.

    Raises:
        StorageError: there is no such file.
        DataError: a column is missing, or a row cannot be read; the message names the line.
    """
    try:
        text = read_bytes(path, purpose="model catalog").decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise DataError(f"{path} is not UTF-8 text: {exc}") from exc
    rows = csv.DictReader(io.StringIO(text))
    missing = set(_COLUMNS) - set(rows.fieldnames or ())
    if missing:
        raise DataError(f"{path} lacks the columns {', '.join(sorted(missing))}")
    return Catalog(_spec(row, where=f"{path}, line {number}") for number, row in enumerate(rows, start=2))


def token_bound(prompt: Prompt, decoding: Decoding | None = None) -> int:
    """More tokens than any tokenizer makes of `prompt`, and of the tools and the schema in `decoding`.

    Text counts a token a byte of UTF-8; an image counts more than any model makes of one, whatever its size.
    """
    asked = 0 if decoding is None else _bound_of_tools(decoding) + _bound_of_schema(decoding)
    return sum(map(_bound_of_message, prompt.messages)) + asked


def _bound_of_message(message: Message) -> int:
    n_texts = 1 + len(message.tool_calls)
    calls = sum(
        _n_bytes(call.call_id, call.name) + _REWRITTEN * _n_bytes(call.arguments)
        for call in message.tool_calls
    )
    text = _n_bytes(message.content, message.tool_call_id or "")
    return text + calls + _TOKENS_PER_MESSAGE * n_texts + _TOKENS_PER_IMAGE * len(message.images)


def _bound_of_tools(decoding: Decoding) -> int:
    if not decoding.tools:
        return 0
    tools = (_n_bytes(tool.name, tool.description, tool.parameters) for tool in decoding.tools)
    return _TOKENS_OF_INSTRUCTIONS + sum(_REWRITTEN * n_bytes + _TOKENS_PER_MESSAGE for n_bytes in tools)


def _bound_of_schema(decoding: Decoding) -> int:
    if decoding.json_schema is None:
        return 0
    return _TOKENS_OF_INSTRUCTIONS + _REWRITTEN * _n_bytes(decoding.json_schema)


def _n_bytes(*texts: str) -> int:
    return sum(len(text.encode()) for text in texts)


_COLUMNS = (
    "provider",
    "model",
    "input_usd_per_mtok",
    "output_usd_per_mtok",
    "context_tokens",
    "source",
    "date",
)


def _spec(row: Mapping[str, str], *, where: str) -> ModelSpec:
    if not row["provider"] or not row["model"]:
        raise DataError(f"{where}: a row needs a provider and a model")
    try:
        price = Price(
            float(row["input_usd_per_mtok"]),
            float(row["output_usd_per_mtok"]),
            row["source"],
            date.fromisoformat(row["date"]),
        )
        context_tokens = int(row["context_tokens"]) if row["context_tokens"] else None
    except (TypeError, ValueError) as exc:
        raise DataError(f"{where}: {exc}") from exc
    if not all(0 <= usd < math.inf for usd in (price.input_usd_per_mtok, price.output_usd_per_mtok)):
        raise DataError(f"{where}: a price of {row['provider']}/{row['model']} is negative or not a number")
    return ModelSpec(row["provider"], row["model"], price, context_tokens)
