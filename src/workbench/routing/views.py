"""How familiar a prompt is: as much as the least of two views of it, what it says and what it looks like.

A benchmark of another kind may use the words of the training prompts, and still have no options to choose
from, or no code where all of them had some.

Dimensions: N or B prompts, S structure features, V views.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.features import STRUCTURE_NAMES
from workbench.routing.fields import require
from workbench.routing.forecast import Floats

_EDGE = 0.01
"""The share of training prompts that count as less than ordinary in a view."""
_FALL = 0.5
"""How far below the edge is strange, as a part of how far the median is above it."""
_OUTSIDE = 0.01
"""The share of training prompts on either side whose structure is not counted into the range."""
_NARROWEST = np.array([0.02, 2.0])
"""Between ordinary and strange: a similarity, and units of structure."""
_AMOUNTS = frozenset({"log_chars", "log_words", "log_lines", "log_numerals"})
_UNITS = np.array([1.0 if name in _AMOUNTS else 0.25 for name in STRUCTURE_NAMES])
"""What counts as a difference in a feature where the training prompts hardly differ: e times as long."""


@dataclass(frozen=True, slots=True)
class Views:
    """The `low` and `high` [S] of structure, and for each view what is `ordinary` [V] and what `strange`.

    The views are the nearness to the training prompts and, below 0, how far structure is outside its range,
    each feature counted `weight` [S] times.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    weight: NDArray[np.float64]
    ordinary: NDArray[np.float64]
    strange: NDArray[np.float64]

    def __post_init__(self) -> None:
        require(self.low.shape == self.high.shape == self.weight.shape, "structure")
        require(self.ordinary.shape == self.strange.shape == (2,), "views")
        for numbers in (self.low, self.high, self.weight, self.ordinary, self.strange):
            require(bool(np.isfinite(numbers).all()), "numbers")
        require(bool((self.strange < self.ordinary).all()), "views")

    def familiarity(self, nearness: Floats, structure: NDArray[np.float32]) -> Floats:
        """[B] 1 for a prompt that is ordinary among the training prompts, 0 for a strange one.

        From its nearness [B] to them and its structure [B, S], in their units.
        """
        seen = np.column_stack([nearness, -_outside(structure, self.low, self.high, self.weight)])
        shares = (seen - self.strange) / (self.ordinary - self.strange)
        least: Floats = np.clip(shares, 0.0, 1.0).min(axis=1)
        return least


def fit_views(nearness: Floats, structure: NDArray[np.float32], scale: NDArray[np.float32]) -> Views:
    """From training prompts, each withheld: its nearness [N] to the others and its structure [N, S].

    Structure is in standard deviations, which are `scale` [S] in the units of `STRUCTURE_NAMES`.
    All but the least hundredth are ordinary in a view; half as far below as the median is above is strange.
    """
    low, high = np.quantile(structure.astype(np.float64), [_OUTSIDE, 1.0 - _OUTSIDE], axis=0)
    weight = scale / np.maximum(scale, _UNITS)
    seen = np.column_stack([nearness, -_outside(structure, low, high, weight)])
    edge, median = np.quantile(seen, [_EDGE, 0.5], axis=0)
    return Views(low, high, weight, edge, edge - np.maximum(_FALL * (median - edge), _NARROWEST))


def _outside(structure: NDArray[np.float32], low: Floats, high: Floats, weight: Floats) -> Floats:
    """[B] how far the feature that is farthest out of its range is."""
    farthest: Floats = (np.maximum(low - structure, structure - high) * weight).max(axis=1, initial=0.0)
    return farthest
