"""Fitting small dense networks by gradient descent, stopped early: what the MLP and the factorisation share.

Torch is needed here only: the fitted weights are arrays, and predictions are made with NumPy.

Dimensions: N prompts, B prompts of a batch, P inputs, H hidden units or factors, M models.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from workbench.errors import RoutingError
from workbench.routing.adam import AdamW
from workbench.routing.forecast import Floats
from workbench.routing.training_data import parts_by_group

_N_PARTS = 10
_BATCH = 32
_MAX_EPOCHS = 100
_PATIENCE = 3


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is learned: rows [N, P], quality [N, M] in [0, 1] or NaN, and the groups [N] kept together."""

    rows: NDArray[np.float32]
    quality: Floats
    groups: NDArray[np.int64]


class Perceptron(nn.Module):
    """One hidden layer: [B, P] -> [B, M] logits of quality."""

    def __init__(self, n_inputs: int, n_hidden: int, n_models: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(n_inputs, n_hidden)
        self.output = nn.Linear(n_hidden, n_models)
        self.dropout = nn.Dropout(0.3)

    def forward(self, rows: Tensor) -> Tensor:
        """[B, P] float32 -> [B, M] logits."""
        logits: Tensor = self.output(self.dropout(torch.relu(self.hidden(rows))))
        return logits


class Factors(nn.Module):
    """A vector a model, times the projected prompt, through one linear layer: [B, P] -> [B, M] logits.

    Source: Ong et al. (2024), RouteLLM, arXiv 2406.18665, section 4.2.
    """

    def __init__(self, n_inputs: int, n_factors: int, n_models: int) -> None:
        super().__init__()
        self.project = nn.Linear(n_inputs, n_factors)
        self.models = nn.Parameter(torch.randn(n_models, n_factors) * 0.1)
        self.combine = nn.Parameter(torch.ones(n_factors))
        self.level = nn.Parameter(torch.zeros(n_models))
        self.dropout = nn.Dropout(0.3)

    def forward(self, rows: Tensor) -> Tensor:
        """[B, P] float32 -> [B, M] logits."""
        logits: Tensor = (self.dropout(self.project(rows)) * self.combine) @ self.models.T + self.level
        return logits


def descended(
    network: type[Perceptron] | type[Factors], lesson: Lesson, *, width: int, learning_rate: float, seed: int
) -> dict[str, NDArray[np.float32]]:
    """The weights of a network of this `width`, by name, that did best on a held-out tenth of the prompts.

    Raises:
        RoutingError: the loss is not finite.
    """
    with reproducibly(seed):
        member = network(lesson.rows.shape[1], width, lesson.quality.shape[1])
        _start_at_means(member, lesson.quality)
        best = _best_of_epochs(member, lesson, learning_rate, seed)
    return {name: value.numpy() for name, value in best.items()}


def _best_of_epochs(
    member: Perceptron | Factors, lesson: Lesson, learning_rate: float, seed: int
) -> dict[str, Tensor]:
    held_out = parts_by_group(lesson.groups, _N_PARTS, seed=seed) == 0
    if held_out.all() or not np.isfinite(lesson.quality[~held_out]).any():
        held_out[:] = False
    rows, quality = torch.tensor(lesson.rows), torch.tensor(lesson.quality, dtype=torch.float32)
    learned = torch.from_numpy(np.flatnonzero(~held_out))
    judged = torch.from_numpy(np.flatnonzero(held_out if held_out.any() else ~held_out))
    optimizer = AdamW(member.parameters(), learning_rate=learning_rate, weight_decay=0.1)
    best_loss, best, n_worse = np.inf, deepcopy(member.state_dict()), 0
    for _ in range(_MAX_EPOCHS):
        _run_epoch(member, optimizer, rows[learned], quality[learned])
        with torch.inference_mode():
            loss = float(_loss(member(rows[judged]), quality[judged]))
        if not np.isfinite(loss):
            raise RoutingError(f"the loss of {type(member).__name__} is {loss}; lower its learning_rate")
        if loss < best_loss:
            best_loss, best, n_worse = loss, deepcopy(member.state_dict()), 0
        else:
            n_worse += 1
        if n_worse > _PATIENCE:
            break
    return best


def _run_epoch(member: nn.Module, optimizer: AdamW, rows: Tensor, quality: Tensor) -> None:
    member.train()
    for batch in torch.split(torch.randperm(len(rows)), _BATCH):
        optimizer.zero_grad()
        _loss(member(rows[batch]), quality[batch]).backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()
    member.eval()


def _loss(logits: Tensor, quality: Tensor) -> Tensor:
    """Mean cross-entropy over the seen pairs: [B, M] logits, [B, M] quality in [0, 1] or NaN -> scalar."""
    seen = ~torch.isnan(quality)
    losses = nn.functional.binary_cross_entropy_with_logits(
        logits, torch.where(seen, quality, 0.5), reduction="none"
    )
    return torch.where(seen, losses, 0.0).sum() / seen.sum().clamp(min=1)


def _start_at_means(member: Perceptron | Factors, quality: Floats) -> None:
    """Before the first step, each model's mean quality is predicted, or nearly."""
    seen = np.isfinite(quality)
    mean = (np.where(seen, quality, 0.0).sum(axis=0) + 0.5) / (seen.sum(axis=0) + 1.0)
    level = member.level if isinstance(member, Factors) else member.output.bias
    with torch.no_grad():
        level.copy_(torch.from_numpy(np.log(mean / (1.0 - mean))))


@contextmanager
def reproducibly(seed: int) -> Iterator[None]:
    """One thread, so that sums are added in one order, and torch's own draws from `seed`."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)
