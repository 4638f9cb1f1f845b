"""What quality a router buys at what cost: its curve, hull, AIQ and saving at parity, with their draws.

A router with predictions has one operating point for each cost weight. Between two of them it can be mixed
at random, so what it can reach is the non-decreasing concave hull of its points.
Source: Hu et al. (2024), RouterBench, arXiv 2403.12031, section 3.

Dimensions: N prompts, M models, L cost weights, P points, U units of prompts, R resamples, K corners.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError
from workbench.routing.forecast import Floats
from workbench.routing.resamples import Resamples

_N_WEIGHTS = 200
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class CostCurve:
    """Mean cost and mean quality [K] of the corners of a hull, cost rising and quality rising."""

    cost_usd: Floats
    quality: Floats

    def at(self, cost_usd: Floats) -> Floats:
        """Quality that this money buys; below the cheapest corner, that corner's."""
        values: Floats = np.interp(cost_usd, self.cost_usd, self.quality)
        return values

    def cost_of(self, quality: float) -> float:
        """The least cost at which this quality is reached; NaN where it is not."""
        if quality > self.quality[-1] + _ROUNDING:
            return float("nan")
        return float(np.interp(quality, self.quality, self.cost_usd))


@dataclass(frozen=True, slots=True)
class Points:
    """Operating points by what each did: sums of quality and of cost over units of prompts, both [P, U]."""

    quality: Floats
    cost_usd: Floats

    def mean_quality(self, n_prompts: int) -> Floats:
        """[P] over all prompts."""
        mean: Floats = self.quality.sum(axis=1) / n_prompts
        return mean

    def mean_cost_usd(self, n_prompts: int) -> Floats:
        """[P] over all prompts."""
        mean: Floats = self.cost_usd.sum(axis=1) / n_prompts
        return mean

    def with_point(self, other: "Points", place: int) -> "Points":
        """These and one of the others."""
        return Points(
            np.vstack([self.quality, other.quality[place]]), np.vstack([self.cost_usd, other.cost_usd[place]])
        )


def points_of(did: Iterable[tuple[Floats, Floats]], draws: Resamples) -> Points:
    """From the quality [N] and the cost [N] of each point, one after the other."""
    pairs = [(draws.sums(quality), draws.sums(cost)) for quality, cost in did]
    return Points(np.stack([quality for quality, _ in pairs]), np.stack([cost for _, cost in pairs]))


def swept(predicted: Floats, expected_cost: Floats, weights: Floats) -> Iterable[NDArray[np.int64]]:
    """[N] the column of the largest predicted - weight x expected cost, for one weight after the other.

    Both [N, M]; a NaN is never chosen, of a cost where the weight is above 0.
    """
    quality = np.where(np.isnan(predicted), -np.inf, predicted)
    cost = np.where(np.isnan(expected_cost), np.inf, expected_cost)
    previous: NDArray[np.int64] | None = None
    for weight in weights:
        choice = np.argmax(quality - weight * cost if weight > 0.0 else quality, axis=1)
        if previous is None or not np.array_equal(choice, previous):
            yield choice
        previous = choice


def no_information_curve(quality: Floats, cost_usd: Floats) -> CostCurve:
    """The hull of the single models: what can be had without looking at a prompt."""
    return hull(cost_usd.mean(axis=0), quality.mean(axis=0))


def router_curve(predicted: Floats, expected_cost: Floats, quality: Floats, cost_usd: Floats) -> CostCurve:
    """The hull over cost weights from 0 to one that buys only the cheapest, all arguments [N, M].

    `predicted` and `expected_cost` decide; `quality` and `cost_usd` are what then happened.

    Raises:
        DataError: a quality or cost is NaN.
    """
    for name, values in (("quality", quality), ("cost_usd", cost_usd), ("predicted", predicted)):
        if np.isnan(values).any():
            raise DataError(f"{name} has a NaN; a curve needs every model's answer to every prompt")
    choices = swept(predicted, expected_cost, cost_weights(expected_cost))
    points = [mean_of_choice(choice, quality, cost_usd) for choice in choices]
    return hull(np.array([cost for _, cost in points]), np.array([mean for mean, _ in points]))


def cost_weights(expected_cost: Floats) -> Floats:
    """[L] 0 and a geometric grid around quality 1 against the largest mean cost, in quality per USD."""
    known = np.isfinite(expected_cost)
    totals, counts = np.where(known, expected_cost, 0.0).sum(axis=0), known.sum(axis=0)
    scale = float(np.max(totals / np.maximum(counts, 1)))
    if scale <= 0.0:
        return np.zeros(1)
    return np.append(0.0, np.geomspace(1e-4, 1e5, _N_WEIGHTS) / scale)


def mean_of_choice(choice: NDArray[np.int64], quality: Floats, cost_usd: Floats) -> tuple[float, float]:
    """Mean quality and mean cost where `choice` [N] says which column of [N, M] was asked."""
    rows = np.arange(len(choice))
    return float(quality[rows, choice].mean()), float(cost_usd[rows, choice].mean())


