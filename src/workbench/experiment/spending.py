"""What calls are expected to cost and to take, before any is made: from a pilot, or from the catalog."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.experiment.arms import Arm
from workbench.experiment.calls import Call
from workbench.experiment.plan import Plan
from workbench.routing.cascade import Cascade
from workbench.types import Prompt, Usage

OUTPUT_TOKENS = 200
"""Assumed of an answer where nothing is known of any."""
LATENCY_S = 2.0
"""The same, of the time that one takes."""
_BYTES_PER_TOKEN = 4  # of English text, by most tokenizers
_N_SAMPLED = 50
"""Prompts of which the mean cost is taken, so that a router need not be asked about all."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Of one call of an arm: its expected cost, None where no price is known, and its expected time."""

    cost_usd: float | None
    latency_s: float


def rates(plan: Plan, pilot: pd.DataFrame | None = None) -> dict[str, Rate]:
    """What a call of each arm is expected to take: the means of its rows in `pilot`, where it has any."""
    return {arm.name: _of_pilot(arm, pilot) or _of_catalog(plan, arm) for arm in plan.arms}


def expected_usd(calls: Sequence[Call], by_arm: dict[str, Rate]) -> float | None:
    """What `calls` are expected to cost; None: no price is known for one of their arms."""
    costs = [by_arm[call.arm.name].cost_usd for call in calls]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None


def _of_pilot(arm: Arm, pilot: pd.DataFrame | None) -> Rate | None:
    rows = None if pilot is None else pilot[pilot["arm"] == arm.name]
    if rows is None or rows.empty or "cost_usd" not in rows or rows["cost_usd"].isna().all():
        return None
    known = rows["latency_s"].dropna() if "latency_s" in rows else pd.Series(dtype=float)
    return Rate(float(rows["cost_usd"].mean()), float(known.mean()) if len(known) else LATENCY_S)


def _of_catalog(plan: Plan, arm: Arm) -> Rate:
    prompts = plan.prompts[:: max(1, len(plan.prompts) // _N_SAMPLED)]
    costs = [_call_usd(plan, arm, prompt) for prompt in prompts]
    known = [cost for cost in costs if cost is not None]
    latency_s = plan.spec.design.latency_s or LATENCY_S
    return Rate(float(np.mean(known)) if len(known) == len(costs) else None, latency_s)


def _call_usd(plan: Plan, arm: Arm, prompt: Prompt) -> float | None:
    call = Call(arm, prompt, 0)
    if arm.panel is None:
        return _request_usd(plan, call, arm.decide(prompt).model_id)
    policy = arm.panel.policy
    if isinstance(policy, Cascade):
        nearest = int(np.argmin(np.abs(policy.opening_weights - policy.cost_weight)))
        return float(policy.expected_cost_usd[nearest])
    costs = [_request_usd(plan, call, model_id) for model_id in arm.panel.model_ids]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None


def _request_usd(plan: Plan, call: Call, model_id: str) -> float | None:
    spec, decoding = plan.catalog.get(model_id), plan.decoding(call)
    if spec is None or spec.price is None:
        return None
    price = spec.batch_price_on() if call.arm.is_batched else spec.price_on()
    said = "".join(message.content for message in call.asked.messages)
    n_output = min(plan.spec.design.output_tokens or OUTPUT_TOKENS, decoding.max_output_tokens)
    usage = Usage(len(said.encode()) // _BYTES_PER_TOKEN + 8, n_output, is_estimated=True)
    return None if price is None else price.cost_usd(usage)
