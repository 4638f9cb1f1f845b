"""How often each model is tried, given what is believed of its reward: Thompson sampling and LinUCB.

Both say the probability of each choice, and the choice is then drawn from these: what is logged as the
propensity is the probability of the draw itself, not an estimate of it.

Dimensions: C candidates, Q points of a grid.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import ndtr, ndtri

from workbench.errors import ConfigError
from workbench.routing.forecast import Floats

_TAILS = np.array([-8.0, -5.0, -3.5, 3.5, 5.0, 8.0])
_N_POINTS = 384
_MIN_QUANTILES = 8  # a candidate; more where there are few candidates


class Exploration(Protocol):
    """From beliefs to how often each candidate is tried."""

    @property
    def name(self) -> str:
        """What tables and logs call it."""
        ...

    def chances(self, mean: Floats, sd: Floats) -> Floats:
        """[C] probabilities, for beliefs with [C] mean and standard deviation > 0."""
        ...


@dataclass(frozen=True, slots=True)
class Thompson:
    """Each candidate as often as it is believed to be the best one.

    Source: Agrawal & Goyal (2013), Thompson Sampling for Contextual Bandits with Linear Payoffs, ICML, arXiv
    1209.3352; Chapelle & Li (2011), An Empirical Evaluation of Thompson Sampling, NeurIPS.
    """

    @property
    def name(self) -> str:
        """`thompson`."""
        return "thompson"

    def chances(self, mean: Floats, sd: Floats) -> Floats:
        """[C] the probability that a draw from the candidate's normal belief is the largest draw."""
        if len(mean) == 2:
            first = float(ndtr((mean[0] - mean[1]) / math.hypot(sd[0], sd[1])))
            return np.array([first, 1.0 - first])
        return chances_to_be_largest(mean, sd)


@dataclass(frozen=True, slots=True)
class LinUCB:
    """The candidate that may be the best: the highest of mean + `width` standard deviations.

    Source: Li, Chu, Langford & Schapire (2010), A Contextual-Bandit Approach to Personalized News Article
    Recommendation, WWW, arXiv 1003.0146.
    """

    width: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.width) and self.width >= 0.0):
            raise ConfigError(f"the width of LinUCB is {self.width}; it must be a finite number >= 0")

    @property
    def name(self) -> str:
        """`linucb`."""
        return "linucb"

    def chances(self, mean: Floats, sd: Floats) -> Floats:
        """[C] 1 for the highest limit, the first of equal ones, and 0 for the others."""
        chances = np.zeros(len(mean))
        chances[np.argmax(mean + self.width * sd)] = 1.0
        return chances


def chances_to_be_largest(mean: Floats, sd: Floats) -> Floats:
    """[C] the probability that each of independent normal variables is the largest.

    The integral of dF_i times the product of the other F, by the trapezoid rule between quantiles of all of
    them, which fits however unlike their deviations are. Within .001, and adds up to 1.
    """
    n_quantiles = max(_N_POINTS // len(mean), _MIN_QUANTILES)
    points = np.append(ndtri((np.arange(n_quantiles) + 0.5) / n_quantiles), _TAILS)
    grid = np.sort((mean[:, None] + sd[:, None] * points).ravel())
    below = ndtr((grid - mean[:, None]) / sd[:, None])
    others = _products_of_others(below)
    mass = (np.diff(below, axis=1) * (others[:, 1:] + others[:, :-1]) / 2.0).sum(axis=1)
    chances: Floats = mass / mass.sum()
    return chances


def _products_of_others(below: Floats) -> Floats:
    """[C, Q] the product over all rows but one's own, without a division by what may be 0."""
    before, after = np.ones_like(below), np.ones_like(below)
    np.cumprod(below[:-1], axis=0, out=before[1:])
    np.cumprod(below[:0:-1], axis=0, out=after[-2::-1])
    return before * after
