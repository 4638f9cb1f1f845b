"""Which models should be members of an ensemble, and what an ensemble would have done on recorded answers.

An ensemble pays for all of its members and waits for the slowest one.

Dimensions: N prompts, M models, K members.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from workbench.errors import ConfigError
from workbench.routing.ballots import Ballots, columns_of
from workbench.routing.ensemble import NOBODY, Ensemble, Vote
from workbench.routing.forecast import Floats
from workbench.routing.training_data import TrainingData

_GAIN = 1e-9
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Selection:
    """How members are chosen: for the highest mean of quality - `cost_weight` x cost, within limits.

    `cost_weight` is the quality one gives up to save a dollar a prompt; `most_usd` the most that a prompt may
    cost on average; `most_members` how many models may be asked.

    Raises:
        ConfigError: a weight or a limit that cannot work.
    """

    cost_weight: float = 0.0
    most_usd: float = math.inf
    most_members: int = 7

    def __post_init__(self) -> None:
        if not (0.0 <= self.cost_weight < math.inf and self.most_usd >= 0.0 and self.most_members >= 1):
            raise ConfigError(
                f"{self} cannot be: a weight is finite and >= 0, a cost >= 0, and there is a member or more"
            )

    @property
    def needs_cost(self) -> bool:
        """Whether costs matter."""
        return self.cost_weight > 0.0 or self.most_usd < math.inf

    def value(self, replayed: "Replayed") -> float:
        """How good what was replayed is; minus infinity where it costs too much."""
        if not self.needs_cost:
            return replayed.mean_quality
        if replayed.mean_cost_usd > self.most_usd * (1.0 + _ROUNDING):
            return -math.inf
        return replayed.mean_quality - self.cost_weight * replayed.mean_cost_usd


QUALITY = Selection()


@dataclass(frozen=True, slots=True)
class Replayed:
    """What an ensemble would have done with N prompts.

    `choice` [N] is a position in the ensemble's members, -1 where none answered: the `quality` is then 0.
    `cost_usd` is the sum and `latency_s` the greatest over the members that were asked. NaN: it is not known,
    or no member was asked.
    """

    choice: NDArray[np.int64]
    quality: Floats
    cost_usd: Floats
    latency_s: Floats

    @property
    def mean_quality(self) -> float:
        """Over the prompts of which something is known."""
        return float(np.nanmean(self.quality))

    @property
    def mean_cost_usd(self) -> float:
        """A prompt, over those whose cost is known; NaN: of none."""
        is_known = np.isfinite(self.cost_usd)
        return float(self.cost_usd[is_known].mean()) if is_known.any() else float("nan")


def replay(
    ensemble: Ensemble, data: TrainingData, ballots: Ballots, *, predicted: Floats | None = None
) -> Replayed:
    """What `ensemble` would have done on the prompts of `data`.

    A member without a row for a prompt is one that failed before it cost anything. `predicted` is [N, K].

    Raises:
        DataError: a member is not among the models.
    """
    columns = columns_of(ensemble.model_ids, data.model_ids)
    quality, choice = data.quality[:, columns], ensemble.choose(ballots, predicted=predicted)
    was_asked = np.isfinite(quality)
    chosen = np.take_along_axis(np.nan_to_num(quality), np.maximum(choice, 0)[:, None], axis=1)[:, 0]
    is_known = was_asked.any(axis=1)
    return Replayed(
        choice=choice,
        quality=np.where(is_known, np.where(choice == NOBODY, 0.0, chosen), np.nan),
        cost_usd=np.where(is_known, np.where(was_asked, data.cost_usd[:, columns], 0.0).sum(axis=1), np.nan),
        latency_s=np.where(
            is_known, np.where(was_asked, data.latency_s[:, columns], 0.0).max(axis=1), np.nan
        ),
    )


def choose_members(
    vote: Vote, data: TrainingData, ballots: Ballots, *, selection: Selection = QUALITY
) -> Vote:
    """The members of `vote` that together are best by `selection` on `data`, chosen greedily.

    One or two members at a time are added for as long as that gains: two, because a second voice alone never
    outvotes the first. Mean quality is that of the training rows, which flatters an ensemble that was chosen
    on them: judge it on others.

    Raises:
        ConfigError: costs matter and that of a model is not known, or every model costs too much.
    """
    if selection.needs_cost and not np.isfinite(data.models.cost_usd).all():
        raise ConfigError("members are chosen by cost, but the training rows do not have that of every model")
    members: tuple[str, ...] = ()
    reached = -np.inf
    while True:
        grown = [
            (selection.value(replay(vote.among(some), data, ballots)), some)
            for some in _grown(vote, members, selection)
        ]
        value, best = max(grown, key=lambda pair: pair[0], default=(-np.inf, members))
        if value <= reached + _GAIN:
            break
        reached, members = value, best
    if not members:
        raise ConfigError(f"no model costs at most {selection.most_usd} USD a prompt")
    return vote.among(members)


def _grown(vote: Vote, members: tuple[str, ...], selection: Selection) -> Iterator[tuple[str, ...]]:
    """`members` and one or two others."""
    others = [model_id for model_id in vote.model_ids if model_id not in members]
    for n_added in (1, 2):
        if len(members) + n_added <= selection.most_members:
            for added in combinations(others, n_added):
                yield (*members, *added)
