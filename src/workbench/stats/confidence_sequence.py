"""Intervals of the mean of bounded numbers that hold at every look, for any number of rows, not only many.

`sequential` has the asymptotic sequence of the live panel; what is here needs no large sample, only bounds,
and decides whether a challenger replaces the champion. Rows must come in the order in which they were drawn.

Source: Waudby-Smith & Ramdas (2024), Estimating means of bounded random variables by betting, JRSS B 86,
1-27, arXiv 2010.09686. Numbers are scaled to [0, 1]; N rows.
"""

import math

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.estimate import Estimate

Floats = NDArray[np.float64]

SHARE_STAKED = 0.75
"""Of the wealth, at most: 1/2 or 3/4 in the source."""
_N_HALVINGS = 40
"""Of the range, so that a limit is exact to 1e-12 of it."""


def betting_interval(
    values: Floats, *, bounds: tuple[float, float] = (-1.0, 1.0), alpha: float = 0.05
) -> Estimate:
    """The mean of `values` with the interval that all looks so far leave, by hedged betting.

    For each mean that is possible a gambler bets that the true one is larger, another that it is smaller;
    a mean at which one of them has ever had 2 / alpha times the stake is ruled out. Computed anew at each
    look, it holds at all of them at once with probability 1 - alpha: one may stop at will.

    >>> betting_interval(np.ones(100), bounds=(0.0, 1.0)).low > 0.9
    True

    Args:
        values: [N] within `bounds`, in the order drawn; their mean must stay the same.
    Raises:
        DataError: a value that is NaN or out of bounds (names its row), or `alpha` not in (0, 1).
        InsufficientDataError: no values.
    Source: theorem 3 (hedged capital, theta = 1/2) with predictable plug-in bets.
    """
    scaled = _scaled(values, bounds, alpha)
    stakes = _stakes(scaled, alpha)
    low = _limit(scaled, stakes, alpha)
    high = 1.0 - _limit(1.0 - scaled, stakes, alpha)
    width = bounds[1] - bounds[0]
    return Estimate(float(np.mean(values)), bounds[0] + width * low, bounds[0] + width * high)


def first_above(
    values: Floats, mean: float, *, bounds: tuple[float, float] = (-1.0, 1.0), alpha: float = 0.05
) -> int | None:
    """The number of rows after which the lower limit of `betting_interval` first passes `mean`; None: never.

    Args and errors as in `betting_interval`.
    """
    scaled = _scaled(values, bounds, alpha)
    if not bounds[0] <= mean < bounds[1]:
        return 1 if mean < bounds[0] else None
    least = (mean - bounds[0]) / (bounds[1] - bounds[0])
    is_ruled_out = _log_wealth(scaled, _stakes(scaled, alpha), least) >= math.log(2.0 / alpha)
    return int(np.argmax(is_ruled_out)) + 1 if is_ruled_out.any() else None


def empirical_bernstein_sequence(
    values: Floats, *, bounds: tuple[float, float] = (-1.0, 1.0), alpha: float = 0.05
) -> tuple[Floats, Floats]:
    """[N], [N] the lower and upper limit after each row, in closed form: for a curve over time.

    As wide as `betting_interval` for many rows, wider for few. What was ruled out stays so.

    Args and errors as in `betting_interval`.
    Source: theorem 2 (predictable plug-in empirical Bernstein), after Howard, Ramdas, McAuliffe & Sekhon
        (2021), Time-uniform, nonparametric, nonasymptotic confidence sequences, Annals of Statistics 49.
    """
    scaled = _scaled(values, bounds, alpha)
    stakes = np.minimum(_stakes(scaled, alpha), SHARE_STAKED)
    surprise = (scaled - _before(_running_mean(scaled), 0.5)) ** 2
    staked = np.cumsum(stakes)
    centre = np.cumsum(stakes * scaled) / staked
    margin = (math.log(2.0 / alpha) + np.cumsum(surprise * (-np.log1p(-stakes) - stakes))) / staked
    low = np.maximum.accumulate(np.maximum(centre - margin, 0.0))
    high = np.minimum.accumulate(np.minimum(centre + margin, 1.0))
    width = bounds[1] - bounds[0]
    return bounds[0] + width * low, bounds[0] + width * high


def _stakes(scaled: Floats, alpha: float) -> Floats:
    """[N] the predictable plug-in bets, before they are cut: each from the rows before it alone."""
    counts = np.arange(1, len(scaled) + 1)
    squares = (scaled - _running_mean(scaled)) ** 2
    variance = _before((0.25 + np.cumsum(squares)) / (counts + 1.0), 0.25)
    stakes: Floats = np.sqrt(2.0 * math.log(2.0 / alpha) / (variance * counts * np.log1p(counts)))
    return stakes


def _limit(scaled: Floats, stakes: Floats, alpha: float) -> float:
    """The largest mean known to be ruled out: wealth falls as the mean rises, so halving finds it."""
    ruled_out, possible = 0.0, 1.0
    for _ in range(_N_HALVINGS):
        middle = (ruled_out + possible) / 2.0
        if _log_wealth(scaled, stakes, middle).max() >= math.log(2.0 / alpha):
            ruled_out = middle
        else:
            possible = middle
    return ruled_out


def _log_wealth(scaled: Floats, stakes: Floats, mean: float) -> Floats:
    """[N] what betting on more than `mean` has made of 1, as a logarithm."""
    cut = stakes if mean == 0.0 else np.minimum(stakes, SHARE_STAKED / mean)
    wealth: Floats = np.cumsum(np.log1p(cut * (scaled - mean)))
    return wealth


def _running_mean(scaled: Floats) -> Floats:
    """[N] of the rows so far and one more of 1/2."""
    mean: Floats = (0.5 + np.cumsum(scaled)) / (np.arange(1, len(scaled) + 1) + 1.0)
    return mean


def _before(values: Floats, first: float) -> Floats:
    """[N] each row's value as it was before the row came."""
    return np.concatenate(([first], values[:-1]))


def _scaled(values: Floats, bounds: tuple[float, float], alpha: float) -> Floats:
    low, high = bounds
    if not (0.0 < alpha < 1.0 and low < high and math.isfinite(high - low)):
        raise DataError(f"alpha must be in (0, 1), and bounds finite and rising; got {alpha} and {bounds}")
    if len(values) == 0:
        raise InsufficientDataError("an interval needs one value or more; there is none")
    is_bad = ~((values >= low) & (values <= high))
    if is_bad.any():
        row = int(np.argmax(is_bad))
        raise DataError(f"value {values[row]} in row {row} is not in [{low:g}, {high:g}]")
    scaled: Floats = np.clip((np.asarray(values, dtype=np.float64) - low) / (high - low), 0.0, 1.0)
    return scaled
