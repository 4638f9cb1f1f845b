"""The n-grams of many texts at once, each as one integer: its row, and the bucket that its hash chose.

The arithmetic is on whole arrays and wraps around. It has no seed that a process draws and no table of words,
so that a bucket is the same on every platform.

Dimensions: R texts of a chunk, T characters of their joined text, W words, G n-grams.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from workbench.features.alphabet import IDEOGRAPH, LETTER, SPACE, spelled

Keys = NDArray[np.uint32]
Hashes = NDArray[np.uint64]

_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse; 2^64 over the golden ratio
_FACTORS = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1, 0xD3A2646D, 0xFD7046C5, 0xB55A4F09)
"""One for each place in a character n-gram; the first five are the primes of xxHash32."""

MIN_CHAR_NGRAM, MAX_CHAR_NGRAM = 3, len(_FACTORS)
"""The shortest that has a character between a space on either side, and the longest."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """R texts in one array, a space before, between and after them.

    `symbols` [T] the lower-case code points, `kind` [T] what each is, `row` [T] whose each is; the space
    after a text is its own.
    """

    symbols: NDArray[np.uint32]
    kind: NDArray[np.uint8]
    row: NDArray[np.uint32]


def spell(texts: Sequence[str]) -> Spelling:
    """The characters of at least one text; a lone surrogate, which cannot be encoded, counts as `?`."""
    joined = f" {' '.join(texts)} "
    codes = np.frombuffer(joined.encode("utf-32-le", errors="replace"), dtype="<u4")
    symbols, kind = spelled(codes.astype(np.uint32, copy=False))
    lengths = np.fromiter(map(len, texts), dtype=np.intp, count=len(texts)) + 1
    lengths[0] += 1
    return Spelling(symbols, kind, np.repeat(np.arange(len(texts), dtype=np.uint32), lengths))


def word_keys(spelling: Spelling, *, longest: int, log2_buckets: int, row_step: int) -> Iterator[Keys]:
    """[G] row * row_step + bucket, of the words, of two words in a row, and so on up to `longest`."""
    start, end = _word_bounds(spelling.kind)
    words = _word_hashes(spelling.symbols, start, end)
    row = spelling.row[start]
    grams = words
    for n in range(1, longest + 1):
        if n > 1:
            grams = _mixed_64(grams[:-1] * np.uint64(_BASE) + words[n - 1 :])
        is_one_text = row[n - 1 :] == row[: len(grams)]
        buckets = (grams >> np.uint64(64 - log2_buckets)).astype(np.uint32)
        yield (buckets + row[: len(grams)] * np.uint32(row_step))[is_one_text]


def char_keys(
    spelling: Spelling, lengths: tuple[int, int], *, log2_buckets: int, row_step: int, first: int
) -> Iterator[Keys]:
    """[G] row * row_step + first + bucket, of the n-grams of each `n` from one of `lengths` to the other.

    An n-gram is of one word between white space, with a space on either side of the word: nothing but its
    first and last character may be one. So the word is at its second character.
    """
    shortest, longest = lengths
    is_solid = spelling.kind != SPACE
    offset = spelling.row * np.uint32(row_step) + np.uint32(first)
    places = [np.uint32(factor) for factor in _FACTORS]
    sums = spelling.symbols[:-1] * places[0] + spelling.symbols[1:] * places[1]
    is_inside = is_solid[1:]
    for n in range(MIN_CHAR_NGRAM, longest + 1):
        sums = sums[:-1] + spelling.symbols[n - 1 :] * places[n - 1]
        is_inside = is_inside[:-1] & is_solid[n - 2 : -1]
        if n >= shortest:
            buckets = _mixed_32(sums) >> np.uint32(32 - log2_buckets)
            yield (buckets + offset[1 : 1 + len(buckets)])[is_inside]


def _word_bounds(kind: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """[W] where each word begins, and [W] the place after its end."""
    is_letter = kind == LETTER
    is_start = is_letter | (kind == IDEOGRAPH)
    is_end = is_start.copy()
    goes_on = is_letter[1:] & is_letter[:-1]
    is_start[1:] &= ~goes_on
    is_end[:-1] &= ~goes_on
    return np.flatnonzero(is_start), np.flatnonzero(is_end) + 1


def _word_hashes(symbols: NDArray[np.uint32], start: NDArray[np.intp], end: NDArray[np.intp]) -> Hashes:
    """[W] the sum of symbol * base ** place over each word, from sums over all that is before, mixed."""
    powers, inverses = _powers(len(symbols).bit_length())
    before = np.zeros(len(symbols) + 1, dtype=np.uint64)
    np.cumsum(symbols * powers[: len(symbols)], out=before[1:])
    return _mixed_64((before[end] - before[start]) * inverses[start])


@lru_cache(maxsize=32)
def _powers(n_bits: int) -> tuple[Hashes, Hashes]:
    """[2 ** n_bits] of the base and of its inverse modulo 2^64, from the power 0 on."""
    powers = np.full(2**n_bits, _BASE, dtype=np.uint64)
    inverses = np.full(2**n_bits, pow(_BASE, -1, 2**64), dtype=np.uint64)
    powers[0] = inverses[0] = 1
    return np.multiply.accumulate(powers), np.multiply.accumulate(inverses)


def _mixed_64(hashes: Hashes) -> Hashes:
    """[G] every bit depending on every bit, in place.

    Source: the finaliser of SplitMix64; Steele, Lea & Flood (2014), OOPSLA, figure 17, in Stafford's form.
    """
    hashes ^= hashes >> np.uint64(30)
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> np.uint64(27)
    hashes *= np.uint64(0x94D049BB133111EB)
    hashes ^= hashes >> np.uint64(31)
    return hashes


def _mixed_32(sums: Keys) -> Keys:
    """[G] every bit depending on every bit: the finaliser of MurmurHash3 (Appleby, 2011)."""
    hashes = sums ^ (sums >> np.uint32(16))
    hashes *= np.uint32(0x85EBCA6B)
    hashes ^= hashes >> np.uint32(13)
    hashes *= np.uint32(0xC2B2AE35)
    hashes ^= hashes >> np.uint32(16)
    return hashes
