"""Before spending: how likely a size finds an effect, the size that a power needs, and the least effect that
a size finds.

A `Plan` holds what is assumed of the scores and knows its test's power for an effect and a size; `power_of`,
`n_for` and `least_effect` ask it. Effects are differences in quality, treatment minus control; their sign
does not matter.
"""

import math
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from scipy import stats

from workbench.errors import DataError, InsufficientDataError

_N_MOST = 100_000_000


class Plan(Protocol):
    """What is assumed, and the test's power under it."""

    def power(self, effect: float, n: int, *, alpha: float) -> float:
        """The chance that a two-sided test of `n` prompts (an arm, where arms have different ones) finds
        `effect`."""
        ...

    @property
    def largest_effect(self) -> float:
        """The greatest effect that is possible under what is assumed."""
        ...


def power_of(plan: Plan, effect: float, n: int, *, alpha: float = 0.05, n_comparisons: int = 1) -> float:
    """The chance to find `effect` with `n` prompts, when `alpha` is shared by several comparisons.

    >>> round(power_of(PairedMeans(between_sd=0.5), 0.1, 199), 2)
    0.8

    Args:
        n_comparisons: each has alpha / this (Bonferroni). Holm's procedure has this power or more.
    Raises:
        DataError: an effect, size or alpha that cannot be.
    """
    if n < 2 or n_comparisons < 1 or not 0.0 < alpha < 1.0:
        raise DataError(
            f"power needs n >= 2, 1 comparison or more and alpha in (0, 1); got {n}, {n_comparisons}, {alpha}"
        )
    if not 0.0 <= abs(effect) <= plan.largest_effect:
        raise DataError(f"an effect of {effect} is not possible here; at most {plan.largest_effect:.6g} is")
    return plan.power(abs(effect), n, alpha=alpha / n_comparisons)


def n_for(
    plan: Plan, effect: float, *, power: float = 0.8, alpha: float = 0.05, n_comparisons: int = 1
) -> int:
    """The number of prompts that finds `effect` with at least `power`, where one fewer does not; by halving.

    >>> n_for(PairedMeans(between_sd=0.5), 0.1)
    199

    Raises:
        DataError: an effect of 0 or one that is not possible, a power not in (alpha, 1), or more than 100
        million.
    """
    if effect == 0.0 or not alpha < power < 1.0:
        raise DataError(
            f"a size needs an effect other than 0 and a power in (alpha, 1); got {effect}, {power}"
        )

    def is_enough(n: int) -> bool:
        return power_of(plan, effect, n, alpha=alpha, n_comparisons=n_comparisons) >= power

    most = 2
    while not is_enough(most):
        most *= 2
        if most > _N_MOST:
            raise DataError(f"an effect of {effect} needs more than {_N_MOST} prompts")
    least = most // 2
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if is_enough(middle) else (middle, most)
    return most


def least_effect(
    plan: Plan, n: int, *, power: float = 0.8, alpha: float = 0.05, n_comparisons: int = 1
) -> float | None:
    """The smallest effect that `n` prompts find with at least `power` (the minimum detectable effect).

    None: not even the largest that is possible.

    >>> round(least_effect(PairedMeans(between_sd=0.5), 199), 3)
    0.1
    """
    low, high = 0.0, plan.largest_effect
    if power_of(plan, high, n, alpha=alpha, n_comparisons=n_comparisons) < power:
        return None
    for _ in range(50):
        middle = (low + high) / 2.0
        is_found = power_of(plan, middle, n, alpha=alpha, n_comparisons=n_comparisons) >= power
        low, high = (low, middle) if is_found else (middle, high)
    return high


@dataclass(frozen=True, slots=True)
class PairedMeans:
    """Both arms answer the same prompts: t on the prompts' differences, or on those of clusters.

    `between_sd` is the standard deviation of prompts' true differences; `within_sd` that of one repeat's
    difference around its prompt's, averaged over `repeats`. Prompts come in clusters of `cluster_size` whose
    differences correlate by `icc`: the variance of the mean grows by 1 + (cluster_size - 1) icc.
    Source: Cohen (1988), ch. 2; Kish (1965), Survey Sampling, sec. 5.4 (design effect).
    """

    between_sd: float
    within_sd: float = 0.0
    repeats: int = 1
    icc: float = 0.0
    cluster_size: float = 1.0

    def __post_init__(self) -> None:
        if min(self.between_sd, self.within_sd) < 0.0 or self.repeats < 1 or self.cluster_size < 1.0:
            raise DataError(
                f"standard deviations must be 0 or more, repeats and cluster sizes 1 or more: {self}"
            )
        if not -1.0 <= self.icc <= 1.0 or self.design_effect <= 0.0 or self.sd == 0.0:
            raise DataError(
                f"differences must vary, and icc lie in [-1, 1] above -1 / (cluster_size - 1): {self}"
            )

    @property
    def sd(self) -> float:
        """Of a prompt's difference, its repeats averaged."""
        return math.sqrt(self.between_sd**2 + self.within_sd**2 / self.repeats)

    @property
    def design_effect(self) -> float:
        """How much clusters add to the variance of the mean."""
        return 1.0 + (self.cluster_size - 1.0) * self.icc

    @property
    def largest_effect(self) -> float:
        return 1.0

    def power(self, effect: float, n: int, *, alpha: float) -> float:
        n_units = n / self.cluster_size
        if n_units < 2.0:
            return 0.0
        error = self.sd * math.sqrt(self.design_effect / n)
        return _t_power(effect / error, n_units - 1.0, alpha)


