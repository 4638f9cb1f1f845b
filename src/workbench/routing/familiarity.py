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

_NARROWEST = 1e-3  # similarity between the two corners


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


@dataclass(frozen=True, slots=True)
class Withheld:
    """What was predicted [N, M] for prompts that were not learned from, their quality and similarity [N]."""

    predicted: Floats
    quality: Floats
    similarity: Floats


def fit_guard(home: Withheld, away: Withheld, mean: Floats, *, between: Floats) -> Guard:
    """Trust as prompts withheld at random (`home`) and with their neighbourhood (`away`) ask for.

    At home a slope counts as it is, away at its lower limit, one standard error below; both between 0 and 1.
    Between the similarity of ordinary prompts away and that of the least similar quarter at home trust is a
    line. Without prompts away, what is trusted at home is trusted everywhere.
    """
    trusted = _slopes(home, mean)[0]
    corners = [float(np.quantile(home.similarity, 0.25))]
    curves = [trusted]
    if len(away.similarity):
        slopes, errors = _slopes(away, mean)
        corners.insert(0, min(float(np.median(away.similarity)), corners[0] - _NARROWEST))
        curves.insert(0, np.minimum(slopes - errors, trusted))
    common, difference = np.clip(np.stack(curves), 0.0, 1.0).T
    return Guard(
        similarity=np.array(corners),
        common=np.ascontiguousarray(common),
        difference=np.ascontiguousarray(difference),
        home=float(np.median(home.similarity)),
        between=between,
        n_fitted=len(mean),
    )


def _slopes(withheld: Withheld, mean: Floats) -> tuple[Floats, Floats]:
    """[2] the slopes of what happened on what was said of all models and on differences, and their errors.

    They are fitted together on the seen pairs, so that a prompt of which one model was seen teaches too; the
    pairs of one prompt are a cluster. Where nothing was said there is nothing to hold back: 1, without error.
    """
    gain, truth = withheld.predicted - mean, withheld.quality - mean
    seen = np.isfinite(truth)
    shared = np.broadcast_to(gain.mean(axis=1, keepdims=True), gain.shape)
    design = np.where(seen[:, :, None], np.stack([shared, gain - shared], axis=2), 0.0)
    power = np.einsum("nmi,nmi->i", design, design)
    bread = np.linalg.pinv(np.einsum("nmi,nmj->ij", design, design))
    y = np.where(seen, truth, 0.0)
    slope = bread @ np.einsum("nmi,nm->i", design, y)
    meat = np.einsum("nmi,nm->ni", design, y - design @ slope)
    error = np.sqrt(np.maximum(np.diag(bread @ (meat.T @ meat) @ bread), 0.0))
    is_silent = power <= 1e-12
    return np.where(is_silent, 1.0, slope), np.where(is_silent, 0.0, error)
