"""What an answer will take: output tokens from the prompt, and cost and latency from the tokens.

The logarithm of a model's output tokens is a ridge regression on what a prompt looks like and says. Cost is a
price a token in and out, as the training rows were charged; latency a start and a time a token. Where a table
has no tokens, cost and latency are learned as the tokens would be.

Dimensions: N or B prompts, D dense features, M models.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.routing.fields import require
from workbench.routing.forecast import Floats
from workbench.routing.training_data import TrainingData, column_means

_PENALTY = 30.0
_LONGEST_LOG = 12.0  # e^12 tokens, more than any model writes


@dataclass(frozen=True, slots=True)
class LogLinear:
    """A positive amount for each model: exp(dense . weights [D, M] + intercept [M]) x smear [M].

    `smear` makes the mean over the training prompts right, which the exponential of a mean is not.
    Source: Duan (1983), Smearing estimate, JASA 78.
    """

    weights: NDArray[np.float64]
    intercept: NDArray[np.float64]
    smear: NDArray[np.float64]

    def __post_init__(self) -> None:
        require(self.weights.shape[1:] == self.intercept.shape == self.smear.shape, "models")

    def expected(self, dense: NDArray[np.float32]) -> Floats:
        """[B, M]; NaN for a model of which nothing was recorded."""
        logs = np.clip(dense @ self.weights + self.intercept, -30.0, _LONGEST_LOG)
        return np.exp(logs) * self.smear


@dataclass(frozen=True, slots=True)
class Spend:
    """`output_tokens` and `input_tokens` of each model, and what they cost and last.

    `price` [M, 2] is USD a token in and out, `pace` [M, 2] seconds to start and a token out; NaN: not known.
    Where they are not, `cost_usd` and `latency_s` say it directly.
    """

    input_tokens: LogLinear
    output_tokens: LogLinear
    price: NDArray[np.float64]
    pace: NDArray[np.float64]
    cost_usd: LogLinear
    latency_s: LogLinear

    def expected(self, dense: NDArray[np.float32]) -> tuple[Floats, Floats]:
        """[B, M] USD and [B, M] seconds for [B, D] dense features."""
        n_in, n_out = self.input_tokens.expected(dense), self.output_tokens.expected(dense)
        cost = n_in * self.price[:, 0] + n_out * self.price[:, 1]
        latency = self.pace[:, 0] + n_out * self.pace[:, 1]
        return _filled(cost, self.cost_usd, dense), _filled(latency, self.latency_s, dense)


def _filled(amounts: Floats, directly: LogLinear, dense: NDArray[np.float32]) -> Floats:
    """[B, M] `amounts`, and where they are NaN what is said `directly`."""
    unknown = np.isnan(amounts)
    return np.where(unknown, directly.expected(dense), amounts) if unknown.any() else amounts


def fit_spend(data: TrainingData, features: NDArray[np.float32]) -> Spend:
    """What the training rows, of dense `features` [N, D], say of each; any of them may be missing."""
    dense = features.astype(np.float64)
    return Spend(
        input_tokens=_fit_log_linear(dense, data.input_tokens),
        output_tokens=_fit_log_linear(dense, data.output_tokens),
        price=_rates(data.cost_usd, data.input_tokens, data.output_tokens),
        pace=_rates(data.latency_s, np.ones_like(data.latency_s), data.output_tokens),
        cost_usd=_fit_log_linear(dense, data.cost_usd),
        latency_s=_fit_log_linear(dense, data.latency_s),
    )


def _fit_log_linear(dense: Floats, amounts: Floats) -> LogLinear:
    """For [N, M] amounts >= 0, NaN where not known; an amount of 0 counts as a tenth of the least other."""
    n_features, n_models = dense.shape[1], amounts.shape[1]
    weights, intercept, smear = np.zeros((n_features, n_models)), np.zeros(n_models), column_means(amounts)
    for model in range(n_models):
        seen = np.flatnonzero(np.isfinite(amounts[:, model]))
        positive = amounts[seen, model][amounts[seen, model] > 0.0]
        if len(positive) < 2:
            continue
        logs = np.log(np.maximum(amounts[seen, model], positive.min() / 10.0))
        centre = dense[seen].mean(axis=0)
        rows = dense[seen] - centre
        normal = rows.T @ rows + _PENALTY * np.eye(n_features)
        weights[:, model] = np.linalg.solve(normal, rows.T @ (logs - logs.mean()))
        intercept[model] = logs.mean() - centre @ weights[:, model]
        fitted = np.exp(np.clip(dense[seen] @ weights[:, model] + intercept[model], -30.0, _LONGEST_LOG))
        smear[model] = amounts[seen, model].mean() / fitted.mean()
    return LogLinear(weights, intercept, smear)


def _rates(amounts: Floats, first: Floats, second: Floats) -> Floats:
    """[M, 2] non-negative least squares of an amount on two others; NaN where too little is known."""
    from scipy.optimize import nnls

    rates = np.full((amounts.shape[1], 2), np.nan)
    for model in range(amounts.shape[1]):
        known = np.column_stack([first[:, model], second[:, model], amounts[:, model]])
        known = known[np.isfinite(known).all(axis=1)]
        if len(known) < 8 or not (known[:, :2] > 0.0).any(axis=0).all():
            continue
        scale = np.maximum(known[:, :2].max(axis=0), 1e-12)
        rates[model] = nnls(known[:, :2] / scale, known[:, 2])[0] / scale
    return rates
