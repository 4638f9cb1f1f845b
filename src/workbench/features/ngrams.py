"""Hashed word and character n-grams of a prompt, without a vocabulary, a model or a download.

Hashing needs no fit, so the n-grams of a prompt depend on its text and the configuration alone.

Dimensions: N prompts, D buckets, U different words of the prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack
from sklearn.feature_extraction.text import HashingVectorizer


@dataclass(frozen=True, slots=True)
class FeatureConfig:
    """How a prompt is cut into n-grams, into how many buckets D they are hashed, and who embeds it.

    Of a prompt longer than `max_chars` the first three quarters of that length and the last quarter are
    read: the instruction stands at either end, and the time of a decision stays bounded. `embedding` is None
    for none, "minilm" for the sentence embedding that comes as an extra, or the `provider/model` of vectors
    that were put into the embedding store ahead of time.
    """

    n_word_buckets: int = 2**17
    n_char_buckets: int = 2**15
    max_word_ngram: int = 2
    char_ngrams: tuple[int, int] = (3, 4)
    char_weight: float = 1.0
    max_chars: int = 8_000
    embedding: str | None = None

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
    clipped = [encodable(clip(text, config.max_chars)) for text in texts]
    words, chars = _vectorizers(config)
    char_rows = config.char_weight * normalised(_char_ngrams(clipped, chars))
    rows = csr_array(hstack([words.transform(clipped), char_rows], format="csr"), dtype=np.float32)
    return normalised(rows)


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
    squares = csr_array((rows.data**2, rows.indices, rows.indptr), shape=rows.shape)
    norms = np.sqrt(squares @ np.ones(rows.shape[1]))
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


def encodable(text: str) -> str:
    """`text` with lone surrogates, as cut JSON has them, replaced: they have no bytes to hash."""
    return text.encode(errors="replace").decode()


def _char_ngrams(texts: Sequence[str], chars: HashingVectorizer) -> csr_array:
    """[N, buckets] signed counts: those of each different word, hashed once, times how often it is there.

    Character n-grams do not cross white space, and prompts share most of their words.
    """
    number: dict[str, int] = {}
    spoken = [[number.setdefault(word, len(number)) for word in text.lower().split()] for text in texts]
    if not number:
        return csr_array((len(texts), chars.n_features), dtype=np.float32)
    starts = np.append(0, np.cumsum([len(words) for words in spoken]))
    columns = np.fromiter(chain.from_iterable(spoken), dtype=np.int64, count=int(starts[-1]))
    counts = csr_array(
        (np.ones(len(columns), dtype=np.float32), columns, starts), shape=(len(texts), len(number))
    )
    rows = csr_array(counts @ csr_array(chars.transform(list(number))))
    rows.sort_indices()
    return rows


@lru_cache(maxsize=8)
def _vectorizers(config: FeatureConfig) -> tuple[HashingVectorizer, HashingVectorizer]:
    words = HashingVectorizer(
        ngram_range=(1, config.max_word_ngram),
        n_features=config.n_word_buckets,
        token_pattern=r"(?u)\b\w+\b",  # noqa: S106 - words of one character count: "A", "2"
        dtype=np.float32,
    )
    chars = HashingVectorizer(
        analyzer="char_wb",
        ngram_range=config.char_ngrams,
        n_features=config.n_char_buckets,
        norm=None,
        dtype=np.float32,
    )
    return words, chars
