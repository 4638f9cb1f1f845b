"""Hashed n-grams: what a prompt becomes, how long that takes at worst, and what it does not depend on."""

import hashlib
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array, vstack
from sklearn.feature_extraction.text import TfidfTransformer

from workbench.errors import ConfigError
from workbench.features import (
    FEATURES_VERSION,
    FeatureConfig,
    clip,
    hashed,
    inverse_document_frequency,
    positions,
    select,
    select_weighted,
    weighted,
)
from workbench.features.ngrams import stacked

TEXTS = ["What is 2 + 2?", "Write a poem about the sea", "Write a poem about the sea and 2 fish"]


def test_rows_have_length_one_and_a_text_without_words_is_zero() -> None:
    rows = hashed([*TEXTS, "", " \n\t "])
    norms = np.sqrt(rows.multiply(rows).sum(axis=1))
    assert np.allclose(norms, [1, 1, 1, 0, 0], atol=1e-6)
    assert rows.shape == (5, FeatureConfig().n_features)


def test_a_prompt_has_the_same_features_alone_and_in_a_batch() -> None:
    together, alone = hashed(TEXTS), hashed(TEXTS[1:2])
    assert np.array_equal(together[[1]].toarray(), alone.toarray())


@pytest.mark.parametrize(
    "settings",
    [
        {"n_word_buckets": 1_000},
        {"n_char_buckets": 1},
        {"n_char_buckets": 2**30},
        {"char_ngrams": (2, 5)},
        {"char_ngrams": (5, 3)},
        {"char_ngrams": (3, 9)},
        {"max_word_ngram": 0},
        {"max_chars": 3},
    ],
    ids=str,
)
def test_a_configuration_that_cannot_be_hashed_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        FeatureConfig(**settings)


def test_another_cut_or_hash_of_the_text_needs_another_version() -> None:
    digest = hashlib.sha256(
        hashed(["Poem: sea 2", "\u4e2d\u6587"]).indices.astype("<i4").tobytes()
    ).hexdigest()
    assert (FEATURES_VERSION, digest[:16]) == ("prompt-features-3", "54aa2eca79454200")


@pytest.mark.parametrize(
    "text",
    ["word " * 200_000, "x" * 1_000_000, "中\U0001f600" * 500_000, "\ud800" * 1_000_000, "\0" * 1_000_000],
    ids=["words", "one-word", "chinese-and-emoji", "lone-surrogates", "nul"],
)
def test_a_million_characters_take_at_most_50_ms(text: str) -> None:
    hashed(["warm up"])
    took_s = []
    for _ in range(5):
        started_s = time.perf_counter()
        rows = hashed([text])
        took_s.append(time.perf_counter() - started_s)
    assert min(took_s) <= 0.05
    assert np.isfinite(rows.data).all()


def test_a_long_prompt_is_read_at_both_ends() -> None:
    filler = "lorem " * 10_000
    first, last, middle = (hashed([t]) for t in ("alpha " + filler, filler + "omega", filler))
    assert (first != middle).nnz > 0
    assert (last != middle).nnz > 0
    assert len(clip(filler, 100)) == 101


def test_inverse_document_frequency_is_that_of_scikit_learn() -> None:
    rows = hashed(TEXTS)
    expected = TfidfTransformer().fit_transform(rows).toarray()
    assert np.allclose(weighted(rows, inverse_document_frequency(rows)).toarray(), expected, atol=1e-6)


def test_selected_columns_are_those_of_enough_prompts() -> None:
    rows = hashed(TEXTS)
    position = positions(rows, min_prompts=2)
    kept = np.argsort(position)[np.count_nonzero(position < 0) :]
    seen = (rows.toarray() != 0).sum(axis=0)
    assert np.array_equal(np.sort(kept), np.flatnonzero(seen >= 2))
    assert np.array_equal(seen[kept], np.sort(seen[kept])[::-1])
    assert np.array_equal(select(rows, position, len(kept)).toarray(), rows.toarray()[:, kept])


def test_the_most_frequent_columns_are_selected() -> None:
    rows = hashed(["the sea", "the land", "the sea"])
    every, most = positions(rows, min_prompts=1), positions(rows, min_prompts=1, most=5)
    assert np.array_equal(most, np.where(every < 5, every, -1))


def test_many_rows_are_weighted_and_selected_as_if_at_once() -> None:
    rows = hashed([f"the sea {number % 97}" for number in range(5_000)])
    weights, position = inverse_document_frequency(rows), positions(rows, min_prompts=60)
    n_columns = int(position.max()) + 1
    pieces = select_weighted(rows, weights, position, n_columns)
    assert (pieces != select(weighted(rows, weights), position, n_columns)).nnz == 0
    assert pieces.shape == (5_000, n_columns)


def test_many_buckets_are_counted_as_if_at_once() -> None:
    indices = np.random.default_rng(0).integers(0, 1_000, 5_000_000, dtype=np.int32)
    rows = csr_array((np.ones(len(indices), dtype=np.float32), indices, [0, len(indices)]), shape=(1, 1_000))
    _, counts = np.unique(indices, return_counts=True)
    assert np.array_equal(positions(rows, min_prompts=5_000) >= 0, counts >= 5_000)


def test_stacked_rows_are_those_of_scipy_in_32_bits() -> None:
    parts = [hashed(TEXTS[:2]), hashed([]), hashed([""]), hashed(TEXTS)]
    rows = stacked(iter(parts), FeatureConfig().n_features)
    assert (rows != vstack(parts)).nnz == 0
    assert (rows.data.dtype, rows.indices.dtype, rows.indptr.dtype) == (np.float32, np.int32, np.int32)


def test_what_is_stacked_is_not_held_twice() -> None:
    row = hashed(["the sea " + " ".join(map(str, range(2_000)))])
    n_bytes = 200 * (row.data.nbytes + row.indices.nbytes)
    tracemalloc.start()
    stacked((row for _ in range(200)), row.shape[1])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.3 * n_bytes
