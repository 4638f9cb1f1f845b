"""Hashed n-grams: what a prompt becomes, how long that takes at worst, and what it does not depend on."""

import time

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.utils import murmurhash3_32

from workbench.features import (
    FEATURES_VERSION,
    FeatureConfig,
    clip,
    hashed,
    inverse_document_frequency,
    positions,
    select,
    weighted,
)

TEXTS = ["What is 2 + 2?", "Write a poem about the sea", "Write a poem about the sea and 2 fish"]


def test_rows_have_length_one_and_a_text_without_words_is_zero() -> None:
    rows = hashed([*TEXTS, "", " \n\t "])
    norms = np.sqrt(rows.multiply(rows).sum(axis=1))
    assert np.allclose(norms, [1, 1, 1, 0, 0], atol=1e-6)
    assert rows.shape == (5, FeatureConfig().n_features)


def test_a_prompt_has_the_same_features_alone_and_in_a_batch() -> None:
    together, alone = hashed(TEXTS), hashed(TEXTS[1:2])
    assert np.array_equal(together[[1]].toarray(), alone.toarray())


def test_buckets_are_those_of_murmurhash_in_every_process() -> None:
    config = FeatureConfig()
    words = [abs(murmurhash3_32(word)) % config.n_word_buckets for word in (b"poem", b"sea", b"poem sea")]
    chars = [abs(murmurhash3_32(gram)) % config.n_char_buckets for gram in (b" po", b"poe", b"oem", b"em ")]
    found = set(hashed(["poem sea"]).indices)
    assert found >= {*words, *(config.n_word_buckets + bucket for bucket in chars)}
    assert FEATURES_VERSION == "prompt-features-2", "another cut or hash of the text needs another version"


def test_characters_hashed_word_by_word_are_those_that_scikit_learn_hashes_text_by_text() -> None:
    config = FeatureConfig(n_word_buckets=2**10)
    texts = [*TEXTS, "a\tA  b\u3000\u03a3\u03a3 don't", "\u4e2d\u6587 \u4e2d\u6587\u7684", ""]
    chars = HashingVectorizer(
        analyzer="char_wb", ngram_range=config.char_ngrams, n_features=config.n_char_buckets
    )
    expected = csr_array(chars.transform(texts)).toarray()
    found = hashed(texts, config).toarray()[:, config.n_word_buckets :]
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    assert np.allclose(np.divide(found, lengths, out=found, where=lengths > 0), expected, atol=1e-6)


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
    kept = np.flatnonzero(position >= 0)
    seen = (rows.toarray() != 0).sum(axis=0)
    assert np.array_equal(kept, np.flatnonzero(seen >= 2))
    assert np.array_equal(select(rows, position, len(kept)).toarray(), rows.toarray()[:, kept])
