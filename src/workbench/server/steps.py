"""The calls behind one answer: of the decision's model, or of several models that answer together.

Each model of a panel is asked through the same client, under its limits and budgets, and is a step.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from workbench.budget import billable_usage
from workbench.catalog import Catalog
from workbench.client import DECODING, Client
from workbench.client.panel import Panel
from workbench.errors import BudgetError, ProviderError
from workbench.server.exchange import Routed, Step
from workbench.types import Completion, Decoding, Prompt


def bound_usd(catalog: Catalog, routed: Routed, fallbacks: Sequence[str] = ()) -> float:
    """The most that one request to each model that is asked can cost, whoever answers in the end.

    Raises:
        ConfigError: a model has no price.
    """
    asked = routed.asked

    def request_usd(model_id: str, prompt: Prompt) -> float:
        return catalog.callable_model(model_id).cost_bound_usd(prompt, asked.decoding)

    names = dict.fromkeys((routed.decision.model_id, *fallbacks))
    bounds = [request_usd(name, asked.prompt) for name in names]
    if routed.panel is not None:
        bounds.append(routed.panel.bound_usd(asked.prompt, request_usd))
    return max(bounds)


def abandoned_usd(
    catalog: Catalog,
    model_id: str,
    prompt: Prompt,
    decoding: Decoding,
    failure: BaseException,
    *,
    n_text_bytes: int = 0,
) -> float | None:
    """What a call that its caller left may be billed, from above; None: no price is known."""
    usage = billable_usage(failure, prompt, decoding, n_text_bytes=n_text_bytes)
    price = catalog.callable_model(model_id).price_on()
    return None if price is None or usage is None else price.cost_usd(usage)


class Steps:
    """Asks the models of one request; `taken` are those of a panel that were asked, in order."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._taken: list[Step] = []

    @property
    def taken(self) -> tuple[Step, ...]:
        """What came of each so far."""
        return tuple(self._taken)

    @property
    def cost_usd(self) -> float | None:
        """What all of them may be billed; None: of one it is not known."""
        known = [step.cost_usd for step in self._taken if step.cost_usd is not None]
        return sum(known) if len(known) == len(self._taken) else None

    async def answer(self, routed: Routed, *, fallbacks: Sequence[str] = ()) -> Completion:
        """The answer, with the cost of all calls; of a fallback where nobody else answers.

        Raises:
            ConfigError, BudgetError, ProviderError: as `Client.complete`.
        """
        asked = routed.asked
        if routed.panel is None:
            return await self._client.complete(
                routed.decision.model_id, asked.prompt, decoding=asked.decoding, fallbacks=fallbacks
            )
        with ExitStack() as stack:
            if (budget := self._client.budget) is not None:
                own = stack.enter_context(budget.earmarked(bound_usd(self._client.catalog, routed)))
                self._client = self._client.spending(own)
            others = [name for name in fallbacks if name not in routed.panel.model_ids]
            return await self._together(routed.panel, asked.prompt, asked.decoding, others)

    def check(self, model_ids: Iterable[str]) -> None:
        """As `Client.check`."""
        self._client.check(model_ids)

    async def complete(self, target: str, prompt: Prompt, *, decoding: Decoding = DECODING) -> Completion:
        """As `Client.complete`, and a step."""
        try:
            completion = await self._client.complete(target, prompt, decoding=decoding)
        except ProviderError as exc:
            self._taken.append(Step(target, exc.cost_usd, type(exc).__name__))
            raise
        except BudgetError as exc:
            self._taken.append(Step(target, 0.0, type(exc).__name__))
            raise
        except asyncio.CancelledError as exc:
            cost_usd = abandoned_usd(self._client.catalog, target, prompt, decoding, exc)
            self._taken.append(Step(target, cost_usd, type(exc).__name__))
            raise
        self._taken.append(Step(target, completion.cost_usd))
        return completion

    async def _together(
        self, panel: Panel, prompt: Prompt, decoding: Decoding, fallbacks: Sequence[str]
    ) -> Completion:
        """The panel's answer, or that of the first fallback that has one.

        Raises:
            ProviderError: nobody answered.
        """
        try:
            return await panel.answer(self, prompt, worded=prompt, decoding=decoding)
        except ProviderError as exc:
            failure = exc
        for fallback in fallbacks:
            try:
                completion = await self.complete(fallback, prompt, decoding=decoding)
            except ProviderError:
                continue
            return replace(completion, cost_usd=self.cost_usd)
        failure.cost_usd = self.cost_usd
        raise failure
