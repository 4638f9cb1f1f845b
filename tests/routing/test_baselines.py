"""The routers to beat, and the rule by which every router decides."""

import time
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chisquare
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.neighbors import KNeighborsRegressor

from workbench.errors import ConfigError, InsufficientDataError, RoutingError
from workbench.features import extract
from workbench.routing.base import Router
from workbench.routing.baselines import Fixed, Random
from workbench.routing.feedback import Feedback
from workbench.routing.neighbours import KNN, fit_knn
from workbench.routing.online import Bandit
from workbench.routing.registry import ROUTERS, fit
from workbench.routing.training_data import TrainingData
from workbench.routing.training_table import from_table
from workbench.types import Prompt

MODELS = ["acme/strong", "acme/weak", "acme/mid"]
ALGEBRA = Prompt("new", "Please solve this algebra equation about a matrix")
POEM = Prompt("new", "Please write a short poem about a garden")
TEXTS = {"empty": "", "chinese": "中文的问题", "surrogate": "\ud800", "nul": "\0", "long": "word " * 200_000}
OPTIONS: dict[str, dict[str, Any]] = {"fixed": {"model_id": "acme/weak"}}


@pytest.fixture(scope="module", params=list(ROUTERS))
def router(request: pytest.FixtureRequest, data: TrainingData) -> Router:
    return fit(request.param, data, **OPTIONS.get(request.param, {}))


def test_every_router_orders_all_candidates(router: Router) -> None:
    decision = router.route(ALGEBRA, MODELS)
    assert isinstance(router, Router)
    assert decision.router == router.name
    assert sorted([decision.model_id, *decision.fallbacks]) == sorted(MODELS)


def test_every_router_repeats_itself(router: Router) -> None:
    assert router.route(ALGEBRA, MODELS) == router.route(ALGEBRA, MODELS)


def test_no_router_decides_without_candidates(router: Router) -> None:
    with pytest.raises(RoutingError, match="no candidates"):
        router.route(ALGEBRA, [])


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_every_router_answers_any_text_in_50_ms(router: Router, text: str) -> None:
    took_s = []
    for _ in range(3):
        started_s = time.perf_counter()
        assert router.route(Prompt("odd", text), MODELS).model_id in MODELS
        took_s.append(time.perf_counter() - started_s)
    assert min(took_s) <= 0.05


def test_a_bandit_answers_and_learns_from_a_prompt_of_a_million_characters_in_50_ms(
    data: TrainingData,
) -> None:
    bandit, took_s = Bandit(fit_knn(data)), []
    for number in range(3):
        started_s = time.process_time()
        chosen = bandit.route(Prompt("odd", TEXTS["long"]), MODELS)
        bandit.learn([Feedback(str(number), Prompt("odd", TEXTS["long"]), chosen.model_id, 1.0)])
        took_s.append((time.process_time() - started_s) / 2)
    assert min(took_s) <= 0.05


@pytest.mark.parametrize("kind", ["cheapest", "best_single", "knn", "controller"])
def test_an_unknown_candidate_is_chosen_only_alone(data: TrainingData, kind: str) -> None:
    router = fit(kind, data)
    assert router.route(POEM, ["new/model", "acme/mid"]).model_id == "acme/mid"
    alone = router.route(POEM, ["new/model"])
    assert (alone.model_id, alone.predicted_quality, alone.predicted_cost_usd) == ("new/model", None, None)


def test_fixed_keeps_to_its_model(data: TrainingData) -> None:
    assert fit("fixed", data, model_id="acme/weak").route(ALGEBRA, MODELS).model_id == "acme/weak"
    with pytest.raises(RoutingError, match="acme/weak is not among"):
        Fixed("acme/weak").route(ALGEBRA, ["acme/mid"])


def test_random_is_uniform_and_says_so() -> None:
    prompts = [Prompt(f"p{i}", "same text") for i in range(3_000)]
    decisions = [Random(seed=5).route(prompt, MODELS) for prompt in prompts]
    counts = Counter(decision.model_id for decision in decisions)
    assert chisquare([counts[model] for model in MODELS]).pvalue > 0.001
    assert {decision.propensity for decision in decisions} == {1 / 3}


def test_random_depends_on_seed_and_prompt_not_on_the_order_of_candidates() -> None:
    prompts = [Prompt(f"p{i}", "text") for i in range(50)]
    chosen = [Random(1).route(prompt, MODELS).model_id for prompt in prompts]
    assert chosen == [Random(1).route(prompt, MODELS[::-1]).model_id for prompt in prompts]
    assert chosen != [Random(2).route(prompt, MODELS).model_id for prompt in prompts]


