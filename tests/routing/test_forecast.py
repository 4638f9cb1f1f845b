"""The rule by which a forecast becomes a decision: quality, less what dollars and seconds are worth."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from workbench.errors import ConfigError
from workbench.routing.decide import by_score, decide, scores
from workbench.routing.forecast import Forecast, pooled, with_mean_costs
from workbench.routing.registry import fit
from workbench.routing.training_data import TrainingData
from workbench.routing.training_table import from_table

MODELS = ["acme/strong", "acme/weak", "acme/mid"]


def forecast(quality: list[list[float]], cost: list[list[float]], latency: list[list[float]]) -> Forecast:
    values = np.array(quality)
    return Forecast(values, np.array(cost), np.array(latency), values * 0, np.full(len(values), np.nan))


@pytest.fixture
def timed(table: pd.DataFrame) -> TrainingData:
    """strong answers in 4 s, mid in 2 s, weak in 1 s."""
    latency = table["model"].map({"strong": 4.0, "mid": 2.0, "weak": 1.0})
    return from_table(table.assign(latency_s=latency))


def test_a_score_is_quality_less_dollars_and_seconds() -> None:
    expected = forecast([[0.9, 0.8]], [[0.02, 0.01]], [[3.0, 1.0]])
    assert scores(expected, cost_weight=0.0).tolist() == [[0.9, 0.8]]
    assert scores(expected, cost_weight=5.0, latency_weight=0.1)[0] == pytest.approx([0.5, 0.65])


def test_what_the_costs_are_may_depend_on_the_prompt() -> None:
    expected = forecast([[0.9, 0.8], [0.9, 0.8]], [[0.1, 0.1], [0.3, 0.1]], [[1.0, 1.0], [1.0, 1.0]])
    assert by_score(expected, cost_weight=1.0)[:, 0].tolist() == [0, 1]


def test_a_model_of_unknown_quality_or_cost_comes_last() -> None:
    expected = forecast([[np.nan, 0.1, 0.9]], [[0.0, 0.1, np.nan]], [[1.0, 1.0, 1.0]])
    assert by_score(expected, cost_weight=1.0)[0, 0] == 1
    assert by_score(expected, cost_weight=0.0)[0].tolist() == [2, 1, 0]


def test_latency_weight_is_the_quality_given_up_for_a_second(timed: TrainingData) -> None:
    # strong 1.0 in 4 s, mid 2/3 in 2 s, weak 1/2 in 1 s: strong up to 1/6 quality a second, then weak
    chosen = {
        weight: fit("best_single", timed, latency_weight=weight).route(timed.prompts[0], MODELS).model_id
        for weight in (0.16, 0.168)
    }
    assert chosen == {0.16: "acme/strong", 0.168: "acme/weak"}


def test_a_decision_carries_the_latency_that_is_expected(timed: TrainingData) -> None:
    decision = fit("best_single", timed).route(timed.prompts[0], MODELS)
    assert decision.predicted_latency_s == 4.0
    assert decision.familiarity is None


def test_a_decision_carries_how_familiar_the_prompt_is(data: TrainingData) -> None:
    class Sure:
        name, models, cost_weight, latency_weight = "sure", data.models, 0.0, 0.0

        def forecast(self, prompts, *, features=None):  # type: ignore[no-untyped-def]
            said = with_mean_costs(np.tile(data.models.quality, (len(prompts), 1)), data.models)
            return replace(said, familiarity=np.full(len(prompts), 0.25))

    assert decide(Sure(), data.prompts[0], MODELS).familiarity == 0.25


def test_a_latency_that_is_not_recorded_cannot_be_weighed(data: TrainingData) -> None:
    with pytest.raises(ConfigError, match="no latency_s for acme/mid"):
        fit("best_single", data, latency_weight=1.0)
    with pytest.raises(ConfigError, match="latency_weight is -1"):
        fit("best_single", data, latency_weight=-1)


def test_pooled_forecasts_are_in_order(data: TrainingData) -> None:
    whole = fit("best_single", data).forecast(data.prompts)
    parts = [whole.rows(slice(0, 50)), whole.rows(slice(50, None))]
    assert np.array_equal(pooled(parts).quality, whole.quality)
    assert len(pooled(parts)) == 120
