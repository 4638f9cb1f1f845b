"""The mean by cluster of prompts: k-means on what they say, shrunk to the overall mean as far as it is noise.

Dimensions: N prompts, K clusters, P projection, M models.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.errors import ConfigError
from workbench.features import FeatureConfig, PromptFeatures, extract
from workbench.routing.decide import check_weights, decide
from workbench.routing.fields import require
from workbench.routing.forecast import Floats, Forecast, KnownModels, with_mean_costs
from workbench.routing.projection import Projection, fit_projection
from workbench.routing.training_data import TrainingData
from workbench.types import Decision, Prompt


@dataclass(frozen=True, slots=True)
class Clusters:
    """A model's shrunken mean quality `quality` [K, M] in the cluster whose centre [K, P] is nearest."""

    models: KnownModels
    feature_config: FeatureConfig
    projection: Projection
    centres: NDArray[np.float32]
    quality: NDArray[np.float64]
    cost_weight: float = 0.0
    latency_weight: float = 0.0

    def __post_init__(self) -> None:
        require(self.quality.shape == (len(self.centres), len(self.models.model_ids)), "clusters")
        require(len(self.centres) > 0 and self.centres.shape[1:] == self.projection.mean.shape, "projection")
        require(bool(np.isfinite(self.centres).all()), "numbers")

    @property
    def name(self) -> str:
        """`clusters`."""
        return "clusters"

    def forecast(self, prompts: Sequence[Prompt], *, features: PromptFeatures | None = None) -> Forecast:
        """The means of each prompt's cluster, and each model's mean cost and latency."""
        if features is None:
            features = extract([prompt.text for prompt in prompts], self.feature_config)
        nearest = _nearest(self.projection.text(features), self.centres)
        return with_mean_costs(self.quality[nearest], self.models)

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """The candidate with the best forecast, as `decide` weighs it.

        Raises:
            RoutingError: there are no candidates.
        """
        return decide(self, prompt, candidates)


def fit_clusters(
    data: TrainingData,
    *,
    n_clusters: int = 32,
    seed: int = 0,
    cost_weight: float = 0.0,
    latency_weight: float = 0.0,
) -> Clusters:
    """At most `n_clusters`, and no more than there are different prompts.

    Raises:
        ConfigError: `n_clusters` is below 1, or a weight cannot be used.
    """
    from sklearn.cluster import KMeans

    if n_clusters < 1:
        raise ConfigError(f"n_clusters is {n_clusters}; it must be 1 or more")
    check_weights(data.models, cost_weight=cost_weight, latency_weight=latency_weight)
    projection = fit_projection(data.features, seed=seed)
    rows = projection.text(data.features)
    n_different = len(np.unique(rows.round(3), axis=0)) if rows.shape[1] else 1
    centres = np.zeros((1, rows.shape[1]), dtype=np.float32)
    if (k := min(n_clusters, n_different)) > 1:
        found = KMeans(n_clusters=k, n_init=3, random_state=seed).fit(rows)
        centres = found.cluster_centers_.astype(np.float32)
    return Clusters(
        models=data.models,
        feature_config=data.feature_config,
        projection=projection,
        centres=centres,
        quality=shrunken_means(data.quality, _nearest(rows, centres), len(centres)),
        cost_weight=cost_weight,
        latency_weight=latency_weight,
    )


def shrunken_means(quality: Floats, cluster: NDArray[np.int64], n_clusters: int) -> Floats:
    """[K, M] the mean quality [N, M] in each cluster [N], drawn to the overall mean by empirical Bayes.

    A cluster's mean counts by t / (t + s / n): t is the variance between clusters, s that within, n its seen
    prompts. A cluster in which a model was not seen gets its overall mean.

    Source: DerSimonian & Laird (1986), Meta-analysis in clinical trials, for t.
    """
    seen = np.isfinite(quality)
    member = np.eye(n_clusters)[cluster]
    n = member.T @ seen
    values = np.where(seen, quality, 0.0)
    mean = np.divide(member.T @ values, n, out=np.zeros(n.shape), where=n > 0)
    n_all, n_filled = n.sum(axis=0), (n > 0).sum(axis=0)
    overall = np.divide(values.sum(axis=0), n_all, out=np.full(len(n_all), np.nan), where=n_all > 0)
    within = (np.where(seen, values - mean[cluster], 0.0) ** 2).sum(axis=0) / np.maximum(n_all - n_filled, 1)
    spread = (n * (mean - overall) ** 2).sum(axis=0) - np.maximum(n_filled - 1, 0) * within
    between = np.maximum(spread / np.maximum(n_all - (n**2).sum(axis=0) / np.maximum(n_all, 1), 1e-12), 0.0)
    signal = n * between
    share = np.divide(signal, signal + within, out=np.zeros(n.shape), where=signal + within > 0)
    shrunken: Floats = np.where(n > 0, overall + share * (mean - overall), overall)
    return shrunken


def _nearest(rows: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.int64]:
    """[N] the cluster whose centre is nearest to each row [N, P]."""
    distance = (centres**2).sum(axis=1) - 2.0 * rows @ centres.T
    nearest: NDArray[np.int64] = np.argmin(distance, axis=1)
    return nearest
