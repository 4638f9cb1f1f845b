"""What quality a router buys at what cost, over many models: its curve, hull, AIQ and saving at parity.

A router with predictions has one operating point for each cost weight. Between two of them it can be mixed
at random, so what it can reach is the non-decreasing concave hull of its points.
Source: Hu et al. (2024), RouterBench, arXiv 2403.12031, section 3.

Dimensions: N prompts, M models, L cost weights, K corners of the hull.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError
from workbench.routing.forecast import Floats

_N_WEIGHTS = 200


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
        if quality > self.quality[-1] + 1e-12:
            return float("nan")
        return float(np.interp(quality, self.quality, self.cost_usd))


def router_curve(predicted: Floats, expected_cost: Floats, quality: Floats, cost_usd: Floats) -> CostCurve:
    """The hull over cost weights from 0 to one that buys only the cheapest, all arguments [N, M].

    `predicted` and `expected_cost` decide; `quality` and `cost_usd` are what then happened.

    Raises:
        DataError: a quality or cost is NaN.
    """
    for name, values in (("quality", quality), ("cost_usd", cost_usd), ("predicted", predicted)):
        if np.isnan(values).any():
            raise DataError(f"{name} has a NaN; a curve needs every model's answer to every prompt")
    points = [
        mean_of_choice(np.argmax(predicted - weight * expected_cost, axis=1), quality, cost_usd)
        for weight in cost_weights(expected_cost)
    ]
    return hull(np.array([cost for _, cost in points]), np.array([mean for mean, _ in points]))


def no_information_curve(quality: Floats, cost_usd: Floats) -> CostCurve:
    """The hull of the single models: what can be had without looking at a prompt."""
    return hull(cost_usd.mean(axis=0), quality.mean(axis=0))


def cost_weights(expected_cost: Floats) -> Floats:
    """[L] 0 and a geometric grid around quality 1 against the largest mean cost, in quality per USD."""
    scale = float(expected_cost.mean(axis=0).max())
    if scale <= 0.0:
        return np.zeros(1)
    return np.append(0.0, np.geomspace(1e-4, 1e5, _N_WEIGHTS) / scale)


def mean_of_choice(choice: NDArray[np.int64], quality: Floats, cost_usd: Floats) -> tuple[float, float]:
    """Mean quality and mean cost when prompt n goes to column choice[n]."""
    rows = np.arange(len(choice))
    return float(quality[rows, choice].mean()), float(cost_usd[rows, choice].mean())


def hull(cost_usd: Floats, quality: Floats) -> CostCurve:
    """The non-decreasing concave hull of points: from the cheapest to the best, nothing below a line.

    >>> hull(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.2, 0.3, 0.8, 0.7])).quality
    array([0.2, 0.8])
    """
    corners: list[tuple[float, float]] = []
    for point in sorted(zip(cost_usd.tolist(), quality.tolist(), strict=True), key=lambda p: (p[0], -p[1])):
        if corners and point[1] <= corners[-1][1]:
            continue
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


def _is_below(left: tuple[float, float], middle: tuple[float, float], right: tuple[float, float]) -> bool:
    """Whether `middle` lies on or below the line from `left` to `right`."""
    return (middle[1] - left[1]) * (right[0] - left[0]) <= (right[1] - left[1]) * (middle[0] - left[0])
