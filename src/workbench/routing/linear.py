"""Logistic regression on TF-IDF of word 1-2 grams, one a model: the baseline that is hard to beat.

The words are those of the hashed n-grams, weighted by inverse document frequency. A quality between 0 and 1
is that share of a right answer and the rest of a wrong one.

Dimensions: N prompts, W word buckets, A of them active, M models.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from scipy.special import expit, logit

from workbench.errors import ConfigError
from workbench.features import (
    FeatureConfig,
    PromptFeatures,
    extract,
    inverse_document_frequency,
    positions,
    select,
    weighted,
)
from workbench.routing.decide import check_weights, decide
from workbench.routing.fields import require
from workbench.routing.forecast import Floats, Forecast, KnownModels, with_mean_costs
from workbench.routing.training_data import TrainingData
from workbench.types import Decision, Prompt

_MIN_PROMPTS = 2
_SUREST = 1e-4
"""How near to 0 or 1 a quality is predicted of a model that was always wrong or always right."""


@dataclass(frozen=True, slots=True)
class TfidfLogistic:
    """Quality as the logistic function of weighted words.

    `weights` [W] are the inverse document frequencies, `position` [W] the place of each bucket among the A
    that are used (-1: not used), `coefficients` [A, M] and `intercepts` [M].
    """

    models: KnownModels
    feature_config: FeatureConfig
    weights: NDArray[np.float32]
    position: NDArray[np.int32]
    coefficients: NDArray[np.float32]
    intercepts: NDArray[np.float64]
    cost_weight: float = 0.0
    latency_weight: float = 0.0

    def __post_init__(self) -> None:
        n_words, n_models = self.feature_config.n_word_buckets, len(self.models.model_ids)
        require(self.weights.shape == self.position.shape == (n_words,), "features")
        require(bool((self.position < len(self.coefficients)).all()), "buckets")
        require(self.coefficients.shape[1:] == self.intercepts.shape == (n_models,), "models")
        require(bool(np.isfinite(self.coefficients).all() and np.isfinite(self.weights).all()), "numbers")

    @property
    def name(self) -> str:
        """`tfidf_lr`."""
        return "tfidf_lr"

    def forecast(self, prompts: Sequence[Prompt], *, features: PromptFeatures | None = None) -> Forecast:
        """Predicted quality, and each model's mean cost and latency."""
        if features is None:
            features = extract([prompt.text for prompt in prompts], self.feature_config)
        rows = _active(features.ngrams, self.weights, self.position)
        quality: Floats = expit(rows @ self.coefficients + self.intercepts)
        return with_mean_costs(quality, self.models)

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """The candidate with the best forecast, as `decide` weighs it.

        Raises:
            RoutingError: there are no candidates.
        """
        return decide(self, prompt, candidates)


def fit_tfidf_lr(
    data: TrainingData, *, c: float = 1.0, cost_weight: float = 0.0, latency_weight: float = 0.0
) -> TfidfLogistic:
    """One regression a model; `c` is the inverse strength of the L2 penalty.

    Raises:
        ConfigError: `c` is not above 0, or a weight cannot be used.
    """
    if not c > 0.0:
        raise ConfigError(f"c of the logistic regression is {c}; it must be above 0")
    check_weights(data.models, cost_weight=cost_weight, latency_weight=latency_weight)
    words = data.features.ngrams[:, : data.feature_config.n_word_buckets]
    weights, position = inverse_document_frequency(words), positions(words, min_prompts=_MIN_PROMPTS)
    rows = _active(data.features.ngrams, weights, position)
    fitted = [_fitted(rows, quality, c) for quality in data.quality.T]
    return TfidfLogistic(
        models=data.models,
        feature_config=data.feature_config,
        weights=weights,
        position=position,
        coefficients=np.column_stack([coefficients for coefficients, _ in fitted]).astype(np.float32),
        intercepts=np.array([intercept for _, intercept in fitted]),
        cost_weight=cost_weight,
        latency_weight=latency_weight,
    )


def _active(ngrams: csr_array, weights: NDArray[np.float32], position: NDArray[np.int32]) -> csr_array:
    """[N, A] the words of [N, D] n-grams, weighted."""
    rows = weighted(ngrams[:, : len(weights)], weights)
    return select(rows, position, max(int(position.max(initial=-1)) + 1, 1))


def _fitted(rows: csr_array, quality: Floats, c: float) -> tuple[Floats, float]:
    """Coefficients [A] and the intercept for one model's quality [N], NaN where it was not seen."""
    from sklearn.linear_model import LogisticRegression

    seen = np.flatnonzero(np.isfinite(quality))
    right, wrong = seen[quality[seen] > 0.0], seen[quality[seen] < 1.0]
    if not len(right) or not len(wrong):
        mean = float(len(right) > 0)
        return np.zeros(rows.shape[1]), float(logit(np.clip(mean, _SUREST, 1.0 - _SUREST)))
    model = LogisticRegression(C=c, max_iter=300, tol=1e-3)
    model.fit(
        vstack([rows[right], rows[wrong]], format="csr"),
        np.repeat([1, 0], [len(right), len(wrong)]),
        sample_weight=np.concatenate([quality[right], 1.0 - quality[wrong]]),
    )
    return model.coef_[0], float(model.intercept_[0])
