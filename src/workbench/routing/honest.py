"""Honest operating points: a cost weight chosen on the training folds alone, and what it then did.

A point read off the curve of the scored prompts was chosen with their answers in view; this one was not. It
is the cheapest that inside the training folds loses at most a margin of quality against the best single
model; where none does, or none is cheaper, the best single model itself.

Like is compared with like: the single model of a prompt is the best on what the router that forecast it has
learned from. The best of all prompts was chosen with their answers in view, and looks better than it is on
others. Each weight counts with those near it, since at one weight different fits of a router do what one fit
does at several.

Dimensions: N scored prompts, n of them, M models, L cost weights.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from workbench.routing.cost_curve import cost_weights, swept
from workbench.routing.folds import Integers, Scored
from workbench.routing.forecast import Floats
from workbench.routing.out_of_fold import Inside, OutOfFold
from workbench.routing.resamples import Resamples, estimate
from workbench.stats.estimate import Estimate

_WIDTH = 0.2
"""Of the local average over weights: the standard deviation of their logarithm."""
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was done with each prompt [N], and what the best single of the training folds did with it."""

    quality: Floats
    cost_usd: Floats
    single_quality: Floats
    single_cost_usd: Floats


@dataclass(frozen=True, slots=True)
class HonestPoint:
    """Change against the best single model of the training folds; -0.2 of cost is a saving of 20 %."""

    quality_change: Estimate
    cost_change: Estimate


def honest_point(chosen: Chosen, draws: Resamples) -> HonestPoint:
    """The changes over all prompts, with paired intervals."""
    quality = chosen.quality - chosen.single_quality
    spent, alone = draws.mean(chosen.cost_usd), draws.mean(chosen.single_cost_usd)
    ratio = np.divide(spent, alone, out=np.full_like(spent, np.nan), where=alone > 0.0)
    total = float(chosen.single_cost_usd.sum())
    cost_change = float(chosen.cost_usd.sum()) / total - 1.0 if total > 0.0 else math.nan
    return HonestPoint(
        quality_change=estimate(float(quality.mean()), draws.mean(quality)),
        cost_change=estimate(cost_change, ratio - 1.0),
    )


def chosen_inside(
    said: OutOfFold, inside: Mapping[int, Inside], scored: Scored, cost_usd: Floats, *, margin: float
) -> Chosen:
    """By fold, the point that what was said inside its training folds speaks for; costs [N, M].

    `margin` is in quality: 0.005 is half a point.
    """
    singles = scored.single_models()
    choice, alone = np.empty_like(said.choice), np.empty_like(said.choice)
    for held_out, told in inside.items():
        places = np.flatnonzero(scored.fold == held_out)
        single = singles[_best_single(scored, singles, told.places)]
        compared = singles[told.best_single, told.places]
        weight = _weight(told, scored, compared, cost_usd=cost_usd, margin=margin)
        alone[places] = single[places]
        forecast = said.forecast.rows(places)
        if weight is None:
            choice[places] = single[places]
        else:
            choice[places] = next(iter(swept(forecast.quality, forecast.cost_usd, np.array([weight]))))
    return Chosen(
        quality=scored.did(scored.data.quality, choice),
        cost_usd=scored.did(cost_usd, choice),
        single_quality=scored.did(scored.data.quality, alone),
        single_cost_usd=scored.did(cost_usd, alone),
    )


def _best_single(scored: Scored, singles: Integers, places: Integers) -> int:
    quality = scored.data.quality[places]
    rows = np.arange(len(places))
    return int(np.argmax([quality[rows, single[places]].mean() for single in singles]))


def _weight(
    told: Inside, scored: Scored, alone: Integers, *, cost_usd: Floats, margin: float
) -> float | None:
    """The weight of the cheapest point that loses no more than the margin; None: none is cheaper.

    `alone` [n] are the columns of the single models that the points are compared with.
    """
    quality, cost = scored.data.quality[told.places], cost_usd[told.places]
    rows = np.arange(len(told.places))
    alone_quality, alone_usd = quality[rows, alone], float(cost[rows, alone].mean())
    weights = cost_weights(told.forecast.cost_usd)
    change, spent_usd = np.empty(len(weights)), np.empty(len(weights))
    for place, weight in enumerate(weights):
        choice = next(iter(swept(told.forecast.quality, told.forecast.cost_usd, np.array([weight]))))
        change[place] = (quality[rows, choice] - alone_quality).mean()
        spent_usd[place] = cost[rows, choice].mean()
    nearby = _nearby(weights)
    change, spent_usd = nearby @ change, nearby @ spent_usd
    is_kept = (change >= -margin - _ROUNDING) & (spent_usd < alone_usd)
    return float(weights[np.where(is_kept, spent_usd, np.inf).argmin()]) if is_kept.any() else None


def _nearby(weights: Floats) -> Floats:
    """[L, L] how much each weight counts in the local average at each other; the rows sum to 1.

    Normal in the logarithm of the weight; 0 stands one step below the smallest.
    """
    if len(weights) < 3:
        return np.eye(len(weights))
    logarithm = np.log(np.append(weights[1] ** 2 / weights[2], weights[1:]))
    counts = np.exp(-0.5 * ((logarithm[:, None] - logarithm) / _WIDTH) ** 2)
    shares: Floats = counts / counts.sum(axis=1, keepdims=True)
    return shares
