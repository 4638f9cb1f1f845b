"""A leaderboard as JSON: the same keys for every table, null where a number has no meaning for it."""

import json
import math

from workbench.routing.leaderboard import Leaderboard, Result
from workbench.stats.estimate import Estimate


def to_json(board: Leaderboard, *, table: str) -> str:
    """One JSON object; `table` names what was evaluated. Qualities and changes are shares of 1, never NaN.

    `honest.cost_change` is relative to the best single model: -0.2 is a saving of 20 %.
    """
    single = board.best_single
    told = {
        "table": table,
        "n_prompts": len(board.scored.data.prompts),
        "n_models": len(board.scored.data.model_ids),
        "best_single": {
            "model": single.model_id.removeprefix("replay/"),
            "quality": single.quality,
            "cost_usd": _number(single.cost_usd),
        },
        "routers": [_line(result) for result in board.results],
    }
    return json.dumps(told, indent=1, allow_nan=False)


def _line(result: Result) -> dict[str, object]:
    return {
        "name": result.router,
        "kind": result.kind,
        "quality": result.quality.value,
        "cost_usd": _number(result.cost_usd),
        "aiqlog": _value(result.aiqlog),
        "aiqlog_interval": _interval(result.aiqlog),
        "apgr": _value(result.apgr),
        "apgr_interval": _interval(result.apgr),
        "cpt50": _number(result.cpt50),
        "cpt80": _number(result.cpt80),
        "saving_at_parity": _value(result.saving),
        "saving_interval": _interval(result.saving),
        "honest": {
            "quality_change": _value(result.honest_quality_change),
            "quality_change_interval": _interval(result.honest_quality_change),
            "cost_change": _value(result.honest_cost_change),
        },
        "ece": _number(result.ece),
        "brier": _number(result.brier),
        "fit_s": _number(result.fit_s),
        "decide_ms": _number(result.decide_ms),
    }


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else _number(estimate.value)


def _interval(estimate: Estimate | None) -> list[float] | None:
    if estimate is None or not (math.isfinite(estimate.low) and math.isfinite(estimate.high)):
        return None
    return [estimate.low, estimate.high]


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
