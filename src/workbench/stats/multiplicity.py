"""Several comparisons at once: p-values and intervals corrected so that false findings stay rare.

Each function takes p-values and gives adjusted ones in the same order: reject where one is at most alpha.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError
from workbench.stats.estimate import Estimate

Floats = NDArray[np.float64]


class HasInterval(Protocol):
    """A result with an interval at a level of choice, such as `PairedMean` or `PairedProportions`."""

    def interval(self, alpha: float = 0.05) -> Estimate:
        """The two-sided interval at level 1 - `alpha`."""
        ...


def bonferroni(p_values: Sequence[float]) -> tuple[float, ...]:
    """Each times their number: `holm` is never larger, but these agree with `bonferroni_intervals`.

    >>> bonferroni([0.01, 0.04])
    (0.02, 0.08)

    Raises:
        DataError: a value outside [0, 1], or NaN.
    Source: Dunn (1961), JASA 56.
    """
    p = _checked(p_values)
    return _as_tuple(p * len(p))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p-values, in the order given: reject where one is at most alpha.

    The chance of any false rejection is then at most alpha, whatever the dependence.

    >>> holm([0.01, 0.04, 0.03])
    (0.03, 0.06, 0.06)

    Errors as in `bonferroni`.
    Source: Holm (1979), A Simple Sequentially Rejective Multiple Test Procedure, Scand. J. Statist. 6.
    """
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return _restored(stepped, order)


def hochberg(p_values: Sequence[float]) -> tuple[float, ...]:
    """As `holm` but stepping up, so never larger: holds for independent or positively dependent tests.

    >>> hochberg([0.01, 0.04, 0.03])
    (0.03, 0.04, 0.04)

    Errors as in `bonferroni`.
    Source: Hochberg (1988), Biometrika 75; Sarkar (1998), Ann. Statist. 26, for dependence.
    """
    p = _checked(p_values)
    return _stepped_up(p, np.arange(len(p), 0, -1.0))


def benjamini_hochberg(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p-values that hold the false discovery rate, the expected share of false ones among findings.

    For independent or positively dependent tests. For exploring many; for a verdict use `holm`.

    >>> benjamini_hochberg([0.01, 0.04, 0.03])
    (0.03, 0.04, 0.04)

    Errors as in `bonferroni`.
    Source: Benjamini & Hochberg (1995), JRSS B 57; Benjamini & Yekutieli (2001), Ann. Statist. 29.
    """
    p = _checked(p_values)
    return _stepped_up(p, len(p) / np.arange(1.0, len(p) + 1.0))


def benjamini_yekutieli(p_values: Sequence[float]) -> tuple[float, ...]:
    """The same under any dependence: larger by the factor 1 + 1/2 + ... + 1/m.

    Errors as in `bonferroni`.
    Source: Benjamini & Yekutieli (2001), Ann. Statist. 29, theorem 1.3.
    """
    p = _checked(p_values)
    ranks = np.arange(1.0, len(p) + 1.0)
    return _stepped_up(p, float(np.sum(1.0 / ranks)) * len(p) / ranks)


def bonferroni_intervals(results: Sequence[HasInterval], *, alpha: float = 0.05) -> tuple[Estimate, ...]:
    """Intervals that all hold at once with probability at least 1 - `alpha`: each at 1 - `alpha` / m.

    >>> from workbench.stats.paired_proportions import tango
    >>> both = bonferroni_intervals([tango(40, 20, 160), tango(30, 20, 160)])
    >>> both[0] == tango(40, 20, 160).interval(0.025)
    True

    Source: Dunn (1961), Multiple Comparisons among Means, JASA 56.
    """
    return tuple(result.interval(alpha / len(results)) for result in results)


def _stepped_up(p: Floats, factors: Floats) -> tuple[float, ...]:
    """The least of what this and all larger p-values give; `factors` [m] belong to the p-values in order."""
    order = np.argsort(p, kind="stable")
    return _restored(np.minimum.accumulate((p[order] * factors)[::-1])[::-1], order)


def _restored(stepped: Floats, order: NDArray[np.int64]) -> tuple[float, ...]:
    adjusted = np.empty_like(stepped)
    adjusted[order] = stepped
    return _as_tuple(adjusted)


def _as_tuple(adjusted: Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in np.minimum(adjusted, 1.0))


def _checked(p_values: Sequence[float]) -> Floats:
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0.0) & (p <= 1.0)).all():
        raise DataError(f"p-values must be in [0, 1]; got {list(p_values)}")
    return p
