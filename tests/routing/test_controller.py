"""The learned controller: its arithmetic, what it learns, and that it learns the same every time."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array

from workbench.errors import ConfigError, RoutingError
from workbench.features import extract
from workbench.routing.controller import Controller, ControllerConfig, MetaController, to_bags
from workbench.routing.registry import fit
from workbench.routing.train import Epoch, TrainConfig, fit_controller, masked_bce
from workbench.routing.training_data import TrainingData, from_table
from workbench.types import Prompt

QUICK = TrainConfig(n_members=2, max_epochs=8, n_hidden=8, min_prompts=1)


def one_model(texts: list[str], quality: list[float]) -> TrainingData:
    rows = [
        {"prompt_id": f"p{i}", "prompt": text, "arm": "m", "quality": value}
        for i, (text, value) in enumerate(zip(texts, quality, strict=True))
    ]
    return from_table(pd.DataFrame(rows))


def test_forward_is_the_arithmetic_of_its_weights() -> None:
    torch.manual_seed(0)
    network = Controller(ControllerConfig(n_buckets=20, n_models=2, n_hidden=3)).eval()
    rows = np.random.default_rng(0).random((5, 20)).astype(np.float32) * (np.arange(20) % 3 == 0)
    state = {name: value.double().numpy() for name, value in network.state_dict().items()}
    embedded = rows @ state["embed.weight"]
    expected = embedded[:, :2] + np.tanh(embedded[:, 2:]) @ state["output.weight"].T + state["output.bias"]
    with torch.inference_mode():
        found = network(to_bags(csr_array(rows)))
    assert np.allclose(found.numpy(), expected, atol=1e-5)


def test_an_empty_prompt_has_the_bias_as_logits() -> None:
    network = Controller(ControllerConfig(n_buckets=4, n_models=3)).eval()
    with torch.inference_mode():
        logits = network(to_bags(csr_array(np.zeros((1, 4), dtype=np.float32))))
    assert torch.allclose(logits[0], network.output.bias)


def test_the_loss_is_the_cross_entropy() -> None:
    logits, quality = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 0.25]])
    p = 1 / (1 + np.exp(-2.0))
    expected = (np.log(2) - 0.25 * np.log(p) - 0.75 * np.log(1 - p)) / 2
    assert masked_bce(logits, quality).item() == pytest.approx(expected)


def test_pairs_that_were_not_seen_move_neither_loss_nor_gradient() -> None:
    quality = torch.tensor([[1.0, float("nan")], [0.0, 0.5]])
    logits = torch.zeros(2, 2, requires_grad=True)
    loss = masked_bce(logits, quality)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[0, 1] == 0.0
    assert torch.isfinite(logits.grad).all()
    assert masked_bce(torch.tensor([[0.0, 99.0], [0.0, 0.0]]), quality).item() == pytest.approx(loss.item())


def test_nothing_seen_is_no_loss() -> None:
    assert masked_bce(torch.zeros(2, 2), torch.full((2, 2), float("nan"))).item() == 0.0


def test_it_overfits_eight_examples() -> None:
    texts = [f"{word} {number}" for number, word in enumerate("abcdefgh")]
    quality = [1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0]
    data = one_model([f"question about topic {text * 3}" for text in texts], quality)
    config = TrainConfig(
        n_members=1,
        n_parts=1,
        min_prompts=1,
        max_epochs=60,
        weight_decay=0.0,
        dropout=0.0,
        learning_rate=0.03,
    )
    router = fit_controller(data, config=config)
    assert np.allclose(router.forecast(data.prompts).quality[:, 0], quality, atol=0.05)


def test_it_learns_where_the_weak_model_fails(data: TrainingData) -> None:
    router = fit("controller", data, cost_weight=10.0)
    pair = ["acme/strong", "acme/weak"]
    assert router.route(Prompt("a", "Please solve this algebra equation"), pair).model_id == "acme/strong"
    assert router.route(Prompt("b", "Please write a short poem"), pair).model_id == "acme/weak"


def test_a_decision_carries_its_predictions(data: TrainingData) -> None:
    router = fit_controller(data, config=QUICK)
    decision = router.route(data.prompts[0], data.model_ids)
    predicted = router.forecast([data.prompts[0]]).quality[0]
    assert decision.predicted_quality == pytest.approx(predicted.max())
    assert decision.predicted_cost_usd is not None


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
    for member, other in zip(router.members, reference.members, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(member.parameters(), other.parameters(), strict=True))
    assert predicted.tobytes() == reference.forecast(data.prompts).quality.tobytes()


def test_another_seed_gives_another_network(data: TrainingData) -> None:
    first, second = (fit_controller(data, config=QUICK, seed=seed) for seed in (0, 1))
    assert not np.array_equal(first.forecast(data.prompts).quality, second.forecast(data.prompts).quality)


def test_fitting_leaves_torchs_random_state_alone(data: TrainingData) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    fit_controller(data, config=replace(QUICK, max_epochs=1))
    assert torch.equal(torch.rand(3), expected)


def test_every_epoch_is_reported(data: TrainingData) -> None:
    seen: list[Epoch] = []
    fit_controller(data, config=replace(QUICK, max_epochs=2), observer=seen.append)
    assert [(e.member, e.epoch) for e in seen] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert all(np.isfinite(e.held_out_loss) for e in seen)


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
        fit_controller(data, config=replace(QUICK, learning_rate=1e38, patience=99))


def test_predictions_are_calibrated_on_noise() -> None:
    rng = np.random.default_rng(0)
    words = np.array([f"w{i}" for i in range(400)])
    texts = [" ".join(rng.choice(words, 8)) for _ in range(600)]
    data = one_model(texts, (rng.random(600) < 0.7).astype(float).tolist())
    held_out = data.features.rows(np.arange(400, 600))
    predicted = fit_controller(data.rows(np.arange(400))).forecast([], features=held_out).quality
    assert np.abs(predicted - 0.7).mean() < 0.1


@pytest.mark.parametrize("name", ["n_members", "n_parts", "n_hidden", "batch_size", "max_epochs"])
def test_a_size_below_one_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        TrainConfig(**{name: 0})


def test_it_is_what_the_registry_makes(data: TrainingData) -> None:
    assert isinstance(fit("controller", data, config=QUICK), MetaController)
    with pytest.raises(ConfigError, match="its options are: config, observer"):
        fit("controller", data, layers=3)
