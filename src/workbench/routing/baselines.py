"""Routers to beat: a fixed choice, chance, the cheapest, the best on average, and nearest neighbours."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from workbench.errors import ConfigError, InsufficientDataError, RoutingError
from workbench.features import FeatureConfig, hashed, inverse_document_frequency, weighted
from workbench.routing.decide import Floats, KnownModels, check_cost_weight, decide, distinct
from workbench.routing.training_data import TrainingData
from workbench.types import Decision, Prompt

_CHUNK = 512  # prompts a time, so that [chunk, N] similarities stay small


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always the same model.

    >>> Fixed("openai/gpt-4o").route(Prompt("p", "Hi"), ["groq/llama", "openai/gpt-4o"]).model_id
    'openai/gpt-4o'
    """

    model_id: str

    @property
    def name(self) -> str:
        """`fixed(provider/model)`."""
        return f"fixed({self.model_id})"

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """The fixed model; the other candidates, in their order, as fallbacks.

        Raises:
            RoutingError: there are no candidates, or the fixed model is not one of them.
        """
        names = distinct(candidates, self.name)
        if self.model_id not in names:
            raise RoutingError(f"router {self.name}: {self.model_id} is not among the candidates {names}")
        return Decision(self.model_id, self.name, tuple(n for n in names if n != self.model_id))


@dataclass(frozen=True, slots=True)
class Random:
    """Each of K candidates with probability 1/K; the choice follows from the seed and the prompt alone."""

    seed: int = 0

    @property
    def name(self) -> str:
        """`random`."""
        return "random"

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """A uniform draw, the same in any order of the candidates.

        Raises:
            RoutingError: there are no candidates.
        """
        names = sorted(distinct(candidates, self.name), key=lambda name: self._draw(prompt, name))
        return Decision(names[0], self.name, tuple(names[1:]), propensity=1.0 / len(names))

    def _draw(self, prompt: Prompt, model_id: str) -> bytes:
        key = f"{self.seed}\0{prompt.prompt_id}\0{model_id}\0{prompt.text}"
        return hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=8).digest()


@dataclass(frozen=True, slots=True)
class Cheapest:
    """The model with the lowest mean cost on the training rows."""

    models: KnownModels

    @property
    def name(self) -> str:
        """`cheapest`."""
        return "cheapest"

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """The candidate with the lowest mean cost; those of unknown cost come last.

        Raises:
            RoutingError: there are no candidates.
        """
        names = distinct(candidates, self.name)
        cost = dict(zip(self.models.model_ids, np.nan_to_num(self.models.cost_usd, nan=np.inf), strict=True))
        ranked = sorted(names, key=lambda name: cost.get(name, np.inf))
        at_most = decide(self.name, self.models.quality, ranked[:1], models=self.models, cost_weight=0.0)
        return Decision(
            at_most.model_id,
            self.name,
            tuple(ranked[1:]),
            predicted_quality=at_most.predicted_quality,
            predicted_cost_usd=at_most.predicted_cost_usd,
        )


@dataclass(frozen=True, slots=True)
class BestSingle:
    """The one model that was best on average over the training rows, for every prompt."""

    models: KnownModels
    cost_weight: float = 0.0

    @property
    def name(self) -> str:
        """`best_single`."""
        return "best_single"

    def predict(self, prompts: Sequence[Prompt], *, features: csr_array | None = None) -> Floats:
        """[N, M] each model's mean quality on the training rows, whatever the prompt."""
        return np.tile(self.models.quality, (len(prompts), 1))

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """The candidate with the best mean quality - cost_weight x cost.

        Raises:
            RoutingError: there are no candidates.
        """
        quality = self.models.quality
        return decide(self.name, quality, candidates, models=self.models, cost_weight=self.cost_weight)


@dataclass(frozen=True, slots=True)
class KNN:
    """A model's quality on the `k` most similar training prompts, by the cosine of hashed n-grams.

    `postings` [D, N] are the weighted features of the training prompts, a row for each bucket, so that a
    decision reads only the buckets of its prompt; `quality` [N, M] is what each model made of them (NaN: not
    seen), `weights` [D] the inverse document frequencies. Where no neighbour saw a model, its mean over
    the training rows is predicted.
    """

    models: KnownModels
    feature_config: FeatureConfig
    weights: NDArray[np.float32]
    postings: csr_array
    quality: Floats
    k: int = 160
    cost_weight: float = 0.0

    @property
    def name(self) -> str:
        """`knn-k`."""
        return f"knn-{self.k}"

    def predict(self, prompts: Sequence[Prompt], *, features: csr_array | None = None) -> Floats:
        """[N, M] mean quality over the neighbours; `features` [N, D] as `hashed` makes them."""
        if features is None:
            features = hashed([prompt.text for prompt in prompts], self.feature_config)
        rows = weighted(features, self.weights)
        parts = [self._mean_quality(rows[i : i + _CHUNK]) for i in range(0, rows.shape[0], _CHUNK)]
        return np.concatenate(parts) if parts else np.empty((0, len(self.models.model_ids)))

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """The candidate with the best predicted quality - cost_weight x cost.

        Raises:
            RoutingError: there are no candidates.
        """
        distinct(candidates, self.name)
        quality = self.predict([prompt])[0]
        return decide(self.name, quality, candidates, models=self.models, cost_weight=self.cost_weight)

    def _mean_quality(self, rows: csr_array) -> Floats:
        similarity = (rows @ self.postings).toarray()
        k = min(self.k, similarity.shape[1])
        nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        found = self.quality[nearest]
        seen = np.isfinite(found)
        counts = seen.sum(axis=1)
        totals = np.where(seen, found, 0.0).sum(axis=1)
        average: Floats = np.broadcast_to(self.models.quality, counts.shape).copy()
        np.divide(totals, counts, out=average, where=counts > 0)
        return average


def fit_cheapest(data: TrainingData) -> Cheapest:
    """The cheapest by mean cost.

    Raises:
        InsufficientDataError: no row has a cost.
    """
    if np.isnan(data.models.cost_usd).all():
        raise InsufficientDataError("no row has a cost_usd, so none of the models can be called cheapest")
    return Cheapest(data.models)


def fit_best_single(data: TrainingData, *, cost_weight: float = 0.0) -> BestSingle:
    """The best by mean quality - cost_weight x mean cost."""
    return BestSingle(data.models, check_cost_weight(cost_weight, data.models))


def fit_knn(data: TrainingData, *, k: int = 160, cost_weight: float = 0.0) -> KNN:
    """Keep the training prompts, to be compared with.

    Raises:
        ConfigError: `k` is below 1, or `cost_weight` cannot be used.
    """
    if k < 1:
        raise ConfigError(f"k of the nearest neighbours is {k}; it must be 1 or more")
    weights = inverse_document_frequency(data.features)
    return KNN(
        models=data.models,
        feature_config=data.feature_config,
        weights=weights,
        postings=csr_array(weighted(data.features, weights).T),
        quality=data.quality,
        k=k,
        cost_weight=check_cost_weight(cost_weight, data.models),
    )
