"""One arm against the control: how they differ on the prompts that both saw, and what that says."""

from dataclasses import replace

from workbench.errors import InsufficientDataError
from workbench.experiment.analysis import Comparison
from workbench.experiment.scores import Scores
from workbench.experiment.verdict import evidence, finding_of, sentence
from workbench.experiment.wording import printable
from workbench.stats.bootstrap import bootstrap_ratio
from workbench.stats.estimate import Estimate
from workbench.stats.paired import PairedMean, paired_mean
from workbench.stats.proportions import mcnemar

_FEW_DISCORDANT = 25
"""Below so many discordant pairs the exact McNemar test is used: Fleiss, Levin & Paik (2003), sec. 13.1."""


def compared(observed: Scores, arm: str, control: str, *, alpha: float) -> Comparison:
    """The comparison before correction: its p-value, finding and verdict are not final."""
    shared = observed.shared(arm, control)
    treatment, baseline = observed.quality[arm][shared], observed.quality[control][shared]
    clusters = None if observed.clusters is None else observed.clusters[shared].to_numpy()
    try:
        paired = paired_mean((treatment - baseline).to_numpy(), clusters)
    except InsufficientDataError as exc:
        names = f"{printable(arm)} and {printable(control)}"
        raise InsufficientDataError(
            f"{names} cannot be compared on the prompts that both saw: {exc}"
        ) from exc
    n_better, n_worse = int((treatment > baseline).sum()), int((treatment < baseline).sum())
    exact = mcnemar(n_better, n_worse) if observed.is_binary and clusters is None else None
    is_exact = exact is not None and n_better + n_worse < _FEW_DISCORDANT
    return Comparison(
        arm=arm,
        control=control,
        n_prompts=paired.n,
        difference=paired.interval(alpha),
        p_value=exact if exact is not None and is_exact else paired.p_value,
        p_adjusted=1.0,
        mcnemar_p=exact,
        cost_ratio=_cost_ratio(observed, arm, control, alpha=alpha),
        finding="undecided",
        verdict="",
        test=_test_name(paired, is_exact=is_exact, is_clustered=clusters is not None),
        n_clusters=None if clusters is None else paired.n_clusters,
        n_better=n_better,
        n_worse=n_worse,
    )


def concluded(draft: Comparison, p_adjusted: float, *, alpha: float, n_comparisons: int) -> Comparison:
    """The draft with its corrected p-value, its finding and its verdict."""
    finding = finding_of(draft.difference.value, p_adjusted, alpha=alpha)
    is_outside_zero = draft.difference.low > 0.0 or draft.difference.high < 0.0
    said = evidence(
        draft.n_prompts,
        p_adjusted,
        n_clusters=draft.n_clusters,
        n_comparisons=n_comparisons,
        test=draft.test,
        is_at_odds=is_outside_zero != (finding != "undecided"),
    )
    verdict = sentence(
        draft.arm,
        draft.control,
        finding=finding,
        difference=draft.difference,
        cost_ratio=draft.cost_ratio,
        evidence=said,
    )
    return replace(draft, p_adjusted=p_adjusted, finding=finding, verdict=verdict)


def _test_name(paired: PairedMean, *, is_exact: bool, is_clustered: bool) -> str:
    if is_exact:
        return "exact McNemar"
    if paired.t is None:
        return "exact sign test"
    return "cluster-robust t" if is_clustered else "paired t"


def _cost_ratio(observed: Scores, arm: str, control: str, *, alpha: float) -> Estimate | None:
    """None where the cost of a shared prompt is unknown, or one of the arms is free."""
    if observed.cost_usd is None:
        return None
    shared = observed.shared(arm, control)
    costs = observed.cost_usd.loc[shared, [arm, control]]
    if costs.isna().any(axis=None) or (costs.sum() == 0.0).any():
        return None
    clusters = None if observed.clusters is None else observed.clusters[shared].to_numpy()
    return bootstrap_ratio(costs[arm].to_numpy(), costs[control].to_numpy(), clusters, alpha=alpha)