def test_cheapest_and_best_single_are_the_column_means(data: TrainingData) -> None:
    cheapest = fit("cheapest", data).route(ALGEBRA, MODELS)
    assert (cheapest.model_id, cheapest.fallbacks) == ("acme/weak", ("acme/mid", "acme/strong"))
    assert cheapest.predicted_cost_usd == pytest.approx(0.001)
    best = fit("best_single", data).route(ALGEBRA, MODELS)
    assert (best.model_id, best.predicted_quality) == ("acme/strong", 1.0)


def test_cost_weight_is_the_quality_given_up_for_a_dollar(data: TrainingData) -> None:
    # strong 1.0 at $0.020, mid 2/3 at $0.005, weak 1/2 at $0.001: strong beats mid up to (1/3) / 0.015 = 22.2
    # and weak up to 0.5 / 0.019 = 26.3; mid beats weak up to (1/6) / 0.004 = 41.7
    chosen = {
        w: fit("best_single", data, cost_weight=w).route(POEM, MODELS).model_id for w in (22.0, 23.0, 42.0)
    }
    assert chosen == {22.0: "acme/strong", 23.0: "acme/mid", 42.0: "acme/weak"}


def test_equal_scores_go_to_the_cheaper_model(data: TrainingData) -> None:
    decision = fit_knn(data, k=5).route(POEM, ["acme/strong", "acme/weak"])
    assert decision.predicted_quality == 1.0
    assert decision.model_id == "acme/weak"


def test_knn_predicts_what_scikit_learn_predicts(data: TrainingData) -> None:
    training, held_out = data.rows(np.arange(100)), data.rows(np.arange(100, 120))
    idf = TfidfTransformer().fit(training.features.ngrams)
    reference = KNeighborsRegressor(n_neighbors=7, metric="cosine", algorithm="brute")
    reference.fit(idf.transform(training.features.ngrams), training.quality)
    predicted = fit_knn(training, k=7).forecast(held_out.prompts).quality
    assert np.allclose(predicted, reference.predict(idf.transform(held_out.features.ngrams)))
    assert np.array_equal(predicted, fit_knn(training, k=7).forecast([], features=held_out.features).quality)


def test_knn_fills_what_no_neighbour_saw_with_the_mean() -> None:
    rows = [{"prompt_id": f"p{i}", "prompt": f"alpha {i}", "arm": "m", "quality": 1.0} for i in range(6)]
    rows.append({"prompt_id": "z", "prompt": "omega", "arm": "n", "quality": 0.25})
    router = fit_knn(from_table(pd.DataFrame(rows)), k=1)
    assert router.forecast([Prompt("q", "alpha 3")]).quality.tolist() == [[1.0, 0.25]]


def test_knn_learns_where_the_weak_model_fails(data: TrainingData) -> None:
    router = fit("knn", data, k=20, cost_weight=10.0)
    assert isinstance(router, KNN)
    pair = ["acme/strong", "acme/weak"]
    assert router.route(ALGEBRA, pair).model_id == "acme/strong"
    assert router.route(POEM, pair).model_id == "acme/weak"


def test_no_prompts_give_no_predictions(data: TrainingData) -> None:
    assert fit_knn(data).forecast([], features=extract([])).quality.shape == (0, 3)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("smart", {}, "the kinds are fixed, random"),
        ("knn", {"neighbours": 3}, "its options are: k"),
        ("random", {"k": 3}, "its options are: none"),
        ("fixed", {"model_id": "no/such"}, "acme/mid"),
        ("knn", {"k": 0}, "k"),
        ("knn", {"cost_weight": -1.0}, "cost_weight"),
        ("best_single", {"cost_weight": float("nan")}, "cost_weight"),
    ],
)
def test_what_cannot_be_fitted_is_explained(
    data: TrainingData, kind: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        fit(kind, data, **options)


def test_a_cost_that_is_not_recorded_cannot_be_weighed(table: pd.DataFrame) -> None:
    unpriced = from_table(table.drop(columns="cost_usd"))
    with pytest.raises(ConfigError, match="no cost_usd for acme/mid"):
        fit("knn", unpriced, cost_weight=1.0)
    with pytest.raises(InsufficientDataError, match="cheapest"):
        fit("cheapest", unpriced)
    assert fit("best_single", unpriced).route(POEM, MODELS).predicted_cost_usd is None
