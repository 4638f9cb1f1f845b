"""Fitting the controller: masked cross-entropy, early stopping on held-out prompts, calibration.

The training prompts are divided by group into parts. Each member of the ensemble is kept from a part of
its own, by which it stops, and the temperature is fitted on what members predict for prompts that they were
kept from. All of it runs on one thread: the result is the same on any number of cores.

Dimensions: B prompts of a batch, N prompts, A active buckets, M models.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_array
from torch import Tensor, nn

from workbench.errors import ConfigError, RoutingError
from workbench.features import inverse_document_frequency, positions, select, weighted
from workbench.routing.controller import Controller, ControllerConfig, MetaController, to_bags
from workbench.routing.decide import check_weights
from workbench.routing.forecast import Floats
from workbench.routing.training_data import TrainingData, parts_by_group


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How the controller is fitted; the defaults were chosen on inner splits of the training folds.

    `n_parts`: a member is kept from one of so many parts of the prompts; 1: from none.
    `min_prompts`: buckets that fewer training prompts have are not learned.
    """

    n_members: int = 3
    n_parts: int = 10
    min_prompts: int = 4
    n_hidden: int = 32
    dropout: float = 0.5
    learning_rate: float = 3e-3
    weight_decay: float = 1.0
    batch_size: int = 128
    max_epochs: int = 20
    patience: int = 1

    def __post_init__(self) -> None:
        for name in ("n_members", "n_parts", "n_hidden", "batch_size", "max_epochs"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} of the controller is {getattr(self, name)}; it must be 1 or more")


@dataclass(frozen=True, slots=True)
class Epoch:
    """A member's progress; losses are mean cross-entropies in nats, `held_out_loss` of the unseen part."""

    member: int
    epoch: int
    train_loss: float
    held_out_loss: float


Observer = Callable[[Epoch], None]


def masked_bce(logits: Tensor, quality: Tensor) -> Tensor:
    """Mean cross-entropy over the seen pairs: [B, M] logits, [B, M] quality in [0, 1] or NaN -> scalar."""
    seen = ~torch.isnan(quality)
    target = torch.where(seen, quality, 0.5)
    losses = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return torch.where(seen, losses, 0.0).sum() / seen.sum().clamp(min=1)


def fit_controller(
    data: TrainingData,
    *,
    seed: int = 0,
    cost_weight: float = 0.0,
    latency_weight: float = 0.0,
    config: TrainConfig | None = None,
    observer: Observer | None = None,
) -> MetaController:
    """Fit an ensemble and calibrate it; the same for the same data, config and seed.

    Raises:
        ConfigError: a weight needs costs or latencies that the rows do not have.
        RoutingError: the loss or a weight is not finite.
    """
    config = config or TrainConfig()
    check_weights(data.models, cost_weight=cost_weight, latency_weight=latency_weight)
    idf = inverse_document_frequency(data.features.ngrams)
    position = positions(data.features.ngrams, min_prompts=config.min_prompts)
    n_buckets = max(int(position.max()) + 1, 1)
    rows = select(weighted(data.features.ngrams, idf), position, n_buckets)
    members, held_out_logits = [], np.full(data.quality.shape, np.nan)
    with _reproducibly(seed):
        for number, is_held_out in enumerate(_held_out(data.groups, config, seed)):
            fold = _Fold(rows, data.quality, is_held_out, number, seed)
            member = _fit_member(fold, config, observer or _nobody)
            held_out_logits[is_held_out] = _logits(member, rows[np.flatnonzero(is_held_out)])
            members.append(member)
    return MetaController(
        models=data.models,
        feature_config=data.feature_config,
        weights=idf,
        position=position,
        members=tuple(members),
        temperature=_temperatures(held_out_logits, data.quality),
        cost_weight=cost_weight,
        latency_weight=latency_weight,
    )


@dataclass(frozen=True, slots=True)
class _Fold:
    """What one member learns from: weighted features [N, A], quality [N, M], and what it is kept from."""

    rows: csr_array
    quality: Floats
    is_held_out: NDArray[np.bool_]
    number: int
    seed: int


