"""Fitting skills by expectation and maximisation: which prompts are hard, and who copes with that.

Dimensions: N prompts, M models, D difficulties, P = 3 parameters of a model.
"""

import numpy as np
from scipy.special import expit

from workbench.routing.agreement import NODE_WEIGHTS, NODES, Skills
from workbench.routing.forecast import Floats

_PRIOR = np.array([0.0, 1.0, 1.5])
"""Intercept, slope and discrimination that a model of which little is known is drawn to."""
_PRIOR_STRENGTH = 1.0
_MAX_STEPS = 25
_LEAST_GAIN = 1e-4


def fit_skills(logits: Floats, quality: Floats) -> Skills:
    """The skills that make the recorded quality [N, M] likely, given the prompts' logits [N, M].

    A quality between 0 and 1 is that share of a right answer; NaN: not seen.
    """
    parameters = np.tile(_PRIOR, (quality.shape[1], 1))
    likelihood = -np.inf
    for _ in range(_MAX_STEPS):
        skills = Skills(*parameters.T)
        posterior, found = _posterior(skills.right(logits), quality)
        for model, values in enumerate(parameters):
            parameters[model] = _newton_step(values, logits[:, model], quality[:, model], posterior)
        if found - likelihood < _LEAST_GAIN * abs(found):
            break
        likelihood = found
    return Skills(*(np.ascontiguousarray(column) for column in parameters.T))


def _posterior(right: Floats, quality: Floats) -> tuple[Floats, float]:
    """[N, D] probability of each difficulty given who was right, and the log-likelihood of it all."""
    known = np.isfinite(quality)
    share = np.where(known, quality, 0.0)[:, :, None]
    of_pair = share * np.log(right) + (1.0 - share) * np.log1p(-right)
    log_joint = np.where(known[:, :, None], of_pair, 0.0).sum(axis=1) + np.log(NODE_WEIGHTS)
    most = log_joint.max(axis=1, keepdims=True)
    joint = np.exp(log_joint - most)
    total = joint.sum(axis=1, keepdims=True)
    return joint / total, float((most + np.log(total)).sum())


def _newton_step(values: Floats, logits: Floats, quality: Floats, posterior: Floats) -> Floats:
    """[P] one step for one model's logistic regression over its prompts at all difficulties."""
    known = np.isfinite(quality)
    logits, quality, posterior = logits[known, None], quality[known, None], posterior[known]
    predicted = expit(values[0] + values[1] * logits + values[2] * NODES)
    columns = (
        np.ones_like(predicted),
        np.broadcast_to(logits, predicted.shape),
        np.ones_like(predicted) * NODES,
    )
    error, weight = posterior * (quality - predicted), posterior * predicted * (1.0 - predicted)
    gradient = np.array([(error * a).sum() for a in columns]) - _PRIOR_STRENGTH * (values - _PRIOR)
    curvature = np.array([[(weight * a * b).sum() for b in columns] for a in columns])
    step: Floats = np.linalg.solve(curvature + _PRIOR_STRENGTH * np.eye(len(_PRIOR)), gradient)
    return values + np.clip(step, -1.0, 1.0)