def hull(cost_usd: Floats, quality: Floats) -> CostCurve:
    """The non-decreasing concave hull of points: from the cheapest to the best, nothing below a line.

    >>> hull(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.2, 0.3, 0.8, 0.7])).quality
    array([0.2, 0.8])
    """
    order = np.lexsort((-quality, cost_usd))
    risen = np.maximum.accumulate(quality[order])
    order = order[np.append(True, risen[1:] > risen[:-1])]
    corners: list[tuple[float, float]] = []
    for point in zip(cost_usd[order].tolist(), quality[order].tolist(), strict=True):
        while len(corners) >= 2 and _is_below(corners[-2], corners[-1], point):
            corners.pop()
        corners.append(point)
    return CostCurve(np.array([c for c, _ in corners]), np.array([q for _, q in corners]))


def aiq_log(curve: CostCurve, *, low_usd: float, high_usd: float) -> float:
    """Mean quality of the hull over the logarithm of cost from `low_usd` to `high_usd`.

    Exact: a + b c over d(ln c) is a ln c + b c on each straight piece.

    Raises:
        DataError: not 0 < low_usd < high_usd.
    """
    if not 0.0 < low_usd < high_usd:
        raise DataError(f"a cost range needs 0 < low < high; it was {low_usd} to {high_usd} USD")
    inside = curve.cost_usd[(curve.cost_usd > low_usd) & (curve.cost_usd < high_usd)]
    costs = np.concatenate([[low_usd], inside, [high_usd]])
    values = curve.at(costs)
    slope = np.diff(values) / np.diff(costs)
    level = values[:-1] - slope * costs[:-1]
    area = np.sum(level * np.diff(np.log(costs)) + slope * np.diff(costs))
    return float(area / np.log(high_usd / low_usd))


def saving_at_parity(curve: CostCurve, *, quality: float, cost_usd: float) -> float:
    """1 - (cost of reaching `quality`) / `cost_usd`, those of the best single model; NaN: never reached."""
    return 1.0 - curve.cost_of(quality) / cost_usd


@dataclass(frozen=True, slots=True)
class Yardstick:
    """The single models [M] that every curve is measured against, the same for every router.

    AIQlog goes from the mean cost of `cheapest` to that of `best`; parity is with `best`. In each resample
    these are the same two models with their means in it. Every curve has the point of `cheapest`, which can
    always be asked, so that no curve is flat where it could not be had.
    """

    singles: Points
    best: int
    cheapest: int
    draws: Resamples

    @property
    def has_range(self) -> bool:
        """Whether the best model costs more than the cheapest, and that something."""
        cost = self.singles.mean_cost_usd(len(self.draws.unit))
        return bool(0.0 < cost[self.cheapest] < cost[self.best])

    def measured(self, points: Points) -> tuple[float, float]:
        """AIQlog and saving of a router with these points, over all prompts."""
        n = len(self.draws.unit)
        points = points.with_point(self.singles, self.cheapest)
        single_quality, single_cost = self.singles.mean_quality(n), self.singles.mean_cost_usd(n)
        return self._of(points.mean_quality(n), points.mean_cost_usd(n), single_quality, single_cost)

    def drawn(self, points: Points) -> tuple[Floats, Floats]:
        """[R] AIQlog and [R] saving of the resamples, their hulls made anew; NaN: there was no range."""
        points = points.with_point(self.singles, self.cheapest)
        means = [self.draws.means(sums) for sums in (points.quality, points.cost_usd)]
        singles = [self.draws.means(sums) for sums in (self.singles.quality, self.singles.cost_usd)]
        found = [self._of(*row) for row in zip(*means, *singles, strict=True)]
        return np.array([aiq for aiq, _ in found]), np.array([saving for _, saving in found])

    def _of(
        self, quality: Floats, cost_usd: Floats, single_quality: Floats, single_cost: Floats
    ) -> tuple[float, float]:
        """The saving is 0 where parity is not reached for less: the best single can itself be asked."""
        low, high = float(single_cost[self.cheapest]), float(single_cost[self.best])
        if not 0.0 < low < high:
            return float("nan"), float("nan")
        curve = hull(cost_usd, quality)
        saving = saving_at_parity(curve, quality=float(single_quality[self.best]), cost_usd=high)
        return aiq_log(curve, low_usd=low, high_usd=high), max(0.0, float(np.nan_to_num(saving)))


def yardstick(singles: Points, draws: Resamples) -> Yardstick:
    """The best and the cheapest of the single models [M]; of equally cheap ones the better."""
    n = len(draws.unit)
    quality, cost = singles.mean_quality(n), singles.mean_cost_usd(n)
    cheapest = int(np.lexsort((-quality, cost))[0])
    return Yardstick(singles, int(np.lexsort((cost, -quality))[0]), cheapest, draws)


def _is_below(left: tuple[float, float], middle: tuple[float, float], right: tuple[float, float]) -> bool:
    """Whether `middle` lies on or below the line from `left` to `right`."""
    return (middle[1] - left[1]) * (right[0] - left[0]) <= (right[1] - left[1]) * (middle[0] - left[0])
