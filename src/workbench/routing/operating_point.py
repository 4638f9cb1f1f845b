"""The weights of cost and latency with which a router keeps an aim, found on prompts it was not fitted on.

Dimensions: N prompts, M models, P points.
"""

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from scipy.stats import binom

from workbench.errors import ConfigError, DataError, RoutingError
from workbench.routing.aim import Aim, read_aim
from workbench.routing.decide import scores
from workbench.routing.forecast import Floats, Forecast
from workbench.routing.limits import LIMITS, SLOW_SHARE, Happened, Integers, certified, met, stakes
from workbench.routing.promise import OperatingPoint, Promise
from workbench.stats.estimate import Estimate
from workbench.stats.paired import paired_mean

_N_WEIGHTS = (64, 1)
"""Of cost and of latency, where the aim is not about latency."""
_N_WEIGHTS_WITH_LATENCY = (24, 7)
_N_TRIED_WEIGHTS = 100
_N_PROMPTS_OF_GRID = 1000
_N_NEAREST = 8
_SMALLEST_SHARE = 1e-3
"""Of what the dearest point is expected to take; below it points are not told apart."""


def operating_point(
    forecast: Forecast, happened: Happened, aim: Aim, *, alpha: float = 0.05
) -> OperatingPoint:
    """The cheapest or best point that keeps `aim` with probability 1 - alpha; `forecast` is out of fold.

    Raises:
        ConfigError: the aim is about a cost or latency that is not known of every pair.
        RoutingError: no point is known to keep it; names the nearest, and the limits that would do.
    """
    _check(forecast, happened, aim)
    points = _points(forecast, with_latency=aim.max_p95_s is not None)
    choices = [chosen(forecast, cost_weight=cost, latency_weight=latency) for cost, latency in points]
    set_limits = _set_limits(aim)
    is_kept = np.ones(len(points), dtype=np.bool_)
    for name, value in set_limits.items():
        p_values = np.array([LIMITS[name].p_value(happened, choice, value) for choice in choices])
        is_kept &= certified(p_values, points, LIMITS[name].order, alpha=alpha / len(set_limits))
    if not is_kept.any():
        raise _out_of_reach(aim, points, choices, happened, alpha=alpha)
    best = min(np.flatnonzero(is_kept), key=lambda point: _rank(aim, happened, choices[point]))
    return OperatingPoint(
        cost_weight=float(points[best, 0]),
        latency_weight=float(points[best, 1]),
        promised=_promise(aim, happened, choices[best], alpha=alpha),
    )


def chosen(forecast: Forecast, *, cost_weight: float, latency_weight: float) -> Integers:
    """[N] the first of `decide.by_score`, found without sorting."""
    score = scores(forecast, cost_weight=cost_weight, latency_weight=latency_weight)
    score = np.nan_to_num(score, nan=-np.inf)
    is_best = score == score.max(axis=1, keepdims=True)
    cost = np.nan_to_num(forecast.cost_usd, nan=np.finfo(np.float64).max)
    columns: Integers = np.where(is_best, cost, np.inf).argmin(axis=1)
    return columns


def _check(forecast: Forecast, happened: Happened, aim: Aim) -> None:
    if forecast.quality.shape != happened.quality.shape:
        raise DataError(f"a forecast of {forecast.quality.shape} is not of {happened.quality.shape} pairs")
    needed = {
        "cost_usd": aim.max_usd_per_1000 is not None or aim.is_cheapest,
        "latency_s": aim.max_p95_s is not None,
    }
    for column, is_needed in needed.items():
        values = np.isfinite(getattr(happened, column)) & np.isfinite(getattr(forecast, column))
        if is_needed and not values.all():
            n_missing = values.size - int(values.sum())
            raise ConfigError(
                f"the aim {str(aim)!r} needs {column} of every answer, and {n_missing:,} of {values.size:,} "
                "have none; leave these out, or state another aim"
            )


