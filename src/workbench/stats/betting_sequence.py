"""The limits of `confidence_sequence.betting_interval` after every row, kept up to date row by row."""

import math

import numpy as np

from workbench.stats.confidence_sequence import SHARE_STAKED, Floats

_N_NULLS = 2001
"""Means that are bet against, so that limits are exact to a thousandth of the difference, to the outside."""
_N_ROWS_AT_ONCE = 128


class BettingSequence:
    """Hedged betting with predictable plug-in bets: either side has half the stake.

    Of differences in [-1, 1] in the order drawn. The cost of a row does not depend on those before it.
    """

    def __init__(self, *, alpha: float) -> None:
        self._alpha = alpha
        self._n, self._total, self._squares = 0, 0.5, 0.25
        self._sides = _Side(alpha), _Side(alpha)

    def extend(self, differences: Floats) -> tuple[Floats, Floats, Floats]:
        """[N], [N], [N] the limits that hold after each of these rows, and the log e-value against 0."""
        scaled = (differences + 1.0) / 2.0
        stakes = self._stakes(scaled)
        low, for_more = self._sides[0].extend(scaled, stakes)
        high, for_less = self._sides[1].extend(1.0 - scaled, stakes)
        return low, -high, np.maximum(for_more, for_less) - math.log(2.0)

    def _stakes(self, scaled: Floats) -> Floats:
        """[N] each from the rows before it alone, before they are cut."""
        counts = np.arange(self._n + 1, self._n + len(scaled) + 1)
        means = (self._total + np.cumsum(scaled)) / (counts + 1.0)
        squares = self._squares + np.cumsum((scaled - means) ** 2)
        variance = np.concatenate(([self._squares], squares[:-1])) / counts
        self._n, self._total = int(counts[-1]), float(means[-1] * (counts[-1] + 1.0))
        self._squares = float(squares[-1])
        stakes: Floats = np.sqrt(2.0 * math.log(2.0 / self._alpha) / (variance * counts * np.log1p(counts)))
        return stakes


class _Side:
    """The gambler who bets that the mean is larger, against each of the nulls."""

    def __init__(self, alpha: float) -> None:
        self._nulls = np.linspace(0.0, 1.0, _N_NULLS)[1:-1]
        self._wealth = np.zeros(len(self._nulls))
        self._n_out = 0
        self._least = math.log(2.0 / alpha)

    def extend(self, scaled: Floats, stakes: Floats) -> tuple[Floats, Floats]:
        """[N], [N] the largest difference that is ruled out, and the log wealth against 0."""
        n_out, against_zero = np.empty(len(scaled), dtype=np.int64), np.empty(len(scaled))
        for start in range(0, len(scaled), _N_ROWS_AT_ONCE):
            rows = slice(start, start + _N_ROWS_AT_ONCE)
            cut = np.minimum(stakes[rows, None], SHARE_STAKED / self._nulls)
            wealth = self._wealth + np.cumsum(np.log1p(cut * (scaled[rows, None] - self._nulls)), axis=0)
            self._wealth = wealth[-1]
            # Wealth falls as the null rises: those that are ruled out come first.
            n_out[rows] = np.maximum.accumulate(np.maximum((wealth >= self._least).sum(axis=1), self._n_out))
            self._n_out = int(n_out[rows][-1])
            against_zero[rows] = wealth[:, len(self._nulls) // 2]
        limits = np.concatenate(([0.0], self._nulls))
        return 2.0 * limits[n_out] - 1.0, against_zero
