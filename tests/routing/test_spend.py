"""What an answer takes: prices and pace are recovered, gaps are answered directly, unknown stays unknown."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from workbench.routing.forecast import Floats
from workbench.routing.spend import Spend, fit_spend
from workbench.routing.training_data import TrainingData
from workbench.routing.training_table import from_table

RNG = np.random.default_rng(0)
N = 60
DENSE = RNG.normal(size=(N, 3)).astype(np.float32)
TOKENS_IN = np.round(RNG.uniform(20, 200, N))
LOG_TOKENS_OUT = 4.0 + 0.8 * DENSE[:, 0].astype(np.float64) + RNG.normal(scale=0.3, size=N)
TOKENS_OUT = np.asarray(np.round(np.exp(LOG_TOKENS_OUT)) + 1.0, dtype=np.float64)
COST_USD = 2e-6 * TOKENS_IN + 8e-6 * TOKENS_OUT
LATENCY_S = 0.4 + 0.01 * TOKENS_OUT


def rows(**columns: Floats) -> TrainingData:
    """One model with these numbers."""
    table = pd.DataFrame(
        {
            "prompt_id": [f"p{i}" for i in range(N)],
            "prompt": [f"text number {i}" for i in range(N)],
            "arm": "m",
            "quality": 1.0,
            **columns,
        }
    )
    return from_table(table)


def spend(**columns: Floats) -> Spend:
    return fit_spend(rows(**columns), DENSE)


EVERYTHING: Mapping[str, Floats] = {
    "input_tokens": TOKENS_IN,
    "output_tokens": TOKENS_OUT,
    "cost_usd": COST_USD,
    "latency_s": LATENCY_S,
}


def test_prices_a_token_and_the_pace_are_recovered() -> None:
    found = spend(**EVERYTHING)
    assert found.price[0] == pytest.approx([2e-6, 8e-6], rel=1e-6)
    assert found.pace[0] == pytest.approx([0.4, 0.01], rel=1e-6)


def test_longer_answers_are_expected_to_cost_and_last_more() -> None:
    cost, latency = spend(**EVERYTHING).expected(DENSE)
    assert np.corrcoef(np.log(cost[:, 0]), np.log(COST_USD))[0, 1] > 0.8
    assert np.corrcoef(np.log(latency[:, 0]), np.log(LATENCY_S))[0, 1] > 0.8


def test_the_mean_over_the_training_prompts_is_right() -> None:
    cost, latency = spend(**EVERYTHING).expected(DENSE)
    assert cost.mean() == pytest.approx(COST_USD.mean(), rel=1e-3)
    assert latency.mean() == pytest.approx(LATENCY_S.mean(), rel=1e-3)


def test_without_tokens_cost_and_latency_are_learned_directly() -> None:
    found = spend(cost_usd=COST_USD, latency_s=LATENCY_S)
    assert np.isnan(found.price).all()
    assert np.isnan(found.pace).all()
    cost, latency = found.expected(DENSE)
    assert cost.mean() == pytest.approx(COST_USD.mean(), rel=1e-3)
    assert latency.mean() == pytest.approx(LATENCY_S.mean(), rel=1e-3)
    assert np.corrcoef(cost[:, 0], COST_USD)[0, 1] > 0.5


def test_what_was_never_recorded_is_not_known() -> None:
    cost, latency = spend(cost_usd=COST_USD).expected(DENSE)
    assert np.isfinite(cost).all()
    assert np.isnan(latency).all()


def test_one_recorded_cost_is_expected_everywhere() -> None:
    once = np.where(np.arange(N) == 5, 0.02, np.nan)
    cost, _ = spend(cost_usd=once).expected(DENSE)
    assert cost == pytest.approx(np.full((N, 1), 0.02))


def test_a_free_model_costs_nothing() -> None:
    cost, _ = spend(**{**EVERYTHING, "cost_usd": np.zeros(N)}).expected(DENSE)
    assert cost == pytest.approx(np.zeros((N, 1)))


def test_a_prompt_far_outside_the_training_has_a_finite_cost() -> None:
    cost, latency = spend(**EVERYTHING).expected(np.full((1, 3), 1e6, dtype=np.float32))
    assert np.isfinite(cost).all()
    assert np.isfinite(latency).all()