@dataclass(frozen=True, slots=True)
class TwoMeans:
    """The arms answer different prompts: Welch's t, `n` prompts in the treatment and `n` x `ratio` in the
    control.

    Source: Cohen (1988), ch. 2; Welch (1947) for the degrees of freedom.
    """

    sd_treatment: float
    sd_control: float
    ratio: float = 1.0

    def __post_init__(self) -> None:
        if min(self.sd_treatment, self.sd_control) < 0.0 or self.ratio <= 0.0:
            raise DataError(f"standard deviations must be 0 or more and the ratio positive: {self}")
        if self.sd_treatment + self.sd_control == 0.0:
            raise DataError("scores must vary in at least one arm")

    @property
    def largest_effect(self) -> float:
        return 1.0

    def power(self, effect: float, n: int, *, alpha: float) -> float:
        n_control = n * self.ratio
        if n_control < 2.0:
            return 0.0
        parts = self.sd_treatment**2 / n, self.sd_control**2 / n_control
        df = sum(parts) ** 2 / (parts[0] ** 2 / (n - 1.0) + parts[1] ** 2 / (n_control - 1.0))
        return _t_power(effect / math.sqrt(sum(parts)), df, alpha)


@dataclass(frozen=True, slots=True)
class Pilot:
    """What a pilot says of the next run's variance: the estimate, and the plans at its lower and upper
    limit.

    Read the power at `high`: a small pilot is as likely to flatter as not.
    """

    plan: PairedMeans
    low: PairedMeans
    high: PairedMeans
    n: int
    n_clusters: int


def from_pilot(
    differences: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    repeats: int | None = None,
    alpha: float = 0.05,
) -> Pilot:
    """The assumptions that a pilot's differences bear out, with their uncertainty at level 1 - `alpha`.

    Variances are by analysis of variance: of repeats within prompts, and of prompts in clusters. The limits
    are for the variance of the mean, on a log scale, with the standard error that the squared deviations
    themselves show; between and within are scaled alike.

    Args:
        differences: [N] one a prompt, or [N, R] one a repeat; treatment minus control.
        clusters: [N] equal for prompts that are not independent.
        repeats: of the planned run; None: as many as here.
    Raises:
        DataError: a NaN, clusters of another length, or differences that do not vary.
        InsufficientDataError: fewer than 4 prompts or clusters.
    Source: Donner & Koval (1980), Biometrics 36 (icc by analysis of variance, clusters of unequal size).
    """
    table = np.asarray(differences, dtype=np.float64).reshape(len(differences), -1)
    codes = np.arange(len(table)) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    sizes = np.bincount(codes)
    if not np.isfinite(table).all() or len(codes) != len(table):
        raise DataError("a pilot needs finite differences, and one cluster for each prompt")
    if len(sizes) < 4:
        raise InsufficientDataError(
            f"a pilot needs 4 independent prompts or clusters; there are {len(sizes)}"
        )
    n, n_repeats = table.shape
    means = table.mean(axis=1)
    within = float(table.var(axis=1, ddof=1).mean()) if n_repeats > 1 else 0.0
    total = float(means.var(ddof=1))
    here = PairedMeans(
        between_sd=math.sqrt(max(total - within / n_repeats, 0.0)),
        within_sd=math.sqrt(within),
        repeats=n_repeats,
        cluster_size=n / len(sizes),
    )
    planned = replace(here, repeats=n_repeats if repeats is None else repeats)
    icc = _icc(means, codes) if len(sizes) < n else 0.0
    # What prompts of a cluster share does not change with the number of repeats.
    plan = replace(planned, icc=min(1.0, icc * here.sd**2 / planned.sd**2))
    factor = _spread(np.bincount(codes, weights=means - means.mean()), alpha)
    low, high = (
        replace(plan, between_sd=plan.between_sd * by, within_sd=plan.within_sd * by)
        for by in (1.0 / factor, factor)
    )
    return Pilot(plan, low, high, n, len(sizes))


def _icc(means: np.ndarray, codes: np.ndarray) -> float:
    """Of one-way analysis of variance, not below 0: clusters are not planned to help."""
    sizes = np.bincount(codes)
    centres = np.bincount(codes, weights=means) / sizes
    n, n_clusters = len(means), len(sizes)
    between = float(sizes @ (centres - means.mean()) ** 2) / (n_clusters - 1)
    inside = float(((means - centres[codes]) ** 2).sum()) / (n - n_clusters)
    size = (n - float(sizes @ sizes) / n) / (n_clusters - 1)
    return max(0.0, (between - inside) / (between + (size - 1.0) * inside))


def _spread(sums: np.ndarray, alpha: float) -> float:
    """By what the standard deviation may be off: exp of half the log interval of the mean square of
    `sums`."""
    squares = sums**2
    error = float(squares.std(ddof=1)) / (float(squares.mean()) * math.sqrt(len(squares)))
    return math.exp(float(stats.t.isf(alpha / 2.0, len(squares) - 1)) * error / 2.0)


def _t_power(noncentrality: float, df: float, alpha: float) -> float:
    critical = float(stats.t.isf(alpha / 2.0, df))
    above = float(stats.nct.sf(critical, df, noncentrality))
    below = float(stats.nct.cdf(-critical, df, noncentrality))
    if math.isnan(above):  # scipy gives up far out: there the normal form is exact to 1e-6
        above = float(stats.norm.sf(critical - noncentrality))
    return above + (0.0 if math.isnan(below) else below)
