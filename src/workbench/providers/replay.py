"""Replay: an outcome table, served back over the interface of a live provider, for nothing.

What was paid for once, or published as a benchmark, can be asked again: the same answers, qualities,
costs, latencies and errors, so that a router or an analysis is tried on real outcomes without a bill.
"""

from collections.abc import AsyncIterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from workbench import errors
from workbench.catalog import Catalog, ModelSpec, token_bound
from workbench.errors import DataError, ModelNotFoundError, ProviderError, RequestError
from workbench.types import Completion, Decoding, Delta, Prompt, Usage, normalise

if TYPE_CHECKING:  # the table comes from its reader: this module does not load pandas to serve it
    import pandas as pd

NOT_KEPT = "[recorded without its answer]"
"""The text of an answer whose quality was recorded, but not its words."""

_READ = (
    "prompt_id", "arm", "model", "repeat", "prompt", "response", "quality", "cost_usd", "latency_s",
    "input_tokens", "output_tokens", "error",
)  # fmt: skip


class ReplayProvider:
    """A recorded outcome table as a provider, whose models are the arms of the table.

    A prompt is found by its `prompt_id`, or, where the table has another text under that id or no such
    id, by its text (case and white space folded). Where an arm saw a prompt more than once,
    `decoding.seed` chooses the repeat of that number, or, beyond the last, goes round; None: the first.
    Nothing sleeps: `latency_s` is what was recorded, and 0.0 where nothing was.

    Args:
        table: an outcome table, as `outcomes.read` gives it.
        name: the first part of the ids of its models.
    Raises:
        DataError: the table has no rows, or neither `arm` nor `model`.
    """

    def __init__(self, table: "pd.DataFrame", *, name: str = "replay") -> None:
        arm = next((column for column in ("arm", "model") if column in table), None)
        if arm is None or "prompt_id" not in table or table.empty:
            raise DataError(
                f"a table to replay needs rows with prompt_id and arm (or model); this one has {len(table)} "
                f"rows of {list(table.columns)}"
            )
        self._name = name
        self._columns = {column: _values(table, column) for column in _READ if column in table}
        self._columns["arm"] = self._columns[arm]
        self._rows = self._index()
        self._text_of = dict(zip(self._columns["prompt_id"], self._column("prompt"), strict=True))

    @property
    def name(self) -> str:
        """The first part of the ids of its models."""
        return self._name

    @cached_property
    def models(self) -> tuple[str, ...]:
        """The names that can be asked, in order of first appearance."""
        return tuple(dict.fromkeys(self._columns["arm"]))

    def candidates(self) -> tuple[str, ...]:
        """The ids of the models, as routers and clients use them."""
        return tuple(f"{self._name}/{model}" for model in self.models)

    def catalog(self) -> Catalog:
        """The models without a price: what a call cost comes with the recorded answer."""
        return Catalog(ModelSpec(self._name, model) for model in self.models)

    def recorded_quality(self, model: str, prompt: Prompt, *, seed: int | None = None) -> float | None:
        """The quality that was recorded for this answer, in [0, 1]; None: it was not scored.

        Raises:
            ModelNotFoundError, RequestError: there is no such model, or it did not see this prompt.
        """
        quality = self._column("quality")[self._row(model, prompt, seed)]
        return None if quality is None else float(quality)

    async def complete(
        self, model: str, prompt: Prompt, decoding: Decoding, *, deadline_s: float
    ) -> Completion:
        """The recorded answer, at once; a recorded error is raised again, and is not worth a retry.

        Raises:
            ModelNotFoundError, RequestError: there is no such model, or it did not see this prompt.
            ProviderError: what was recorded in place of an answer.
        """
        return self._completion(model, prompt, decoding)

    async def stream(
        self, model: str, prompt: Prompt, decoding: Decoding, *, deadline_s: float
    ) -> AsyncIterator[Delta]:
        """The recorded answer as one piece, then the completion."""
        completion = self._completion(model, prompt, decoding)
        yield Delta(completion.text)
        yield Delta("", completion)

    async def aclose(self) -> None:
        """Nothing is open."""

    def _completion(self, model: str, prompt: Prompt, decoding: Decoding) -> Completion:
        row = self._row(model, prompt, decoding.seed)
        error = self._column("error")[row]
        if error is not None:
            raise _again(error, self._name, model)
        response, cost_usd = self._column("response")[row], self._column("cost_usd")[row]
        return Completion(
            text=response or NOT_KEPT,
            model=model,
            served_model=self._column("model")[row] or model,
            provider=self._name,
            usage=self._usage(row, prompt),
            latency_s=float(self._column("latency_s")[row] or 0.0),
            finish_reason="stop",
            cost_usd=None if cost_usd is None else float(cost_usd),
        )

    def _usage(self, row: int, prompt: Prompt) -> Usage:
        counted = self._column("input_tokens")[row], self._column("output_tokens")[row]
        if None not in counted:
            return Usage(int(counted[0]), int(counted[1]))
        said = (self._column("response")[row] or "").encode()
        return Usage(token_bound(prompt), len(said), is_estimated=True)

    def _row(self, model: str, prompt: Prompt, seed: int | None) -> int:
        """The number of the row that answers this call."""
        rows = self._rows.get(model)
        if rows is None:
            raise ModelNotFoundError(
                self._name,
                model,
                f"the recorded table has no such model; it has {', '.join(self.models[:20])}",
            )
        repeats = rows.get(self._recorded_id(prompt) or "")
        if repeats is None:
            raise RequestError(
                self._name, model, f"no outcome of prompt {prompt.prompt_id!r} was recorded for this model"
            )
        number = seed or 0
        return repeats[number] if number in repeats else list(repeats.values())[number % len(repeats)]

    def _recorded_id(self, prompt: Prompt) -> str | None:
        """The id under which the table has this prompt; None: it does not have it."""
        recorded = self._text_of.get(prompt.prompt_id)
        if prompt.prompt_id in self._text_of and (recorded is None or _same(recorded, prompt.text)):
            return prompt.prompt_id
        return self._id_of_text.get(normalise(prompt.text))

    @cached_property
    def _id_of_text(self) -> Mapping[str, str]:
        texts = {prompt_id: text for prompt_id, text in self._text_of.items() if text is not None}
        return {normalise(text): prompt_id for prompt_id, text in reversed(texts.items())}

    def _index(self) -> dict[str, dict[str, dict[int, int]]]:
        """Model -> prompt_id -> repeat -> row, repeats in order."""
        index: dict[str, dict[str, dict[int, int]]] = {}
        columns = (self._columns["arm"], self._columns["prompt_id"], self._column("repeat"))
        order = sorted(range(len(columns[0])), key=lambda row: columns[2][row] or 0)
        for row in order:
            arm, prompt_id, repeat = (column[row] for column in columns)
            index.setdefault(arm, {}).setdefault(prompt_id, {})[int(repeat or 0)] = row
        return index

    def _column(self, name: str) -> list[Any]:
        if name not in self._columns:
            self._columns[name] = [None] * len(self._columns["prompt_id"])
        return self._columns[name]


def _values(table: "pd.DataFrame", column: str) -> list[Any]:
    """The column as a list of Python values, None where absent."""
    values = table[column].astype(object)
    return values.where(values.notna(), None).tolist()


def _same(one: str, other: str) -> bool:
    return one == other or normalise(one) == normalise(other)


def _again(recorded: str, provider: str, model: str) -> ProviderError:
    """The error of this class, as recorded; a `ProviderError` where the class is not one of ours."""
    reason = f"recorded as {recorded}; replaying it does not call anyone"
    kind = getattr(errors, recorded, ProviderError)
    is_ours = isinstance(kind, type) and issubclass(kind, ProviderError)
    if not is_ours or kind is errors.AllProvidersFailedError:
        return ProviderError(provider, model, reason)
    if kind is errors.StreamTruncatedError:
        error: ProviderError = errors.StreamTruncatedError(provider, model, reason, partial_text="")
    else:
        error = kind(provider, model, reason)
    error.retryable = False
    return error
