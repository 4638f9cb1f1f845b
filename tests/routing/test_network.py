"""The controller's networks: torch and NumPy agree, what was not seen does not count, and they learn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from workbench.routing.controller import Networks, within
from workbench.routing.lesson import Lesson
from workbench.routing.model_space import ModelSpace
from workbench.routing.network import Epoch, NetworkConfig, Stack, fit_networks, masked_mse

EXACT = NetworkConfig(
    n_hidden=16, dropout=0.0, input_dropout=0.0, learning_rate=0.03, weight_decay=0.0, max_epochs=120
)


def lesson(n_prompts: int, *, n_parts: int = 1, is_withheld: bool = False) -> Lesson:
    """Two models whose quality no line in the four dense features can say."""
    rng = np.random.default_rng(5)
    dense = rng.normal(size=(n_prompts, 4)).astype(np.float32)
    quality = np.column_stack([dense[:, 0] * dense[:, 1] > 0.0, dense[:, 2] > 0.0]).astype(np.float64)
    space = ModelSpace(np.array([0.5, 0.5]), np.eye(2))
    withheld = np.zeros((n_prompts, n_parts), dtype=np.bool_)
    if is_withheld:
        withheld[np.arange(n_prompts), np.arange(n_prompts) % n_parts] = True
    return Lesson(
        rows=csr_array(np.zeros((n_prompts, 1), dtype=np.float32)),
        dense=dense,
        text=dense,
        quality=quality,
        scores=space.scores(quality),
        space=space,
        tasks=np.full(n_prompts, -1),
        withheld=withheld,
        n_random=n_parts,
    )


def test_numpy_answers_as_torch_does_also_far_outside_the_training_range() -> None:
    torch.manual_seed(0)
    stack = Stack(3, 5, 2, NetworkConfig(n_hidden=7))
    for parameter in stack.parameters():
        torch.nn.init.normal_(parameter)
    networks = Networks(**{name: value.numpy() for name, value in stack.state_dict().items()})
    dense = np.random.default_rng(0).normal(scale=6.0, size=(9, 5)).astype(np.float32)
    with torch.inference_mode():
        expected = stack.eval()(torch.from_numpy(within(dense))).numpy()
    assert networks.scores(dense) == pytest.approx(expected, abs=1e-4)
    assert networks.some(2).scores(dense) == pytest.approx(expected[:2], abs=1e-4)


def test_the_loss_is_the_mean_square_of_what_was_seen_and_asked_for() -> None:
    predicted = torch.tensor([[[0.5, 0.5], [1.0, 0.0]]]).expand(2, 2, 2)
    quality = torch.tensor([[1.0, torch.nan], [1.0, 0.6]])
    asked = torch.tensor([[True, True], [False, False]])
    # seen: errors of 0.5, 0 and 0.6; the second network is asked for nothing
    assert masked_mse(predicted, quality, asked).tolist() == pytest.approx([(0.25 + 0.36) / 3, 0.0])


def test_unseen_pairs_move_neither_the_loss_nor_its_gradient() -> None:
    quality = torch.tensor([[1.0, torch.nan], [torch.nan, 0.0]])
    asked = torch.ones(1, 2, dtype=torch.bool)
    one = torch.tensor([[[0.2, 0.3], [0.4, 0.5]]], requires_grad=True)
    other = torch.tensor([[[0.2, 9.0], [-9.0, 0.5]]], requires_grad=True)
    losses = [masked_mse(predicted, quality, asked).sum() for predicted in (one, other)]
    gradients = [torch.autograd.grad(loss, p)[0] for loss, p in zip(losses, (one, other), strict=True)]
    assert losses[0].item() == losses[1].item() == pytest.approx((0.64 + 0.25) / 2)
    assert torch.equal(gradients[0], gradients[1])
    assert gradients[0][0].tolist() == [[pytest.approx(-0.8), 0.0], [0.0, pytest.approx(0.5)]]


def test_eight_examples_are_learned_by_heart() -> None:
    taught = lesson(8)
    networks = fit_networks(taught, config=replace(EXACT, patience=999), seed=0)
    predicted = taught.space.quality(networks.scores(taught.dense)[0].astype(np.float64))
    assert np.abs(predicted - taught.quality).max() < 0.1


def test_a_network_does_not_learn_from_the_part_that_is_withheld_from_it() -> None:
    taught = lesson(12, n_parts=2, is_withheld=True)
    other = replace(taught, quality=np.where(taught.withheld[:, [0]], 1.0 - taught.quality, taught.quality))
    config = replace(EXACT, max_epochs=1)
    one, two = (fit_networks(each, config=config, seed=0) for each in (taught, other))
    assert np.array_equal(one.hidden[0], two.hidden[0])
    assert not np.array_equal(one.hidden[1], two.hidden[1])


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(seed: int) -> None:
    config = NetworkConfig(n_hidden=4, max_epochs=2)
    one, two = (fit_networks(lesson(20), config=config, seed=s) for s in (0, seed))
    assert (one.hidden.tobytes() == two.hidden.tobytes()) == (seed == 0)
    assert (one.output.tobytes() == two.output.tobytes()) == (seed == 0)


def test_training_stops_when_the_withheld_loss_has_not_fallen_for_longer_than_patience() -> None:
    seen: list[Epoch] = []
    config = replace(EXACT, learning_rate=0.5, patience=2)
    fit_networks(lesson(30, n_parts=2, is_withheld=True), config=config, seed=0, observer=seen.append)
    losses = [epoch.held_out_loss for epoch in seen]
    assert len(losses) < config.max_epochs
    assert len(losses) - 1 - int(np.argmin(losses)) == config.patience + 1
