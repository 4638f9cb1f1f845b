"""The mean of bounded differences at every look, by a mixture of bets; exact for 0/1 scores.

Against each mean that is possible many gamblers bet, half of them on more and half on less, each a fixed
share u of what it has. A mean at which they together have 1 / alpha times their stake is ruled out. At 0,
for differences of -1, 0 and 1, this is the beta mixture of `e_process`, whatever the share of ties: nothing
has to be known of it. So the interval of the difference and the exact test of the discordant pairs are one
and the same statement.

Source: Ville (1939); Orabona & Jun (2024), Tight concentrations and confidence sequences from the regret of
universal portfolio, IEEE Trans. Inf. Theory 70; Waudby-Smith & Ramdas (2024), JRSS B 86, section 4. Inside,
differences in [-1, 1] are scaled to y in [0, 1], and means to m. N rows, D different values, K gamblers.
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from workbench.stats.e_process import PRIOR

Floats = NDArray[np.float64]

_GRID = np.linspace(0.0, 1.0, 33)
"""Where differences have more values than this, y lies between two of these and counts for both in part."""
_LOOK_GROWTH = math.log(1.005)
"""Limits are renewed when the rows have grown by .5 %, after every one of the first 200, and when 0 is ruled
out."""
_N_ROWS_AT_ONCE = 256
_DIGITS = 10
"""Of y, so that means of repeats that are equal but for rounding count as one value."""
_N_STEPS = 12
_FIRST_LIMIT = math.log(1e-4)
"""Of m on a log scale: limits nearer than this to the end of the range stay at the end."""


def _gamblers(prior: float) -> tuple[Floats, Floats]:
    """[K/2], [K/2] what they stake and the log of their share of the wealth, evenly spaced in log-odds.

    The density is that of 2 share - 1 for the beta prior of the share above 1/2. Any finite mixture is
    valid; this spacing gives the integral to 1 % where it matters, near 1 / alpha.
    """
    log_odds = np.arange(-10.0, 4.5, 0.4)
    staked = special.expit(log_odds)
    log_density = (prior - 1.0) * (np.log1p(staked) + np.log1p(-staked)) + np.log(staked) + np.log1p(-staked)
    return staked, log_density - special.logsumexp(log_density) - math.log(2.0)


_STAKED, _LOG_SHARE = _gamblers(PRIOR[0])
_KEPT = 1.0 - _STAKED


def log_e_values(
    differences: Floats, *, null: float = 0.0, side: Literal["two-sided", "greater", "less"] = "two-sided"
) -> Floats:
    """[N] the log e-value after each row against "the mean difference is `null`"; any values in [-1, 1].

    "greater" is evidence against this mean and all smaller ones: with `null` = -margin, for
    non-inferiority; "less" is the reverse. Valid where each row's mean is the same, given the rows before
    it.

    >>> float(log_e_values(np.ones(12))[-1]) > math.log(20.0)
    True
    """
    turned = -differences if side == "less" else differences
    mean = (1.0 - null) / 2.0 if side == "less" else (1.0 + null) / 2.0
    total = np.zeros(2 * len(_STAKED))
    log_e = np.empty(len(differences))
    for start in range(0, len(differences), _N_ROWS_AT_ONCE):
        rows = slice(start, start + _N_ROWS_AT_ONCE)
        gained = np.log(_factors((turned[rows, None] + 1.0) / 2.0, mean))
        wealth = total + np.cumsum(gained, axis=0)
        total = wealth[-1]
        log_e[rows] = _mixed(wealth) if side == "two-sided" else _mixed_above(wealth)
    return log_e


class MeanSequence:
    """Limits of the mean and evidence against 0, kept up to date row by row.

    The cost of a row does not depend on those before it. Rows come in the order drawn. Up to 33 different
    values are counted as they are. With more, a row counts in part for the two points of a grid around it:
    the log of what a bet makes of it is concave, so this never makes more of it than there is, and at a
    sixteenth apart hardly less.
    """

    def __init__(self, *, alpha: float) -> None:
        self._least = -math.log(alpha)
        self._values = np.array([0.0, 0.5, 1.0])
        self._counts = np.zeros(3)
        self._limits = [-1.0, -1.0]  # the lower one, and the upper one times -1
        self._is_decided = False

    @property
    def values(self) -> Floats:
        """[D] the differences that are told apart, rising."""
        return 2.0 * self._values - 1.0

    def extend(self, differences: Floats) -> tuple[Floats, Floats, Floats]:
        """[N], [N], [N] the limits that hold after each of these rows, and the log e-value against 0."""
        low, high, log_e = (np.empty(len(differences)) for _ in range(3))
        for start in range(0, len(differences), _N_ROWS_AT_ONCE):
            rows = slice(start, start + _N_ROWS_AT_ONCE)
            low[rows], high[rows], log_e[rows] = self._extend(
                np.round((differences[rows] + 1.0) / 2.0, _DIGITS)
            )
        return low, high, log_e

    def _extend(self, scaled: Floats) -> tuple[Floats, Floats, Floats]:
        parts = _parts(scaled, self._values)
        if self._values is not _GRID and (parts % 1.0).any():
            self._make_room(scaled)
            parts = _parts(scaled, self._values)
        counts = self._counts + np.cumsum(parts, axis=0)
        self._counts = counts[-1]
        seen = self._counts > 0.0
        counts, values = counts[:, seen], self._values[seen]
        log_e = _mixed(counts @ np.log(_factors(values[:, None], 0.5)))
        is_look = _looks(counts.sum(axis=1))
        low = self._renewed(0, counts, values, is_look)
        high = self._renewed(1, counts, 1.0 - values, is_look)
        if not self._is_decided and log_e.max() >= self._least:
            row = int(np.argmax(log_e >= self._least))
            which = 0 if counts[row] @ (values - 0.5) > 0.0 else 1
            self._rule_out_zero(which, (low, high)[which][row:])
        return low, -high, log_e

    def _make_room(self, scaled: Floats) -> None:
        """Columns for values that are new; the grid's once they are too many."""
        values = np.union1d(self._values, scaled)
        if len(values) > len(_GRID):
            values = _GRID
        self._counts, self._values = self._counts @ _parts(self._values, values), values

    def _rule_out_zero(self, which: int, limits: Floats) -> None:
        """Move the `limits` after 0 was ruled out: all means beyond 0 are out with it."""
        self._is_decided = True
        np.maximum(limits, 0.0, out=limits)
        self._limits[which] = float(limits[-1])

    def _renewed(self, which: int, counts: Floats, values: Floats, is_look: NDArray[np.bool_]) -> Floats:
        """[N] the running lower limit of differences whose scaled `values` have come `counts` times.

        Those who bet on more have 2 / alpha times their stake at it; of the others' wealth, which is less
        than 1 there, nothing is made.
        """
        limits, least = np.full(len(counts), self._limits[which]), self._least
        if not is_look.any():
            return limits
        start = max(math.log1p(limits[0]) - math.log(2.0) if limits[0] > -1.0 else -math.inf, _FIRST_LIMIT)
        looks = counts[is_look]
        is_improved = _wealth_and_slope(looks, values, np.full(1, math.exp(start)))[0] >= least
        if is_improved.any():
            roots = _roots(looks[is_improved], values, start, least)
            limits[np.flatnonzero(is_look)[is_improved]] = 2.0 * np.exp(roots) - 1.0
        limits = np.maximum.accumulate(limits)
        self._limits[which] = float(limits[-1])
        return limits


