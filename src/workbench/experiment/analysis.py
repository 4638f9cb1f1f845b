"""What an experiment found, as plain data that fits in a file."""

import json
from dataclasses import asdict, dataclass
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from workbench.errors import DataError
from workbench.experiment.verdict import Finding
from workbench.stats.beta_binomial import PosteriorDifference
from workbench.stats.estimate import Estimate
from workbench.stats.sample_ratio import SampleRatio


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """One line of the result table. Absent numbers (no price, no latency, no answer) are None.

    `usd_per_correct` divides by the sum of qualities; it is None also where too few answers were right to
    bound it. `on_front` is whether no arm is both cheaper and better, `p_on_front` how probable that is.
    """

    arm: str
    n_prompts: int
    n_calls: int
    n_errors: int
    quality: Estimate
    usd_per_1k_prompts: float | None
    total_cost_usd: float | None
    latency_p50_s: float | None
    latency_p95_s: float | None
    latency_p50_interval_s: Estimate | None = None
    latency_p95_interval_s: Estimate | None = None
    usd_per_1k_interval: Estimate | None = None
    usd_per_correct: Estimate | None = None
    n_unscored: int = 0
    on_front: bool | None = None
    p_on_front: float | None = None


@dataclass(frozen=True, slots=True)
class MarginTest:
    """Whether an arm was shown to be as good as the control, within a margin of quality.

    `p_value` is one-sided for non-inferiority, the larger of two for equivalence; `interval` is at level
    1 - 2 alpha, and decides alike where there is one comparison.
    """

    kind: Literal["non-inferiority", "equivalence"]
    margin: float
    interval: Estimate
    p_value: float
    p_adjusted: float = 1.0
    is_shown: bool = False


@dataclass(frozen=True, slots=True)
class AdjustedDifference:
    """The difference less what a covariate explains; `variance_reduction`: the share of variance it took."""

    covariate: str
    difference: Estimate
    p_value: float
    variance_reduction: float


@dataclass(frozen=True, slots=True)
class TaskEffect:
    """The difference on one task; `p_adjusted` is corrected for all tasks of the comparison (Holm)."""

    task: str
    n_prompts: int
    difference: Estimate
    p_value: float
    p_adjusted: float
    finding: Finding


@dataclass(frozen=True, slots=True)
class Heterogeneity:
    """Welch's F of equal differences on all tasks, with `df1` and `df2` degrees of freedom."""

    statistic: float
    df1: int
    df2: float
    p_value: float


@dataclass(frozen=True, slots=True)
class MissingScores:
    """Prompts without a score: of `n_prompts` that either arm has one for, how many each lacks.

    `p_value` tests that both lack as many (McNemar). Were the missing scores as bad, or as good, for the arm
    as can be, the difference would be `lower`, or `upper`; `interval` holds the true one whatever they are.
    """

    n_prompts: int
    n_arm: int
    n_control: int
    p_value: float
    lower: float
    upper: float
    interval: Estimate


@dataclass(frozen=True, slots=True)
class Path:
    """[K] what could be said after `n` prompts (clusters, where there are some): a line of a plot."""

    n: tuple[int, ...]
    value: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Looks:
    """What holds however often one has looked: `decided_at` is the unit after which p was at most alpha."""

    method: str
    n_units: int
    decided_at: int | None
    path: Path


@dataclass(frozen=True, slots=True)
class Comparison:
    """One arm against the control, on the prompts that both saw.

    `difference` is treatment minus control in quality; `p_adjusted` is corrected for all comparisons
    of the analysis (Holm); `mcnemar_p` is the exact test, None where the scores are not 0 or 1.
    `test` names where `p_value` comes from; `n_clusters` is None where prompts stand alone;
    `n_better` and `n_worse` count the prompts on which the arm scored above and below the control.
    `latency_difference_s` is the mean, treatment minus control, where both answered. `looks` is None where
    the run looked once. `errors_p` tests that both fail on as many prompts. The others are second opinions,
    and None where they say nothing here.
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
    interval: str = "t"
    margin: MarginTest | None = None
    latency_difference_s: Estimate | None = None
    adjusted: AdjustedDifference | None = None
    permutation_p: float | None = None
    posterior: PosteriorDifference | None = None
    missing: MissingScores | None = None
    errors_p: float | None = None
    tasks: tuple[TaskEffect, ...] = ()
    heterogeneity: Heterogeneity | None = None
    looks: Looks | None = None


@dataclass(frozen=True, slots=True)
class FactorEffect:
    """What a factor, or two together, change in quality, averaged over the levels of the others.

    `name` is such as "prompt: short - long", or "prompt x model" for an interaction.
    """

    name: str
    is_interaction: bool
    difference: Estimate
    p_value: float
    p_adjusted: float
    finding: Finding


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
    is_randomised: bool = False
    n_planned: int | None = None
    factors: tuple[FactorEffect, ...] = ()
    sample_ratio: SampleRatio | None = None


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
