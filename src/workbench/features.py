"""Prompt text to numbers: hashed word and character n-grams, without a vocabulary, a model or a download.

Hashing needs no fit, so the features of a prompt depend on its text and the configuration alone. Their
meaning is frozen by `FEATURES_VERSION`: what was trained on one version must not be used with another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack
from sklearn.feature_extraction.text import HashingVectorizer

FEATURES_VERSION = "hashed-ngrams-1"


@dataclass(frozen=True, slots=True)
class FeatureConfig:
    """How a prompt is cut into n-grams, and into how many buckets D they are hashed.

    Of a prompt longer than `max_chars` the first three quarters of that length and the last quarter are
    read: the instruction stands at either end, and the time of a decision stays bounded.
    """

    n_word_buckets: int = 2**17
    n_char_buckets: int = 2**15
    max_word_ngram: int = 2
    char_ngrams: tuple[int, int] = (3, 4)
    char_weight: float = 1.0
    max_chars: int = 8_000

    @property
    def n_features(self) -> int:
        """D, the number of columns."""
        return self.n_word_buckets + self.n_char_buckets


def hashed(texts: Sequence[str], config: FeatureConfig | None = None) -> csr_array:
    """[N, D] float32 sparse: each row L2-normalised, or all zero for a text without a word.

    >>> hashed(["What is 2 + 2?", ""]).shape
    (2, 163840)
    """
    config = config or FeatureConfig()
    if not texts:
        return csr_array(np.zeros((0, config.n_features), dtype=np.float32))
    clipped = [_encodable(clip(text, config.max_chars)) for text in texts]
    words, chars = _vectorizers(config)
    rows = hstack([words.transform(clipped), config.char_weight * chars.transform(clipped)], format="csr")
    return normalised(csr_array(rows, dtype=np.float32))


def clip(text: str, max_chars: int) -> str:
    """`text`, or its beginning and end where it is longer than `max_chars`.

    >>> clip("0123456789", 8)
    '012345 89'
    """
    if len(text) <= max_chars:
        return text
    n_last = max_chars // 4
    return f"{text[: max_chars - n_last]} {text[-n_last:]}"


def normalised(rows: csr_array) -> csr_array:
    """[N, D] with rows of length 1; rows of zeros stay so."""
    norms = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1), dtype=np.float64)).ravel()
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    data = rows.data * np.repeat(scale, np.diff(rows.indptr)).astype(rows.dtype)
    return csr_array((data, rows.indices, rows.indptr), shape=rows.shape)


def inverse_document_frequency(rows: csr_array) -> NDArray[np.float32]:
    """[D] ln((1 + N) / (1 + df)) + 1, so that a bucket in few prompts counts for more.

    Source: the smoothed form of scikit-learn's TfidfTransformer.
    """
    seen = np.bincount(rows.indices, minlength=rows.shape[1])
    weights: NDArray[np.float32] = (np.log((1.0 + rows.shape[0]) / (1.0 + seen)) + 1.0).astype(np.float32)
    return weights


def weighted(rows: csr_array, weights: NDArray[np.float32]) -> csr_array:
    """[N, D] each column times its weight [D], rows again of length 1."""
    scaled = csr_array((rows.data * weights[rows.indices], rows.indices, rows.indptr), shape=rows.shape)
    return normalised(scaled)


def select(rows: csr_array, position: NDArray[np.int64], n_columns: int) -> csr_array:
    """[N, n_columns] the columns that have a `position` [D] (-1: left out), at that position."""
    column = position[rows.indices]
    is_kept = column >= 0
    kept_before = np.append(0, np.cumsum(is_kept))
    return csr_array(
        (rows.data[is_kept], column[is_kept], kept_before[rows.indptr]), shape=(rows.shape[0], n_columns)
    )


def positions(rows: csr_array, *, min_prompts: int) -> NDArray[np.int64]:
    """[D] a running number for the buckets that at least `min_prompts` rows have, -1 for the others."""
    is_kept = np.bincount(rows.indices, minlength=rows.shape[1]) >= min_prompts
    return np.where(is_kept, np.cumsum(is_kept) - 1, -1)


def _encodable(text: str) -> str:
    """`text` with lone surrogates, as cut JSON has them, replaced: they have no bytes to hash."""
    return text.encode(errors="replace").decode()


@lru_cache(maxsize=8)
def _vectorizers(config: FeatureConfig) -> tuple[HashingVectorizer, HashingVectorizer]:
    words = HashingVectorizer(
        ngram_range=(1, config.max_word_ngram),
        n_features=config.n_word_buckets,
        token_pattern=r"(?u)\b\w+\b",  # noqa: S106 - words of one character count: "A", "2"
        dtype=np.float32,
    )
    chars = HashingVectorizer(
        analyzer="char_wb", ngram_range=config.char_ngrams, n_features=config.n_char_buckets, dtype=np.float32
    )
    return words, chars
