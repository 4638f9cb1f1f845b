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
