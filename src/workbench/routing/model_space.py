"""Models as points: each model's quality over prompts is its mean and a mix of few patterns they share.

quality[n, m] ~ mean[m] + scores[n] . loadings[m]. The loadings are a model's embedding: a router predicts the
scores of a prompt, whatever the models are, and a new model needs a mean and R loadings only.

Dimensions: N prompts, M models, R patterns.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.routing.fields import require
from workbench.routing.forecast import Floats
from workbench.routing.training_data import column_means

MAX_RANK = 8
"""More patterns than these were never predictable on held-out prompts of the recorded benchmarks."""
_N_FILLS = 10


@dataclass(frozen=True, slots=True)
class ModelSpace:
    """`mean` [M] quality over the training prompts, `loadings` [M, R] with columns of length 1."""

    mean: NDArray[np.float64]
    loadings: NDArray[np.float64]

    def __post_init__(self) -> None:
        require(self.loadings.ndim == 2 and self.mean.shape == self.loadings.shape[:1], "models")
        require(bool(np.isfinite(self.loadings).all() and np.isfinite(self.mean).all()), "numbers")

    @property
    def rank(self) -> int:
        """R."""
        return int(self.loadings.shape[1])

    def scores(self, quality: Floats) -> Floats:
        """[N, R] least-squares scores of [N, M] quality; a missing pair counts as if it fitted."""
        return _filled(quality - self.mean, self.loadings) @ self.loadings

    def quality(self, scores: Floats) -> Floats:
        """[N, M] what scores [N, R] say, which may lie outside [0, 1]."""
        return self.mean + scores @ self.loadings.T


def fit_model_space(quality: Floats, *, max_rank: int = MAX_RANK) -> ModelSpace:
    """The patterns that explain most of [N, M] quality (NaN: not seen).

    Missing pairs are filled with what the patterns say of them, again and again.
    Source: Mazumder, Hastie & Tibshirani (2010), Spectral Regularization Algorithms, JMLR 11.
    """
    mean = np.nan_to_num(column_means(quality))
    residual = quality - mean
    rank = min(max_rank, quality.shape[1])
    filled = np.nan_to_num(residual)
    is_complete = bool(np.isfinite(quality).all())
    for _ in range(1 if is_complete else _N_FILLS):
        _, vectors = np.linalg.eigh(filled.T @ filled)
        loadings = vectors[:, ::-1][:, :rank]
        scores = filled @ loadings
        filled = np.where(np.isnan(residual), scores @ loadings.T, residual)
    return ModelSpace(mean, np.ascontiguousarray(loadings * _signs(loadings)))


def _signs(loadings: Floats) -> Floats:
    """[R] so that a column's largest entry is positive: an eigenvector has no sign of its own."""
    largest = np.abs(loadings).argmax(axis=0)
    return np.where(loadings[largest, np.arange(loadings.shape[1])] < 0.0, -1.0, 1.0)


def _filled(residual: Floats, loadings: Floats) -> Floats:
    """[N, M] residuals, the missing ones replaced by what the row's others say of them."""
    missing = np.isnan(residual)
    filled = np.nan_to_num(residual)
    for _ in range(_N_FILLS if missing.any() else 0):
        filled = np.where(missing, (filled @ loadings) @ loadings.T, filled)
    return filled
