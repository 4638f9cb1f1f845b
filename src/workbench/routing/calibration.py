"""Predicted qualities made to mean what they say, by what then happened to withheld prompts.

A logistic curve first, then what is left of its errors, bin by bin, as a rising line through their means.

Dimensions: N or B prompts, M models, K corners of the line.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.routing.fields import require
from workbench.routing.forecast import Floats

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
        logistic_quality = logistic(quality, self.sharpness)
        line: Floats = np.interp(logistic_quality, self.said, self.found)
        return _TRUST * line + (1.0 - _TRUST) * logistic_quality


def logistic(quality: Floats, sharpness: NDArray[np.float64]) -> Floats:
    """Qualities in (0, 1) whose logits are `sharpness[0] + sharpness[1] x` those of `quality`."""
    clipped = np.clip(quality, 1e-3, 1.0 - 1e-3)
    logit = np.log(clipped / (1.0 - clipped))
    probability: Floats = 1.0 / (1.0 + np.exp(-(sharpness[0] + sharpness[1] * logit)))
    return probability
