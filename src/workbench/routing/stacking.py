"""How much each head counts: weights of 0 and more, learned on prompts that no head was fitted on.

Dimensions: N prompts, H heads, R patterns.
"""

import numpy as np

from workbench.routing.forecast import Floats

_SPREAD_OF_WEIGHTS = 0.2
"""How far a head's weight is expected to be from an equal share before the data are looked at."""
_DOUBT = 2.0
"""Standard errors that a gain over the plain head must have to count for anything."""


def mix_of(heads: Floats, targets: Floats) -> Floats:
    """[H, R] weights with which heads [H, N, R] together say targets [N, R].

    Ridge regression towards equal shares, with non-negative weights: where the data say little, a plain mean,
    shrunk as a whole by what it is worth.
    Source: Breiman (1996), Stacked regressions, Machine Learning 24; for the shrinking of patterns Breiman &
    Friedman (1997), Predicting multivariate responses, JRSS B 59.
    """
    return np.column_stack([_weights(heads[:, :, r], targets[:, r]) for r in range(targets.shape[1])])


def over_plain(heads: Floats, targets: Floats) -> Floats:
    """[H, R] weights of heads [H, N, R], of which the last is plain: the others count as far as they beat it.

    What all of them together say is drawn to what the plain one says alone, pattern by pattern: to it where
    the slope of what is left on what they add is not beyond doubt, not at all where it is so by far.
    Source: the positive part of James & Stein (1961), here with the square of `_DOUBT` in place of 1.
    """
    mix = mix_of(heads, targets)
    added = np.einsum("hnr,hr->nr", heads, mix) - heads[-1]
    left = targets - heads[-1]
    power = np.maximum((added**2).sum(axis=0), 1e-12)
    slope = (added * left).sum(axis=0) / power
    error = np.sqrt((added**2 * (left - slope * added) ** 2).sum(axis=0)) / power
    shown = 1.0 - (_DOUBT * error / np.maximum(slope, 1e-12)) ** 2
    kept = np.clip(slope * np.maximum(shown, 0.0), 0.0, 1.0)
    mix *= kept
    mix[-1] += 1.0 - kept
    return mix


def _weights(heads: Floats, target: Floats) -> Floats:
    from scipy.optimize import nnls

    n_heads = len(heads)
    mean = heads.mean(axis=0)
    power = float(mean @ mean)
    if power <= 1e-12:
        return np.zeros(n_heads)
    share = float(np.clip(mean @ target / power, 0.0, 2.0)) / n_heads
    penalty = float(np.sqrt(target.var())) / _SPREAD_OF_WEIGHTS
    design = np.vstack([heads.T, penalty * np.eye(n_heads)])
    wanted = np.append(target, np.full(n_heads, penalty * share))
    weights: Floats = nnls(design, wanted)[0]
    return weights
