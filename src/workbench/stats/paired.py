"""The mean of paired differences: its standard error (with or without clusters), interval and test."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.estimate import Estimate

_EQUAL = 1e-12
"""Share of the bounds below which numbers differ by rounding alone."""


@dataclass(frozen=True, slots=True)
class PairedMean:
    """The mean of `n` differences from `n_clusters` independent units, tested against zero.

    `n_clusters` is `n` where no clusters were given. `bounds` is the range that a difference can
    have. When all units have the same mean, `t` is None and `p_value` is that of the sign test.
    """

    estimate: float
    standard_error: float
    t: float | None
    df: int
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


def paired_mean(
    differences: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    bounds: tuple[float, float] = (-1.0, 1.0),
) -> PairedMean:
    """The mean of `differences` and its test, robust to dependence within clusters.

    Without clusters this is the paired t-test. With them the variance is the cluster-robust one with
    the small-sample factor G/(G-1) (CR1) and the reference is t with G - 1 degrees of freedom.

    >>> paired_mean(np.array([0.0, 1.0, 0.0, 1.0])).estimate
    0.5

    Args:
        differences: [N] treatment minus control, one a prompt; unit of the score.
        clusters: [N] whole numbers from 0, equal for prompts that are not independent.
        bounds: the least and greatest difference possible.
    Raises:
        DataError: a NaN, a value outside the bounds, or clusters of another length.
        InsufficientDataError: fewer than two prompts or clusters.
    Source: Cameron & Miller (2015), A Practitioner's Guide to Cluster-Robust Inference, sec. II and VI.
    """
    units = _units(differences, clusters)
    n, n_clusters = len(differences), int(units.max()) + 1 if len(units) else 0
    _check(differences, bounds=bounds, n_units=n_clusters)
    mean, sizes = float(np.mean(differences)), np.bincount(units)
    sums = np.bincount(units, weights=differences - mean)
    variance = n_clusters / (n_clusters - 1) * float(sums @ sums) / n**2
    if np.max(np.abs(sums / sizes)) <= _EQUAL * (bounds[1] - bounds[0]):
        p_value = min(1.0, 2.0 * 0.5**n_clusters) if abs(mean) > _EQUAL else 1.0
        return PairedMean(mean, 0.0, None, n_clusters - 1, p_value, n, n_clusters, bounds)
    t = mean / math.sqrt(variance)
    p_value = float(2.0 * stats.t.sf(abs(t), n_clusters - 1))
    return PairedMean(mean, math.sqrt(variance), t, n_clusters - 1, p_value, n, n_clusters, bounds)


def _units(differences: np.ndarray, clusters: np.ndarray | None) -> np.ndarray:
    if clusters is None:
        return np.arange(len(differences))
    if clusters.shape != differences.shape:
        raise DataError(
            f"there are {len(clusters)} clusters for {len(differences)} differences; give one each"
        )
    return np.unique(clusters, return_inverse=True)[1]


def _check(differences: np.ndarray, *, bounds: tuple[float, float], n_units: int) -> None:
    if not np.isfinite(differences).all():
        n_bad = int((~np.isfinite(differences)).sum())
        raise DataError(f"{n_bad} of {len(differences)} differences are not finite; leave these pairs out")
    if n_units < 2:
        raise InsufficientDataError(
            f"a comparison needs at least 2 independent prompts or clusters; there is {n_units}"
        )
    if differences.min() < bounds[0] or differences.max() > bounds[1]:
        raise DataError(f"a difference lies outside its bounds {bounds}")
