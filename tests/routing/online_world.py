"""A world in which each model's reward is linear in a prompt's context; a router that does not know it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.features import PromptFeatures
from workbench.routing.baselines import BestSingle
from workbench.routing.decide import decide
from workbench.routing.forecast import Floats, Forecast, KnownModels, with_mean_costs
from workbench.types import Decision, Prompt

A, B, C = MODELS = ("acme/a", "acme/b", "acme/c")
KNOWN = KnownModels(
    MODELS, np.array([0.5, 0.6, 0.4]), np.array([0.001, 0.01, 0.002]), np.array([1.0, 2.0, 0.5])
)
TASTE = np.array([[0.5, 0.4], [0.5, -0.4], [0.5, 0.0]])
"""[M, K] the true quality of each model is its row times the context."""


@dataclass(frozen=True)
class Flat:
    """Expects the same of every prompt; the prompt's id says where it lies: two dimensions, the first 1."""

    models: KnownModels = KNOWN
    cost_weight: float = 0.0
    latency_weight: float = 0.0
    name: str = "flat"

    def forecast(self, prompts: Sequence[Prompt], *, features: PromptFeatures | None = None) -> Forecast:
        return with_mean_costs(np.tile(self.models.quality, (len(prompts), 1)), self.models)

    def context(self, prompts: Sequence[Prompt], *, features: PromptFeatures | None = None) -> Floats:
        places = np.array([float(prompt.prompt_id) for prompt in prompts])
        return np.column_stack([np.ones(len(prompts)), places])

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        return decide(self, prompt, candidates)


PLAIN = BestSingle(KNOWN)


def prompt_at(place: float) -> Prompt:
    return Prompt(str(float(place)), "What is asked?")


def true_quality(prompt: Prompt) -> np.ndarray:
    return TASTE @ np.array([1.0, float(prompt.prompt_id)])
