"""Predicted qualities made to mean what they say, by what then happened to withheld prompts.

A logistic curve first, then what is left of its errors, bin by bin, as a rising line through their means.

Dimensions: N or B prompts, M models, K corners of the line.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression, minimize

from workbench.routing.fields import require
from workbench.routing.forecast import Floats

_MOST_BINS = 10
_FEWEST_PAIRS = 50
"""Pairs of a prompt and a model in a bin."""
_TRUST = 0.75
"""In the line. The rest is the logistic curve alone, so that what rises before keeps rising."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """`sharpness` [2], intercept and slope of the logit, and the line from `said` [K] to `found` [K]."""

    sharpness: NDArray[np.float64]
    said: NDArray[np.float64]
    found: NDArray[np.float64]

    def __post_init__(self) -> None:
        require(self.sharpness.shape == (2,), "calibration")
        require(self.said.shape == self.found.shape and len(self.said) >= 2, "calibration")
        for numbers in (self.sharpness, self.said, self.found):
            require(bool(np.isfinite(numbers).all()), "calibration")
        require(bool((np.diff(self.said) >= 0.0).all() and (np.diff(self.found) >= 0.0).all()), "calibration")

    def of(self, quality: Floats) -> Floats:
        """[B, M] qualities in (0, 1) for predicted ones, in the same order."""
        logistic = _logistic(quality, self.sharpness)
        line: Floats = np.interp(logistic, self.said, self.found)
        return _TRUST * line + (1.0 - _TRUST) * logistic


def fit_calibration(quality: Floats, truth: Floats) -> Calibration:
    """From qualities [N, M] that were predicted and then seen (NaN: not); nothing changes where few were.

    Source: Platt (1999), Probabilistic outputs for support vector machines; for the rising line Zadrozny &
    Elkan (2002), Transforming classifier scores into accurate multiclass probability estimates.
    """
    seen = np.isfinite(truth)
    sharpness = _fit_sharpness(quality[seen], truth[seen])
    logistic = _logistic(quality[seen], sharpness)
    order, ends = np.argsort(logistic, kind="stable"), np.array([0.0, 1.0])
    n_bins = min(_MOST_BINS, len(order) // _FEWEST_PAIRS)
    if n_bins < 2:
        return Calibration(sharpness, ends, ends)
    bins = np.array_split(order, n_bins)
    said = np.array([logistic[inside].mean() for inside in bins])
    found = isotonic_regression([truth[seen][inside].mean() for inside in bins]).x
    return Calibration(sharpness, np.insert(ends, 1, said), np.insert(ends, 1, found))


def _logistic(quality: Floats, sharpness: NDArray[np.float64]) -> Floats:
    """Qualities in (0, 1) whose logits are `sharpness[0] + sharpness[1] x` those of `quality`."""
    clipped = np.clip(quality, 1e-3, 1.0 - 1e-3)
    logit = np.log(clipped / (1.0 - clipped))
    probability: Floats = 1.0 / (1.0 + np.exp(-(sharpness[0] + sharpness[1] * logit)))
    return probability


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
