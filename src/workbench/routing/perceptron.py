"""A multi-layer perceptron: one hidden layer on the dense form of a prompt, one output a model.

Dimensions: N prompts, P inputs, H hidden units, M models.
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
class MLP:
    """Quality from `hidden` [H, P] and `output` [M, H] weights, with their biases [H] and [M]."""

    models: KnownModels
    feature_config: FeatureConfig
    projection: Projection
    hidden: NDArray[np.float32]
    hidden_bias: NDArray[np.float32]
    output: NDArray[np.float32]
    output_bias: NDArray[np.float32]
    cost_weight: float = 0.0
    latency_weight: float = 0.0

    def __post_init__(self) -> None:
        n_hidden, n_models = len(self.hidden_bias), len(self.models.model_ids)
        require(self.hidden.shape == (n_hidden, self.projection.n_columns), "projection")
        require(self.output.shape == (n_models, n_hidden), "models")
        require(self.output_bias.shape == (n_models,), "models")
        for weights in (self.hidden, self.hidden_bias, self.output, self.output_bias):
            require(bool(np.isfinite(weights).all()), "numbers")

    @property
    def name(self) -> str:
        """`mlp`."""
        return "mlp"

    def forecast(self, prompts: Sequence[Prompt], *, features: PromptFeatures | None = None) -> Forecast:
        """Predicted quality, and each model's mean cost and latency."""
        if features is None:
            features = extract([prompt.text for prompt in prompts], self.feature_config)
        hidden = np.maximum(self.projection.dense(features) @ self.hidden.T + self.hidden_bias, 0.0)
        quality: Floats = expit((hidden @ self.output.T + self.output_bias).astype(np.float64))
        return with_mean_costs(quality, self.models)

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """The candidate with the best forecast, as `decide` weighs it.

        Raises:
            RoutingError: there are no candidates.
        """
        return decide(self, prompt, candidates)


def fit_mlp(
    data: TrainingData,
    *,
    n_hidden: int = 64,
    seed: int = 0,
    cost_weight: float = 0.0,
    latency_weight: float = 0.0,
) -> MLP:
    """Descend on the cross-entropy of the seen pairs; the same for the same data and seed.

    Raises:
        ConfigError: `n_hidden` is below 1, or a weight cannot be used.
        MissingExtraError: torch is not installed.
    """
    if n_hidden < 1:
        raise ConfigError(f"n_hidden of the perceptron is {n_hidden}; it must be 1 or more")
    check_weights(data.models, cost_weight=cost_weight, latency_weight=latency_weight)
    descent = torch_module("workbench.routing.descent", "fitting the perceptron")
    projection = fit_projection(data.features, seed=seed)
    lesson = descent.Lesson(projection.dense(data.features), data.quality, data.groups)
    weights = descent.descended(
        descent.Perceptron, lesson, width=n_hidden, learning_rate=_LEARNING_RATE, seed=seed
    )
    return MLP(
        models=data.models,
        feature_config=data.feature_config,
        projection=projection,
        hidden=weights["hidden.weight"],
        hidden_bias=weights["hidden.bias"],
        output=weights["output.weight"],
        output_bias=weights["output.bias"],
        cost_weight=cost_weight,
        latency_weight=latency_weight,
    )
