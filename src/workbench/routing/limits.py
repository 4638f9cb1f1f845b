"""Whether a limit of an aim is kept: one test a point, and many points tested in an order set beforehand.

A test counts one more prompt than there were, on which things went as badly as they can: what was not met
among N prompts may still be met by one in N.

Dimensions: N prompts, M models, P points, G groups of prompts.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from workbench.errors import DataError, InsufficientDataError
from workbench.routing.forecast import Floats
from workbench.routing.training_data import TrainingData

Integers = NDArray[np.int64]

SLOW_SHARE = 0.05
"""Of the prompts, which may take longer than a limit of the 95th percentile."""
_N_HALVINGS = 30


@dataclass(frozen=True, slots=True)
class Happened:
    """What each model made of each prompt: [N, M], NaN where a cost or latency is not known.

    Prompts of one of `groups` [N], whole numbers from 0, are not independent.

    Raises:
        InsufficientDataError: fewer than two groups.
        DataError: a quality is NaN.
    """

    model_ids: tuple[str, ...]
    quality: Floats
    cost_usd: Floats
    latency_s: Floats
    groups: Integers

    def __post_init__(self) -> None:
        if len(self.groups) == 0 or int(self.groups.min()) == int(self.groups.max()):
            raise InsufficientDataError("an operating point needs two groups of prompts or more")
        if np.isnan(self.quality).any():
            raise DataError(
                "an operating point needs every model's quality on every prompt; leave others out"
            )

    @classmethod
    def of(cls, data: TrainingData) -> "Happened":
        """What the rows of a table say happened."""
        groups = np.unique(data.groups, return_inverse=True)[1].astype(np.int64)
        return cls(data.model_ids, data.quality, data.cost_usd, data.latency_s, groups)

    def columns(self, chosen: Integers) -> "Happened":
        """Some of the models, by position."""
        return Happened(
            model_ids=tuple(self.model_ids[i] for i in chosen),
            quality=self.quality[:, chosen],
            cost_usd=self.cost_usd[:, chosen],
            latency_s=self.latency_s[:, chosen],
            groups=self.groups,
        )

    @property
    def best_single(self) -> int:
        """The column that is best on average."""
        return int(np.argmax(self.quality.mean(axis=0)))


@dataclass(frozen=True, slots=True)
class Limit:
    """How a limit of an aim is tested, given what happened and the [N] columns that a point chose.

    `measured` is what the limit is on; `p_value` that of the hypothesis that a limit is not kept. `order` are
    the signs of cost and latency weight in the order of points from the one that is likeliest to keep it;
    `most` is the largest limit that says anything.
    """

    measured: Callable[[Happened, Integers], float]
    p_value: Callable[[Happened, Integers, float], float]
    order: tuple[int, int]
    most: Callable[[Happened], float]

    def least(self, happened: Happened, choice: Integers, *, level: float) -> float:
        """The smallest limit that these choices keep, tested at `level`; infinite: none."""
        low, high = 0.0, self.most(happened)
        if self.p_value(happened, choice, high) > level:
            return math.inf
        for _ in range(_N_HALVINGS):
            middle = (low + high) / 2.0
            is_kept = self.p_value(happened, choice, middle) <= level
            low, high = (low, middle) if is_kept else (middle, high)
        return high


def met(values: Floats, choice: Integers) -> Floats:
    """[N] what the chosen columns of [N, M] have."""
    found: Floats = values[np.arange(len(choice)), choice]
    return found


def p_at_most(values: Floats, limit: float, *, worst: float, groups: Integers, least: float = 0.0) -> float:
    """One-sided p-value of: the mean of `values` [N] and of one more group that is `worst` is above `limit`.

    By the t distribution with groups as units; the one more is of mean size, and the variance of a value is
    taken as `least` or more.

    >>> p_at_most(np.zeros(99), 0.05, worst=1.0, groups=np.arange(99)) < 0.05
    True

    Source: Cameron & Miller (2015), A Practitioner's Guide to Cluster-Robust Inference, sec. II, as in
        `stats.paired`; the added row in the manner of Agresti & Min (2005), Statistics in Medicine 24.
    """
    n_units = int(groups.max()) + 2
    size = len(values) / (n_units - 1)
    n = len(values) + size
    mean = (float(values.sum()) + size * worst) / n
    residuals = np.bincount(groups, weights=values - mean)
    squares = float(residuals @ residuals) + (size * (worst - mean)) ** 2
    variance = max(n_units / (n_units - 1) * squares / n**2, least / n_units)
    if variance == 0.0:
        return float(mean > limit)
    return float(stdtr(n_units - 1, (mean - limit) / math.sqrt(variance)))


def certified(p_values: Floats, points: Floats, order: tuple[int, int], *, alpha: float) -> NDArray[np.bool_]:
    """[P] points that are known to keep a limit, all of them together with probability 1 - alpha.

    Points, [P, 2] a cost and a latency weight each, are tested in order. Each has a stake of alpha; one that
    passes hands what it had on to the next.

    Source: Wiens (2003), A fixed sequence Bonferroni procedure, Pharmaceutical Statistics 2; for settings of
        a model by Angelopoulos, Bates, Candes, Jordan & Lei (2021), Learn then Test, arXiv 2110.01052.
    """
    is_kept = np.zeros(len(points), dtype=np.bool_)
    stake, inherited = alpha * stakes(points, order), 0.0
    for point in _in_order(points, order):
        level = stake[point] + inherited
        is_kept[point] = p_values[point] <= level
        inherited = level if is_kept[point] else 0.0
    return is_kept


def stakes(points: Floats, order: tuple[int, int]) -> Floats:
    """[P] the shares of alpha: half for the first point of each latency weight, half for the others."""
    in_order = _in_order(points, order)
    latency = points[in_order, 1]
    is_first = np.empty(len(points), dtype=np.bool_)
    is_first[in_order] = np.append(True, latency[1:] != latency[:-1])
    n_first = int(is_first.sum())
    if n_first == len(points):
        return np.full(len(points), 1.0 / n_first)
    return np.where(is_first, 0.5 / n_first, 0.5 / (len(points) - n_first))


def _in_order(points: Floats, order: tuple[int, int]) -> Integers:
    cost, latency = order[0] * points[:, 0], order[1] * points[:, 1]
    return np.lexsort((cost, latency)).astype(np.int64)


def _loss_points(happened: Happened, choice: Integers) -> float:
    return 100.0 * float(_loss(happened, choice).mean())


def _p_of_loss(happened: Happened, choice: Integers, limit_points: float) -> float:
    limit = limit_points / 100.0
    loss = _loss(happened, choice)
    return p_at_most(loss, limit, worst=1.0, groups=happened.groups, least=limit * (1.0 - limit))


def _loss(happened: Happened, choice: Integers) -> Floats:
    """[N] against the best single model."""
    return happened.quality[:, happened.best_single] - met(happened.quality, choice)


def _usd_per_1000(happened: Happened, choice: Integers) -> float:
    return 1000.0 * float(met(happened.cost_usd, choice).mean())


def _p_of_cost(happened: Happened, choice: Integers, limit_usd_per_1000: float) -> float:
    cost = met(happened.cost_usd, choice)
    return p_at_most(cost, limit_usd_per_1000 / 1000.0, worst=float(cost.max()), groups=happened.groups)


def _p95_s(happened: Happened, choice: Integers) -> float:
    return float(np.quantile(met(happened.latency_s, choice), 1.0 - SLOW_SHARE))


def _p_of_p95(happened: Happened, choice: Integers, limit_s: float) -> float:
    """The percentile is above the limit where more than its share of prompts take longer."""
    is_slow = (met(happened.latency_s, choice) > limit_s).astype(np.float64)
    least = SLOW_SHARE * (1.0 - SLOW_SHARE)
    return p_at_most(is_slow, SLOW_SHARE, worst=1.0, groups=happened.groups, least=least)


LIMITS: Mapping[str, Limit] = {
    "max_usd_per_1000": Limit(
        _usd_per_1000, _p_of_cost, (-1, 1), lambda happened: 2000.0 * float(happened.cost_usd.max())
    ),
    "max_quality_loss_points": Limit(_loss_points, _p_of_loss, (1, 1), lambda happened: 100.0),
    "max_p95_s": Limit(_p95_s, _p_of_p95, (1, -1), lambda happened: float(happened.latency_s.max())),
}
"""By the field of `Aim`."""
