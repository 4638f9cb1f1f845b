"""What the learned baselines predict: what a reference says, or what cannot be otherwise."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from workbench.errors import ConfigError
from workbench.features import PromptFeatures
from workbench.routing.clusters import fit_clusters, shrunken_means
from workbench.routing.decide import Predictor
from workbench.routing.label_oracle import fit_label_oracle
from workbench.routing.linear import fit_tfidf_lr
from workbench.routing.neighbours import TUNED_K, fit_knn
from workbench.routing.projection import fit_projection
from workbench.routing.registry import fit
from workbench.routing.training_data import TrainingData
from workbench.routing.training_table import from_table
from workbench.types import Prompt

LEARNED = ["knn", "clusters", "tfidf_lr", "mlp", "matrix_factorisation"]
PAIR = ["acme/strong", "acme/weak"]
ALGEBRA = Prompt("new", "Please solve this algebra equation about a matrix", task="algebra")
POEM = Prompt("new", "Please write a short poem about a garden", task="poem")


def predictor(kind: str, data: TrainingData) -> Predictor:
    router = fit(kind, data, cost_weight=10.0)
    assert isinstance(router, Predictor)
    return router


def embedded(data: TrainingData, vectors: NDArray[np.float32]) -> TrainingData:
    features = data.features
    return replace(data, features=PromptFeatures(features.ngrams, features.structure, vectors))


def by_task(data: TrainingData) -> NDArray[np.float32]:
    """[N, 2] a vector that tells algebra from poems, and nothing else."""
    is_algebra = np.array([prompt.task == "algebra" for prompt in data.prompts])
    return np.column_stack([is_algebra, ~is_algebra]).astype(np.float32)


@pytest.mark.parametrize("kind", ["label_oracle", "clusters", "tfidf_lr", "mlp", "matrix_factorisation"])
def test_it_learns_where_the_weak_model_fails(data: TrainingData, kind: str) -> None:
    router = predictor(kind, data)
    assert router.route(ALGEBRA, PAIR).model_id == "acme/strong"
    assert router.route(POEM, PAIR).model_id == "acme/weak"


@pytest.mark.parametrize("kind", LEARNED)
def test_it_learns_from_an_embedding_alone(data: TrainingData, kind: str) -> None:
    mute = replace(data, features=data.features.rows(np.zeros(len(data.prompts), dtype=np.int64)))
    told = embedded(mute, by_task(data))
    if kind == "tfidf_lr":
        pytest.skip("reads words only")
    router = fit(kind, told, **({"k": 20} if kind == "knn" else {}))
    assert isinstance(router, Predictor)
    weak = router.forecast(told.prompts, features=told.features).quality[:, told.model_ids.index("acme/weak")]
    assert weak[0] > 0.8
    assert weak[1] < 0.2


@pytest.mark.parametrize("kind", LEARNED)
@pytest.mark.parametrize("quality", [1.0, 0.0, 0.5], ids=["always-right", "always-wrong", "constant"])
def test_a_constant_quality_is_learned_and_finite(data: TrainingData, kind: str, quality: float) -> None:
    constant = replace(data.rows(np.arange(40)), quality=np.full((40, 3), quality))
    predicted = predictor(kind, constant).forecast(constant.prompts).quality
    assert np.abs(predicted - quality).max() < 0.25


@pytest.mark.parametrize("kind", ["label_oracle", *LEARNED])
def test_a_missing_pair_is_no_wrong_answer_and_an_unseen_model_has_no_forecast(
    data: TrainingData, kind: str
) -> None:
    quality = data.quality.copy()
    quality[:, 0] = np.nan  # acme/mid was never seen, acme/strong (always right) by one prompt of three
    quality[np.arange(120) % 3 != 0, 1] = np.nan
    predicted = predictor(kind, replace(data, quality=quality)).forecast(data.prompts).quality
    assert np.isnan(predicted[:, 0]).all()
    assert predicted[:, 1].min() > 0.75


@pytest.mark.parametrize("kind", ["label_oracle", *LEARNED])
@pytest.mark.parametrize("texts", [["same", "same"], ["", ""], ["a", "b"]], ids=str)
def test_two_prompts_are_enough(kind: str, texts: list[str]) -> None:
    rows = [{"prompt_id": f"p{i}", "prompt": t, "arm": "m", "quality": float(i)} for i, t in enumerate(texts)]
    router = fit(kind, from_table(pd.DataFrame(rows)))
    assert router.route(Prompt("q", "anything"), ["replay/m"]).model_id == "replay/m"


@pytest.mark.parametrize("kind", ["clusters", "mlp", "matrix_factorisation"])
def test_the_same_seed_gives_the_same_forecast(data: TrainingData, kind: str) -> None:
    first, second = (predictor(kind, data).forecast(data.prompts).quality for _ in range(2))
    assert np.array_equal(first, second)


def test_no_information_forecasts_the_means_and_takes_the_best_single(data: TrainingData) -> None:
    router = predictor("no_information", data)
    assert np.array_equal(router.forecast(data.prompts[:2]).quality, np.tile(data.models.quality, (2, 1)))
    for weight in (0.0, 23.0, 42.0):
        best, same = (fit(kind, data, cost_weight=weight) for kind in ("best_single", "no_information"))
        assert best.route(POEM, data.model_ids).model_id == same.route(POEM, data.model_ids).model_id


def test_the_label_oracle_says_the_means_of_the_task(data: TrainingData) -> None:
    known, unknown, without = Prompt("a", "x", task="algebra"), Prompt("b", "x", task="law"), Prompt("c", "x")
    said = fit_label_oracle(data).forecast([known, unknown, without]).quality
    assert said[0] == pytest.approx(data.quality[1::2].mean(axis=0))
    assert said[1:] == pytest.approx(np.tile(data.quality.mean(axis=0), (2, 1)))


def test_tfidf_lr_is_the_regression_on_answers_counted_by_their_quality(data: TrainingData) -> None:
    quality = np.repeat(np.linspace(0.0, 1.0, 5), 24)[:, None].repeat(3, axis=1)
    router = fit_tfidf_lr(replace(data, quality=quality))
    assert router.forecast(data.prompts).quality.mean() == pytest.approx(0.5, abs=0.02)
    binary = fit_tfidf_lr(data)
    words = data.features.ngrams[:, : data.feature_config.n_word_buckets].toarray() * binary.weights
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    kept = words[:, np.argsort(binary.position)[-len(binary.coefficients) :]]
    reference = LogisticRegression(tol=1e-3, max_iter=300).fit(kept, data.quality[:, 2])
    expected = reference.predict_proba(kept)[:, 1]
    assert binary.forecast(data.prompts).quality[:, 2] == pytest.approx(expected, abs=0.02)


def test_k_is_chosen_where_more_neighbours_err_less() -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"prompt_id": f"p{i}", "prompt": f"w{rng.integers(9)} w{rng.integers(9)}", "arm": "m", "quality": q}
        for i, q in enumerate((rng.random(1_000) < 0.5).astype(float))
    ]
    router = fit_knn(from_table(pd.DataFrame(rows)))
    assert router.k == TUNED_K[-1]  # nothing but noise, which more neighbours average away
    assert router.name == "knn"


def test_a_prompt_without_a_vector_is_forecast_as_the_average_prompt(data: TrainingData) -> None:
    told = embedded(data, by_task(data))
    router = fit_knn(told, k=20)
    unknown = PromptFeatures(
        data.features.ngrams[:1], data.features.structure[:1], np.full((1, 2), np.nan, dtype=np.float32)
    )
    assert router.forecast([], features=unknown).quality[0] == pytest.approx(data.models.quality)
    assert not fit_projection(told.features, seed=0).text(unknown).any()


def test_cluster_means_that_are_noise_are_drawn_to_the_overall_mean() -> None:
    rng = np.random.default_rng(0)
    cluster = np.arange(4_000) % 20
    noise = (rng.random((4_000, 1)) < 0.6).astype(float)
    signal = (rng.random((4_000, 1)) < np.where(cluster < 10, 0.9, 0.1)[:, None]).astype(float)
    drawn, kept = (shrunken_means(quality, cluster, 20)[:, 0] for quality in (noise, signal))
    raw = np.array([noise[cluster == c].mean() for c in range(20)])
    assert np.abs(drawn - noise.mean()).max() < 0.5 * np.abs(raw - noise.mean()).max()
    assert np.abs(kept - np.where(np.arange(20) < 10, 0.9, 0.1)).max() < 0.1


def test_a_model_that_was_not_seen_in_a_cluster_has_its_overall_mean_there() -> None:
    quality = np.array([[1.0], [0.0], [1.0], [np.nan]])
    assert shrunken_means(quality, np.array([0, 0, 0, 1]), 2)[1, 0] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        ("clusters", {"n_clusters": 0}),
        ("tfidf_lr", {"c": 0.0}),
        ("mlp", {"n_hidden": 0}),
        ("matrix_factorisation", {"n_factors": 0}),
        ("knn", {"k": "best"}),
    ],
)
def test_an_option_that_cannot_work_is_named(
    data: TrainingData, kind: str, option: dict[str, object]
) -> None:
    with pytest.raises(ConfigError, match=next(iter(option))):
        fit(kind, data, **option)


def test_clusters_are_no_more_than_different_prompts(data: TrainingData) -> None:
    assert len(fit_clusters(embedded(data, by_task(data))).centres) == 2
