"""Matrix factorisation: a vector for each model, and one for each prompt, by projection.

Source: Ong et al. (2024), RouteLLM, arXiv 2406.18665, section 4.2.

Dimensions: N prompts, P inputs, H factors, M models.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from workbench.errors import ConfigError
from workbench.features import FeatureConfig, PromptFeatures, extract
from workbench.routing.decide import check_weights, decide
from workbench.routing.fields import require
from workbench.routing.forecast import Floats, Forecast, KnownModels, with_mean_costs
from workbench.routing.late import torch_module
from workbench.routing.projection import Projection, fit_projection
from workbench.routing.training_data import TrainingData
from workbench.types import Decision, Prompt

_LEARNING_RATE = 2e-3


@dataclass(frozen=True, slots=True)
class MatrixFactorisation:
    """Quality from `prompts` [H, P] with its bias [H], `factors` [M, H], and each model's `level` [M]."""

    models: KnownModels
    feature_config: FeatureConfig
    projection: Projection
    prompts: NDArray[np.float32]
    prompts_bias: NDArray[np.float32]
    factors: NDArray[np.float32]
    level: NDArray[np.float32]
    cost_weight: float = 0.0
    latency_weight: float = 0.0

    def __post_init__(self) -> None:
        n_factors, n_models = len(self.prompts_bias), len(self.models.model_ids)
        require(self.prompts.shape == (n_factors, self.projection.n_columns), "projection")
        require(self.factors.shape == (n_models, n_factors), "models")
        require(self.level.shape == (n_models,), "models")
        for weights in (self.prompts, self.prompts_bias, self.factors, self.level):
            require(bool(np.isfinite(weights).all()), "numbers")

    @property
    def name(self) -> str:
        """`matrix_factorisation`."""
        return "matrix_factorisation"

    def forecast(self, prompts: Sequence[Prompt], *, features: PromptFeatures | None = None) -> Forecast:
        """Predicted quality, and each model's mean cost and latency."""
        if features is None:
            features = extract([prompt.text for prompt in prompts], self.feature_config)
        projected = self.projection.dense(features) @ self.prompts.T + self.prompts_bias
        quality: Floats = expit((projected @ self.factors.T + self.level).astype(np.float64))
        return with_mean_costs(quality, self.models)

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """The candidate with the best forecast, as `decide` weighs it.

        Raises:
            RoutingError: there are no candidates.
        """
        return decide(self, prompt, candidates)


def fit_matrix_factorisation(
    data: TrainingData,
    *,
    n_factors: int = 64,
    seed: int = 0,
    cost_weight: float = 0.0,
    latency_weight: float = 0.0,
) -> MatrixFactorisation:
    """Descend on the cross-entropy of the seen pairs; the same for the same data and seed.

    Raises:
        ConfigError: `n_factors` is below 1, or a weight cannot be used.
        MissingExtraError: torch is not installed.
    """
    if n_factors < 1:
        raise ConfigError(f"n_factors of the matrix factorisation is {n_factors}; it must be 1 or more")
    check_weights(data.models, cost_weight=cost_weight, latency_weight=latency_weight)
    descent = torch_module("workbench.routing.descent", "fitting the matrix factorisation")
    projection = fit_projection(data.features, seed=seed)
    lesson = descent.Lesson(projection.dense(data.features), data.quality, data.groups)
    weights = descent.descended(
        descent.Factors, lesson, width=n_factors, learning_rate=_LEARNING_RATE, seed=seed
    )
    return MatrixFactorisation(
        models=data.models,
        feature_config=data.feature_config,
        projection=projection,
        prompts=weights["project.weight"],
        prompts_bias=weights["project.bias"],
        factors=weights["models"] * weights["combine"],
        level=weights["level"],
        cost_weight=cost_weight,
        latency_weight=latency_weight,
    )