def _looks(n: Floats) -> NDArray[np.bool_]:
    """[N] whether limits are renewed after `n` rows."""
    before = np.maximum(n - 1.0, 0.5)
    return np.floor(np.log(n) / _LOOK_GROWTH) > np.floor(np.log(before) / _LOOK_GROWTH)


def _parts(scaled: Floats, values: Floats) -> Floats:
    """[N, D] for how much of each of the rising `values` a row counts: for one or two, with its mean."""
    above = np.maximum(np.searchsorted(values, scaled), 1)
    share = (scaled - values[above - 1]) / (values[above] - values[above - 1])
    parts, rows = np.zeros((len(scaled), len(values))), np.arange(len(scaled))
    parts[rows, above], parts[rows, above - 1] = share, 1.0 - share
    return parts


def _roots(counts: Floats, values: Floats, start: float, least: float) -> Floats:
    """[N] log m at which the log wealth falls to `least`, by Newton's method from below.

    Log wealth is convex in log m and falls up to the mean that was seen, so no step passes the root: each
    is a mean that is ruled out.
    """
    log_mean = np.full(len(counts), start)
    for _ in range(_N_STEPS):
        wealth, slope = _wealth_and_slope(counts, values, np.exp(log_mean))
        step = np.maximum((least - wealth) / slope, 0.0)
        log_mean += step
        if step.max() < 1e-7:
            break
    return log_mean


def _wealth_and_slope(counts: Floats, values: Floats, mean: Floats) -> tuple[Floats, Floats]:
    """[N], [N] half the log wealth of those who bet on more than each row's `mean` [N] or [1], and its
    derivative by log m."""
    factors = values[None, :, None] / mean[:, None, None] * _STAKED + _KEPT
    if len(mean) == 1:
        wealth, inverse = counts @ np.log(factors[0]), counts @ (1.0 / factors[0])
    else:
        wealth = np.einsum("nd,ndk->nk", counts, np.log(factors))
        inverse = np.einsum("nd,ndk->nk", counts, 1.0 / factors)
    wealth += _LOG_SHARE
    mixed = _log_sum(wealth)
    gained = _KEPT * inverse - counts.sum(axis=1)[:, None]
    return mixed, np.einsum("nk,nk->n", np.exp(wealth - mixed[:, None]), gained)


def _factors(values: Floats, mean: float) -> Floats:
    """[.., K] what a row of `values` [.., 1] makes of each gambler's 1, betting against `mean`.

    The first half of the gamblers bet on more than the mean, the second on less.
    """
    above = values / mean * _STAKED + _KEPT
    below = (1.0 - values) / (1.0 - mean) * _STAKED + _KEPT
    return np.concatenate([above, below], axis=-1)


def _mixed(wealth: Floats) -> Floats:
    """[N] log of all gamblers' wealth, from [N, K] of each."""
    return _log_sum(wealth + np.tile(_LOG_SHARE, 2))


def _mixed_above(wealth: Floats) -> Floats:
    """[N] the same of those who bet on more alone, as if all the stake were theirs."""
    return _log_sum(wealth[:, : len(_STAKED)] + (_LOG_SHARE + math.log(2.0)))


def _log_sum(terms: Floats) -> Floats:
    largest = terms.max(axis=-1)
    summed: Floats = largest + np.log(np.exp(terms - largest[..., None]).sum(axis=-1))
    return summed
