"""Routers evaluated on another's log: what is found is what they would truly have achieved."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from routing.conftest import MID, STRONG, WEAK, make_table
from workbench.errors import DataError, InsufficientDataError, RoutingError
from workbench.routing.baselines import Fixed, Random
from workbench.routing.off_policy import evaluate_off_policy, target_probabilities, value_of
from workbench.routing.served_log import MeanRewards, served_log
from workbench.routing.training_data import TrainingData
from workbench.stats.off_policy import policy_difference
from workbench.types import Decision, Prompt

MODELS = [MID, STRONG, WEAK]


@dataclass(frozen=True)
class ByTopic:
    """Algebra to the strong model, poems to the weak: always right in the table of `conftest`."""

    name: str = "by_topic"

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        return Decision(STRONG if "algebra" in prompt.text else WEAK, self.name)


@dataclass(frozen=True)
class Explorer:
    """The strong model nine times of ten, else any."""

    name: str = "explorer"

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        return Decision(STRONG, self.name, propensity=0.9)


@dataclass(frozen=True)
class OpenExplorer(Explorer):
    def probabilities(self, prompt: Prompt, candidates: Sequence[str]) -> np.ndarray:
        return np.array([0.9 if model_id == STRONG else 0.05 for model_id in candidates])


def make_log(n_prompts: int, router: Random | None = None) -> pd.DataFrame:
    """What `router` chose for each prompt, and nothing of what it did not choose."""
    router = router or Random(seed=4)
    table = make_table(n_prompts)
    prompts = table.drop_duplicates("prompt_id")
    chosen = {
        row.prompt_id: router.route(Prompt(row.prompt_id, row.prompt), MODELS) for row in prompts.itertuples()
    }
    is_chosen = table["arm"] == table["prompt_id"].map(lambda name: chosen[name].model_id)
    return table[is_chosen].assign(arm="live", propensity=1.0 / 3.0).reset_index(drop=True)


@pytest.fixture(scope="module")
def log() -> pd.DataFrame:
    return make_log(600)


@pytest.mark.parametrize(
    ("router", "quality", "cost_usd"),
    [
        (Fixed(STRONG), 1.0, 0.02),
        (Fixed(WEAK), 0.5, 0.001),
        (ByTopic(), 1.0, 0.0105),
        (Random(seed=4), (1.0 + 0.5 + 2.0 / 3.0) / 3.0, 0.026 / 3.0),
        (OpenExplorer(), 0.9 + 0.05 * 0.5 + 0.05 * 2.0 / 3.0, 0.9 * 0.02 + 0.05 * 0.006),
    ],
    ids=["strong", "weak", "by topic", "the router of the log", "explorer"],
)
def test_each_estimator_finds_the_true_quality_and_cost(log, router, quality, cost_usd):
    found = evaluate_off_policy(router, log)
    assert found.cost_usd is not None
    for name in ("ips", "snips", "doubly_robust"):
        value, cost = getattr(found.quality, name), getattr(found.cost_usd, name)
        assert value.estimate.low <= quality <= value.estimate.high
        assert cost.estimate.low <= cost_usd + 1e-12
        assert cost_usd - 1e-12 <= cost.estimate.high
        assert value.warning is None


def test_table_has_a_row_for_each_measure_and_estimator(log):
    table = evaluate_off_policy(ByTopic(), log).table
    assert table["measure"].tolist() == ["quality"] * 3 + ["cost_usd"] * 3
    assert table["estimator"].tolist() == ["ips", "snips", "doubly_robust"] * 2
    assert (table["low"] <= table["value"]).all()


def test_two_routers_on_one_log_are_compared_pairwise(log):
    served = served_log(log)
    challenger, champion = value_of(ByTopic(), served), value_of(Fixed(WEAK), served)
    difference = policy_difference(challenger.quality.doubly_robust, champion.quality.doubly_robust)
    assert difference.estimate.low <= 0.5 <= difference.estimate.high
    assert difference.p_value < 0.001


def test_a_model_fitted_to_the_prompts_makes_the_estimate_exact(log):
    @dataclass(frozen=True)
    class ByTask:
        data: TrainingData

        def forecast(self, prompts: Sequence[Prompt]) -> MeanRewards:
            said = [[0.66, 1.0, 0.0 if "algebra" in prompt.text else 1.0] for prompt in prompts]
            cost = np.tile(self.data.models.cost_usd, (len(prompts), 1))
            return MeanRewards(np.array(said), cost)

    plain = evaluate_off_policy(Fixed(WEAK), log).quality.doubly_robust
    fitted = evaluate_off_policy(
        Fixed(WEAK), log, fit_rewards=lambda data: ByTask(data).forecast
    ).quality.doubly_robust
    assert fitted.standard_error < 0.7 * plain.standard_error
    assert fitted.estimate.value == pytest.approx(0.5)


def test_no_row_is_predicted_by_a_model_that_saw_it(log):
    seen: list[tuple[set[str], set[str]]] = []

    def fit(data: TrainingData):
        training = {prompt.prompt_id for prompt in data.prompts}

        def expect(prompts: Sequence[Prompt]) -> MeanRewards:
            seen.append((training, {prompt.prompt_id for prompt in prompts}))
            return MeanRewards(*(np.zeros((len(prompts), 3)) for _ in range(2)))

        return expect

    served_log(log, fit_rewards=fit)
    assert all(not training & asked for training, asked in seen)
    assert set().union(*(asked for _, asked in seen)) == set(log["prompt_id"])


def test_a_router_that_draws_is_not_taken_for_its_draw(log):
    served = served_log(log)
    assert target_probabilities(Random(seed=4), served) == pytest.approx(np.full((600, 3), 1 / 3))
    with pytest.raises(RoutingError, match="probabilities"):
        value_of(Explorer(), served)


def test_an_error_counts_as_no_quality_and_repeats_are_one_cluster(log):
    failed = log.assign(error=None, repeat=0)
    failed.loc[0, ["quality", "error"]] = [np.nan, "ServerError"]
    again = pd.concat([failed, failed.assign(repeat=1)], ignore_index=True)
    served = served_log(again)
    assert served.quality.reward[0] == 0.0
    value = value_of(ByTopic(), served).quality.snips
    assert (value.n, value.n_clusters) == (1200, 600)


def test_what_is_left_out_is_said(log):
    other = log.head(5).assign(arm="control", propensity=np.nan)
    unscored = log.head(3).assign(arm="second", quality=np.nan)
    found = evaluate_off_policy(ByTopic(), pd.concat([log, other, unscored], ignore_index=True))
    assert found.notes == (
        "left out: 5 of 608 rows were not chosen by a router (no propensity)",
        "left out: 3 of 608 rows were not scored (no quality)",
    )


def test_costs_that_are_not_all_known_are_not_averaged(log):
    table = log.copy()
    table.loc[7, "cost_usd"] = np.nan
    found = evaluate_off_policy(ByTopic(), table)
    assert found.cost_usd is None
    assert found.notes == ("no cost: 1 of 600 rows have no cost_usd",)
    assert evaluate_off_policy(ByTopic(), log.drop(columns="cost_usd")).cost_usd is None
    assert found.table["measure"].tolist() == ["quality"] * 3


def test_calls_that_cost_nothing_are_worth_nothing(log):
    found = evaluate_off_policy(ByTopic(), log.assign(cost_usd=0.0))
    assert found.cost_usd is not None
    assert found.cost_usd.doubly_robust.estimate.high == 0.0


def test_a_candidate_that_the_log_lacks_is_warned_of(log):
    with pytest.raises(InsufficientDataError, match="none of the 600"):
        evaluate_off_policy(Fixed("acme/new"), log, candidates=["acme/new", STRONG])
    half = OpenExplorer()
    found = evaluate_off_policy(half, log, candidates=[STRONG, "acme/new", WEAK])
    assert "never has" in (found.quality.doubly_robust.warning or "")


@pytest.mark.parametrize("column", ["prompt", "provider", "model", "quality", "propensity"])
def test_a_missing_column_is_named(log, column):
    with pytest.raises(DataError, match=f"column '{column}'"):
        evaluate_off_policy(ByTopic(), log.drop(columns=column))


def test_rows_that_cannot_be_used_are_refused(log):
    absent = log.copy()
    absent.loc[4, "model"] = None
    with pytest.raises(DataError, match="row 4 was chosen by a router, but its 'model' is absent"):
        evaluate_off_policy(ByTopic(), absent)
    with pytest.raises(DataError, match="propensity"):
        evaluate_off_policy(ByTopic(), log.assign(propensity=0.0))
    with pytest.raises(InsufficientDataError, match="0 rows"):
        evaluate_off_policy(ByTopic(), log.assign(propensity=np.nan))
