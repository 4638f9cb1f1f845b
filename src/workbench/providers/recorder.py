"""Recording: what a provider did in a session, as an outcome table that `ReplayProvider` serves back.

The texts of prompts and answers are in the recording, since a replay needs them; no key is.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.budget import billable_usage
from workbench.catalog import Catalog, Price, default_catalog
from workbench.errors import ProviderError
from workbench.providers.base import Provider, closing
from workbench.types import Completion, Decoding, Delta, Outcome, Prompt, Usage

if TYPE_CHECKING:  # a client, which knows this module, loads no pandas
    import pandas as pd

_MOST_REPEATS = 2**53
"""Whole numbers in an outcome table are exact up to here."""


class Recorder:
    """`provider`, with every call that it answered or failed noted as an outcome.

    An outcome is known by its prompt (the id and the text), its model and its seed, which is its `repeat`.
    Of several calls of one the table has the last answer, or the last error where there was none, at the cost
    of what was paid until it came. A call that was cancelled, or a stream that was left, is no outcome.

    A replay is asked by these alone. Where prompts share a text but differ in what surrounds it (a system
    message, a history, tools), give them ids that differ. Tool calls, reasoning and log-probabilities have no
    column, and are not played back.

    Args:
        keeps_prompts: whether the prompts' texts are in the table; without them, a replay goes by the ids.
        catalog: prices, for what calls cost; None: those that come with the package.
    """

    def __init__(
        self, provider: Provider, *, keeps_prompts: bool = True, catalog: Catalog | None = None
    ) -> None:
        self._provider = provider
        self._keeps_prompts = keeps_prompts
        self._catalog = default_catalog() if catalog is None else catalog
        self._outcomes: dict[tuple[str, str, int], Outcome] = {}
        self._ids: dict[str, dict[bytes, str]] = {}

    @property
    def name(self) -> str:
        """The first part of the ids of its models."""
        return self._provider.name

    @property
    def provider(self) -> Provider:
        """Who answers."""
        return self._provider

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """What was recorded, in order of first appearance."""
        return tuple(self._outcomes.values())

    def __repr__(self) -> str:
        return f"<Recorder of {self._provider!r}, {len(self._outcomes)} outcomes>"

    def table(self) -> "pd.DataFrame":
        """What was recorded, as an outcome table whose arms are the models that were asked."""
        from workbench import outcomes

        return outcomes.from_outcomes(self._outcomes.values())

    def save(self, path: Path) -> None:
        """Write the table to `path` as Parquet.

        Raises:
            StorageError: it cannot be written there.
        """
        from workbench import outcomes

        outcomes.write(self.table(), path)

    async def complete(
        self, model: str, prompt: Prompt, decoding: Decoding, *, deadline_s: float
    ) -> Completion:
        """The provider's answer; it or the provider's error is recorded."""
        started = asyncio.get_running_loop().time()
        try:
            completion = await self._provider.complete(model, prompt, decoding, deadline_s=deadline_s)
        except ProviderError as exc:
            self._note_error(exc, model, prompt, decoding, started=started)
            raise
        self._note_answer(completion, model, prompt, decoding)
        return completion

    async def stream(
        self, model: str, prompt: Prompt, decoding: Decoding, *, deadline_s: float
    ) -> AsyncGenerator[Delta]:
        """The same, piece by piece."""
        started = asyncio.get_running_loop().time()
        stream = self._provider.stream(model, prompt, decoding, deadline_s=deadline_s)
        try:
            async with closing(stream) as deltas:
                async for delta in deltas:
                    if delta.completion is not None:
                        self._note_answer(delta.completion, model, prompt, decoding)
                    yield delta
        except ProviderError as exc:
            self._note_error(exc, model, prompt, decoding, started=started)
            raise

    async def aclose(self) -> None:
        """Close the provider's connections; what was recorded stays."""
        await self._provider.aclose()

    def _note_answer(self, completion: Completion, model: str, prompt: Prompt, decoding: Decoding) -> None:
        cost_usd = completion.cost_usd
        if not completion.is_cached:
            cost_usd = self._cost_usd(model, completion.usage, otherwise=cost_usd)
        self._note(
            replace(
                self._outcome(model, prompt, decoding),
                model=completion.served_model,
                response=completion.text,
                cost_usd=cost_usd,
                latency_s=completion.latency_s,
                input_tokens=completion.usage.input_tokens,
                output_tokens=completion.usage.output_tokens,
            )
        )

    def _note_error(
        self, error: ProviderError, model: str, prompt: Prompt, decoding: Decoding, *, started: float
    ) -> None:
        usage = billable_usage(error, prompt, decoding)
        self._note(
            replace(
                self._outcome(model, prompt, decoding),
                error=type(error).__name__,
                cost_usd=self._cost_usd(model, usage, otherwise=error.cost_usd),
                latency_s=asyncio.get_running_loop().time() - started,
            )
        )

    def _outcome(self, model: str, prompt: Prompt, decoding: Decoding) -> Outcome:
        price = self._price(model)
        return Outcome(
            prompt_id=self._id_of(prompt),
            arm=model,
            model=model,
            provider=self.name,
            prompt=prompt.text if self._keeps_prompts else None,
            task=prompt.task,
            cluster=prompt.cluster,
            repeat=max(0, decoding.seed or 0) % _MOST_REPEATS,
            price_date=price.date.isoformat() if price else None,
        )

    def _note(self, outcome: Outcome) -> None:
        key = outcome.prompt_id, outcome.arm, outcome.repeat
        earlier = self._outcomes.get(key)
        if earlier is not None and earlier.error is None and outcome.error is not None:
            return
        if earlier is not None and earlier.error is not None and outcome.cost_usd is not None:
            outcome = replace(outcome, cost_usd=outcome.cost_usd + (earlier.cost_usd or 0.0))
        self._outcomes[key] = outcome

    def _id_of(self, prompt: Prompt) -> str:
        """The prompt's id, or, where that is another text's, the id with a number after it."""
        texts = self._ids.setdefault(prompt.prompt_id, {})
        text = hashlib.sha256(prompt.text.encode("utf-8", "surrogatepass")).digest()
        return texts.setdefault(text, f"{prompt.prompt_id}~{len(texts) + 1}" if texts else prompt.prompt_id)

    def _cost_usd(self, model: str, usage: Usage | None, *, otherwise: float | None) -> float | None:
        price = self._price(model)
        if price is None:
            return otherwise
        return 0.0 if usage is None else price.cost_usd(usage)

    def _price(self, model: str) -> Price | None:
        spec = self._catalog.get(f"{self.name}/{model}")
        return None if spec is None else spec.price_on()
