"""What an experiment found, as plain data that fits in a file."""

import json
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter, ValidationError

from workbench.errors import DataError
from workbench.experiment.verdict import Finding
from workbench.stats.estimate import Estimate


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """One line of the result table. Absent numbers (no price, no latency, no answer) are None."""

    arm: str
    n_prompts: int
    n_calls: int
    n_errors: int
    quality: Estimate
    usd_per_1k_prompts: float | None
    total_cost_usd: float | None
    latency_p50_s: float | None
    latency_p95_s: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One arm against the control, on the prompts that both saw.

    `difference` is treatment minus control in quality; `p_adjusted` is corrected for all comparisons
    of the analysis (Holm); `mcnemar_p` is the exact test, None where the scores are not 0 or 1.
    `test` names where `p_value` comes from; `n_clusters` is None where prompts stand alone;
    `n_better` and `n_worse` count the prompts on which the arm scored above and below the control.
    """

    arm: str
    control: str
    n_prompts: int
    difference: Estimate
    p_value: float
    p_adjusted: float
    mcnemar_p: float | None
    cost_ratio: Estimate | None
    finding: Finding
    verdict: str
    test: str = "paired t"
    n_clusters: int | None = None
    n_better: int = 0
    n_worse: int = 0


@dataclass(frozen=True, slots=True)
class Analysis:
    """What an experiment found."""

    question: str
    metric: str
    alpha: float
    control: str
    arms: tuple[ArmSummary, ...]
    comparisons: tuple[Comparison, ...]
    warnings: tuple[str, ...] = ()


def to_json(analysis: Analysis) -> str:
    """The analysis as strict JSON (no NaN), indented; `from_json` reads it back unchanged."""
    return json.dumps(asdict(analysis), allow_nan=False, indent=2, ensure_ascii=False)


def from_json(text: str | bytes) -> Analysis:
    """What `to_json` wrote.

    Raises:
        DataError: it is not that.
    """
    try:
        return _ANALYSIS.validate_json(text)
    except ValidationError as exc:
        raise DataError(f"this is not an analysis: {exc.errors()[0]['msg']}; run the analysis again") from exc


_ANALYSIS = TypeAdapter(Analysis)
