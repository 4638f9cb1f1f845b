"""How far to trust a prediction, learned from prompts that were withheld. N prompts, M models."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import logit

from workbench.routing.familiarity import PRIOR, Guard
from workbench.routing.forecast import Floats


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
    elsewhere, odds = trusted, np.array([logit(PRIOR), 0.0])
    if len(away.nearness):
        slopes, errors = _slopes(away, mean)
        elsewhere = np.clip(slopes - errors, 0.0, trusted)
        odds = _odds(home.nearness, away.nearness)
    return Guard(home=trusted, away=elsewhere, odds=odds, between=between, n_fitted=len(mean))


def _odds(home: Floats, away: Floats) -> Floats:
    """[2] intercept and slope of the log odds at home by nearness: logistic regression, and `PRIOR`.

    The slope is never negative. Where the two cannot be told apart, every prompt is likely to be at home.
    """
    nearness, is_home = np.concatenate([home, away]), np.repeat([1.0, 0.0], [len(home), len(away)])
    centre, scale = float(nearness.mean()), max(float(nearness.std()), 1e-6)
    standard = (nearness - centre) / scale

    def loss(odds: Floats) -> float:
        score = odds[0] + odds[1] * standard
        return float(np.sum(np.logaddexp(0.0, score) - is_home * score) + 0.5 * odds[1] ** 2)

    level, slope = minimize(loss, np.zeros(2), bounds=[(None, None), (0.0, None)], method="L-BFGS-B").x
    level += logit(PRIOR) - logit(is_home.mean())
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
