"""The learned controller: ridges on n-grams, networks, neighbours and the task, weighed against each other.

Each of these heads says where a prompt lies among few patterns of quality (`model_space`). Their mix is held
back for prompts unlike those of the training (`familiarity`).

Dimensions: N or B prompts, A active n-gram buckets, D dense features, H hidden units, K networks, M models,
R patterns, S prompts that are compared with, L penalties.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import erf

from workbench.features import FeatureConfig, PromptFeatures, extract, select, weighted
from workbench.routing.calibration import Calibration
from workbench.routing.decide import decide, decide_all
from workbench.routing.familiarity import Guard
from workbench.routing.fields import require
from workbench.routing.forecast import Floats, Forecast, KnownModels, pooled
from workbench.routing.model_space import ModelSpace
from workbench.routing.nearest import nearest
from workbench.routing.projection import Projection
from workbench.routing.spend import Spend
from workbench.routing.task_head import TaskHead
from workbench.routing.views import Views
from workbench.types import Decision, Prompt

Singles = NDArray[np.float32]

_FARTHEST = np.float32(5.0)
_N_NEAR = 10  # prompts whose mean similarity says how near the training is
_CHUNK = 512  # prompts a time, so that [chunk, S] similarities stay small


@dataclass(frozen=True, slots=True)
class Networks:
    """K networks of one hidden layer: `hidden` [K, D, H], `output` [K, H, R] and their biases.

    They were fitted with torch (`network`) and need only NumPy to answer.
    """

    hidden: NDArray[np.float32]
    hidden_bias: NDArray[np.float32]
    output: NDArray[np.float32]
    output_bias: NDArray[np.float32]

    def __post_init__(self) -> None:
        n_networks, n_features, n_hidden = self.hidden.shape
        n_patterns = self.output.shape[2]
        require(self.output.shape == (n_networks, n_hidden, n_patterns) and n_networks > 0, "networks")
        require(self.hidden_bias.shape == (n_networks, 1, n_hidden), "networks")
        require(self.output_bias.shape == (n_networks, 1, n_patterns) and n_features >= 0, "networks")
        for numbers in (self.hidden, self.hidden_bias, self.output, self.output_bias):
            require(bool(np.isfinite(numbers).all()), "numbers")

    def scores(self, dense: Singles) -> Singles:
        """[B, D] -> [K, B, R]."""
        before = np.matmul(within(dense), self.hidden) + self.hidden_bias
        said: Singles = np.matmul(_gelu(before), self.output) + self.output_bias
        return said

    def some(self, number: int) -> "Networks":
        """The first `number` of them."""
        return Networks(
            self.hidden[:number], self.hidden_bias[:number], self.output[:number], self.output_bias[:number]
        )


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Mean scores of the most similar prompts: `text` [S, P] with rows of length 1, `scores` [S, R]."""

    text: NDArray[np.float32]
    scores: NDArray[np.float32]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        require(len(self.text) == len(self.scores), "prompts")
        require(all(count >= 1 for count in self.counts), "neighbours")

    def means(self, similarity: Singles) -> tuple[list[Floats], Floats]:
        """[B, R] for each of `counts`, and [B] how near they are, from similarities [B, S].

        Of the prompts with a similarity of -inf none counts.
        """
        places, values = nearest(similarity, max(*self.counts, _N_NEAR))
        return self._means(places, values), _nearness(values[:, :_N_NEAR])

    def _means(self, places: NDArray[np.int64], similarity: Singles) -> list[Floats]:
        """From the `places` [B, K] of the nearest and their similarity, falling."""
        weight = np.clip(similarity, 1e-6, None)
        scores = self.scores[places] * weight[:, :, None]
        totals = [(scores[:, :count].sum(axis=1), weight[:, :count].sum(axis=1)) for count in self.counts]
        return [(total / weights[:, None]).astype(np.float64) for total, weights in totals]


@dataclass(frozen=True, slots=True)
class Heads:
    """What predicts scores: `ridges` [A, L, R] on n-grams; `networks`, `neighbours`, `tasks` on dense rows.

    `weights` [D] are the inverse document frequencies of the training prompts, which are those of
    `projection` too unless it takes an embedding; `position` [D] is the place of each bucket among the A that
    the ridges know, -1 for the others. `mix` [heads, R] is what each head counts for in each pattern: the
    ridges first, then the neighbours, the networks' mean, and the task.
    """

    weights: NDArray[np.float32]
    position: NDArray[np.int32]
    ridges: NDArray[np.float32]
    projection: Projection
    networks: Networks
    neighbours: Neighbours
    tasks: TaskHead
    mix: NDArray[np.float64]

    def __post_init__(self) -> None:
        n_patterns = self.ridges.shape[2]
        require(self.weights.shape == self.position.shape, "features")
        require(bool((self.position < len(self.ridges)).all()), "buckets")
        if not self.projection.uses_embedding:
            require(np.array_equal(self.projection.weights, self.weights), "weights")
            object.__setattr__(self, "weights", self.projection.weights)  # once in memory
        require(self.neighbours.scores.shape[1] == n_patterns == self.networks.output.shape[2], "patterns")
        require(self.tasks.scores.shape[1] == n_patterns, "patterns")
        n_columns = self.projection.n_columns
        require(self.networks.hidden.shape[1] == len(self.tasks.weights) == n_columns, "dense features")
        require(self.mix.shape == (self.ridges.shape[1] + len(self.neighbours.counts) + 2, n_patterns), "mix")
        require(bool(np.isfinite(self.ridges).all() and np.isfinite(self.mix).all()), "numbers")

    def inputs(self, features: PromptFeatures) -> tuple[csr_array, Singles]:
        """[B, A] the n-grams that the ridges know, and [B, D] dense features."""
        rows = weighted(features.ngrams, self.weights)
        known = select(rows, self.position, len(self.ridges))
        return known, self.projection.dense(features, rows=rows)

    def scores(self, known: csr_array, dense: Singles) -> tuple[Floats, Floats, Floats]:
        """[B, R] scores, [B, R] how much the networks disagree, and [B] nearness to the training."""
        text = dense[:, : self.neighbours.text.shape[1]]
        similarity = unit_rows(text) @ self.neighbours.text.T
        said = self.networks.scores(dense).astype(np.float64)
        means, near = self.neighbours.means(similarity)
        heads = [*self._on_ngrams(known), *means, said.mean(axis=0), self.tasks.expected(dense)]
        scores: Floats = np.einsum("hbr,hr->br", np.stack(heads), self.mix)
        return scores, said.std(axis=0), near

    def _on_ngrams(self, known: csr_array) -> Floats:
        """[L, B, R] what each ridge says of [B, A] n-grams."""
        n_buckets, n_penalties, n_patterns = self.ridges.shape
        said = known @ self.ridges.reshape(n_buckets, -1)
        by_penalty: Floats = said.reshape(-1, n_penalties, n_patterns).swapaxes(0, 1).astype(np.float64)
        return by_penalty


