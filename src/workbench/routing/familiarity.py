"""How far a prediction is trusted: less, the less a prompt is like those that were learned from.

Training prompts are withheld twice: at random, as prompts of the same kind would be met, and with their whole
neighbourhood, as prompts of another kind. Both say how far what is predicted is to be trusted there: the
slope of what happened on it (1: take it as it is, 0: it says nothing). How near a prompt is to what was
learned from says which of the two it resembles. What is predicted for all models alike, and for some of them
more than for others, are judged apart: only the second decides.

Dimensions: N or B prompts, M models.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

from workbench.routing.fields import require
from workbench.routing.forecast import Floats

_PRIOR = 0.9
"""How likely a prompt is taken to be at home before it is looked at."""
_LEAST = 0.02
"""What is left of trust in differences of models for a strange prompt, so that they are still ranked."""


@dataclass(frozen=True, slots=True)
class Guard:
    """`home` and `away` [2]: the trust in what is common to all models, and in their differences.

    `odds` [2] are the intercept and the slope of the log odds that a prompt is at home, on its nearness to
    the training. `between` [M] is the standard deviation of a model's mean quality between neighbourhoods.
    What is common is the mean over the first `n_fitted` models: one that is added later changes nothing for
    them.
    """

    home: NDArray[np.float64]
    away: NDArray[np.float64]
    odds: NDArray[np.float64]
    between: NDArray[np.float64]
    n_fitted: int

    def __post_init__(self) -> None:
        require(self.home.shape == self.away.shape == self.odds.shape == (2,), "guard")
        require(1 <= self.n_fitted <= len(self.between), "guard")
        for numbers in (self.home, self.away, self.odds, self.between):
            require(bool(np.isfinite(numbers).all()), "numbers")

    def hold(self, quality: Floats, mean: Floats, nearness: Floats, familiarity: Floats) -> Floats:
        """[B, M] predicted `quality`, drawn towards the models' `mean` [M] as far as it is not trusted.

        By the prompts' `nearness` [B] to the training, and as far as `familiarity` [B] is below 1: where it
        is 0 the models are still ranked, and no more.
        """
        gain = quality - mean
        shared = gain[:, : self.n_fitted].mean(axis=1, keepdims=True)
        trust = self._trust(nearness) * np.column_stack([familiarity, np.maximum(familiarity, _LEAST)])
        held: Floats = mean + trust[:, :1] * shared + trust[:, 1:] * (gain - shared)
        return held

    def familiarity(self, nearness: Floats, seen: Floats) -> Floats:
        """[B] as `seen` [B] by the views, or less where a prompt's nearness [B] is that of one away.

        1 where it is at least as likely at home as before it was looked at.
        """
        least: Floats = np.minimum(seen, self._at_home(nearness) / _PRIOR)
        return least

    def doubt(self, familiarity: Floats) -> Floats:
        """[B, M] the part of the uncertainty that grows away from the training prompts."""
        away = np.sqrt(1.0 - familiarity**2)
        doubt: Floats = away[:, None] * self.between
        return doubt

    def _trust(self, nearness: Floats) -> Floats:
        """[B, 2] that at home and that away, each as likely as it is."""
        at_home = self._at_home(nearness)[:, None]
        trust: Floats = at_home * self.home + (1.0 - at_home) * self.away
        return trust

    def _at_home(self, nearness: Floats) -> Floats:
        """[B] how likely a prompt is at home."""
        likely: Floats = expit(self.odds[0] + self.odds[1] * nearness)
        return likely


@dataclass(frozen=True, slots=True)
class Withheld:
    """What was predicted [N, M] for prompts that were not learned from, their quality and nearness [N]."""

    predicted: Floats
    quality: Floats
    nearness: Floats


def fit_guard(home: Withheld, away: Withheld, mean: Floats, *, between: Floats) -> Guard:
    """Trust as prompts withheld at random (`home`) and with their neighbourhood (`away`) ask for.

    At home a slope counts as it is, away at its lower limit, one standard error below; both between 0 and 1,
    and away no more than at home. Without prompts away, what is trusted at home is trusted everywhere.
    """
    trusted = np.clip(_slopes(home, mean)[0], 0.0, 1.0)
    elsewhere, odds = trusted, np.array([logit(_PRIOR), 0.0])
    if len(away.nearness):
        slopes, errors = _slopes(away, mean)
        elsewhere = np.clip(slopes - errors, 0.0, trusted)
        odds = _odds(home.nearness, away.nearness)
    return Guard(home=trusted, away=elsewhere, odds=odds, between=between, n_fitted=len(mean))


def _odds(home: Floats, away: Floats) -> Floats:
    """[2] intercept and slope of the log odds at home by nearness: logistic regression, and `_PRIOR`.

    The slope is never negative. Where the two cannot be told apart, every prompt is likely to be at home.
    """
    nearness, is_home = np.concatenate([home, away]), np.repeat([1.0, 0.0], [len(home), len(away)])
    centre, scale = float(nearness.mean()), max(float(nearness.std()), 1e-6)
    standard = (nearness - centre) / scale

    def loss(odds: Floats) -> float:
        score = odds[0] + odds[1] * standard
        return float(np.sum(np.logaddexp(0.0, score) - is_home * score) + 0.5 * odds[1] ** 2)

    level, slope = minimize(loss, np.zeros(2), bounds=[(None, None), (0.0, None)], method="L-BFGS-B").x
    level += logit(_PRIOR) - logit(is_home.mean())
    return np.array([level - slope * centre / scale, slope / scale])


def _slopes(withheld: Withheld, mean: Floats) -> tuple[Floats, Floats]:
    """[2] the slopes of what happened on what was said of all models and on differences, and their errors.

    They are fitted together on the seen pairs, so that a prompt of which one model was seen teaches too; the
    pairs of one prompt are a cluster. Where nothing was said there is nothing to hold back: 1, without error.
    """
    gain, truth = withheld.predicted - mean, withheld.quality - mean
    seen = np.isfinite(truth)
    shared = np.broadcast_to(gain.mean(axis=1, keepdims=True), gain.shape)
    design = np.where(seen[:, :, None], np.stack([shared, gain - shared], axis=2), 0.0)
    power = np.einsum("nmi,nmi->i", design, design)
    bread = np.linalg.pinv(np.einsum("nmi,nmj->ij", design, design))
    y = np.where(seen, truth, 0.0)
    slope = bread @ np.einsum("nmi,nm->i", design, y)
    meat = np.einsum("nmi,nm->ni", design, y - design @ slope)
    error = np.sqrt(np.maximum(np.diag(bread @ (meat.T @ meat) @ bread), 0.0))
    is_silent = power <= 1e-12
    return np.where(is_silent, 1.0, slope), np.where(is_silent, 0.0, error)
