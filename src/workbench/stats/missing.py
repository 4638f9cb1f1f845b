"""Outcomes that are missing: whether arms differ in it, and what the worst of them could do to a difference.

N prompts, M arms.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.estimate import Estimate
from workbench.stats.multiplicity import holm
from workbench.stats.paired import PairedMean, paired_mean
from workbench.stats.proportions import mcnemar, wilson


@dataclass(frozen=True, slots=True)
class Missingness:
    """Which share of prompts each arm did not answer, and whether the arms differ in it.

    `rates` have Wilson's intervals. `p_value` is that of `cochran_q` with `df` degrees of freedom, all arms
    alike; for two arms it is McNemar's exact one. `pair_p_values` [M, M] are McNemar's, exact, after Holm's
    correction for all pairs; the diagonal is 1.
    """

    rates: tuple[Estimate, ...]
    cochran_q: float
    df: int
    p_value: float
    pair_p_values: np.ndarray
    n_missing: tuple[int, ...]
    n_prompts: int


@dataclass(frozen=True, slots=True)
class WorstCase:
    """Treatment minus control whatever the missing outcomes are: between `lower` and `upper`.

    `interval` holds the true difference at level 1 - alpha (Imbens & Manski); its value is the middle of the
    bounds. `complete_case` is the paired t interval of the prompts that both arms answered, which assumes
    that missing is no matter of quality. `is_settled`: the interval excludes 0.
    """

    lower: float
    upper: float
    interval: Estimate
    complete_case: Estimate | None
    is_settled: bool
    n_prompts: int
    n_missing: int


def missingness(is_missing: np.ndarray, *, alpha: float = 0.05) -> Missingness:
    """Compare arms by which prompts they fail on.

    >>> missingness(np.array([[1, 0], [1, 0], [1, 0], [0, 0]])).p_value
    0.25

    Args:
        is_missing: [N, M] true or 1 where the arm has no outcome for the prompt.
    Raises:
        DataError: not a table of at least two arms, or a value other than 0 and 1.
        InsufficientDataError: no prompts.
    Source: Cochran (1950), The comparison of percentages in matched samples, Biometrika 37, 256-266.
    """
    table = np.asarray(is_missing)
    if table.ndim != 2 or table.shape[1] < 2 or not np.isin(table, (0, 1)).all():
        raise DataError(f"a table of 0 and 1, prompts by 2 arms or more, is needed; got shape {table.shape}")
    table = table.astype(np.int64)
    n, n_arms = table.shape
    if not n:
        raise InsufficientDataError("missing outcomes can be compared on one prompt or more; there is none")
    columns, rows = table.sum(axis=0), table.sum(axis=1)
    spread = n_arms * int(rows.sum()) - int(rows @ rows)
    q = (n_arms - 1.0) * float(n_arms * (columns @ columns) - columns.sum() ** 2) / spread if spread else 0.0
    pairs = _pair_p_values(table)
    return Missingness(
        rates=tuple(wilson(int(count), n, alpha=alpha) for count in columns),
        cochran_q=q,
        df=n_arms - 1,
        p_value=float(pairs[0, 1]) if n_arms == 2 else float(stats.chi2.sf(q, n_arms - 1)),
        pair_p_values=pairs,
        n_missing=tuple(int(count) for count in columns),
        n_prompts=n,
    )


def manski_bounds(
    treatment: np.ndarray,
    control: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    alpha: float = 0.05,
) -> WorstCase:
    """The difference of two arms on the same prompts, with missing outcomes at their worst and at their best.

    >>> result = manski_bounds(np.array([1.0, 1.0, np.nan, 0.0]), np.array([0.0, 1.0, 0.0, np.nan]))
    >>> result.lower, result.upper
    (0.0, 0.5)

    Args:
        treatment, control: [N] scores within `bounds`, NaN where missing.
        clusters: [N] equal for prompts that are not independent.
    Raises:
        DataError: unequal lengths, or a score out of bounds.
        InsufficientDataError: fewer than two prompts or clusters.
    Source: Manski (1990), Nonparametric Bounds on Treatment Effects, American Economic Review 80, 319-323;
        Imbens & Manski (2004), Confidence Intervals for Partially Identified Parameters, Econometrica 72,
        1845-1857, with t for z.
    """
    ours, theirs = (np.asarray(part, dtype=np.float64) for part in (treatment, control))
    _check_scores(ours, theirs, bounds)
    low, high = bounds
    span = (low - high, high - low)
    worst = paired_mean(_filled(ours, low) - _filled(theirs, high), clusters, bounds=span)
    best = paired_mean(_filled(ours, high) - _filled(theirs, low), clusters, bounds=span)
    level = _two_sided_alpha(worst, best, alpha)
    ends = worst.interval(level).low, best.interval(level).high
    is_known = ~(np.isnan(ours) | np.isnan(theirs))
    return WorstCase(
        lower=worst.estimate,
        upper=best.estimate,
        interval=Estimate((worst.estimate + best.estimate) / 2.0, *ends),
        complete_case=_complete(ours - theirs, is_known, clusters, span, alpha),
        is_settled=ends[0] > 0.0 or ends[1] < 0.0,
        n_prompts=len(ours),
        n_missing=int((~is_known).sum()),
    )


def _pair_p_values(table: np.ndarray) -> np.ndarray:
    n_arms = table.shape[1]
    only = table.T @ (1 - table)
    first, second = np.triu_indices(n_arms, k=1)
    adjusted = holm([mcnemar(int(only[i, j]), int(only[j, i])) for i, j in zip(first, second, strict=True)])
    p_values = np.ones((n_arms, n_arms))
    p_values[first, second] = p_values[second, first] = adjusted
    return p_values


def _two_sided_alpha(worst: PairedMean, best: PairedMean, alpha: float) -> float:
    """The level whose t quantile c has T(c + width / error) - T(-c) = 1 - alpha: 2 alpha for far bounds."""
    error = max(worst.standard_error, best.standard_error)
    if error == 0.0:
        return alpha
    far, df = (best.estimate - worst.estimate) / error, worst.df

    def excess(c: float) -> float:
        return float(stats.t.cdf(c + far, df) - stats.t.cdf(-c, df)) - (1.0 - alpha)

    most = float(stats.t.isf(alpha / 2.0, df))
    if excess(most) <= 0.0:
        return alpha
    c = optimize.brentq(excess, float(stats.t.isf(min(alpha, 0.5), df)) - 1e-9, most)
    return 2.0 * float(stats.t.sf(c, df))


def _complete(
    differences: np.ndarray,
    is_known: np.ndarray,
    clusters: np.ndarray | None,
    span: tuple[float, float],
    alpha: float,
) -> Estimate | None:
    """None where fewer than two prompts or clusters are complete."""
    kept = None if clusters is None else np.asarray(clusters)[is_known]
    n_units = int(is_known.sum()) if kept is None else len(np.unique(kept))
    if n_units < 2:
        return None
    return paired_mean(differences[is_known], kept, bounds=span).interval(alpha)


def _filled(scores: np.ndarray, value: float) -> np.ndarray:
    return np.where(np.isnan(scores), value, scores)


def _check_scores(treatment: np.ndarray, control: np.ndarray, bounds: tuple[float, float]) -> None:
    if treatment.shape != control.shape:
        raise DataError(f"{len(treatment)} treatment scores do not pair with {len(control)} of the control")
    if not (bounds[0] < bounds[1] and math.isfinite(bounds[1] - bounds[0])):
        raise DataError(f"worst cases need finite, rising bounds of a score; got {bounds}")
    for scores in (treatment, control):
        known = scores[~np.isnan(scores)]
        if ((known < bounds[0]) | (known > bounds[1])).any():
            raise DataError(f"a score lies outside its bounds {bounds}")