def _points(forecast: Forecast, *, with_latency: bool) -> Floats:
    """[P, 2] cost and latency weights, apart by what they are expected to take: none by what happened."""
    some = forecast.rows(slice(None, None, max(1, len(forecast) // _N_PROMPTS_OF_GRID)))
    n_cost, n_latency = _N_WEIGHTS_WITH_LATENCY if with_latency else _N_WEIGHTS
    latency = _spaced(some, "latency_s", n_latency) if with_latency else np.zeros(1)
    cost = _spaced(some, "cost_usd", n_cost)
    return np.array([(c, s) for s in latency for c in cost])


def _spaced(forecast: Forecast, column: Literal["cost_usd", "latency_s"], n: int) -> Floats:
    """[<= n] weights from 0 on, by equal ratios of the mean cost, or latency, that is expected of them."""
    expected = forecast.cost_usd if column == "cost_usd" else forecast.latency_s
    if not (np.isfinite(expected).all() and expected.mean(axis=0).max() > 0.0):
        return np.zeros(1)
    tried = np.append(0.0, np.geomspace(1e-3, 1e5, _N_TRIED_WEIGHTS) / expected.mean(axis=0).max())
    other = "latency_weight" if column == "cost_usd" else "cost_weight"
    own = "cost_weight" if column == "cost_usd" else "latency_weight"
    means = [met(expected, chosen(forecast, **{own: weight, other: 0.0})).mean() for weight in tried]
    falling = np.minimum.accumulate(means)
    wanted = np.geomspace(falling[0], max(falling[-1], falling[0] * _SMALLEST_SHARE), n)
    places = np.searchsorted(-falling, -wanted * (1.0 + 1e-12))
    spaced: Floats = tried[np.unique(np.append(0, places[places < len(tried)]))]
    return spaced


def _set_limits(aim: Aim) -> dict[str, float]:
    return {name: value for name in LIMITS if (value := getattr(aim, name)) is not None}


def _rank(aim: Aim, happened: Happened, choice: Integers) -> tuple[float, float]:
    """Less is better."""
    quality, cost = (float(met(values, choice).mean()) for values in (happened.quality, happened.cost_usd))
    return (cost, -quality) if aim.is_cheapest else (-quality, cost)


def _promise(aim: Aim, happened: Happened, choice: Integers, *, alpha: float) -> Promise:
    best, quality = happened.best_single, met(happened.quality, choice)
    cost, latency = met(happened.cost_usd, choice), met(happened.latency_s, choice)
    change = _mean(100.0 * (quality - happened.quality[:, best]), happened.groups, alpha, (-100.0, 100.0))
    is_priced = bool(np.isfinite(cost).all())
    best_cost = 1000.0 * float(happened.cost_usd[:, best].mean())
    return Promise(
        aim=aim,
        n_prompts=len(choice),
        best_single=happened.model_ids[best],
        quality=_mean(quality, happened.groups, alpha, (0.0, 1.0)),
        quality_change_points=change,
        usd_per_1000=_mean(1000.0 * cost, happened.groups, alpha, (0.0, 1000.0 * float(cost.max())))
        if is_priced
        else None,
        best_single_usd_per_1000=best_cost if math.isfinite(best_cost) else None,
        p95_s=_p95(latency, alpha) if np.isfinite(latency).all() else None,
    )


def _mean(values: Floats, groups: Integers, alpha: float, bounds: tuple[float, float]) -> Estimate:
    """With an interval whose ends are each exceeded with probability alpha."""
    return paired_mean(values, groups, bounds=bounds).interval(2.0 * alpha)


def _p95(latency_s: Floats, alpha: float) -> Estimate:
    """The 95th percentile between two order statistics; infinite where the prompts are too few.

    Source: David & Nagaraja (2003), Order Statistics, sec. 7.1.
    """
    ordered = np.concatenate([[0.0], np.sort(latency_s), [np.inf]])
    low, high = (int(binom.ppf(p, len(latency_s), 1.0 - SLOW_SHARE)) for p in (alpha, 1.0 - alpha))
    value = float(np.quantile(latency_s, 1.0 - SLOW_SHARE))
    return Estimate(value, float(ordered[low]), float(ordered[high + 1]))


def _out_of_reach(
    aim: Aim, points: Floats, choices: list[Integers], happened: Happened, *, alpha: float
) -> RoutingError:
    """Names the point whose limits would have to give least, and an aim that it would be chosen for."""
    level = alpha / len(_set_limits(aim))
    measured = [
        {name: LIMITS[name].measured(happened, choice) for name in _set_limits(aim)} for choice in choices
    ]
    order = sorted(range(len(points)), key=lambda point: _excess(aim, measured[point]))
    reachable = {
        point: {
            name: max(value, _rounded_up(_least(name, happened, choices[point], points, point, level)))
            for name, value in _set_limits(aim).items()
        }
        for point in order[:_N_NEAREST]
    }
    nearest = min(reachable, key=lambda point: _excess(aim, reachable[point]))
    can_be_kept = all(map(math.isfinite, reachable[nearest].values()))
    within = repr(str(_with_limits(aim, reachable[nearest]))) if can_be_kept else "nothing yet"
    return RoutingError(
        f"no operating point is known to keep {str(aim)!r}. The nearest is expected to have "
        f"{_promise(aim, happened, choices[nearest], alpha=alpha)}. What {len(happened.groups):,} prompts "
        f"allow to promise is {within}: relax the aim, or learn from more prompts"
    )


def _least(
    name: str, happened: Happened, choice: Integers, points: Floats, point: int, level: float
) -> float:
    """The smallest limit with which the point passes its test whatever comes of those before it."""
    stake = float(stakes(points, LIMITS[name].order)[point])
    return LIMITS[name].least(happened, choice, level=level * stake)


def _excess(aim: Aim, limits: Mapping[str, float]) -> float:
    """By how much the worst of the limits is over the aim: as a share of it, or in points of quality."""
    return max(
        (limits[name] - value) / (1.0 if name == "max_quality_loss_points" else value)
        for name, value in _set_limits(aim).items()
    )


def _with_limits(aim: Aim, limits: Mapping[str, float]) -> Aim:
    return read_aim({"prefer": aim.prefer, **limits})


def _rounded_up(value: float) -> float:
    """To three digits.

    >>> _rounded_up(0.12345)
    0.124
    """
    if value == 0.0 or not math.isfinite(value):
        return value
    step: float = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{math.ceil(value / step) * step:.3g}")
