"""Whether an arm is as good as the control, within a margin that was fixed beforehand."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from workbench.experiment.analysis import MarginTest
from workbench.experiment.analysis_plan import AnalysisPlan
from workbench.experiment.contrast import Tested
from workbench.experiment.verdict import Finding
from workbench.experiment.wording import printable
from workbench.stats.equivalence import non_inferiority, tost
from workbench.stats.multiplicity import holm


def margin_test(tested: Tested | None, plan: AnalysisPlan, *, alpha: float) -> MarginTest | None:
    """The test that the plan asks for, before correction; None where it asks for none.

    Non-inferiority is tested one-sided at alpha / 2, so that its interval is the one shown beside the
    difference; equivalence by two one-sided tests at alpha.
    """
    if tested is None:
        return None
    if plan.non_inferiority_margin is not None:
        found = non_inferiority(tested, margin=plan.non_inferiority_margin, alpha=alpha / 2.0)
        return MarginTest("non-inferiority", found.margin, found.interval, found.p_value)
    if plan.equivalence_margin is not None:
        margin = plan.equivalence_margin
        both = tost(tested, low=-margin, high=margin, alpha=alpha)
        return MarginTest("equivalence", margin, both.interval, both.p_value)
    return None


def corrected(drafts: Sequence[MarginTest | None], *, alpha: float) -> list[MarginTest | None]:
    """The tests with p-values corrected for their number (Holm), and what they show."""
    known = [draft for draft in drafts if draft is not None]
    adjusted = iter(holm([draft.p_value for draft in known]))
    return [None if draft is None else _judged(draft, next(adjusted), alpha=alpha) for draft in drafts]


def level_of(kind: Literal["non-inferiority", "equivalence"], alpha: float) -> float:
    """The one-sided level of a kind of margin."""
    return alpha / 2.0 if kind == "non-inferiority" else alpha


def worded(margin: MarginTest | None, control: str, finding: Finding) -> tuple[str, str]:
    """What a verdict says of a margin: in place of "no difference shown", and after its claim."""
    if margin is None:
        return "", ""
    size = f"{100.0 * margin.margin:g} points"
    is_one_sided = margin.kind == "non-inferiority"
    if margin.is_shown and finding == "undecided":
        claim = "not worse than {} by {} or more" if is_one_sided else "equal to {} within {}"
        return claim.format(printable(control), size), ""
    if margin.is_shown:
        return "", "" if is_one_sided and finding == "better" else f", but by less than the margin of {size}"
    missed = f"that it loses less than {size}" if is_one_sided else f"that they are equal within {size}"
    return "", f"; {missed} is not shown"


def _judged(draft: MarginTest, p_adjusted: float, *, alpha: float) -> MarginTest:
    return replace(draft, p_adjusted=p_adjusted, is_shown=p_adjusted <= level_of(draft.kind, alpha))
