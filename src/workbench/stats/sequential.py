"""Intervals that stay valid however often one looks: what a live panel may show of an unfinished run."""

import math

import numpy as np
from scipy.special import lambertw

from workbench.errors import DataError


def mixture_scale(n_target: float, *, alpha: float = 0.05) -> float:
    """The mixture parameter rho that makes the interval narrowest after `n_target` observations.

    Source: Waudby-Smith et al. (2024), arXiv 2103.06476v9, appendix B.2: rho^2 n = -W(-alpha^2/e) - 1,
    with the lower branch of Lambert's W.

    Raises:
        DataError: `n_target` is not positive or `alpha` not in (0, 1).
    """
    if not n_target > 0 or not 0.0 < alpha < 1.0:
        raise DataError(f"n_target must be > 0 and alpha in (0, 1); got {n_target} and {alpha}")
    return math.sqrt((-float(lambertw(-(alpha**2) / math.e, k=-1).real) - 1.0) / n_target)


def sequence_margin(
    n: np.ndarray | float, variance: np.ndarray | float, *, rho: float, alpha: float = 0.05
) -> np.ndarray:
    """Half the width of the asymptotic confidence sequence of a mean, for each count.

    mean(n) +- margin(n) holds for all n at once with a probability that tends to at least 1 - `alpha`,
    so one may look after every observation and stop at will.

    Args:
        n: [...] observations so far, at least 1.
        variance: [...] their variance as estimated at that point.
    Source: Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024), Time-uniform central limit theory and
        asymptotic confidence sequences, Annals of Statistics; arXiv 2103.06476, theorem 2.2.
    """
    scaled = np.asarray(n, dtype=float) * rho**2
    spread = (
        2.0 * (scaled + 1.0) / (np.asarray(n, dtype=float) * scaled) * np.log(np.sqrt(scaled + 1.0) / alpha)
    )
    return np.asarray(np.sqrt(np.asarray(variance, dtype=float) * spread))


def steadied(variance: np.ndarray | float, n: np.ndarray | float, *, half_range: float = 1.0) -> np.ndarray:
    """`variance` as if one more observation lay at either end of the range: + 2 `half_range`^2 / n.

    The addition vanishes as n grows, so the sequence's theory is untouched. It keeps the first
    intervals honest, where few observations may all agree: of runs with binary scores and no
    difference, watched from the second prompt on, up to half would otherwise be called at least once.
    """
    return np.asarray(variance, dtype=float) + 2.0 * half_range**2 / np.asarray(n, dtype=float)


class AsymptoticSequence:
    """The asymptotic sequence of a mean of bounded values, with its evidence against 0, kept up to date row
    by row.

    What was once ruled out stays so. `n_planned` is where it is at its best.
    """

    def __init__(self, *, alpha: float, n_planned: int) -> None:
        self._alpha = alpha
        self._rho = mixture_scale(max(2, n_planned), alpha=alpha)
        self._sums = np.zeros(3)  # of ones, values and squares
        self._limits = (-1.0, 1.0)

    def extend(self, differences: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """[N], [N], [N] the limits that hold after each of these rows in [-1, 1], and the log e-value
        against 0."""
        moments = np.stack([np.ones(len(differences)), differences, differences**2])
        n, total, squares = self._sums[:, None] + np.cumsum(moments, axis=1)
        self._sums = np.array([n[-1], total[-1], squares[-1]])
        mean = total / n
        variance = steadied(np.maximum(squares / n - mean**2, 0.0), n)
        margin = sequence_margin(n, variance, rho=self._rho, alpha=self._alpha)
        low = np.maximum.accumulate(np.maximum(mean - margin, self._limits[0]))
        high = np.minimum.accumulate(np.minimum(mean + margin, self._limits[1]))
        self._limits = float(low[-1]), float(high[-1])
        scaled = n * self._rho**2
        log_e = mean**2 * n * scaled / (2.0 * variance * (scaled + 1.0)) - np.log1p(scaled) / 2.0
        return low, high, log_e
