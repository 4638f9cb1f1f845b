"""The learned controller: its arithmetic, what it learns, and that it learns the same every time."""

import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from workbench.errors import ConfigError, RoutingError
from workbench.features import extract
from workbench.routing.controller import MetaController
from workbench.routing.fields import encoded
from workbench.routing.network import Epoch, NetworkConfig
from workbench.routing.registry import fit
from workbench.routing.train import TrainConfig, fit_controller
from workbench.routing.training_data import TrainingData
from workbench.routing.training_table import from_table
from workbench.types import Prompt

QUICK = TrainConfig(n_parts=2, min_prompts=1, networks=NetworkConfig(max_epochs=8, n_hidden=8))


def short(n_epochs: int) -> TrainConfig:
    return replace(QUICK, networks=replace(QUICK.networks, max_epochs=n_epochs))


def one_model(texts: list[str], quality: list[float]) -> TrainingData:
    rows = [
        {"prompt_id": f"p{i}", "prompt": text, "arm": "m", "quality": value}
        for i, (text, value) in enumerate(zip(texts, quality, strict=True))
    ]
    return from_table(pd.DataFrame(rows))


def test_it_learns_where_the_weak_model_fails(data: TrainingData) -> None:
    router = fit("controller", data, cost_weight=10.0)
    pair = ["acme/strong", "acme/weak"]
    algebra = "Please solve this algebra equation about garden and river number 200"
    poem = "Please write a short poem about garden and river number 200"
    assert router.route(Prompt("a", algebra), pair).model_id == "acme/strong"
    assert router.route(Prompt("b", poem), pair).model_id == "acme/weak"


def test_of_a_prompt_unlike_all_it_learned_from_it_expects_the_means_and_says_so(data: TrainingData) -> None:
    forecast = fit_controller(data).forecast([Prompt("c", "```def f(x):\n    return {x: [x]}```\n" * 40)])
    assert forecast.familiarity[0] < 0.1
    assert forecast.quality[0] == pytest.approx(data.models.quality, abs=0.1)


def test_a_decision_carries_its_predictions(data: TrainingData) -> None:
    router = fit_controller(data, config=QUICK)
    decision = router.route(data.prompts[0], data.model_ids)
    predicted = router.forecast([data.prompts[0]]).quality[0]
    assert decision.predicted_quality == pytest.approx(predicted.max())
    assert decision.predicted_cost_usd is not None


def test_prompts_that_are_decided_together_are_decided_as_if_alone(data: TrainingData) -> None:
    router = fit_controller(data, config=QUICK, cost_weight=5.0)
    together = router.route_all(data.prompts[:20], data.model_ids)
    for prompt, made in zip(data.prompts, together, strict=False):
        alone = router.route(prompt, data.model_ids)
        assert (made.model_id, made.fallbacks) == (alone.model_id, alone.fallbacks)
        assert made.predicted_quality == pytest.approx(alone.predicted_quality, abs=1e-6)
        assert made.familiarity == pytest.approx(alone.familiarity, abs=1e-5)


def test_predictions_are_probabilities_in_the_order_of_the_prompts(data: TrainingData) -> None:
    router = fit_controller(data, config=QUICK)
    predicted = router.forecast(data.prompts).quality
    assert predicted.shape == (120, 3)
    assert ((predicted > 0) & (predicted < 1)).all()
    assert np.allclose(predicted[7], router.forecast([data.prompts[7]]).quality[0], atol=1e-6)
    assert np.array_equal(predicted, router.forecast([], features=data.features).quality)
    assert router.forecast([], features=extract([])).quality.shape == (0, 3)


@pytest.mark.parametrize("n_threads", [1, 4])
def test_the_same_seed_gives_the_same_bytes_on_any_number_of_threads(
    data: TrainingData, n_threads: int
) -> None:
    reference = fit_controller(data, config=QUICK, seed=3)
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    torch.manual_seed(n_threads)  # the caller's random state does not matter
    try:
        router = fit_controller(data, config=QUICK, seed=3)
        predicted = router.forecast(data.prompts).quality
        assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    (_, arrays), (_, others) = encoded(router), encoded(reference)
    assert all(array.tobytes() == others[name].tobytes() for name, array in arrays.items())
    assert predicted.tobytes() == reference.forecast(data.prompts).quality.tobytes()


def test_another_seed_gives_another_network(data: TrainingData) -> None:
    first, second = (fit_controller(data, config=QUICK, seed=seed) for seed in (0, 1))
    assert not np.array_equal(first.forecast(data.prompts).quality, second.forecast(data.prompts).quality)


