"""What came of one call, as a row of the outcome table."""

from typing import Any

from workbench.errors import ProviderError
from workbench.experiment.calls import Call
from workbench.experiment.plan import Plan
from workbench.types import Completion, Decision, Outcome


def answered(plan: Plan, call: Call, decision: Decision, completion: Completion) -> Outcome:
    """The row of a call that was answered, with its score."""
    return Outcome(
        **_identity(plan, call, decision, f"{completion.provider}/{completion.model}"),
        response=completion.text,
        quality=plan.score(completion, call),
        cost_usd=(completion.cost_usd or None) if completion.is_cached else completion.cost_usd,
        # 0.0: a replay of a table that has no latencies; from a cache, it is not the model's.
        latency_s=None if completion.is_cached else completion.latency_s or None,
        input_tokens=completion.usage.input_tokens,
        output_tokens=completion.usage.output_tokens,
    )


def failed(plan: Plan, call: Call, decision: Decision, error: ProviderError) -> Outcome:
    """The row of a call that nobody answered, with what it cost all the same."""
    return Outcome(
        **_identity(plan, call, decision, f"{error.provider}/{error.model}"),
        cost_usd=error.cost_usd,
        error=type(error).__name__,
    )


def _identity(plan: Plan, call: Call, decision: Decision, model_id: str) -> dict[str, Any]:
    provider, _, model = model_id.partition("/")
    # The answer of a fallback is no draw of the router: its probability is that of another model.
    is_the_choice = (call.arm.is_routed or call.share is not None) and model_id == decision.model_id
    return {
        "prompt_id": call.prompt.prompt_id,
        "prompt": call.prompt.text,
        "task": call.prompt.task,
        "cluster": call.prompt.cluster,
        "arm": call.arm.name,
        "repeat": call.repeat,
        "model": model,
        "provider": provider,
        "propensity": decision.propensity * (call.share or 1.0) if is_the_choice else None,
        "price_date": plan.price_date(model_id),
    }
