"""From an outcome table to a verdict: what each arm did, how they differ, and what may be said about it."""

from dataclasses import dataclass
from typing import Literal

from workbench.stats.estimate import Estimate

Finding = Literal["better", "worse", "undecided"]


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
