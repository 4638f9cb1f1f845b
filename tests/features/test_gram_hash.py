"""The hash of n-grams on whole arrays: the same buckets as one n-gram at a time in plain Python gives."""

import math
from collections import Counter
from collections.abc import Iterator
from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.stats import chi2
from sklearn.feature_extraction.text import CountVectorizer

from workbench.features import FeatureConfig, hashed
from workbench.features.alphabet import IDEOGRAPH, LETTER, SPACE, spelled

FACTORS = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1)
BASE = 0x9E3779B97F4A7C15
SMALL = FeatureConfig(n_word_buckets=2**7, n_char_buckets=2**8)
AWKWARD = [
    "",
    "\0",
    "a\0b",
    "\ud800 \udfff\ud83d\ude00",
    "\u202eabc\u202c \u05e9\u05dc\u05d5\u05dd",
    "\U0001f600\U0001f468\u200d\U0001f469",
    "\u4e2d\u6587\u3067\u3059 ok",
    "I\u0130\u03a3\u03c2 \u00df\u1e9e",
    "don't  x_1\t\u0939\u093f",
    "\U00020000\U0010ffff",
]
TEXTS = st.one_of(st.sampled_from(AWKWARD), st.text(), st.text(alphabet="aB _1.\n\u4e2d\ud800", max_size=40))


def kinds(text: str) -> list[tuple[str, int]]:
    """The lower-case characters of a text, each with its kind."""
    codes = np.array([ord(char) for char in text.encode(errors="replace").decode()], dtype=np.uint32)
    symbols, kind = spelled(codes)
    return list(zip(map(chr, symbols.tolist()), kind.tolist(), strict=True))


def words_of(text: str) -> Iterator[str]:
    for kind, run in groupby(kinds(text), key=lambda pair: pair[1]):
        chars = [char for char, _ in run]
        if kind == LETTER:
            yield "".join(chars)
        elif kind == IDEOGRAPH:
            yield from chars


def pieces_of(text: str) -> Iterator[str]:
    for is_space, run in groupby(kinds(text), key=lambda pair: pair[1] == SPACE):
        if not is_space:
            yield f" {''.join(char for char, _ in run)} "


def mixed_64(number: int) -> int:
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    number = (number ^ number >> 27) * 0x94D049BB133111EB % 2**64
    return number ^ number >> 31


def mixed_32(number: int) -> int:
    number = (number ^ number >> 16) * 0x85EBCA6B % 2**32
    number = (number ^ number >> 13) * 0xC2B2AE35 % 2**32
    return number ^ number >> 16


def hash_of_word(word: str) -> int:
    return mixed_64(sum(ord(char) * pow(BASE, place, 2**64) for place, char in enumerate(word)) % 2**64)


def hash_of_chars(gram: str) -> int:
    return mixed_32(sum(ord(char) * factor for char, factor in zip(gram, FACTORS, strict=False)) % 2**32)


def row_of(text: str, config: FeatureConfig) -> np.ndarray:
    """The row of one text, an n-gram at a time."""
    words = [hash_of_word(word) for word in words_of(text)]
    pairs = [mixed_64((first * BASE + second) % 2**64) for first, second in pairwise(words)]
    grams = [
        piece[start : start + n]
        for piece in pieces_of(text)
        for n in (3, 4, 5)
        for start in range(len(piece) - n + 1)
    ]
    columns = Counter(number * config.n_word_buckets >> 64 for number in words + pairs)
    columns.update(
        config.n_word_buckets + (hash_of_chars(gram) * config.n_char_buckets >> 32) for gram in grams
    )
    row = np.zeros(config.n_features)
    for column, count in columns.items():
        weight = 1.0 if column < config.n_word_buckets else config.char_weight
        row[column] = weight * (1.0 + math.log(count))
    return row / (np.linalg.norm(row) or 1.0)


@given(st.lists(TEXTS, max_size=6))
@settings(deadline=None, max_examples=150)
def test_rows_are_those_of_counting_one_ngram_at_a_time(texts: list[str]) -> None:
    expected = np.array([row_of(text, SMALL) for text in texts]).reshape(-1, SMALL.n_features)
    assert np.allclose(hashed(texts, SMALL).toarray(), expected, atol=1e-6)


@pytest.mark.parametrize("text", AWKWARD)
def test_every_awkward_text_counts_the_same_in_many_buckets(text: str) -> None:
    config = FeatureConfig()
    assert np.allclose(hashed([text]).toarray()[0], row_of(text, config), atol=1e-6)


@given(st.lists(TEXTS, min_size=1, max_size=8))
@settings(deadline=None, max_examples=30)
def test_a_row_depends_on_its_text_alone_and_not_on_the_order(texts: list[str]) -> None:
    mixed = [*texts, *("many words. " * 3_000,) * 20, *reversed(texts)]  # several chunks
    together = hashed(mixed)
    for row, text in enumerate(mixed):
        assert (together[[row]] != hashed([text])).nnz == 0


def test_rows_beyond_what_one_integer_holds_are_cut_into_chunks() -> None:
    config = FeatureConfig(n_word_buckets=2**28, n_char_buckets=2**28)
    texts = [f"prompt {number}" for number in range(30)]
    together = hashed(texts, config)
    assert all((together[[row]] != hashed([text], config)).nnz == 0 for row, text in enumerate(texts))


def test_similarities_are_those_of_ngrams_that_scikit_learn_counts() -> None:
    texts = [
        "What is 2 + 2?",
        "what  is\tthe sea",
        "The sea, the sea!",
        "a",
        "don't \u00c4rger \u03c9 \u0416",
    ]
    views = (
        (1.0, CountVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b")),
        (SMALL.char_weight, CountVectorizer(analyzer="char_wb", ngram_range=(3, 5))),
    )
    counts = np.hstack([weight * _sublinear(view.fit_transform(texts)) for weight, view in views])
    unit = counts / np.linalg.norm(counts, axis=1, keepdims=True)
    rows = hashed(texts)
    assert rows.nnz == np.count_nonzero(counts)
    assert np.allclose((rows @ rows.T).toarray(), unit @ unit.T, atol=1e-5)


def _sublinear(counts: csr_array) -> np.ndarray:
    dense = counts.toarray().astype(float)
    return np.where(dense > 0, 1.0 + np.log(np.maximum(dense, 1.0)), 0.0)


@pytest.mark.parametrize("is_word", [True, False], ids=["words", "chars"])
def test_alike_ngrams_spread_evenly_over_the_buckets(is_word: bool) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    config = FeatureConfig(n_word_buckets=2**10, n_char_buckets=2**10, max_word_ngram=1, char_ngrams=(5, 5))
    texts = [a + b + c for a in letters for b in letters for c in letters]
    columns = hashed(texts, config).indices
    found = columns[(columns < config.n_word_buckets) == is_word] % config.n_word_buckets
    n_in_bucket = np.bincount(found, minlength=config.n_word_buckets)
    expected = len(texts) / config.n_word_buckets
    statistic = float(((n_in_bucket - expected) ** 2 / expected).sum())
    assert n_in_bucket.sum() == len(texts)
    assert chi2.ppf(1e-4, 1023) < statistic < chi2.ppf(1 - 1e-4, 1023)
