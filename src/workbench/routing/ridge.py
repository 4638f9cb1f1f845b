"""Ridge regression on sparse rows, for many parts of the data and many targets in one pass.

Dimensions: N prompts, A active n-gram buckets, R targets, P parts.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from workbench.routing.forecast import Floats

_N_STEPS = 20
_TOLERANCE = 1e-3


def ridge(
    rows: csr_array, targets: Floats, *, kept: NDArray[np.bool_], penalty: float
) -> NDArray[np.float32]:
    """[P, A, R] the weights that minimise |T - X W|^2 + penalty |W|^2 over the prompts kept in each part.

    All parts are solved at once, by conjugate gradients with a diagonal preconditioner.

    Args:
        rows: [N, A], of length about 1.
        targets: [N, R], without an intercept.
        kept: [N, P] whether the prompt is learned from in the part.
        penalty: in units of prompts: how many a weight must be seen in to be believed by half.
    Source: Hestenes & Stiefel (1952), Methods of conjugate gradients for solving linear systems.
    """
    n_parts, n_targets = kept.shape[1], targets.shape[1]
    columns = csr_array(rows.T)
    mask = np.repeat(kept, n_targets, axis=1).astype(np.float32)
    wanted = np.tile(targets.astype(np.float32), (1, n_parts)) * mask
    squares = csr_array((rows.data**2, rows.indices, rows.indptr), shape=rows.shape)
    scale = 1.0 / (np.asarray(squares.T @ kept.astype(np.float32)).repeat(n_targets, axis=1) + penalty)
    weights = np.zeros((rows.shape[1], mask.shape[1]), dtype=np.float32)
    residual = columns @ wanted
    limit = _TOLERANCE**2 * np.maximum((residual**2).sum(axis=0), 1e-30)
    direction = scale * residual
    energy = (residual * direction).sum(axis=0)
    for _ in range(_N_STEPS):
        image = columns @ (mask * (rows @ direction)) + np.float32(penalty) * direction
        step = energy / np.maximum((direction * image).sum(axis=0), 1e-30)
        weights += step * direction
        residual -= step * image
        if bool(((residual**2).sum(axis=0) <= limit).all()):
            break
        conditioned = scale * residual
        new_energy = (residual * conditioned).sum(axis=0)
        direction = conditioned + new_energy / np.maximum(energy, 1e-30) * direction
        energy = new_energy
    return np.ascontiguousarray(weights.reshape(-1, n_parts, n_targets).transpose(1, 0, 2))
