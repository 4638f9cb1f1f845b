"""What each character is to an n-gram: white space, a letter, a word of its own, or anything else.

Read from Unicode 3.2, the one version of its tables that every Python has: the same text has the same n-grams
under any of them. What was assigned later counts as a letter, outside the blocks of symbols.

Dimensions: T characters.
"""

from functools import lru_cache
from unicodedata import ucd_3_2_0

import numpy as np
from numpy.typing import NDArray

SPACE, MARK, LETTER, IDEOGRAPH = range(4)
"""Kinds of characters: a LETTER (or a digit, or `_`) is in a word, an IDEOGRAPH is one."""

_N_LISTED = 0x20000  # above are the ideographs of plane 2 and later, and little else
_IDEOGRAPHS = (  # https://www.unicode.org/Public/UNIDATA/Blocks.txt, read 2026-11-23: Han and kana
    (0x3005, 0x3008),
    (0x3041, 0x3100),
    (0x31F0, 0x3200),
    (0x3400, 0x4DC0),
    (0x4E00, 0xA000),
    (0xF900, 0xFB00),
    (0xFF66, 0xFFA0),
)
_SYMBOLS = ((0x2000, 0x2C00), (0x2E00, 0x2E80), (0x1F000, 0x1FC00))
"""Blocks in which what Unicode 3.2 did not know became punctuation, symbols and emoji."""


def spelled(codes: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """[T] code points -> [T] those of the lower-case characters, white space as U+0020; [T] their kinds.

    Control characters, U+0000 among them, are white space: no code point that comes back is 0.
    """
    lower, kind = _tables()
    listed = np.minimum(codes, _N_LISTED - 1).astype(np.intp)
    symbols = np.where(codes < _N_LISTED, lower[listed], codes)
    return symbols, kind[listed]


@lru_cache(maxsize=1)
def _tables() -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """[_N_LISTED] the lower-case code point, and the kind, of each."""
    categories = _Categories()
    is_space = categories.are("Z", "Cc")
    lower = np.arange(_N_LISTED, dtype=np.uint32)
    for code in np.flatnonzero(categories.are("Lu", "Lt")).tolist():
        lower[code] = ord(chr(code).lower()[0])  # U+0130 alone becomes two characters: `i` and a dot
    lower[is_space] = ord(" ")
    return lower, _kinds(categories, is_space)


class _Categories:
    """The general category of each listed code point, as a small number: texts would take megabytes."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        named = map(ucd_3_2_0.category, map(chr, range(_N_LISTED)))
        numbered = (self._numbers.setdefault(name, len(self._numbers)) for name in named)
        self._found = np.fromiter(numbered, dtype=np.uint8, count=_N_LISTED)

    def are(self, *beginnings: str) -> NDArray[np.bool_]:
        """[_N_LISTED] whether the category's name begins with one of these."""
        return np.isin(self._found, [n for name, n in self._numbers.items() if name.startswith(beginnings)])


def _kinds(categories: _Categories, is_space: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """[_N_LISTED] the kind of each code point; marks are letters, as vowels of Hindi and Arabic are."""
    is_new = categories.are("Cn")
    for start, end in _SYMBOLS:
        is_new[start:end] = False
    is_letter = categories.are("L", "M", "N") | is_new
    is_letter[ord("_")] = True
    kind = np.full(_N_LISTED, MARK, dtype=np.uint8)
    kind[is_letter] = LETTER
    kind[is_space] = SPACE
    for start, end in _IDEOGRAPHS:
        kind[start:end][is_letter[start:end]] = IDEOGRAPH
    kind[-1] = IDEOGRAPH
    return kind
