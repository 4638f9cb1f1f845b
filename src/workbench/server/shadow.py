"""Shadow calls: another target asked beside the one that answers, unseen by the caller, for so much money."""

import asyncio
import time
from dataclasses import replace

from workbench.budget import Budget
from workbench.client import Client
from workbench.errors import BudgetError, ConfigError, DataError, ProviderError, RoutingError
from workbench.server.exchange import Refusal, Routed, Served
from workbench.server.live_experiment import LiveSpec, Shadow
from workbench.server.outcome_log import SHADOW, OutcomeLog
from workbench.server.steps import Steps, bound_usd
from workbench.server.targets import Targets
from workbench.server.virtual_keys import VirtualKey

_MOST_AT_ONCE = 64


class Shadows:
    """Asks shadows in the background; what they answered is kept as outcomes of the arm `shadow`."""

    def __init__(self, client: Client, targets: Targets, log: OutcomeLog) -> None:
        self._client = client
        self._targets = targets
        self._log = log
        self._budgets: dict[str, Budget] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    def cast(self, key: VirtualKey, routed: Routed, spec: LiveSpec) -> None:
        """Ask the shadow of an experiment what a caller asked, if it is this request's turn.

        Nothing is asked when too many are under way: a shadow must not slow what callers wait for.
        """
        shadow = spec.shadow
        if shadow is None or not spec.is_shadowed(routed.request_id) or len(self._under_way) >= _MOST_AT_ONCE:
            return
        task = asyncio.create_task(self._asked(key, routed, spec.name, shadow))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def aclose(self) -> None:
        """End those that are under way."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _asked(self, key: VirtualKey, routed: Routed, name: str, shadow: Shadow) -> None:
        budget = self._budgets.setdefault(name, self._budget(name, shadow))
        try:
            target = self._targets.find(shadow.target)
            own = replace(
                routed,
                request_id=f"{routed.request_id}-shadow",
                decision=target.decide(routed.asked.prompt),
                arm=SHADOW,
                experiment=name,
                panel=target.panel,
            )
            reservation = budget.reserve(bound_usd(self._client.catalog, own))
        except (Refusal, BudgetError, ConfigError, DataError, RoutingError):
            return  # the money is spent, or the target is gone: the caller has its answer all the same
        started_s, steps = time.monotonic(), Steps(self._client)
        with reservation:
            try:
                completion = await steps.answer(own)
            except ProviderError as exc:
                reservation.settle(exc.cost_usd or 0.0)
                latency_s = time.monotonic() - started_s
                self._log.failed(key, own, exc, cost_usd=exc.cost_usd, latency_s=latency_s)
                return
            except BudgetError:
                reservation.settle(steps.cost_usd or 0.0)
                return
            reservation.settle(completion.cost_usd or 0.0)
        self._log.served(key, Served(own, completion, steps.taken))

    def _budget(self, name: str, shadow: Shadow) -> Budget:
        return Budget(shadow.budget_usd, spent_usd=self._log.spent_on_usd(name, SHADOW))
