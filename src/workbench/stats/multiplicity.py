"""Several comparisons at once: p-values corrected so that one false finding stays as rare as promised."""

from collections.abc import Sequence

import numpy as np

from workbench.errors import DataError


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p-values, in the order given: reject where one is at most alpha.

    The chance of any false rejection is then at most alpha, whatever the dependence.

    >>> holm([0.01, 0.04, 0.03])
    (0.03, 0.06, 0.06)

    Raises:
        DataError: a value outside [0, 1], or NaN.
    Source: Holm (1979), A Simple Sequentially Rejective Multiple Test Procedure, Scand. J. Statist. 6.
    """
    p = np.asarray(p_values, dtype=float)
    if not ((p >= 0.0) & (p <= 1.0)).all():
        raise DataError(f"p-values must be in [0, 1]; got {list(p_values)}")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return tuple(float(value) for value in adjusted)
