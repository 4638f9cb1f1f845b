"""How much each head counts: non-negative weights, learned on prompts that no head was fitted on.

Dimensions: N prompts, H heads, R patterns.
"""

import numpy as np

from workbench.routing.forecast import Floats

_SPREAD_OF_WEIGHTS = 0.2
"""How far a head's weight is expected to be from an equal share before the data are looked at."""


def mix_of(heads: Floats, targets: Floats) -> Floats:
    """[H, R] weights with which heads [H, N, R] together say targets [N, R].

    Ridge regression towards equal shares, with non-negative weights: where the data say little, a plain mean,
    shrunk as a whole by what it is worth.
    Source: Breiman (1996), Stacked regressions, Machine Learning 24; for the shrinking of patterns Breiman &
    Friedman (1997), Predicting multivariate responses, JRSS B 59.
    """
    return np.column_stack([_weights(heads[:, :, r], targets[:, r]) for r in range(targets.shape[1])])


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
