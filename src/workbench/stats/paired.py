"""The mean of paired differences: its standard error (with or without clusters), interval and test."""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from workbench.errors import DataError
from workbench.stats.clusters import Correction, check_clusters, codes_of, mean_error
from workbench.stats.estimate import Estimate

_EQUAL = 1e-12
"""Share of the bounds (or of the largest difference) below which numbers differ by rounding alone."""


@dataclass(frozen=True, slots=True)
class PairedMean:
    """The mean of `n` differences from `n_clusters` independent units, tested against zero.

    `n_clusters` is `n` where no clusters were given. `bounds` is the range that a difference can
    have. When all units have the same mean, `t` is None and `p_value` is that of the sign test.
    `p_value` is two-sided.
    """

    estimate: float
    standard_error: float
    t: float | None
    df: float
    p_value: float
    n: int
    n_clusters: int
    bounds: tuple[float, float]

    def interval(self, alpha: float = 0.05) -> Estimate:
        """The two-sided interval at level 1 - `alpha`, inside `bounds`.

        Equal units have no variance to estimate, yet say little when they are few: all that is
        known is that values other than this one have a share of at most u = 1 - (alpha/2)^(1/G)
        (Clopper & Pearson 1934, for G of G), and these may lie anywhere in the bounds.
        """
        low, high = self.bounds
        if self.t is None:
            share = 1.0 - (alpha / 2.0) ** (1.0 / self.n_clusters)
            return Estimate(
                self.estimate,
                self.estimate - share * (self.estimate - low),
                self.estimate + share * (high - self.estimate),
            )
        margin = float(stats.t.isf(alpha / 2.0, self.df)) * self.standard_error
        return Estimate(self.estimate, max(self.estimate - margin, low), min(self.estimate + margin, high))

    def p_at_most(self, value: float) -> float:
        """One-sided p-value that the mean is at most `value`: small where it is larger.

        It is at most alpha where the lower limit of the interval at level 1 - 2 alpha is above `value`.
        """
        if self.t is not None:
            return float(stats.t.sf((self.estimate - value) / self.standard_error, self.df))
        low = self.bounds[0]
        if self.estimate <= value:
            return 1.0
        share = 1.0 if value < low else (self.estimate - value) / (self.estimate - low)
        return (1.0 - share) ** self.n_clusters

    def p_at_least(self, value: float) -> float:
        """One-sided p-value that the mean is at least `value`: small where it is smaller."""
        low, high = self.bounds
        mirrored = None if self.t is None else -self.t
        return replace(self, estimate=-self.estimate, t=mirrored, bounds=(-high, -low)).p_at_most(-value)


def paired_mean(
    differences: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    bounds: tuple[float, float] = (-1.0, 1.0),
    correction: Correction = "CR2",
) -> PairedMean:
    """The mean of `differences` and its test, robust to dependence within clusters.

    Without clusters this is the paired t-test. With them the variance is cluster-robust: CR2 with the
    degrees of freedom of Bell & McCaffrey, or CR1 with the factor G/(G-1) and G - 1 degrees of freedom.
    For clusters of one size the two are the same; else CR1 is too narrow where clusters are few.

    >>> paired_mean(np.array([0.0, 1.0, 0.0, 1.0])).estimate
    0.5

    Args:
        differences: [N] treatment minus control, one a prompt; unit of the score.
        clusters: [N] equal for prompts that are not independent.
        bounds: the least and greatest difference possible; (-inf, inf) where there are none.
    Raises:
        DataError: a NaN, a value outside the bounds, or clusters of another length.
        InsufficientDataError: fewer than two prompts or clusters.
    Source: Cameron & Miller (2015), A Practitioner's Guide to Cluster-Robust Inference, sec. II and VI;
        CR2 as in `clusters.mean_error`.
    """
    codes = codes_of(clusters, len(differences))
    n, n_clusters = len(differences), int(codes.max()) + 1 if len(codes) else 0
    _check(differences, bounds=bounds, n_units=n_clusters)
    mean, sizes = float(np.mean(differences)), np.bincount(codes)
    sums = np.bincount(codes, weights=differences - mean)
    error = mean_error(differences, codes, correction=correction)
    tiny = _EQUAL * _extent(differences, bounds)
    if np.max(np.abs(sums / sizes)) <= tiny:
        p_value = min(1.0, 2.0 * 0.5**n_clusters) if abs(mean) > tiny else 1.0
        return PairedMean(mean, 0.0, None, error.df, p_value, n, n_clusters, bounds)
    t = mean / math.sqrt(error.variance)
    p_value = float(2.0 * stats.t.sf(abs(t), error.df))
    return PairedMean(mean, math.sqrt(error.variance), t, error.df, p_value, n, n_clusters, bounds)


def _extent(differences: np.ndarray, bounds: tuple[float, float]) -> float:
    extent = bounds[1] - bounds[0]
    return extent if math.isfinite(extent) else float(np.max(np.abs(differences)))


def _check(differences: np.ndarray, *, bounds: tuple[float, float], n_units: int) -> None:
    if not np.isfinite(differences).all():
        n_bad = int((~np.isfinite(differences)).sum())
        raise DataError(f"{n_bad} of {len(differences)} differences are not finite; leave these pairs out")
    check_clusters(n_units)
    if differences.min() < bounds[0] or differences.max() > bounds[1]:
        raise DataError(f"a difference lies outside its bounds {bounds}")