def test_fitting_leaves_torchs_random_state_alone(data: TrainingData) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    fit_controller(data, config=short(1))
    assert torch.equal(torch.rand(3), expected)


def test_every_epoch_is_reported(data: TrainingData) -> None:
    seen: list[Epoch] = []
    fit_controller(data, config=short(2), observer=seen.append)
    assert [epoch.epoch for epoch in seen] == [0, 1]
    assert all(np.isfinite(epoch.held_out_loss) for epoch in seen)


@pytest.mark.parametrize(
    "quality",
    [[1.0] * 6, [0.0] * 6, [0.5] * 6],
    ids=["always-right", "always-wrong", "constant-reward"],
)
def test_a_constant_reward_is_learned_and_finite(quality: list[float]) -> None:
    data = one_model([f"word{i} text" for i in range(6)], quality)
    predicted = fit_controller(data, config=QUICK).forecast(data.prompts).quality
    assert np.abs(predicted - quality[0]).max() < 0.2
    assert np.isfinite(predicted).all()


@pytest.mark.parametrize(
    "texts", [["same", "same"], ["", ""], ["a", "b"]], ids=["duplicates", "no-words", "two"]
)
def test_two_prompts_are_enough(texts: list[str]) -> None:
    data = one_model(texts, [1.0, 0.0])
    router = fit("controller", data)
    assert router.route(Prompt("q", "anything"), data.model_ids).model_id == "replay/m"


def test_a_model_seen_on_no_training_prompt_is_chosen_last(data: TrainingData) -> None:
    quality = data.quality.copy()
    quality[:, 1] = np.nan  # acme/strong
    unseen = replace(data, quality=quality)
    router = fit_controller(unseen, config=QUICK)
    assert np.isnan(router.forecast(data.prompts).quality[:, 1]).all()
    assert router.route(data.prompts[0], data.model_ids).fallbacks[-1] == "acme/strong"


def test_weights_that_are_not_finite_are_refused(data: TrainingData) -> None:
    with pytest.raises(RoutingError, match="lower learning_rate"):
        fit_controller(data, config=replace(QUICK, networks=NetworkConfig(learning_rate=1e30, patience=99)))


def test_predictions_are_calibrated_on_noise() -> None:
    rng = np.random.default_rng(0)
    words = np.array([f"w{i}" for i in range(400)])
    texts = [" ".join(rng.choice(words, 8)) for _ in range(600)]
    data = one_model(texts, (rng.random(600) < 0.7).astype(float).tolist())
    held_out = data.features.rows(np.arange(400, 600))
    predicted = fit_controller(data.rows(np.arange(400))).forecast([], features=held_out).quality
    assert np.abs(predicted - 0.7).mean() < 0.1


@pytest.mark.parametrize(
    "text",
    ["solve this " * 100_000, "x" * 1_000_000, "\ud800" * 1_000_000, "Ǹjẹ́ o lè yanjú èyí?", "\0", ""],
    ids=["words", "one-word", "surrogates", "another-language", "nul", "empty"],
)
def test_any_prompt_is_routed_within_50_ms(data: TrainingData, text: str) -> None:
    router, took_s = fit_controller(data, config=QUICK), []
    for _ in range(3):
        started_s = time.process_time()
        decision = router.route(Prompt("q", text), data.model_ids)
        took_s.append(time.process_time() - started_s)
    assert decision.model_id in data.model_ids
    assert decision.predicted_quality is not None
    assert min(took_s) < 0.05


def test_of_more_prompts_than_it_learns_from_a_sample_is_all_it_reads(data: TrainingData) -> None:
    few = replace(QUICK, max_learned=60)
    chosen = np.sort(np.random.default_rng(0).permutation(len(data.prompts))[:60])
    from_many, from_sample = fit_controller(data, config=few), fit_controller(data.rows(chosen), config=QUICK)
    said = from_many.forecast(data.prompts).quality
    assert np.array_equal(said, from_sample.forecast(data.prompts).quality)
    assert np.array_equal(from_many.models.quality, data.models.quality)


@pytest.mark.parametrize("name", ["n_parts", "min_prompts", "max_learned", "max_prompts", "max_weighed"])
def test_a_size_below_one_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        TrainConfig(**{name: 0})


@pytest.mark.parametrize("name", ["penalties", "n_neighbours"])
def test_a_controller_without_one_of_its_heads_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="needs one of penalties and one of n_neighbours"):
        TrainConfig(**{name: ()})


def test_it_is_what_the_registry_makes(data: TrainingData) -> None:
    assert isinstance(fit("controller", data, config=QUICK), MetaController)
    with pytest.raises(ConfigError, match="its options are: config, observer"):
        fit("controller", data, layers=3)
