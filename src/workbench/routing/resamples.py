"""The draws of a paired bootstrap: the same prompts for every router, so that differences are paired.

Whole groups of prompts that are not independent, such as duplicates, are drawn together.

Dimensions: N prompts, U units that are drawn, R resamples, K rows of values.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InsufficientDataError
from workbench.routing.forecast import Floats
from workbench.stats.estimate import Estimate

_MAX_UNITS = 8192
_CHUNK = 4_000_000  # weights of prompts at a time: 32 MB


@dataclass(frozen=True, slots=True)
class Resamples:
    """How often each unit is in each resample, `counts` [R, U]; `unit` [N] is that of each prompt."""

    unit: NDArray[np.int64]
    counts: Floats

    @property
    def n_prompts(self) -> Floats:
        """[R] the prompts of each resample; more or fewer than N where groups differ in size."""
        totals: Floats = self.counts @ self.sums(np.ones(len(self.unit)))
        return totals

    def sums(self, values: Floats) -> Floats:
        """[U] the sum of `values` [N] over each unit: all that the means of resamples depend on."""
        sums = np.bincount(self.unit, weights=values, minlength=self.counts.shape[1])
        return sums.astype(np.float64, copy=False)

    def means(self, unit_sums: Floats) -> Floats:
        """[R, K] means over the prompts of each resample, from [K, U] sums over units."""
        means: Floats = (self.counts @ unit_sums.T) / self.n_prompts[:, None]
        return means

    def mean(self, values: Floats) -> Floats:
        """[R] means of `values` [N]."""
        return self.means(self.sums(values)[None, :])[:, 0]

    def weights(self) -> Iterator[Floats]:
        """[<= R, N] at a time: how often each prompt is in a resample."""
        step = max(1, _CHUNK // len(self.unit))
        for start in range(0, len(self.counts), step):
            yield self.counts[start : start + step][:, self.unit]


def resamples(groups: NDArray[np.int64], *, n_resamples: int = 1000, seed: int = 0) -> Resamples:
    """Draws with replacement of the `groups` [N].

    More than 8,192 groups are first put together at random into 8,192 units, which are independent too: the
    interval is the same within a few percent of its width, and a million prompts cost no more.

    Raises:
        InsufficientDataError: no prompts.
    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 13.
    """
    if len(groups) == 0:
        raise InsufficientDataError("there are no prompts to resample")
    rng = np.random.default_rng(seed)
    unit = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    if (n_units := int(unit.max()) + 1) > _MAX_UNITS:
        unit = (rng.permutation(n_units) % _MAX_UNITS)[unit]
        n_units = _MAX_UNITS
    counts = np.empty((n_resamples, n_units))
    for row in range(n_resamples):
        counts[row] = np.bincount(rng.integers(0, n_units, size=n_units), minlength=n_units)
    return Resamples(unit, counts)


def estimate(value: float, draws: Floats, *, level: float = 0.95) -> Estimate:
    """`value` with its percentile interval over the draws that are finite; NaN: none is."""
    draws = draws[np.isfinite(draws)]
    if len(draws) == 0:
        return Estimate(value, float("nan"), float("nan"))
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    return Estimate(value, float(low), float(high))
