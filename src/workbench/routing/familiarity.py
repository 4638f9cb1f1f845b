"""How far a prediction is trusted: less, the less a prompt is like those that were learned from.

Two things are measured on training prompts whose neighbourhood was withheld: the slope of what happened on
what was predicted (1: take it as it is, 0: it says nothing) against the similarity to what was learned from,
and how far the models' mean qualities differ from one neighbourhood to another. What is predicted for all
models alike, and for some of them more than for others, are judged apart: only the second decides.

Dimensions: N or B prompts, M models, C corners of a curve.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.routing.fields import require
from workbench.routing.forecast import Floats

_N_CORNERS = 9


@dataclass(frozen=True, slots=True)
class Guard:
    """`similarity` [C] rising, and at each the trust [C] in what is common and in differences of models.

    `home` is the similarity of an ordinary training prompt to the others, `between` [M] the standard
    deviation of a model's mean quality between neighbourhoods. What is common is the mean over the first
    `n_fitted` models: one that is added later changes nothing for them.
    """

    similarity: NDArray[np.float64]
    common: NDArray[np.float64]
    difference: NDArray[np.float64]
    home: float
    between: NDArray[np.float64]
    n_fitted: int

    def __post_init__(self) -> None:
        require(self.similarity.shape == self.common.shape == self.difference.shape, "guard")
        require(len(self.similarity) > 0 and 1 <= self.n_fitted <= len(self.between), "guard")
        for numbers in (self.similarity, self.common, self.difference, self.between):
            require(bool(np.isfinite(numbers).all()), "numbers")

    def hold(self, quality: Floats, mean: Floats, similarity: Floats) -> Floats:
        """[B, M] predicted `quality`, drawn towards the models' `mean` [M] as `similarity` [B] asks for."""
        gain = quality - mean
        shared = gain[:, : self.n_fitted].mean(axis=1, keepdims=True)
        trust_common = self._trust(self.common, similarity)[:, None]
        trust_difference = self._trust(self.difference, similarity)[:, None]
        held: Floats = mean + trust_common * shared + trust_difference * (gain - shared)
        return held

    def familiarity(self, similarity: Floats) -> Floats:
        """[B] 1 for a prompt as near to the training as its own prompts are, 0 for one without likeness."""
        if self.home <= 0.0:
            return np.ones_like(similarity)
        return np.clip(similarity / self.home, 0.0, 1.0)

    def doubt(self, similarity: Floats) -> Floats:
        """[B, M] the part of the uncertainty that grows away from the training prompts."""
        away = np.sqrt(1.0 - self.familiarity(similarity) ** 2)
        doubt: Floats = away[:, None] * self.between
        return doubt

    def _trust(self, curve: NDArray[np.float64], similarity: Floats) -> Floats:
        """Between the corners a line; below the lowest one it falls to nothing at no similarity."""
        inside = np.interp(similarity, self.similarity, curve)
        lowest = self.similarity[0]
        if lowest <= 0.0:
            return inside
        trust: Floats = inside * np.clip(similarity / lowest, 0.0, 1.0)
        return trust


def fit_guard(
    predicted: Floats, quality: Floats, mean: Floats, *, similarity: Floats, home: float, between: Floats
) -> Guard:
    """The trust in predictions [N, M] for withheld prompts, whose quality [N, M] is known.

    Trust is a slope that rises in a straight line with the similarity. It counts at its lower limit, one
    standard error below, between 0 and 1.
    """
    gain, truth = predicted - mean, quality - mean
    shared, shared_truth = gain.mean(axis=1, keepdims=True), _row_means(truth)
    corners = np.quantile(similarity, np.linspace(0.0, 1.0, _N_CORNERS))
    return Guard(
        similarity=corners,
        common=_trust(shared, shared_truth, similarity, corners),
        difference=_trust(gain - shared, truth - shared_truth, similarity, corners),
        home=home,
        between=between,
        n_fitted=predicted.shape[1],
    )


def _row_means(values: Floats) -> Floats:
    """[N, 1] the mean of what was seen of each row; 0 where nothing was."""
    seen = np.isfinite(values)
    totals, counts = np.where(seen, values, 0.0).sum(axis=1), seen.sum(axis=1)
    means: Floats = np.divide(totals, counts, out=np.zeros(len(values)), where=counts > 0)
    return means[:, None]


def _trust(predicted: Floats, truth: Floats, similarity: Floats, corners: Floats) -> Floats:
    """[C] the slope of truth on predicted, both [N, M], as a line in similarity [N]; prompts are clusters."""
    seen = np.isfinite(truth)
    x, y = np.where(seen, predicted, 0.0), np.where(seen, truth, 0.0)
    if float((x * x).sum()) <= 1e-12:
        return np.ones(len(corners))  # nothing was predicted that would have to be held back
    centre, width = float(similarity.mean()), float(similarity.std()) or 1.0
    design = np.stack([x, x * ((similarity - centre) / width)[:, None]], axis=2)
    normal = np.einsum("nmi,nmj->ij", design, design)
    bread = np.linalg.pinv(normal)
    slope = bread @ np.einsum("nmi,nm->i", design, y)
    meat = np.einsum("nmi,nm->ni", design, y - design @ slope)
    covariance = bread @ (meat.T @ meat) @ bread
    at = np.column_stack([np.ones(len(corners)), (corners - centre) / width])
    error = np.sqrt(np.einsum("ci,ij,cj->c", at, covariance, at))
    limits: Floats = np.maximum.accumulate(np.clip(at @ slope - error, 0.0, 1.0))
    return limits
