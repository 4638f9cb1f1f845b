"""Whether a challenger replaces the champion, by an interval that may be looked at after every row."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from workbench.errors import DataError
from workbench.stats.confidence_sequence import betting_interval, first_above
from workbench.stats.estimate import Estimate
from workbench.stats.policy_log import (
    Floats,
    Integers,
    PolicyLog,
    Target,
    expected_reward,
    importance_weights,
)

Verdict = Literal["promote", "keep", "undecided"]


@dataclass(frozen=True, slots=True)
class Promotion:
    """The verdict on a challenger after `n` rows.

    promote: it gains more than `min_gain`; keep the champion: it gains less; undecided: go on. `gain` is
    challenger minus champion with its always-valid interval; `decided_at` is the row after which the verdict
    was due, None where it is not. `warning`: the rows contradict each other, as when the gain changed.
    """

    verdict: Verdict
    gain: Estimate
    min_gain: float
    n: int
    decided_at: int | None
    warning: str | None


@dataclass(frozen=True, slots=True)
class Gains:
    """[N] what each row says of challenger minus champion, and the range that it can have."""

    values: Floats
    bounds: tuple[float, float]


def promotion(
    gains: Floats, *, bounds: tuple[float, float] = (-1.0, 1.0), min_gain: float = 0.0, alpha: float = 0.05
) -> Promotion:
    """Promote, keep or go on: looked at after every row, wrong with a probability of at most `alpha`.

    >>> promotion(np.full(200, 0.5)).verdict
    'promote'

    Args:
        gains: [N] challenger minus champion, one a prompt or cluster (average these first), as drawn.
        bounds: the least and greatest gain possible in a row.
        min_gain: what a promotion must bring; negative: what may be lost, for a challenger that is cheaper.
    Raises:
        DataError: a gain that is NaN or out of bounds; names its row.
        InsufficientDataError: no gains.
    Source: `confidence_sequence.betting_interval`.
    """
    interval = betting_interval(gains, bounds=bounds, alpha=alpha)
    above = first_above(gains, min_gain, bounds=bounds, alpha=alpha)
    below = first_above(-gains, -min_gain, bounds=(-bounds[1], -bounds[0]), alpha=alpha)
    if interval.low >= interval.high:
        spanned = Estimate(interval.value, interval.high, interval.low)
        warning = "the rows contradict each other: the gain changed, they are not in order, or by rare chance"
        return Promotion("undecided", spanned, min_gain, len(gains), None, warning)
    verdict: Verdict = "promote" if above is not None else "keep" if below is not None else "undecided"
    return Promotion(verdict, interval, min_gain, len(gains), above or below, None)


def off_policy_gains(
    log: PolicyLog,
    challenger: Target,
    champion: Target,
    *,
    max_weight: float,
    model: Floats | None = None,
) -> Gains:
    """Challenger minus champion from a log of randomised traffic: each row's doubly robust difference.

    Its expectation is the gain whatever the model; a good one makes it vary less. Without one, the mean
    reward of the rows before is used. Rows of one cluster become one, their mean, in the order in which
    clusters begin: the gain is then that of the mean cluster, and clusters must be complete.

    Args:
        challenger, champion: [N, M] probabilities or [N] actions, as in `off_policy.ips`.
        max_weight: the largest weight that the logging policy allows, 1 / its least probability of a choice
            that either policy makes. It is known from the design, and cannot be read off the log.
        model: [N, M] predicted reward within the log's bounds, made without the row or any later one.
    Raises:
        DataError: a weight over `max_weight`, a prediction out of bounds (names the row), or as in `ips`.
    Source: Waudby-Smith, Wu, Ramdas, Karampatziakis & Mineiro (2022), Anytime-valid off-policy inference for
        contextual bandits, arXiv 2210.10768.
    """
    weights = importance_weights(log, challenger), importance_weights(log, champion)
    _check_weights(np.maximum(*weights), max_weight)
    clusters = np.arange(len(log)) if log.clusters is None else _numbered(log.clusters)
    if model is None:
        values = (weights[0] - weights[1]) * (log.reward - _mean_before(log, clusters))
        reach = max_weight * (log.bounds[1] - log.bounds[0])
    else:
        _check_model(model, log.bounds)
        surprise = log.reward - model[np.arange(len(log)), log.action]
        expected = expected_reward(challenger, model) - expected_reward(champion, model)
        values = (weights[0] - weights[1]) * surprise + expected
        reach = (max_weight + 1.0) * (log.bounds[1] - log.bounds[0])
    means: Floats = np.bincount(clusters, weights=values) / np.bincount(clusters)
    return Gains(means, (-reach, reach))


def _numbered(clusters: Integers) -> Integers:
    """[N] the same clusters, numbered in the order in which they begin."""
    _, first, codes = np.unique(clusters, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[codes]


def _mean_before(log: PolicyLog, clusters: Integers) -> Floats:
    """[N] the mean reward of the clusters before a row's own, and one more row in the middle of the bounds.

    A later reward must not be in it, also where clusters overlap: the gains of the clusters would depend on
    each other both ways, and no bet on the next one would be fair.
    """
    sums, counts = np.bincount(clusters, weights=log.reward), np.bincount(clusters)
    before = np.cumsum(sums) - sums, np.cumsum(counts) - counts
    means: Floats = (sum(log.bounds) / 2.0 + before[0]) / (before[1] + 1.0)
    return means[clusters]


def _check_weights(weights: Floats, max_weight: float) -> None:
    is_bad = weights > max_weight * (1.0 + 1e-9)
    if is_bad.any() or not np.isfinite(max_weight):
        row = int(np.argmax(is_bad))
        raise DataError(
            f"row {row} has the weight {weights[row]:.6g}, max_weight is {max_weight:g}; it must be the "
            "largest possible: 1 / the least probability with which the log's choices were drawn"
        )


def _check_model(model: Floats, bounds: tuple[float, float]) -> None:
    is_bad = ~((model >= bounds[0]) & (model <= bounds[1])).all(axis=1)
    if is_bad.any():
        raise DataError(f"the model's reward in row {int(np.argmax(is_bad))} is not in {bounds}")
