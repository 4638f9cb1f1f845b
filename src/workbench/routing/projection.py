"""A prompt as a short dense vector: its sentence embedding, or what is left of its n-grams after an SVD.

Dimensions: N prompts, D n-gram buckets, A of them active, E embedding, P of the projection, S structure.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from workbench.features import (
    PromptFeatures,
    inverse_document_frequency,
    positions,
    select,
    select_weighted,
    weighted,
)
from workbench.routing.fields import require

_N_COMPONENTS = 64
_MIN_PROMPTS = 5
_MOST_BUCKETS = 2**14  # what is rarer hardly moves the components, and would make them slow to read


@dataclass(frozen=True, slots=True)
class Projection:
    """From the features of prompts to dense rows around 0, of size about 1 a column.

    `weights` [D] are inverse document frequencies, `position` [D] the place of each bucket among the A that
    `components` [A, P] takes; both are empty where `uses_embedding`, whose P is E. `mean` [P] and `scale` are
    those of the training prompts, as are `structure_mean` and `structure_scale` [S].
    """

    uses_embedding: bool
    weights: NDArray[np.float32]
    position: NDArray[np.int32]
    components: NDArray[np.float32]
    mean: NDArray[np.float32]
    scale: float
    structure_mean: NDArray[np.float32]
    structure_scale: NDArray[np.float32]

    def __post_init__(self) -> None:
        require(self.weights.shape == self.position.shape, "features")
        require(bool((self.position < len(self.components)).all()), "buckets")
        require(self.components.shape[1:] == self.mean.shape or self.uses_embedding, "projection")
        require(self.structure_mean.shape == self.structure_scale.shape, "structure")
        for numbers in (self.weights, self.components, self.mean, self.structure_mean, self.structure_scale):
            require(bool(np.isfinite(numbers).all()), "numbers")

    @property
    def n_columns(self) -> int:
        """P + S, the columns of `dense`."""
        return len(self.mean) + len(self.structure_mean)

    def text(self, features: PromptFeatures, *, rows: csr_array | None = None) -> NDArray[np.float32]:
        """[N, P] what the prompt says; the mean of the training prompts, 0, where it has no vector.

        `rows` are its n-grams times `weights`, where they have been made already.
        """
        if self.uses_embedding:
            said = self._embedded(features)
        else:
            rows = weighted(features.ngrams, self.weights) if rows is None else rows
            said = select(rows, self.position, len(self.components)) @ self.components
        centred: NDArray[np.float32] = ((said - self.mean) / self.scale).astype(np.float32, copy=False)
        return np.nan_to_num(centred, copy=False) if self.uses_embedding else centred

    def dense(self, features: PromptFeatures, *, rows: csr_array | None = None) -> NDArray[np.float32]:
        """[N, P + S] what the prompt says, as `text` reads it, and what it looks like."""
        structure = (features.structure - self.structure_mean) / self.structure_scale
        return np.hstack([self.text(features, rows=rows), structure.astype(np.float32)])

    def text_of(self, dense: NDArray[np.float32]) -> NDArray[np.float32]:
        """[N, P] the columns of `dense` [N, P + S] that say what the prompt says."""
        return dense[:, : len(self.mean)]

    def structure_of(self, dense: NDArray[np.float32]) -> NDArray[np.float32]:
        """[N, S] the columns of `dense` [N, P + S] that say what the prompt looks like."""
        return dense[:, len(self.mean) :]

    def _embedded(self, features: PromptFeatures) -> NDArray[np.float32]:
        embedding = features.embedding
        if embedding is None or embedding.shape[1] != len(self.mean):
            return np.full((len(features), len(self.mean)), np.nan, dtype=np.float32)
        return embedding


def fit_projection(
    features: PromptFeatures, *, seed: int, weights: NDArray[np.float32] | None = None
) -> Projection:
    """The projection of the training prompts: of their embedding where one of them has a vector.

    `weights` [D] of the n-grams are those of these prompts, where none are given.
    """
    structure_scale = features.structure.std(axis=0)
    embedding = features.embedding
    uses_embedding = embedding is not None and bool(np.isfinite(embedding).any())
    if uses_embedding and embedding is not None:
        weights, position = np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.int32)
        components, rows = np.zeros((0, 0), dtype=np.float32), embedding
    else:
        weights = inverse_document_frequency(features.ngrams) if weights is None else weights
        position = positions(features.ngrams, min_prompts=_MIN_PROMPTS, most=_MOST_BUCKETS)
        active = select_weighted(features.ngrams, weights, position, int(position.max()) + 1)
        components = _components(active, seed)
        rows = active @ components
    mean = np.nanmean(rows, axis=0).astype(np.float32)
    return Projection(
        uses_embedding=uses_embedding,
        weights=weights,
        position=position,
        components=components,
        mean=mean,
        scale=_positive(float(np.sqrt(np.nanmean((rows - mean) ** 2))) if rows.size else 0.0),
        structure_mean=features.structure.mean(axis=0),
        structure_scale=np.where(structure_scale > 1e-6, structure_scale, 1.0).astype(np.float32),
    )


def _components(rows: csr_array, seed: int) -> NDArray[np.float32]:
    """[A, P] the right singular vectors of [N, A] that belong to the largest singular values."""
    from sklearn.utils.extmath import randomized_svd

    n_components = min(_N_COMPONENTS, *rows.shape)
    if n_components == 0:
        return np.zeros((rows.shape[1], 0), dtype=np.float32)
    _, _, components = randomized_svd(rows, n_components, n_iter=2, random_state=seed)
    vectors: NDArray[np.float32] = np.ascontiguousarray(components.T, dtype=np.float32)
    return vectors


def _positive(scale: float) -> float:
    return scale if scale > 1e-9 else 1.0