def _fit_member(fold: _Fold, config: TrainConfig, observer: Observer) -> Controller:
    """Train until the held-out loss has not improved for `patience` epochs; keep the best weights."""
    generator = torch.Generator().manual_seed(fold.seed * 1_000 + fold.number)
    member = _initial(fold, config, generator)
    optimizer = torch.optim.AdamW(
        member.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    best_loss, best_state, n_worse = np.inf, _copy(member), 0
    for epoch in range(config.max_epochs):
        train_loss = _run_epoch(member, optimizer, fold, config.batch_size, generator)
        held_out_loss = _loss(member, fold, fold.is_held_out) if fold.is_held_out.any() else train_loss
        if not np.isfinite(train_loss):
            raise RoutingError(f"the controller's loss is {train_loss} in epoch {epoch}; lower learning_rate")
        observer(Epoch(fold.number, epoch, train_loss, held_out_loss))
        if held_out_loss < best_loss:
            best_loss, best_state, n_worse = held_out_loss, _copy(member), 0
        else:
            n_worse += 1
        if n_worse > config.patience:
            break
    member.load_state_dict(best_state)
    return _checked(member)


def _initial(fold: _Fold, config: TrainConfig, generator: torch.Generator) -> Controller:
    """A network that predicts each model's mean quality, whatever the prompt."""
    shape = ControllerConfig(fold.rows.shape[1], fold.quality.shape[1], config.n_hidden, config.dropout)
    member = Controller(shape)
    seen = np.isfinite(fold.quality)
    mean = (np.where(seen, fold.quality, 0.0).sum(axis=0) + 0.5) / (seen.sum(axis=0) + 1.0)
    with torch.no_grad():
        member.embed.weight.normal_(std=0.05, generator=generator)
        member.embed.weight[:, : shape.n_models].zero_()
        member.output.weight.normal_(std=config.n_hidden**-0.5, generator=generator)
        member.output.bias.copy_(torch.from_numpy(np.log(mean / (1.0 - mean))))
    return member


def _run_epoch(
    member: Controller,
    optimizer: torch.optim.Optimizer,
    fold: _Fold,
    batch_size: int,
    generator: torch.Generator,
) -> float:
    learned = np.flatnonzero(~fold.is_held_out)
    order = learned[torch.randperm(len(learned), generator=generator).numpy()]
    member.train()
    total = 0.0
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        loss = masked_bce(member(to_bags(fold.rows[batch])), _targets(fold.quality[batch]))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        optimizer.step()
        total += loss.item() * len(batch)
    member.eval()
    return total / max(len(order), 1)


def _loss(member: Controller, fold: _Fold, chosen: NDArray[np.bool_]) -> float:
    logits = torch.from_numpy(_logits(member, fold.rows[np.flatnonzero(chosen)]))
    return float(masked_bce(logits, _targets(fold.quality[chosen]).double()))


def _logits(member: Controller, rows: csr_array) -> Floats:
    with torch.inference_mode():
        logits: Floats = member(to_bags(rows)).double().numpy()
    return logits


def _targets(quality: Floats) -> Tensor:
    return torch.from_numpy(quality).float()


def _copy(member: Controller) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in member.state_dict().items()}


def _checked(member: Controller) -> Controller:
    for name, value in member.state_dict().items():
        if not bool(torch.isfinite(value).all()):
            raise RoutingError(
                f"the controller's weights {name} are not finite after training; lower learning_rate"
            )
    return member


def _held_out(groups: NDArray[np.int64], config: TrainConfig, seed: int) -> Iterator[NDArray[np.bool_]]:
    """[N] for each member, the prompts it is kept from: none where that would leave it nothing."""
    part = parts_by_group(groups, config.n_parts, seed=seed)
    for number in range(config.n_members):
        is_held_out = part == number % config.n_parts
        yield np.zeros_like(is_held_out) if is_held_out.all() else is_held_out


def _temperatures(logits: Floats, quality: Floats) -> Floats:
    """[M] what divides a model's logits for the least cross-entropy on held-out prompts."""
    return np.array([_temperature(logits[:, i], quality[:, i]) for i in range(quality.shape[1])])


def _temperature(logits: Floats, quality: Floats) -> float:
    seen = np.isfinite(logits) & np.isfinite(quality)
    if not seen.any():
        return 1.0

    def loss(log_temperature: float) -> float:
        scaled = logits[seen] / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0.0, scaled) - quality[seen] * scaled))

    return float(np.exp(minimize_scalar(loss, bounds=(-1.5, 1.5), method="bounded").x))


def _nobody(epoch: Epoch) -> None:
    """Watches nothing."""


@contextmanager
def _reproducibly(seed: int) -> Iterator[None]:
    """One thread, so that sums are added in one order, and torch's own draws (dropout) from `seed`."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)
