"""Ridge regression on sparse rows, for many parts of the data and many targets in one pass.

Dimensions: N prompts, A active n-gram buckets, R targets, P parts, L penalties.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from workbench.routing.forecast import Floats

_N_STEPS = 20
_TOLERANCE = 1e-3

Singles = NDArray[np.float32]


def ridges(
    rows: csr_array, targets: Floats, *, kept: NDArray[np.bool_], penalties: Sequence[float]
) -> list[NDArray[np.float32]]:
    """L times [P, A, R]: the minimum of |T - X W|^2 + penalty |W|^2 over the prompts kept in each part.

    All parts are solved at once, by conjugate gradients with a diagonal preconditioner.

    Args:
        rows: [N, A], of length about 1.
        targets: [N, R], without an intercept.
        kept: [N, P] whether the prompt is learned from in the part.
        penalties: [L] in units of prompts: how many a weight must be seen in to be believed by half.
    Source: Hestenes & Stiefel (1952), Methods of conjugate gradients for solving linear systems.
    """
    n_parts, n_targets = kept.shape[1], targets.shape[1]
    columns = csr_array(rows.T)
    mask = np.repeat(kept, n_targets, axis=1).astype(np.float32)
    wanted = columns @ (np.tile(targets.astype(np.float32), (1, n_parts)) * mask)
    squares = csr_array((columns.data**2, columns.indices, columns.indptr), shape=columns.shape)
    sizes = (squares @ kept.astype(np.float32)).repeat(n_targets, axis=1)

    def image(weights: Singles, penalty: float) -> Singles:
        said: Singles = rows @ weights
        said *= mask
        found: Singles = columns @ said
        found += np.float32(penalty) * weights
        return found

    solved = (_solved(image, wanted, sizes, penalty) for penalty in penalties)
    return [np.ascontiguousarray(one.reshape(-1, n_parts, n_targets).transpose(1, 0, 2)) for one in solved]


def _solved(
    image: Callable[[Singles, float], Singles], wanted: Singles, sizes: Singles, penalty: float
) -> Singles:
    """[A, P * R] the weights whose `image` is `wanted`; `sizes` + penalty is the diagonal of the image."""
    scale = np.float32(1.0) / (sizes + np.float32(penalty))
    weights, residual = np.zeros_like(wanted), wanted.copy()
    limit = _TOLERANCE**2 * np.maximum(_products(wanted, wanted), 1e-30)
    direction = scale * residual
    energy = _products(residual, direction)
    for _ in range(_N_STEPS):
        moved = image(direction, penalty)
        step = energy / np.maximum(_products(direction, moved), 1e-30)
        weights += step * direction
        moved *= step
        residual -= moved
        if bool((_products(residual, residual) <= limit).all()):
            break
        conditioned = scale * residual
        new_energy = _products(residual, conditioned)
        direction *= new_energy / np.maximum(energy, 1e-30)
        direction += conditioned
        energy = new_energy
    return weights


def _products(one: Singles, other: Singles) -> Singles:
    """[columns] the inner product of each column with that of the other, both [A, columns]."""
    products: Singles = np.einsum("ac,ac->c", one, other)
    return products
