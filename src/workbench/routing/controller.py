"""The learned controller: a small network from hashed n-grams to each model's chance of a good answer.

Dimensions: N or B prompts, D buckets of the features, A of them active, H hidden units, M models.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn

from workbench.features import FeatureConfig, PromptFeatures, extract, select, weighted
from workbench.routing.decide import decide
from workbench.routing.forecast import Floats, Forecast, KnownModels, with_mean_costs
from workbench.types import Decision, Prompt

_CHUNK = 4_096  # prompts a forward pass


@dataclass(frozen=True, slots=True)
class ControllerConfig:
    """The shape of the network: A active buckets in, H hidden units, M models out."""

    n_buckets: int
    n_models: int
    n_hidden: int = 32
    dropout: float = 0.2


@dataclass(frozen=True, slots=True)
class Bags:
    """B sparse rows as `EmbeddingBag` reads them: row b owns entries `offsets[b]` to `offsets[b + 1]`."""

    buckets: Tensor  # [nnz] int64
    offsets: Tensor  # [B] int64
    weights: Tensor  # [nnz] float32


class Controller(nn.Module):
    """A linear part, which alone is a logistic regression on n-grams, plus a hidden layer on them."""

    def __init__(self, config: ControllerConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.EmbeddingBag(config.n_buckets, config.n_models + config.n_hidden, mode="sum")
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.n_hidden, config.n_models)

    def forward(self, bags: Bags) -> Tensor:
        """B bags of weighted buckets -> [B, M] logits of quality."""
        n_models = self.config.n_models
        embedded = self.embed(bags.buckets, bags.offsets, per_sample_weights=bags.weights)
        linear, hidden = embedded[:, :n_models], torch.tanh(embedded[:, n_models:])
        logits: Tensor = linear + self.output(self.dropout(hidden))
        return logits


@dataclass(frozen=True, slots=True)
class MetaController:
    """Routes by a fitted ensemble of controllers: argmax of predicted quality - cost_weight x mean cost.

    `weights` [D] are the inverse document frequencies of the training prompts; `position` [D] is the place
    of each bucket among the A that the network knows, -1 for the others; `temperature` [M] divides the
    logits, so that the predicted probabilities are calibrated.
    """

    models: KnownModels
    feature_config: FeatureConfig
    weights: NDArray[np.float32]
    position: NDArray[np.int64]
    members: tuple[Controller, ...]
    temperature: NDArray[np.float64]
    cost_weight: float = 0.0
    latency_weight: float = 0.0

    @property
    def name(self) -> str:
        """`controller`."""
        return "controller"

    def forecast(self, prompts: Sequence[Prompt], *, features: PromptFeatures | None = None) -> Forecast:
        """Predicted quality, NaN for a model that was never seen, and each model's mean cost and latency."""
        if features is None:
            features = extract([prompt.text for prompt in prompts], self.feature_config)
        n_buckets = self.members[0].config.n_buckets
        rows = select(weighted(features.ngrams, self.weights), self.position, n_buckets)
        parts = [self._probability(rows[i : i + _CHUNK]) for i in range(0, rows.shape[0], _CHUNK)]
        quality = np.concatenate(parts) if parts else np.empty((0, len(self.models.model_ids)))
        return with_mean_costs(quality, self.models)

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """The candidate with the best forecast, as `decide` weighs it.

        Raises:
            RoutingError: there are no candidates.
        """
        return decide(self, prompt, candidates)

    def _probability(self, rows: csr_array) -> Floats:
        bags = to_bags(rows)
        with torch.inference_mode():
            logits = torch.stack([member(bags) for member in self.members]).mean(dim=0)
        quality: Floats = 1.0 / (1.0 + np.exp(-logits.double().numpy() / self.temperature))
        return quality


def to_bags(rows: csr_array) -> Bags:
    """[B, A] sparse -> bags."""
    return Bags(
        buckets=torch.from_numpy(rows.indices.astype(np.int64)),
        offsets=torch.from_numpy(rows.indptr[:-1].astype(np.int64)),
        weights=torch.from_numpy(rows.data.astype(np.float32)),
    )


def members_to_bytes(members: Sequence[Controller], arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """The members' weights, and the arrays that belong to them, as `torch.save` writes tensors."""
    buffer = io.BytesIO()
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    torch.save({"members": [member.state_dict() for member in members], "arrays": tensors}, buffer)
    return buffer.getvalue()


def members_from_bytes(
    content: bytes, config: Mapping[str, int | float]
) -> tuple[tuple[Controller, ...], dict[str, NDArray[np.generic]]]:
    """What `members_to_bytes` wrote, never unpickling more than tensors.

    Raises:
        pickle.UnpicklingError, RuntimeError, KeyError, TypeError, ValueError: the content is something else.
    """
    if not content.startswith(b"PK"):  # torch's older formats are bare pickles
        raise ValueError("not a zip of tensors")
    saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    shape = ControllerConfig(**config)  # type: ignore[arg-type]  # JSON: a wrong type fails in load_state_dict
    members = tuple(_restored(shape, state) for state in saved["members"])
    if not members:
        raise ValueError("no members")
    return members, {name: tensor.numpy() for name, tensor in saved["arrays"].items()}


def _restored(config: ControllerConfig, state: Mapping[str, Tensor]) -> Controller:
    with torch.device("meta"):  # shapes only: the weights come from the file
        member = Controller(config)
    member.load_state_dict(state, assign=True)
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise ValueError("weights that are not finite")
    return member.eval()
