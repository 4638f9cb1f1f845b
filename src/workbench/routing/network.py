"""The controller's networks and how they are fitted, all of them side by side. Owns torch.

Dimensions: N or B prompts, D dense features, H hidden units, K networks (one for each of P parts), M models,
R patterns.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from workbench.errors import ConfigError, RoutingError
from workbench.routing.adam import AdamW
from workbench.routing.controller import Networks, within
from workbench.routing.descent import reproducibly
from workbench.routing.lesson import Lesson


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """A network's shape and how it is fitted; the defaults were chosen on inner splits of training folds."""

    n_hidden: int = 32
    dropout: float = 0.5
    input_dropout: float = 0.5
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    max_epochs: int = 60
    patience: int = 3

    def __post_init__(self) -> None:
        for name in ("n_hidden", "max_epochs"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} of the networks is {getattr(self, name)}; it must be 1 or more")


@dataclass(frozen=True, slots=True)
class Epoch:
    """Progress: mean squared errors of quality, `held_out_loss` on what was withheld at random."""

    epoch: int
    train_loss: float
    held_out_loss: float


Observer = Callable[[Epoch], None]


class Dropout(nn.Module):
    """`nn.Dropout` in 256ths, which draws eight values from 64 random bits and takes less than half as long.

    Source: Srivastava et al. (2014), Dropout, JMLR 15.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self._n_dropped = round(256 * share)

    def forward(self, values: Tensor) -> Tensor:
        """The same shape, in training with a share of zeros and the others larger in proportion."""
        if not self.training or self._n_dropped == 0:
            return values
        drawn = torch.empty(values.numel() // 8 + 1, dtype=torch.int64, device=values.device)
        drawn.random_(torch.iinfo(torch.int64).min, None)
        is_kept = drawn.view(torch.uint8)[: values.numel()].view(values.shape) >= self._n_dropped
        return values * (is_kept * (256 / (256 - self._n_dropped)))


class Stack(nn.Module):
    """K networks of one hidden layer side by side, so that one pass serves all of them."""

    def __init__(self, n_networks: int, n_features: int, n_patterns: int, config: NetworkConfig) -> None:
        super().__init__()
        self.hidden = nn.Parameter(torch.empty(n_networks, n_features, config.n_hidden))
        self.hidden_bias = nn.Parameter(torch.zeros(n_networks, 1, config.n_hidden))
        self.output = nn.Parameter(torch.empty(n_networks, config.n_hidden, n_patterns))
        self.output_bias = nn.Parameter(torch.zeros(n_networks, 1, n_patterns))
        self.input_dropout = Dropout(config.input_dropout)
        self.dropout = Dropout(config.dropout)

    def forward(self, dense: Tensor) -> Tensor:
        """[B, D] float32 -> [K, B, R] scores."""
        shared = dense.expand(len(self.hidden), *dense.shape)
        hidden = nn.functional.gelu(torch.baddbmm(self.hidden_bias, self.input_dropout(shared), self.hidden))
        return torch.baddbmm(self.output_bias, self.dropout(hidden), self.output)


def fit_networks(
    lesson: Lesson, *, config: NetworkConfig, seed: int, observer: Observer | None = None
) -> Networks:
    """One network for each part, all until the loss on what was withheld at random no longer falls.

    The best of the epochs is kept. The same for the same lesson, config and seed on one kind of device: a GPU
    where there is one, else one thread of the processor.

    Raises:
        RoutingError: a loss or a weight is not finite.
    """
    with reproducibly(seed):
        generator = torch.Generator().manual_seed(seed)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        stack, tensors = _initial(lesson, config, generator).to(device), _Tensors(lesson, device)
        for epoch in _epochs(stack, tensors, config, generator):
            if not np.isfinite(epoch.train_loss):
                raise RoutingError(
                    f"the controller's loss is {epoch.train_loss} in epoch {epoch.epoch}; lower learning_rate"
                )
            if observer is not None:
                observer(epoch)
    return Networks(
        **{name: np.ascontiguousarray(value.cpu().numpy()) for name, value in stack.state_dict().items()}
    )


def masked_mse(predicted: Tensor, quality: Tensor, asked: Tensor) -> Tensor:
    """[K] mean squared error over the seen pairs of the prompts asked for.

    [K, B, M] predictions, [B, M] quality or NaN, [K, B] bool -> [K].
    """
    seen = ~torch.isnan(quality) & asked[:, :, None]
    errors = (predicted - torch.nan_to_num(quality)) ** 2
    return torch.where(seen, errors, 0.0).sum(dim=(1, 2)) / seen.sum(dim=(1, 2)).clamp(min=1)


def _epochs(
    stack: Stack, tensors: "_Tensors", config: NetworkConfig, generator: torch.Generator
) -> Iterator[Epoch]:
    """Train epoch by epoch; at the end the stack has the weights of the best one."""
    optimizer = AdamW(
        stack.parameters(), learning_rate=config.learning_rate, weight_decay=config.weight_decay
    )
    best_loss, best_state, n_worse = np.inf, _copy(stack), 0
    for number in range(config.max_epochs):
        train_loss = _run_epoch(stack, optimizer, tensors, generator)
        held_out_loss = tensors.held_out_loss(stack)
        yield Epoch(number, train_loss, held_out_loss)
        if held_out_loss < best_loss:
            best_loss, best_state, n_worse = held_out_loss, _copy(stack), 0
        else:
            n_worse += 1
        if n_worse > config.patience:
            break
    stack.load_state_dict(best_state)


class _Tensors:
    """The lesson on the device: [N, D] dense, [N, M] quality, [P, N] which network learns from what."""

    def __init__(self, lesson: Lesson, device: torch.device) -> None:
        self.dense = torch.from_numpy(within(lesson.dense)).to(device)
        self.quality = torch.from_numpy(lesson.quality).float().to(device)
        self.kept = torch.from_numpy(np.ascontiguousarray(~lesson.withheld.T)).to(device)
        self.mean = torch.from_numpy(lesson.space.mean).float().to(device)
        self.loadings = torch.from_numpy(lesson.space.loadings.T.copy()).float().to(device)
        self.n_random = lesson.n_random

    def loss(self, stack: Stack, chosen: Tensor) -> Tensor:
        """[P] each network's loss on the prompts of the batch that it learns from."""
        return self._losses(stack, chosen, self.kept[:, chosen])

    def held_out_loss(self, stack: Stack) -> float:
        """Mean over the random parts; on the training itself where nothing was withheld."""
        everyone = torch.arange(len(self.dense), device=self.dense.device)
        asked = ~self.kept if bool((~self.kept[: self.n_random]).any()) else self.kept
        with torch.inference_mode():
            losses = self._losses(stack, everyone, asked)
        return float(losses[: self.n_random].mean())

    def _losses(self, stack: Stack, chosen: Tensor, asked: Tensor) -> Tensor:
        predicted = self.mean + stack(self.dense[chosen]) @ self.loadings
        return masked_mse(predicted, self.quality[chosen], asked)


def _initial(lesson: Lesson, config: NetworkConfig, generator: torch.Generator) -> Stack:
    """Networks that say nothing yet: every prompt is an average one."""
    n_features = lesson.dense.shape[1]
    stack = Stack(lesson.withheld.shape[1], n_features, lesson.space.rank, config)
    with torch.no_grad():
        stack.hidden.normal_(std=max(n_features, 1) ** -0.5, generator=generator)
        stack.output.normal_(std=0.1 * config.n_hidden**-0.5, generator=generator)
    return stack


def _run_epoch(stack: Stack, optimizer: AdamW, tensors: _Tensors, generator: torch.Generator) -> float:
    """The mean loss over the networks, and one step for each batch."""
    stack.train()
    n_prompts = len(tensors.dense)
    order = torch.randperm(n_prompts, generator=generator).to(tensors.dense.device)
    total = 0.0
    for chosen in torch.split(order, min(max(n_prompts // 50, 16), 256)):
        loss = tensors.loss(stack, chosen)
        optimizer.zero_grad()
        loss.sum().backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        optimizer.step()
        total += float(loss.detach().mean()) * len(chosen)
    stack.eval()
    return total / n_prompts


def _copy(stack: Stack) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in stack.state_dict().items()}
