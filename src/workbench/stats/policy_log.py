"""A log of choices drawn at random, and what a target policy makes of it: weights, support, expected reward.

A target is [N, M] probabilities of each action, or [N] the action that it would take. N rows, M actions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError, InsufficientDataError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Target = Floats | Integers

_SUM_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class PolicyLog:
    """What was chosen, how likely that was, and what came of it.

    Args:
        action: [N] the action taken, a whole number from 0.
        propensity: [N] the probability in (0, 1] with which it was drawn, as recorded then.
        reward: [N] within `bounds`.
        clusters: [N] equal for rows that are not independent (one prompt, one conversation); None: all are.
        bounds: the least and the greatest reward possible; the latter infinite where none is known.
    Raises:
        DataError: unequal lengths, a propensity outside (0, 1], a reward that is NaN or out of bounds, or a
            negative action; names the row.
        InsufficientDataError: fewer than two rows.
    """

    action: Integers
    propensity: Floats
    reward: Floats
    clusters: NDArray[np.int64] | None = None
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        n, (low, high) = len(self.action), self.bounds
        lengths = [len(part) for part in (self.propensity, self.reward, self.clusters) if part is not None]
        if any(length != n for length in lengths):
            raise DataError(f"a log needs one value a row; there are {n} actions and columns of {lengths}")
        if n < 2:
            raise InsufficientDataError(
                f"a policy cannot be evaluated on {n} logged rows; it needs 2 or more"
            )
        within = (self.reward >= low) & (self.reward <= high)
        _reject(
            self.propensity, ~((self.propensity > 0.0) & (self.propensity <= 1.0)), "propensity", "in (0, 1]"
        )
        _reject(self.reward, ~within, "reward", f"in [{low:g}, {high:g}]")
        _reject(self.action, self.action < 0, "action", "a whole number from 0")

    def __len__(self) -> int:
        return len(self.action)


def importance_weights(log: PolicyLog, target: Target) -> Floats:
    """[N] how much likelier the logged action is under the target than it was: pi(a | x) / propensity.

    Raises:
        DataError: as in `ips`.
    """
    _check_target(log, target)
    rows = np.arange(len(log))
    if target.ndim == 1:
        chance = (target == log.action).astype(np.float64)
    else:
        is_known = log.action < target.shape[1]
        chance = np.where(is_known, target[rows, np.where(is_known, log.action, 0)], 0.0)
    weights: Floats = chance / log.propensity
    return weights


def expected_reward(target: Target, model: Floats) -> Floats:
    """[N] the model's reward [N, M] averaged over the target's choice.

    Raises:
        DataError: the model is not of the target's shape, or NaN where the target goes; names the row.
    """
    if model.ndim != 2 or (model.shape != target.shape if target.ndim == 2 else len(model) != len(target)):
        raise DataError(f"a model of shape {model.shape} does not fit a target of shape {target.shape}")
    if target.ndim == 1:
        _reject(target, target >= model.shape[1], "target action", f"one of the model's {model.shape[1]}")
        expected: Floats = model[np.arange(len(model)), target.astype(np.int64)]
    else:
        expected = np.where(target > 0.0, target * model, 0.0).sum(axis=1)
    _reject(expected, ~np.isfinite(expected), "the model's reward of the target", "finite")
    return expected


def unsupported_share(log: PolicyLog, target: Target) -> float:
    """The share of the target's choices that go to actions which the log never has."""
    logged = np.unique(log.action)
    if target.ndim == 1:
        return float(np.mean(~np.isin(target, logged)))
    return float(target[:, ~np.isin(np.arange(target.shape[1]), logged)].sum() / len(target))


def _check_target(log: PolicyLog, target: Target) -> None:
    if target.ndim not in (1, 2) or len(target) != len(log):
        raise DataError(f"a target of shape {target.shape} does not fit a log of {len(log)} rows")
    if target.ndim == 1:
        _reject(target, (target < 0) | (target != np.round(target)), "target action", "a whole number from 0")
        return
    is_bad = ~(target >= 0.0).all(axis=1) | ~(np.abs(target.sum(axis=1) - 1.0) <= _SUM_TOLERANCE)
    _reject(target.sum(axis=1), is_bad, "sum of the target's probabilities", "1, none of them negative")


def _reject(values: NDArray[np.generic], is_bad: NDArray[np.bool_], what: str, allowed: str) -> None:
    if not is_bad.any():
        return
    row = int(np.argmax(is_bad))
    raise DataError(
        f"{what} is {values[row]} in row {row} ({int(is_bad.sum())} rows in all); it must be {allowed}"
    )
