"""Ridge regression on sparse rows, against NumPy's exact solution on dense ones."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from workbench.routing.forecast import Floats
from workbench.routing.ridge import ridges


def sparse_rows(n_rows: int, n_columns: int, *, seed: int = 0) -> csr_array:
    """Rows of length 1 with about a third of the columns, as n-grams are."""
    rng = np.random.default_rng(seed)
    dense = rng.random((n_rows, n_columns)) * (rng.random((n_rows, n_columns)) < 0.3)
    norms = np.linalg.norm(dense, axis=1, keepdims=True)
    return csr_array((dense / np.where(norms > 0.0, norms, 1.0)).astype(np.float32))


def exact(rows: csr_array, targets: Floats, penalty: float) -> Floats:
    dense = rows.toarray().astype(np.float64)
    return np.asarray(np.linalg.solve(dense.T @ dense + penalty * np.eye(dense.shape[1]), dense.T @ targets))


ROWS = sparse_rows(60, 12)
TARGETS = np.random.default_rng(1).normal(size=(60, 3))
KEPT: NDArray[np.bool_] = np.random.default_rng(2).random((60, 4)) < 0.7


@pytest.mark.parametrize("penalty", [0.5, 5.0, 50.0])
def test_each_part_has_the_exact_solution_of_the_rows_it_keeps(penalty: float) -> None:
    _, found = ridges(ROWS, TARGETS, kept=KEPT, penalties=(2.0, penalty))
    assert found.shape == (4, 12, 3)
    for part, kept in enumerate(KEPT.T):
        expected = exact(ROWS[np.flatnonzero(kept)], TARGETS[kept], penalty)
        assert found[part] == pytest.approx(expected, abs=2e-3 * np.abs(expected).max())


def test_several_parts_at_once_are_what_they_are_one_by_one() -> None:
    together = ridges(ROWS, TARGETS, kept=KEPT, penalties=[5.0])[0]
    alone = [ridges(ROWS, TARGETS, kept=KEPT[:, [part]], penalties=[5.0])[0][0] for part in range(4)]
    assert together == pytest.approx(np.stack(alone), abs=1e-3)


def test_a_row_that_is_not_kept_changes_nothing() -> None:
    kept = np.ones((60, 1), dtype=np.bool_)
    kept[7] = False
    wild = TARGETS.copy()
    wild[7] = 1e6
    assert np.array_equal(
        ridges(ROWS, TARGETS, kept=kept, penalties=[5.0])[0],
        ridges(ROWS, wild, kept=kept, penalties=[5.0])[0],
    )


def test_a_word_that_is_in_as_many_prompts_as_the_penalty_is_believed_by_half() -> None:
    rows = csr_array(np.ones((5, 1), dtype=np.float32))
    weights = ridges(rows, np.ones((5, 1)), kept=np.ones((5, 1), dtype=np.bool_), penalties=[5.0])[0]
    assert weights[0, 0, 0] == pytest.approx(0.5)


def test_a_part_without_rows_or_targets_of_zero_has_weights_of_zero() -> None:
    nobody = np.zeros((60, 1), dtype=np.bool_)
    assert not ridges(ROWS, TARGETS, kept=nobody, penalties=[5.0])[0].any()
    assert not ridges(ROWS, np.zeros((60, 2)), kept=~nobody, penalties=[5.0])[0].any()
