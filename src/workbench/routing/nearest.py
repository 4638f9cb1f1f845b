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
_LEAST_WIDTH = 4  # columns in a group, below which the bound costs more than it saves


def nearest(similarity: Singles, n_nearest: int) -> tuple[Places, Singles]:
    """[B, K] which of the S columns are the greatest of each row, and [B, K] their similarity, falling.

    K is `n_nearest`, or S where that is less. -inf is less than all else; NaN is not allowed. Where more are
    equal than fit, any of them are taken.
    """
    n_nearest = min(n_nearest, similarity.shape[1])
    shape = (len(similarity), n_nearest)
    places, values = np.empty(shape, dtype=np.int64), np.empty(shape, dtype=similarity.dtype)
    for start in range(0, len(similarity), _BLOCK):
        block = slice(start, start + _BLOCK)
        columns, passed = _passed(similarity[block], n_nearest)
        order = _falling(passed, n_nearest)
        places[block] = np.take_along_axis(columns, order, axis=1)
        values[block] = np.take_along_axis(passed, order, axis=1)
    return places, values


def _passed(rows: Singles, n_nearest: int) -> tuple[Places, Singles]:
    """[R, P] columns that may be among the nearest, and their values; -inf fills the rows that have fewer.

    The S columns are dealt to G groups. K of these have a maximum that is not below the K-th greatest
    maximum, so K columns are not below it either, and what is below is not among the nearest.
    """
    n_columns, n_groups = rows.shape[1], n_nearest * _GROUPS_EACH
    width = n_columns // max(n_groups, 1)
    if width < _LEAST_WIDTH:
        return np.broadcast_to(np.arange(n_columns), rows.shape), rows
    maxima = rows[:, : width * n_groups].reshape(len(rows), width, n_groups).max(axis=1)
    maxima.partition(n_groups - n_nearest, axis=1)
    place = np.flatnonzero(rows >= maxima[:, [n_groups - n_nearest]])
    row, column = np.divmod(place, n_columns)
    n_passed = np.bincount(row, minlength=len(rows))
    beside = np.arange(len(place)) - np.repeat(np.cumsum(n_passed) - n_passed, n_passed)
    columns = np.zeros((len(rows), int(n_passed.max())), dtype=np.int64)
    passed = np.full(columns.shape, -np.inf, dtype=rows.dtype)
    columns[row, beside], passed[row, beside] = column, rows.ravel()[place]
    return columns, passed


def _falling(values: Singles, n_first: int) -> Places:
    """[R, P] -> [R, K] where the greatest are, from the greatest on."""
    if values.shape[1] <= 2 * n_first:
        return np.argsort(-values, axis=1, kind="stable")[:, :n_first]
    first = np.argpartition(-values, n_first - 1, axis=1)[:, :n_first]
    order = np.argsort(-np.take_along_axis(values, first, axis=1), axis=1, kind="stable")
    return np.take_along_axis(first, order, axis=1)
