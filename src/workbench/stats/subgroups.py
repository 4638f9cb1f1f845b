"""Effects by subgroup with the multiplicity they deserve: corrected, tested for differing, and shrunken.

S subgroups, N prompts. A subgroup that stands out among many mostly stands out by chance.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import optimize, stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.estimate import Estimate
from workbench.stats.multiplicity import benjamini_hochberg, holm
from workbench.stats.paired import PairedMean, paired_mean

PValueCorrection = Literal["holm", "benjamini_hochberg"]

_CORRECTIONS: dict[PValueCorrection, Callable[[Sequence[float]], tuple[float, ...]]] = {
    "holm": holm,
    "benjamini_hochberg": benjamini_hochberg,
}


@dataclass(frozen=True, slots=True)
class SubgroupEffect:
    """The effect in one subgroup.

    `effect` has the paired t interval of this subgroup alone, `simultaneous` one that holds for all subgroups
    together (Sidak). `shrunken` is the empirical-Bayes estimate: drawn to the mean of all subgroups, the more
    the less they differ and the less is known of this one; its intervals hold on average over subgroups. None
    for fewer than three subgroups, or where one has no variance.
    """

    subgroup: str
    effect: Estimate
    standard_error: float
    simultaneous: Estimate
    shrunken: Estimate | None
    p_value: float
    p_adjusted: float
    n: int
    n_clusters: int


@dataclass(frozen=True, slots=True)
class SubgroupEffects:
    """All subgroups, in sorted order, and whether they differ.

    `heterogeneity_p_value` is that of Welch's F, with `df1` and `df2`, that all effects are the same: the
    interaction of treatment and subgroup. `cochran_q` with S - 1 degrees of freedom is its form for many
    prompts, with the chi-square p-value `cochran_q_p_value`; `i_squared` is the share of the effects'
    variance that is not chance, `tau_squared` the variance of the true effects (Paule & Mandel). These are
    None where a subgroup has no variance. `overall` is the mean of all prompts.
    """

    effects: tuple[SubgroupEffect, ...]
    overall: Estimate
    welch_f: float | None
    df1: int
    df2: float | None
    heterogeneity_p_value: float | None
    cochran_q: float | None
    cochran_q_p_value: float | None
    i_squared: float | None
    tau_squared: float | None


def subgroup_effects(
    differences: np.ndarray,
    subgroups: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    correction: PValueCorrection = "holm",
    bounds: tuple[float, float] = (-1.0, 1.0),
    alpha: float = 0.05,
) -> SubgroupEffects:
    """The mean of `differences` [N] in each of the `subgroups` [N].

    Args:
        differences: treatment minus control, one a prompt.
        subgroups: the name of each prompt's subgroup, text or number.
        clusters: [N] equal for prompts that are not independent. Where clusters span subgroups, the tests of
            heterogeneity err on the side of finding none.
        correction: "holm": any false finding has a probability of at most alpha; "benjamini_hochberg": of the
            findings, a share of at most alpha is false on average.
        bounds: the least and greatest difference possible.
    Raises:
        DataError: unequal lengths, or as in `paired_mean`.
        InsufficientDataError: one subgroup, or one with fewer than two prompts or clusters (names it).
    Source: Sidak (1967), JASA 62, 626-633; Welch (1951), Biometrika 38, 330-336; Cochran (1954), Biometrics
        10; Higgins & Thompson (2002), Statistics in Medicine 21; Paule & Mandel (1982), J. Res. NBS 87,
        377-385; Morris (1983), Parametric Empirical Bayes Inference, JASA 78, 47-55.
    """
    if correction not in _CORRECTIONS:
        raise DataError(f"correction must be one of {', '.join(_CORRECTIONS)}; got {correction!r}")
    differences, names = np.asarray(differences, dtype=np.float64), np.asarray(subgroups)
    clusters = None if clusters is None else np.asarray(clusters)
    if names.shape != differences.shape:
        raise DataError(f"{len(names)} subgroups do not pair with {len(differences)} differences")
    kinds = np.unique(names)
    if len(kinds) < 2:
        raise InsufficientDataError(f"effects by subgroup need 2 subgroups or more; there are {len(kinds)}")
    means = [_of_one(kind, differences, names == kind, clusters, bounds) for kind in kinds]
    adjusted = _CORRECTIONS[correction]([mean.p_value for mean in means])
    level = 1.0 - (1.0 - alpha) ** (1.0 / len(kinds))
    spread = None if any(mean.t is None for mean in means) else _spread(means)
    shrunken = _shrunken(means, spread.tau_squared, alpha) if spread else None
    return SubgroupEffects(
        effects=tuple(
            SubgroupEffect(
                subgroup=str(kinds[i]),
                effect=mean.interval(alpha),
                standard_error=mean.standard_error,
                simultaneous=mean.interval(level),
                shrunken=shrunken[i] if shrunken else None,
                p_value=mean.p_value,
                p_adjusted=adjusted[i],
                n=mean.n,
                n_clusters=mean.n_clusters,
            )
            for i, mean in enumerate(means)
        ),
        overall=paired_mean(differences, clusters, bounds=bounds).interval(alpha),
        welch_f=spread.welch_f if spread else None,
        df1=len(kinds) - 1,
        df2=spread.df2 if spread else None,
        heterogeneity_p_value=float(stats.f.sf(spread.welch_f, len(kinds) - 1, spread.df2))
        if spread
        else None,
        cochran_q=spread.q if spread else None,
        cochran_q_p_value=float(stats.chi2.sf(spread.q, len(kinds) - 1)) if spread else None,
        i_squared=max(0.0, 1.0 - (len(kinds) - 1) / spread.q) if spread and spread.q > 0.0 else None,
        tau_squared=spread.tau_squared if spread else None,
    )


@dataclass(frozen=True, slots=True)
class _Spread:
    q: float
    welch_f: float
    df2: float
    tau_squared: float


def _of_one(
    kind: np.generic,
    differences: np.ndarray,
    is_of: np.ndarray,
    clusters: np.ndarray | None,
    bounds: tuple[float, float],
) -> PairedMean:
    try:
        return paired_mean(differences[is_of], None if clusters is None else clusters[is_of], bounds=bounds)
    except InsufficientDataError as exc:
        raise InsufficientDataError(
            f"subgroup {kind}: {exc}; merge it with another, or leave it out"
        ) from exc


def _spread(means: list[PairedMean]) -> _Spread:
    values, variances = _columns(means)
    k, df = len(values), np.array([mean.df for mean in means])
    weights = 1.0 / variances
    share = weights / weights.sum()
    q = _excess(0.0, values, variances) + (k - 1)
    unsure = float(((1.0 - share) ** 2 / df).sum())
    welch_f = q / (k - 1) / (1.0 + 2.0 * (k - 2) / (k**2 - 1.0) * unsure)
    return _Spread(q, welch_f, (k**2 - 1.0) / (3.0 * unsure), _paule_mandel(values, variances))


def _excess(tau_squared: float, values: np.ndarray, variances: np.ndarray) -> float:
    """By how much the weighted sum of squares exceeds its expectation, S - 1."""
    weights = 1.0 / (variances + tau_squared)
    mean = (weights @ values) / weights.sum()
    return float(weights @ (values - mean) ** 2) - (len(values) - 1)


def _paule_mandel(values: np.ndarray, variances: np.ndarray) -> float:
    """The variance of true effects at which the weighted sum of squares is what it should be, or 0."""
    if _excess(0.0, values, variances) <= 0.0:
        return 0.0
    most = float(np.var(values)) * len(values) + 1e-12
    while _excess(most, values, variances) > 0.0:
        most *= 2.0
    return float(optimize.brentq(_excess, 0.0, most, args=(values, variances), xtol=1e-14))


def _shrunken(means: list[PairedMean], tau_squared: float, alpha: float) -> list[Estimate] | None:
    """Morris's estimates: his variance adds what is not known of the mean and of tau^2; t of the subgroup."""
    if len(means) < 3:
        return None
    values, variances = _columns(means)
    weights = 1.0 / (variances + tau_squared)
    centre = float((weights @ values) / weights.sum())
    drawn = variances / (variances + tau_squared)
    k = len(values)
    variance = variances * (1.0 - drawn) + drawn**2 / weights.sum()
    variance = variance + 2.0 / max(k - 3, 1) * drawn**2 * (values - centre) ** 2
    shrunken = centre + (1.0 - drawn) * (values - centre)
    quantiles = stats.t.isf(alpha / 2.0, np.array([mean.df for mean in means]))
    margins = quantiles * np.sqrt(variance)
    low, high = means[0].bounds
    return [
        Estimate(float(value), max(float(value - margin), low), min(float(value + margin), high))
        for value, margin in zip(shrunken, margins, strict=True)
    ]


def _columns(means: list[PairedMean]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([mean.estimate for mean in means]), np.array([mean.standard_error**2 for mean in means])
