"""Vectors on disk: found by embedder and text, whole or not at all, an error where damaged."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.errors import DataError, StorageError
from workbench.features import EmbeddingStore


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore(tmp_path / "made" / "vectors.sqlite")


def vectors(*rows: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(rows, dtype=np.float32)


def test_a_vector_is_found_by_its_embedder_and_text(store: EmbeddingStore) -> None:
    store.put("a/small", ["x", "y"], vectors((1.0, 2.0), (3.0, 4.0)))
    store.put("b/large", ["x"], vectors((5.0, 6.0, 7.0)))
    assert store.get("a/small", ["y", "x"]).tolist() == [[3.0, 4.0], [1.0, 2.0]]
    assert store.get("b/large", ["x"]).tolist() == [[5.0, 6.0, 7.0]]


def test_a_text_that_is_not_there_is_a_row_of_nan(store: EmbeddingStore) -> None:
    assert store.get("a/small", ["x"]).shape == (1, 0)
    store.put("a/small", ["x"], vectors((1.0, 2.0)))
    assert np.array_equal(store.get("a/small", ["z", "x"]), [[np.nan, np.nan], [1.0, 2.0]], equal_nan=True)
    assert store.get("c/other", ["x"]).shape == (1, 0)


def test_texts_are_not_kept(store: EmbeddingStore) -> None:
    store.put("a/small", ["a very private prompt", "\ud800"], vectors((1.0,), (2.0,)))
    assert b"private" not in store.path.read_bytes()


@pytest.mark.parametrize(
    "bad", [vectors((1.0, 2.0)), vectors((1.0,), (np.nan,)), vectors((1.0, 2.0, 3.0), (1.0, 2.0, 3.0))]
)
def test_vectors_that_do_not_fit_are_refused_and_nothing_is_kept(
    store: EmbeddingStore, bad: NDArray[np.float32]
) -> None:
    store.put("a/small", ["w"], vectors((1.0, 2.0)))
    with pytest.raises(DataError):
        store.put("a/small", ["x", "y"], bad)
    assert np.isnan(store.get("a/small", ["x", "y"])).all()


def test_a_damaged_file_is_named(store: EmbeddingStore) -> None:
    store.put("a/small", ["x"], vectors((1.0, 2.0)))
    store.path.write_bytes(b"not a database, but long enough to be looked at" * 50)
    with pytest.raises(StorageError, match=r"vectors\.sqlite"):
        store.get("a/small", ["x"])


def test_many_write_at_once(store: EmbeddingStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: store.put("a/small", [f"t{i}"], vectors((float(i),))), range(40)))
    assert store.get("a/small", [f"t{i}" for i in range(40)])[:, 0].tolist() == list(range(40))
    with sqlite3.connect(store.path) as database:
        assert database.execute("SELECT COUNT(*) FROM vectors").fetchone() == (40,)
