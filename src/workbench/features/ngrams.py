"""Hashed word and character n-grams of a prompt, without a vocabulary, a model or a download.

Hashing needs no fit, so the n-grams of a prompt depend on its text and the configuration alone.

Dimensions: N prompts, D buckets, R prompts of a chunk.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from workbench.errors import ConfigError
from workbench.features.gram_hash import MAX_CHAR_NGRAM, MIN_CHAR_NGRAM, char_keys, spell, word_keys

_CHUNK_CHARS = 100_000  # arrays over characters then stay in the cache of a core
_CHUNK_ROWS = 4_096  # prompts weighted at a time
_PIECE = 2**21  # n-grams counted at a time
_GROWTH = 1.1  # how much longer than needed what is stacked becomes, each time it is too short
_N_KEYS = 2**32
_MOST_32 = 2**31 - 1
_MOST_BUCKETS = 2**29  # the columns of both kinds, counted from 0, stay within a signed integer of 32 bits


@dataclass(frozen=True, slots=True)
class FeatureConfig:
    """How a prompt is cut into n-grams, into how many buckets D they are hashed, and who embeds it.

    Words are runs of letters, digits and `_`, and each Han or kana character is one, since nothing separates
    the words that it is part of. Character n-grams are those of a prompt's pieces between white space, with a
    space on either side. The numbers of buckets are powers of two. A character n-gram counts `char_weight`
    times a word: 0.61 is the median, over MMLU prompts, of what gives both the same length once they are
    weighted by inverse document frequency (0.58 to 0.65 in the middle half of the prompts).

    Of a prompt longer than `max_chars` the first three quarters of that length and the last quarter are
    read: the instruction stands at either end, and the time of a decision stays bounded. `embedding` is None
    for none, "minilm" for the sentence embedding that comes as an extra, or the `provider/model` of vectors
    that were put into the embedding store ahead of time.
    """

    n_word_buckets: int = 2**18
    n_char_buckets: int = 2**18
    max_word_ngram: int = 2
    char_ngrams: tuple[int, int] = (3, 5)
    char_weight: float = 0.61
    max_chars: int = 8_000
    embedding: str | None = None

    def __post_init__(self) -> None:
        """Raises ConfigError where n-grams cannot be made in this way."""
        for name, n in (("n_word_buckets", self.n_word_buckets), ("n_char_buckets", self.n_char_buckets)):
            if n.bit_count() != 1 or not 2 <= n <= _MOST_BUCKETS:
                raise ConfigError(f"{name} is {n}; it must be a power of two from 2 to {_MOST_BUCKETS}")
        shortest, longest = self.char_ngrams
        if not MIN_CHAR_NGRAM <= shortest <= longest <= MAX_CHAR_NGRAM:
            widest = (MIN_CHAR_NGRAM, MAX_CHAR_NGRAM)
            raise ConfigError(f"char_ngrams is {self.char_ngrams}; it must rise within {widest}")
        if self.max_word_ngram < 1 or self.max_chars < 4:
            raise ConfigError("max_word_ngram must be at least 1, and max_chars at least 4")

    @property
    def n_features(self) -> int:
        """D, the number of columns: those of words, then those of characters."""
        return self.n_word_buckets + self.n_char_buckets


def hashed(texts: Sequence[str], config: FeatureConfig | None = None) -> csr_array:
    """[N, D] float32 sparse: each row L2-normalised, or all zero for a text of white space.

    An n-gram that a prompt has n times has 1 + ln(n), times its weight, before the row is normalised.

    >>> hashed(["What is 2 + 2?", ""]).shape
    (2, 524288)
    """
    config = config or FeatureConfig()
    if len(texts) == 1:
        return _rows([clip(texts[0], config.max_chars)], config)
    return stacked((_rows(chunk, config) for chunk in _chunks(texts, config)), config.n_features)


def stacked(parts: Iterable[csr_array], n_columns: int) -> csr_array:
    """[N, n_columns] float32, the rows of all `parts`.

    Each part is copied before the next one is asked for: at no time is there more than a tenth of all of it
    beside it, where `scipy.sparse.vstack` has a second copy.
    """
    values, columns = np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int32)
    row_ends, n_filled = [np.zeros(1, dtype=np.int64)], 0
    for part in parts:
        end = n_filled + part.nnz
        if end > len(values):
            _resize(values, columns, size=int(_GROWTH * end))
        values[n_filled:end], columns[n_filled:end] = part.data, part.indices
        row_ends.append(n_filled + part.indptr[1:].astype(np.int64))
        n_filled = end
    _resize(values, columns, size=n_filled)
    bounds = np.concatenate(row_ends)
    if n_filled <= _MOST_32:  # else scipy would widen `columns` to the type of `bounds`
        bounds = bounds.astype(np.int32)
    return csr_array((values, columns, bounds), shape=(len(bounds) - 1, n_columns))


def clip(text: str, max_chars: int) -> str:
    """`text`, or its beginning and end where it is longer than `max_chars`.

    >>> clip("0123456789", 8)
    '012345 89'
    """
    if len(text) <= max_chars:
        return text
    n_last = max_chars // 4
    return f"{text[: max_chars - n_last]} {text[-n_last:]}"


def normalised(values: NDArray[np.float32], row_starts: NDArray[Any]) -> NDArray[np.float32]:
    """The values of sparse rows, those of each row of length 1; rows of zeros stay so."""
    sizes = row_starts[1:] - row_starts[:-1]
    norms = np.zeros(len(sizes))
    starts = row_starts[:-1][sizes > 0]
    norms[sizes > 0] = np.sqrt(np.add.reduceat(values**2, starts, dtype=np.float64))
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    return values * np.repeat(scale.astype(values.dtype), sizes)


def inverse_document_frequency(rows: csr_array) -> NDArray[np.float32]:
    """[D] ln((1 + N) / (1 + df)) + 1, so that a bucket in few prompts counts for more.

    Source: the smoothed form of scikit-learn's TfidfTransformer.
    """
    seen = _document_counts(rows)
    weights: NDArray[np.float32] = (np.log((1.0 + rows.shape[0]) / (1.0 + seen)) + 1.0).astype(np.float32)
    return weights


def weighted(rows: csr_array, weights: NDArray[np.float32]) -> csr_array:
    """[N, D] each column times its weight [D], rows again of length 1."""
    values = normalised(rows.data * weights.take(rows.indices), rows.indptr)
    return csr_array((values, rows.indices, rows.indptr), shape=rows.shape)


def select(rows: csr_array, position: NDArray[np.int32], n_columns: int) -> csr_array:
    """[N, n_columns] the columns that have a `position` [D] (-1: left out), at that position."""
    column = position.take(rows.indices)
    kept = np.flatnonzero(column >= 0)
    columns = column.take(kept).astype(rows.indices.dtype, copy=False)
    bounds = np.searchsorted(kept, rows.indptr).astype(rows.indptr.dtype)
    return csr_array((rows.data.take(kept), columns, bounds), shape=(rows.shape[0], n_columns))


def select_weighted(
    rows: csr_array, weights: NDArray[np.float32], position: NDArray[np.int32], n_columns: int
) -> csr_array:
    """[N, n_columns] what `select` leaves of `weighted` rows, without all of these at once."""
    starts = range(0, rows.shape[0], _CHUNK_ROWS)
    chunks = (weighted(rows[start : start + _CHUNK_ROWS], weights) for start in starts)
    return stacked((select(chunk, position, n_columns) for chunk in chunks), n_columns)


def positions(rows: csr_array, *, min_prompts: int, most: int | None = None) -> NDArray[np.int32]:
    """[D] a running number for the buckets that at least `min_prompts` rows have, -1 for the others.

    Of those the `most` frequent. The frequent come first: what is read often lies together.
    """
    counts = _document_counts(rows)
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts >= min_prompts)][:most]
    position = np.full(len(counts), -1, dtype=np.int32)
    position[order] = np.arange(len(order), dtype=np.int32)
    return position


def encodable(text: str) -> str:
    """`text` with lone surrogates, as cut JSON has them, replaced: they have no bytes to hash."""
    return text.encode(errors="replace").decode()


def _document_counts(rows: csr_array) -> NDArray[np.int64]:
    """[D] how many rows have each bucket; in pieces, since `bincount` widens what it counts."""
    counts = np.zeros(rows.shape[1], dtype=np.int64)
    for start in range(0, rows.nnz, _PIECE):
        counts += np.bincount(rows.indices[start : start + _PIECE], minlength=rows.shape[1])
    return counts


def _resize(*arrays: NDArray[Any], size: int) -> None:
    """In place, which moves no large array where the system can remap its pages."""
    for array in arrays:
        array.resize(size, refcheck=False)


def _chunks(texts: Sequence[str], config: FeatureConfig) -> Iterator[list[str]]:
    """Clipped texts in order, in pieces of bounded length, whose rows and columns fit 32 bits together."""
    n_chars = np.cumsum([min(len(text), config.max_chars) for text in texts], dtype=np.int64)
    most_rows = _N_KEYS // config.n_features
    piece = n_chars // _CHUNK_CHARS
    bounds = [0, *(np.flatnonzero(np.diff(piece)) + 1).tolist(), len(texts)]
    for first, last in pairwise(bounds):
        for start in range(first, last, most_rows):
            yield [clip(text, config.max_chars) for text in texts[start : min(start + most_rows, last)]]


def _rows(texts: Sequence[str], config: FeatureConfig) -> csr_array:
    """[R, D] the rows of a chunk, columns in order."""
    keys = _keys(texts, config)
    keys.sort()
    is_first = np.ones(len(keys), dtype=np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=is_first[1:])
    starts = np.append(np.flatnonzero(is_first), len(keys))
    counts = starts[1:] - starts[:-1]
    different = keys.take(starts[:-1])
    first_keys = np.arange(len(texts), dtype=np.uint32) * np.uint32(config.n_features)
    row_starts = np.append(np.searchsorted(different, first_keys), len(different)).astype(np.int32)
    columns = (different - np.repeat(first_keys, np.diff(row_starts))).astype(np.int32)
    values = _sublinear(int(counts.max(initial=1)).bit_length())[counts]
    values *= np.where(columns < config.n_word_buckets, np.float32(1.0), np.float32(config.char_weight))
    shape = len(texts), config.n_features
    return csr_array((normalised(values, row_starts), columns, row_starts), shape=shape)


def _keys(texts: Sequence[str], config: FeatureConfig) -> NDArray[np.uint32]:
    """Row * D + column of every n-gram, as often as it is there, in no order."""
    spelling, step = spell(texts), config.n_features
    words = word_keys(
        spelling,
        longest=config.max_word_ngram,
        log2_buckets=config.n_word_buckets.bit_length() - 1,
        row_step=step,
    )
    chars = char_keys(
        spelling,
        config.char_ngrams,
        log2_buckets=config.n_char_buckets.bit_length() - 1,
        row_step=step,
        first=config.n_word_buckets,
    )
    return np.concatenate([*words, *chars])


@lru_cache(maxsize=8)
def _sublinear(n_bits: int) -> NDArray[np.float32]:
    """[2 ** n_bits] 1 + ln(n) for n >= 1, so that the tenth time counts for less than the first."""
    weights = 1.0 + np.log(np.maximum(np.arange(2**n_bits), 1))
    return weights.astype(np.float32)
