"""Where a prompt lies: the router's own context, its patterns, or what it expects of each model."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from routing.conftest import make_table
from routing.online_world import PLAIN, Flat, prompt_at
from workbench.errors import RoutingError
from workbench.routing.baselines import BestSingle
from workbench.routing.context import context_of
from workbench.routing.feedback import Feedback
from workbench.routing.neighbours import fit_knn
from workbench.routing.online import Bandit
from workbench.routing.registry import fit
from workbench.routing.training_data import TrainingData
from workbench.routing.training_table import from_table
from workbench.types import Prompt


@dataclass(frozen=True)
class FirstModel:
    """One pattern: the first model's quality less a half."""

    def scores(self, quality: np.ndarray) -> np.ndarray:
        return quality[:, :1] - 0.5


@dataclass(frozen=True)
class Patterned(BestSingle):
    space: FirstModel = field(default_factory=FirstModel)


@dataclass(frozen=True)
class Lost(Flat):
    def context(self, prompts, *, features=None):
        return np.full((len(prompts), 2), np.nan)


def context_at(router, place: float) -> np.ndarray:
    return context_of(router, [prompt_at(place)], router.forecast([prompt_at(place)]))


def test_a_routers_own_context_is_taken():
    assert context_at(Flat(), 0.25).tolist() == [[1.0, 0.25]]


def test_patterns_are_scored_from_the_forecast():
    assert context_at(Patterned(PLAIN.models), 0.25).tolist() == [[1.0, 0.0]]


def test_of_any_other_router_it_is_how_much_better_than_usual_each_model_is_expected_to_be(data):
    knn = fit_knn(data, k=40)
    forecast = knn.forecast(data.prompts[:5])
    context = context_of(knn, data.prompts[:5], forecast)
    assert context[:, 0].tolist() == [1.0] * 5
    assert context[:, 1:] == pytest.approx(forecast.quality - data.models.quality)
    assert context_of(knn, [], knn.forecast([])).shape == (0, 4)


def test_a_context_that_is_not_finite_is_refused():
    with pytest.raises(RoutingError, match="context of router flat must be"):
        context_at(Lost(), 0.25)


@pytest.mark.parametrize("kind", ["knn", "tfidf_lr", "label_oracle"])
def test_any_router_that_predicts_can_be_taught(kind):
    data: TrainingData = from_table(make_table(60))
    bandit = Bandit(fit(kind, data, cost_weight=1.0))
    prompt = Prompt("new", "Please solve this algebra equation")
    before = bandit.probabilities(prompt, data.model_ids)
    bandit.learn([Feedback(f"r{i}", prompt, "acme/weak", 1.0, cost_usd=0.001) for i in range(40)])
    after = bandit.probabilities(prompt, data.model_ids)
    assert after[2] > before[2]
