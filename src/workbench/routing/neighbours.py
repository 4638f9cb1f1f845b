"""Nearest neighbours: what each model made of the training prompts that are most like this one.

Alike is the cosine of sentence embeddings where the features have them, else of hashed n-grams.

Dimensions: N training prompts, B prompts at once, D buckets, E embedding, M models, K neighbours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from workbench.errors import ConfigError
from workbench.features import FeatureConfig, PromptFeatures, extract, inverse_document_frequency, weighted
from workbench.routing.decide import check_weights, decide
from workbench.routing.fields import require
from workbench.routing.forecast import Floats, Forecast, KnownModels, with_mean_costs
from workbench.routing.nearest import nearest
from workbench.routing.training_data import TrainingData, parts_by_group
from workbench.types import Decision, Prompt

TUNED: Literal["tuned"] = "tuned"
TUNED_K = (80, 120, 160)
_N_PARTS = 5
_N_TUNED_ON = 2_000  # so many prompts tell the three apart, and the time stays bounded
_CHUNK = 512  # prompts a time, so that [chunk, N] similarities stay small


@dataclass(frozen=True, slots=True)
class KNN:
    """A model's quality on the `k` most similar training prompts.

    `postings` [D, N] are the weighted n-grams of the training prompts, a row for each bucket, so that a
    decision reads only the buckets of its prompt; `weights` [D] the inverse document frequencies. Where the
    training prompts have an `embedding` [N, E], it is compared instead (`postings` are then empty).
    `quality` [N, M] is what each model made of them (NaN: not seen). Where no neighbour saw a model, or the
    prompt has no vector, the mean over the training rows is predicted.
    """

    models: KnownModels
    feature_config: FeatureConfig
    weights: NDArray[np.float32]
    postings: csr_array
    embedding: NDArray[np.float32] | None
    quality: NDArray[np.float64]
    k: int = 160
    is_tuned: bool = False
    cost_weight: float = 0.0
    latency_weight: float = 0.0

    def __post_init__(self) -> None:
        require(self.k >= 1, "k")
        require(
            self.weights.shape == self.postings.shape[:1] == (self.feature_config.n_features,), "features"
        )
        require(self.postings.shape[1] == len(self.quality), "prompts")
        require(self.embedding is None or len(self.embedding) == len(self.quality), "prompts")
        require(self.quality.shape[1:] == self.models.quality.shape, "models")
        require(bool(np.isfinite(self.weights).all()), "numbers")

    @property
    def name(self) -> str:
        """`knn`, or `knn-k` where k was given."""
        return "knn" if self.is_tuned else f"knn-{self.k}"

    def forecast(self, prompts: Sequence[Prompt], *, features: PromptFeatures | None = None) -> Forecast:
        """Mean quality over the neighbours, and each model's mean cost and latency."""
        if features is None:
            features = extract([prompt.text for prompt in prompts], self.feature_config)
        parts = [self._mean_quality(similarity) for similarity in self.similarities(features)]
        quality = np.concatenate(parts) if parts else np.empty((0, len(self.models.model_ids)))
        return with_mean_costs(quality, self.models)

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """The candidate with the best forecast, as `decide` weighs it.

        Raises:
            RoutingError: there are no candidates.
        """
        return decide(self, prompt, candidates)

    def similarities(self, features: PromptFeatures) -> Iterator[NDArray[np.float32]]:
        """[B, N] cosines with the training prompts, B prompts at a time; NaN for what has no vector."""
        for start in range(0, len(features), _CHUNK):
            some = features.rows(slice(start, start + _CHUNK))
            if self.embedding is None:
                yield (weighted(some.ngrams, self.weights) @ self.postings).toarray()
            elif some.embedding is None or some.embedding.shape[1] != self.embedding.shape[1]:
                yield np.full((len(some), len(self.embedding)), np.nan, dtype=np.float32)
            else:
                yield some.embedding @ self.embedding.T

    def _mean_quality(self, similarity: NDArray[np.float32]) -> Floats:
        places, values = nearest(np.nan_to_num(similarity, nan=-np.inf), self.k)
        found = self.quality[places]
        seen = np.isfinite(found) & np.isfinite(values)[:, :, None]
        return _filled(np.where(seen, found, 0.0).sum(axis=1), seen.sum(axis=1), self.models)


def fit_knn(
    data: TrainingData,
    *,
    k: int | Literal["tuned"] = TUNED,
    seed: int = 0,
    cost_weight: float = 0.0,
    latency_weight: float = 0.0,
) -> KNN:
    """Keep the training prompts, to be compared with; `k` is a number, or chosen on parts of them.

    Raises:
        ConfigError: `k` is below 1, or a weight cannot be used.
    """
    if k != TUNED and k < 1:
        raise ConfigError(f"k of the nearest neighbours is {k}; it must be 1 or more, or {TUNED!r}")
    check_weights(data.models, cost_weight=cost_weight, latency_weight=latency_weight)
    weights, embedding = inverse_document_frequency(data.features.ngrams), data.features.embedding
    if embedding is not None and not np.isfinite(embedding).any():
        embedding = None
    rows = data.features.ngrams if embedding is None else csr_array(data.features.ngrams.shape)
    router = KNN(
        models=data.models,
        feature_config=data.feature_config,
        weights=weights,
        postings=csr_array(weighted(rows, weights).T),
        embedding=embedding,
        quality=data.quality,
        cost_weight=cost_weight,
        latency_weight=latency_weight,
    )
    if k == TUNED:
        return replace(router, k=_best_k(router, data, seed), is_tuned=True)
    return replace(router, k=k)


def _best_k(router: KNN, data: TrainingData, seed: int) -> int:
    """The k of least squared error on prompts whose own part of the training prompts is not looked at."""
    part = parts_by_group(data.groups, _N_PARTS, seed=seed)
    asked = np.sort(np.random.default_rng(seed).permutation(len(part))[:_N_TUNED_ON])
    errors, start = np.zeros(len(TUNED_K)), 0
    for similarity in router.similarities(data.features.rows(asked)):
        some = asked[start : start + len(similarity)]
        start += len(similarity)
        similarity = np.where(part[some][:, None] == part[None, :], np.nan, similarity)
        errors += [_squared_error(router, similarity, k, data.quality[some]) for k in TUNED_K]
    return TUNED_K[int(np.argmin(errors.round(12)))]


def _squared_error(router: KNN, similarity: NDArray[np.float32], k: int, quality: Floats) -> float:
    predicted = replace(router, k=k)._mean_quality(similarity)
    return float(np.nansum((predicted - quality) ** 2))


def _filled(totals: Floats, counts: NDArray[np.int64], models: KnownModels) -> Floats:
    """[B, M] totals over counts, and the model's own mean where nothing was counted."""
    average: Floats = np.broadcast_to(models.quality, counts.shape).copy()
    np.divide(totals, counts, out=average, where=counts > 0)
    return average
