"""The most similar few of many prompts.

Dimensions: B prompts at once, R of them in a block, S prompts that are compared with, K nearest, G groups,
P that may be among the nearest.
"""

import numpy as np
from numpy.typing import NDArray

Singles = NDArray[np.float32]
Places = NDArray[np.int64]

_BLOCK = 64  # rows a time, so that what is made of them stays in the cache of a core
_GROUPS_EACH = 6  # groups for each of the nearest: the bound then lets few others pass
_PLACE = 2**32 - 1  # of the bits of a key
_LEAST_WIDTH = 4  # columns in a group, below which the bound costs more than it saves


def nearest(similarity: Singles, n_nearest: int) -> tuple[Places, Singles]:
    """[B, K] which of the S columns are the greatest of each row, and [B, K] their similarity, falling.

    K is `n_nearest`, or S where that is less. -inf is less than all else; NaN is not allowed. Where more are
    equal than fit, the first of them are taken.
    """
    n_nearest = min(n_nearest, similarity.shape[1])
    keys = np.empty((len(similarity), n_nearest), dtype=np.int64)
    for start in range(0, len(similarity), _BLOCK):
        block = slice(start, start + _BLOCK)
        keys[block] = _least(_passed(similarity[block], n_nearest), n_nearest)
    return keys & _PLACE, _similarities(keys)


def _passed(rows: Singles, n_nearest: int) -> Places:
    """[R, P] the keys of columns that may be among the nearest; the greatest key fills rows that have fewer.

    The S columns are dealt to G groups. K of these have a maximum that is not below the K-th greatest
    maximum, so K columns are not below it either, and what is below is not among the nearest.
    """
    n_columns, n_groups = rows.shape[1], n_nearest * _GROUPS_EACH
    width = n_columns // max(n_groups, 1)
    if width < _LEAST_WIDTH:
        return _keys(rows, np.arange(n_columns))
    maxima = rows[:, : width * n_groups].reshape(len(rows), width, n_groups).max(axis=1)
    maxima.partition(n_groups - n_nearest, axis=1)
    place = np.flatnonzero(rows >= maxima[:, [n_groups - n_nearest]])
    row, column = np.divmod(place, n_columns)
    n_passed = np.bincount(row, minlength=len(rows))
    beside = np.arange(len(place)) - np.repeat(np.cumsum(n_passed) - n_passed, n_passed)
    keys = np.full((len(rows), int(n_passed.max())), np.iinfo(np.int64).max)
    keys[row, beside] = _keys(rows.take(place), column)
    return keys


def _least(keys: Places, n_first: int) -> Places:
    """[R, P] -> [R, K] the least, in order."""
    if keys.shape[1] > 2 * n_first > 0:
        keys = np.partition(keys, n_first - 1, axis=1)[:, :n_first]
    return np.sort(keys, axis=1)[:, :n_first]


def _keys(similarity: Singles, place: Places) -> Places:
    """One integer each, which is the less, the greater the similarity is, and among equals the place.

    The bits of floats, read as an integer, rise with them above 0 and fall below. Numbers are sorted many
    times as fast as places by number.
    """
    keys: Places = (~_folded(similarity.view(np.int32))).astype(np.int64) << 32 | place
    return keys


def _similarities(keys: Places) -> Singles:
    """What `_keys` were made from."""
    return _folded(~(keys >> 32).astype(np.int32)).view(np.float32)


def _folded(bits: NDArray[np.int32]) -> NDArray[np.int32]:
    """The other bits turned over where the sign is set: from floats to what rises with them, and back."""
    return bits ^ (bits >> 31 & np.int32(2**31 - 1))
