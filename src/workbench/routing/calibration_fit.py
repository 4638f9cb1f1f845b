"""A calibration found on prompts that were withheld. N prompts, M models."""

import numpy as np
from scipy.optimize import isotonic_regression, minimize

from workbench.routing.calibration import Calibration, logistic
from workbench.routing.forecast import Floats

_MOST_BINS = 10
_FEWEST_PAIRS = 50
"""Pairs of a prompt and a model in a bin."""


def fit_calibration(quality: Floats, truth: Floats) -> Calibration:
    """From qualities [N, M] that were predicted and then seen (NaN: not); nothing changes where few were.

    Source: Platt (1999), Probabilistic outputs for support vector machines; for the rising line Zadrozny &
    Elkan (2002), Transforming classifier scores into accurate multiclass probability estimates.
    """
    seen = np.isfinite(truth)
    sharpness = _fit_sharpness(quality[seen], truth[seen])
    curve = logistic(quality[seen], sharpness)
    order, ends = np.argsort(curve, kind="stable"), np.array([0.0, 1.0])
    n_bins = min(_MOST_BINS, len(order) // _FEWEST_PAIRS)
    if n_bins < 2:
        return Calibration(sharpness, ends, ends)
    bins = np.array_split(order, n_bins)
    said = np.array([curve[inside].mean() for inside in bins])
    found = isotonic_regression([truth[seen][inside].mean() for inside in bins]).x
    return Calibration(sharpness, np.insert(ends, 1, said), np.insert(ends, 1, found))


def _fit_sharpness(quality: Floats, truth: Floats) -> Floats:
    """[2] intercept and slope of the logistic curve through what happened; 0 and 1 where little is known."""
    clipped = np.clip(quality, 1e-3, 1.0 - 1e-3)
    logit = np.log(clipped / (1.0 - clipped))

    def loss(sharpness: Floats) -> float:
        scaled = sharpness[0] + sharpness[1] * logit
        fit = np.sum(np.logaddexp(0.0, scaled) - truth * scaled)
        return float(fit + 10.0 * (sharpness[0] ** 2 + (sharpness[1] - 1.0) ** 2))

    found = minimize(loss, np.array([0.0, 1.0]), bounds=[(-1.0, 1.0), (0.2, 3.0)], method="L-BFGS-B")
    return np.asarray(found.x, dtype=np.float64)
