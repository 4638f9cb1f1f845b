"""Routers that do not look at the prompt: a fixed one, chance, the cheapest, the best on average."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.errors import InsufficientDataError, RoutingError
from workbench.features import PromptFeatures
from workbench.routing.decide import check_weights, decide, decision, distinct, ranked_candidates
from workbench.routing.forecast import Floats, Forecast, KnownModels, with_mean_costs
from workbench.routing.training_data import TrainingData
from workbench.types import Decision, Prompt


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

    def probabilities(self, prompt: Prompt, candidates: Sequence[str]) -> Floats:
        """[K] 1/K for each of K candidates, whatever the prompt.

        Raises:
            RoutingError: there are no candidates.
        """
        return np.full(len(candidates), 1.0 / len(distinct(candidates, self.name)))

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
        order = np.argsort(np.nan_to_num(self.models.cost_usd, nan=np.inf), kind="stable")
        ranked = ranked_candidates(names, [self.models.model_ids[i] for i in order])
        return decision(self.name, ranked, _means(self.models, 1), self.models)


@dataclass(frozen=True, slots=True)
class BestSingle:
    """The one model that was best on average over the training rows, for every prompt."""

    models: KnownModels
    cost_weight: float = 0.0
    latency_weight: float = 0.0

    @property
    def name(self) -> str:
        """`best_single`."""
        return "best_single"

    def forecast(self, prompts: Sequence[Prompt], *, features: PromptFeatures | None = None) -> Forecast:
        """Each model's means over the training rows, whatever the prompt."""
        return _means(self.models, len(prompts) if features is None else len(features))

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """The candidate with the best means, as `decide` weighs them.

        Raises:
            RoutingError: there are no candidates.
        """
        return decide(self, prompt, candidates)


@dataclass(frozen=True, slots=True)
class NoInformation:
    """The best mixture of single models: as a router, with its weights, it is one of them.

    Its curve is the hull of the single models, which random mixing reaches without looking at a prompt.
    """

    models: KnownModels
    cost_weight: float = 0.0
    latency_weight: float = 0.0

    @property
    def name(self) -> str:
        """`no_information`."""
        return "no_information"

    def forecast(self, prompts: Sequence[Prompt], *, features: PromptFeatures | None = None) -> Forecast:
        """Each model's means over the training rows, whatever the prompt."""
        return _means(self.models, len(prompts) if features is None else len(features))

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """The candidate with the best means, as `decide` weighs them.

        Raises:
            RoutingError: there are no candidates.
        """
        return decide(self, prompt, candidates)


def fit_cheapest(data: TrainingData) -> Cheapest:
    """The cheapest by mean cost.

    Raises:
        InsufficientDataError: no row has a cost.
    """
    if np.isnan(data.models.cost_usd).all():
        raise InsufficientDataError("no row has a cost_usd, so none of the models can be called cheapest")
    return Cheapest(data.models)


def fit_best_single(
    data: TrainingData, *, cost_weight: float = 0.0, latency_weight: float = 0.0
) -> BestSingle:
    """The best by its means.

    Raises:
        ConfigError: a weight cannot be used.
    """
    check_weights(data.models, cost_weight=cost_weight, latency_weight=latency_weight)
    return BestSingle(data.models, cost_weight, latency_weight)


def fit_no_information(
    data: TrainingData, *, cost_weight: float = 0.0, latency_weight: float = 0.0
) -> NoInformation:
    """The means of the single models.

    Raises:
        ConfigError: a weight cannot be used.
    """
    check_weights(data.models, cost_weight=cost_weight, latency_weight=latency_weight)
    return NoInformation(data.models, cost_weight, latency_weight)


def _means(models: KnownModels, n_prompts: int) -> Forecast:
    return with_mean_costs(np.tile(models.quality, (n_prompts, 1)), models)