@dataclass(frozen=True, slots=True)
class MetaController:
    """Routes by what it expects of quality, cost and latency, and by how well it knows such prompts.

    `space` says what the heads' scores mean for each model, `views` how familiar a prompt is, `guard` how far
    a prediction is trusted, `calibration` what it then means, `spend` what an answer takes.
    """

    models: KnownModels
    feature_config: FeatureConfig
    heads: Heads
    space: ModelSpace
    views: Views
    guard: Guard
    spend: Spend
    calibration: Calibration
    cost_weight: float = 0.0
    latency_weight: float = 0.0

    def __post_init__(self) -> None:
        require(self.space.mean.shape == self.models.quality.shape, "models")
        require(self.space.rank == self.heads.ridges.shape[2], "patterns")

    @property
    def name(self) -> str:
        """`controller`."""
        return "controller"

    def forecast(self, prompts: Sequence[Prompt], *, features: PromptFeatures | None = None) -> Forecast:
        """Quality with its uncertainty, cost and latency; NaN for a model that was never seen."""
        n_prompts = len(prompts) if features is None else len(features)
        chunks = [slice(start, start + _CHUNK) for start in range(0, max(n_prompts, 1), _CHUNK)]
        if features is not None:
            return pooled([self._expected(features.rows(chunk)) for chunk in chunks])
        texts = [prompt.text for prompt in prompts]
        return pooled([self._expected(extract(texts[chunk], self.feature_config)) for chunk in chunks])

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """The candidate with the best forecast, as `decide` weighs it.

        Raises:
            RoutingError: there are no candidates.
        """
        return decide(self, prompt, candidates)

    def route_all(self, prompts: Sequence[Prompt], candidates: Sequence[str]) -> list[Decision]:
        """The same for many prompts at once.

        Raises:
            RoutingError: there are no candidates.
        """
        return decide_all(self, prompts, candidates)

    def _expected(self, features: PromptFeatures) -> Forecast:
        """For so few prompts that they are compared with all of the training at once."""
        known, dense = self.heads.inputs(features)
        scores, disagreement, nearness = self.heads.scores(known, dense)
        seen = self.views.familiarity(nearness, self.heads.projection.structure_of(dense))
        held = self.guard.hold(self.space.quality(scores), self.space.mean, nearness, seen)
        familiarity = self.guard.familiarity(nearness, seen)
        spread = np.hypot(disagreement @ np.abs(self.space.loadings).T, self.guard.doubt(familiarity))
        is_unseen = np.isnan(self.models.quality)
        cost_usd, latency_s = self.spend.expected(dense)
        return Forecast(
            quality=np.where(is_unseen, np.nan, self.calibration.of(held)),
            cost_usd=cost_usd,
            latency_s=latency_s,
            spread=np.where(is_unseen, np.nan, spread),
            familiarity=familiarity,
        )


def unit_rows(rows: Singles) -> Singles:
    """Rows of length 1; rows of zeros stay so."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Singles = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0.0)
    return unit


def within(dense: Singles) -> Singles:
    """[B, D] dense features, those far out of the training prompts' range brought back to its edge."""
    return np.clip(dense, -_FARTHEST, _FARTHEST)


def _nearness(values: Singles) -> Floats:
    """[B] the mean of the similarities [B, K] of the nearest few that were looked at; 0: of none."""
    seen = np.isfinite(values)
    totals = np.where(seen, values, 0.0).sum(axis=1, dtype=np.float64)
    means: Floats = np.divide(totals, seen.sum(axis=1), out=np.zeros(len(totals)), where=seen.any(axis=1))
    return means


def _gelu(values: Singles) -> Singles:
    """Hendrycks & Gimpel (2016), Gaussian error linear units, arXiv 1606.08415."""
    activated = np.float32(0.5) * values * (np.float32(1.0) + erf(values * np.float32(0.5**0.5)))
    return activated.astype(np.float32, copy=False)
