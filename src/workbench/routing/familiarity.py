"""How far a prediction is trusted: less, the less a prompt is like those that were learned from.

Training prompts are withheld twice: at random, as prompts of the same kind would be met, and with their whole
neighbourhood, as prompts of another kind. Both say how far what is predicted is to be trusted there: the
slope of what happened on it (1: take it as it is, 0: it says nothing). How near a prompt is to what was
learned from says which of the two it resembles. What is predicted for all models alike, and for some of them
more than for others, are judged apart: only the second decides.

Dimensions: N or B prompts, M models.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from workbench.routing.fields import require
from workbench.routing.forecast import Floats

PRIOR = 0.9
"""How likely a prompt is taken to be at home before it is looked at."""
_LEAST = 0.02
"""What is left of trust in differences of models for a strange prompt, so that they are still ranked."""


@dataclass(frozen=True, slots=True)
class Guard:
    """`home` and `away` [2]: the trust in what is common to all models, and in their differences.

    `odds` [2] are the intercept and the slope of the log odds that a prompt is at home, on its nearness to
    the training. `between` [M] is the standard deviation of a model's mean quality between neighbourhoods.
    What is common is the mean over the first `n_fitted` models: one that is added later changes nothing for
    them.
    """

    home: NDArray[np.float64]
    away: NDArray[np.float64]
    odds: NDArray[np.float64]
    between: NDArray[np.float64]
    n_fitted: int

    def __post_init__(self) -> None:
        require(self.home.shape == self.away.shape == self.odds.shape == (2,), "guard")
        require(1 <= self.n_fitted <= len(self.between), "guard")
        for numbers in (self.home, self.away, self.odds, self.between):
            require(bool(np.isfinite(numbers).all()), "numbers")

    def hold(self, quality: Floats, mean: Floats, nearness: Floats, familiarity: Floats) -> Floats:
        """[B, M] predicted `quality`, drawn towards the models' `mean` [M] as far as it is not trusted.

        By the prompts' `nearness` [B] to the training, and as far as `familiarity` [B] is below 1: where it
        is 0 the models are still ranked, and no more.
        """
        gain = quality - mean
        shared = gain[:, : self.n_fitted].mean(axis=1, keepdims=True)
        trust = self._trust(nearness) * np.column_stack([familiarity, np.maximum(familiarity, _LEAST)])
        held: Floats = mean + trust[:, :1] * shared + trust[:, 1:] * (gain - shared)
        return held

    def familiarity(self, nearness: Floats, seen: Floats) -> Floats:
        """[B] as `seen` [B] by the views, or less where a prompt's nearness [B] is that of one away.

        1 where it is at least as likely at home as before it was looked at.
        """
        least: Floats = np.minimum(seen, self._at_home(nearness) / PRIOR)
        return least

    def doubt(self, familiarity: Floats) -> Floats:
        """[B, M] the part of the uncertainty that grows away from the training prompts."""
        away = np.sqrt(1.0 - familiarity**2)
        doubt: Floats = away[:, None] * self.between
        return doubt

    def _trust(self, nearness: Floats) -> Floats:
        """[B, 2] that at home and that away, each as likely as it is."""
        at_home = self._at_home(nearness)[:, None]
        trust: Floats = at_home * self.home + (1.0 - at_home) * self.away
        return trust

    def _at_home(self, nearness: Floats) -> Floats:
        """[B] how likely a prompt is at home."""
        likely: Floats = expit(self.odds[0] + self.odds[1] * nearness)
        return likely
