"""What may be said about a comparison, and the sentence that says it."""

from typing import Literal

from workbench.experiment.wording import count, p_value, points, printable, times
from workbench.stats.estimate import Estimate

Finding = Literal["better", "worse", "undecided"]


def finding_of(difference: float, p_adjusted: float, *, alpha: float) -> Finding:
    """Better or worse where the corrected p-value is at most `alpha`, else undecided."""
    if p_adjusted > alpha or difference == 0.0:
        return "undecided"
    return "better" if difference > 0.0 else "worse"


def sentence(
    arm: str,
    control: str,
    *,
    finding: Finding,
    difference: Estimate,
    cost_ratio: Estimate | None,
    evidence: str,
    as_good: str = "",
    but: str = "",
) -> str:
    """The verdict in one sentence; `evidence` goes into the brackets at its end.

    `as_good` says what was shown where no difference was, such as "not worse than small by 2 points or more";
    `but` what the claim must be qualified by.

    >>> sentence("large", "small", finding="better", difference=Estimate(0.041, 0.012, 0.07),
    ...          cost_ratio=Estimate(0.38, 0.36, 0.4), evidence="412 prompts")
    'large is better than small by 4.1 points [1.2, 7.0] at 0.38x the cost [0.36, 0.40] (412 prompts).'
    """
    arm, control = printable(arm), printable(control)
    if finding == "undecided" and as_good:
        claim = f"{arm} is {as_good}: {points(difference)}"
    elif finding == "undecided":
        claim = f"no difference shown between {arm} and {control}: {points(difference)}"
    else:
        size = difference if finding == "better" else _negated(difference)
        claim = f"{arm} is {finding} than {control} by {points(size, sign='')}"
    return f"{claim}{_at_the_cost(cost_ratio)}{but} ({evidence})."


def evidence(
    n_prompts: int,
    p_adjusted: float,
    *,
    n_clusters: int | None,
    n_comparisons: int,
    test: str,
    is_at_odds: bool,
    margin_p: float | None = None,
) -> str:
    """What stands behind a verdict; `is_at_odds`: the plain interval alone would have said otherwise.

    `margin_p` is the corrected p-value of a margin, None where none was asked for.
    """
    prompts = count(n_prompts, "prompt")
    if n_clusters is not None:
        prompts += f" in {count(n_clusters, 'cluster')}"
    corrected = f"Holm-adjusted {p_value(p_adjusted)}" if n_comparisons > 1 else p_value(p_adjusted)
    if margin_p is not None:
        corrected += f", margin {p_value(margin_p)}"
    parts = [prompts, corrected]
    if is_at_odds:
        reason = "by the exact test" if "exact" in test else ""
        if n_comparisons > 1:
            reason = f"{reason} after correcting for {n_comparisons} comparisons".strip()
        parts.append(f"the interval, taken alone, says otherwise: the finding is {reason}")
    return ", ".join(parts[:2]) + "".join(f"; {part}" for part in parts[2:])


def _at_the_cost(ratio: Estimate | None) -> str:
    if ratio is None:
        return ""
    value, interval = times(ratio).split(" ", 1)
    return f" at {value} the cost {interval}"


def _negated(difference: Estimate) -> Estimate:
    return Estimate(-difference.value, -difference.high, -difference.low)
