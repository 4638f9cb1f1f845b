"""The structure of a prompt: how long it is, what its characters are, and what it looks like on the page.

None of it depends on a vocabulary or a fit, and all of it on counts alone, not on where they are.

Dimensions: N prompts, S structure features, T characters of a chunk of prompts, C classes of characters.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from workbench.features.ngrams import clip, encodable

STRUCTURE_NAMES: tuple[str, ...] = (
    "log_chars",
    "log_words",
    "log_lines",
    "log_numerals",
    "log_options",
    "log_mean_word_length",
    "digit_share",
    "upper_share",
    "code_share",
    "ascii_share",
    "latin_1_share",
    "cyrillic_share",
    "arabic_share",
    "cjk_share",
    "other_script_share",
    "has_code_fence",
    "has_latex",
    "has_question_mark",
)
"""Column by column: counts as ln(1 + n), shares of the characters in [0, 1], and 0 or 1."""

_OTHER, _SPACE, _LINE, _DIGIT, _UPPER, _LOWER, _CODE, _QUESTION, _MARK = range(9)
_LATIN_1, _CYRILLIC, _ARABIC, _CJK, _SEPARATOR = range(9, 14)
_N_CLASSES = 14
_ASCII = (_SPACE, _LINE, _DIGIT, _UPPER, _LOWER, _CODE, _QUESTION, _MARK)
_SPACES = "\t\v\f\r \x85\xa0\u2028\u2029\u3000"
_BLOCKS = (  # https://www.unicode.org/Public/UNIDATA/Blocks.txt, read 2026-11-23
    (_LATIN_1, 0x00A1, 0x0250),
    (_CYRILLIC, 0x0400, 0x0530),
    (_ARABIC, 0x0600, 0x0700),
    (_ARABIC, 0x0750, 0x0780),
    (_CJK, 0x1100, 0x1200),
    (_CJK, 0x3001, 0xA000),
    (_CJK, 0xAC00, 0xD7B0),
    (_CJK, 0xF900, 0xFB00),
    (_CJK, 0xFF00, 0xFFF0),
)
_SHARES = np.column_stack(
    [
        np.isin(np.arange(_N_CLASSES), chosen)
        for chosen in (_DIGIT, _UPPER, _CODE, _ASCII, _LATIN_1, _CYRILLIC, _ARABIC, _CJK, _OTHER)
    ]
).astype(np.int64)
"""[C, 9] which classes each share of the characters is of."""
_BITS = np.arange(2**5)[:, None] >> np.arange(5) & 1
_IS_GAP = np.isin(np.arange(_N_CLASSES), (_SPACE, _LINE, _SEPARATOR))
_CHUNK_CHARS = 4_000_000


def structure(texts: Sequence[str], *, max_chars: int = 8_000) -> NDArray[np.float32]:
    """[N, S] float32, a column for each of `STRUCTURE_NAMES`; zeros for an empty text.

    Of a text longer than `max_chars` all but its length is read from what `clip` leaves.

    >>> float(structure(["2 + 2?"])[0, STRUCTURE_NAMES.index("has_question_mark")])
    1.0
    """
    parts = [_of_chunk(chunk, max_chars) for chunk in _chunks(texts, max_chars)]
    return np.concatenate(parts) if parts else np.zeros((0, len(STRUCTURE_NAMES)), dtype=np.float32)


def _chunks(texts: Sequence[str], max_chars: int) -> list[Sequence[str]]:
    """Texts in order, in pieces of so many characters that the arrays over characters stay small."""
    if len(texts) == 1:
        return [texts]
    n_chars = np.cumsum([min(len(text), max_chars) for text in texts])
    piece = n_chars // _CHUNK_CHARS
    bounds = [0, *(np.flatnonzero(np.diff(piece)) + 1).tolist(), len(texts)]
    return [texts[start:end] for start, end in pairwise(bounds) if end > start]


def _of_chunk(texts: Sequence[str], max_chars: int) -> NDArray[np.float32]:
    read = [encodable(clip(text, max_chars)) for text in texts]
    codes = np.frombuffer(("\0" + "\0".join(read) + "\0").encode("utf-32-le"), dtype=np.uint32)
    kind = _classes()[np.minimum(codes, 0xFFFF)]
    lengths = np.array([len(text) for text in read])
    ends = np.cumsum(lengths + 1)
    kind[np.append(0, ends)] = _SEPARATOR
    owner = np.append(0, np.repeat(np.arange(len(read)), lengths + 1))
    n = _tally(owner, kind, len(read), _N_CLASSES)
    beginnings = (
        _starts(~_IS_GAP[kind]),
        _numerals(codes, kind),
        _options(codes, kind),
        _commands(codes, kind),
        codes[1:] == ord("$"),
    )
    begins = sum(is_there.view(np.uint8) << bit for bit, is_there in enumerate(beginnings))
    n_words, n_numerals, n_options, n_commands, n_dollars = (
        _tally(owner[1:], begins, len(read), len(_BITS)) @ _BITS
    ).T
    n_solid = lengths - n[:, _SPACE] - n[:, _LINE]
    found = np.empty((len(texts), len(STRUCTURE_NAMES)))
    found[:, 0] = [len(text) for text in texts]
    found[:, 1] = n_words
    found[:, 2] = n[:, _LINE] + (lengths > 0)
    found[:, 3] = n_numerals
    found[:, 4] = n_options
    found[:, 5] = n_solid / np.maximum(n_words, 1)
    found[:, :6] = np.log1p(found[:, :6])
    found[:, 6:15] = n @ _SHARES / np.maximum(lengths, 1)[:, None]
    found[:, 15] = ["```" in text for text in read]
    found[:, 16] = (n_commands > 0) | (n_dollars > 1)
    found[:, 17] = n[:, _QUESTION] > 0
    return found.astype(np.float32)


def _tally(
    owner: NDArray[np.int64], kind: NDArray[np.uint8], n_texts: int, n_kinds: int
) -> NDArray[np.int64]:
    """[N, kinds] how many characters of each kind each text has."""
    return np.bincount(owner * n_kinds + kind, minlength=n_texts * n_kinds).reshape(-1, n_kinds)


def _starts(is_inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[T] -> [T - 1] where a run of such characters begins."""
    return is_inside[1:] & ~is_inside[:-1]


def _is_either(codes: NDArray[np.uint32], first: str, second: str) -> NDArray[np.bool_]:
    """[T] whether it is one of two characters; `isin` takes many times as long."""
    found: NDArray[np.bool_] = (codes == ord(first)) | (codes == ord(second))
    return found


def _numerals(codes: NDArray[np.uint32], kind: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """[T] -> [T - 1] where a number begins; `3.5` and `1,000` are one."""
    is_digit = kind == _DIGIT
    found = _starts(is_digit)
    found[1:] &= ~(_is_either(codes[1:-1], ".", ",") & is_digit[:-2])
    return found


def _options(codes: NDArray[np.uint32], kind: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """[T] -> [T - 1] where an answer option begins: `A.`, `A)` or `1)` after a space or a bracket."""
    is_label = ((codes >= ord("A")) & (codes <= ord("J"))) | (kind == _DIGIT)
    is_closed = _is_either(codes, ".", ")")
    is_open = _IS_GAP[kind] | (codes == ord("("))
    found: NDArray[np.bool_] = is_label[1:].copy()
    found[:-1] &= is_closed[2:]
    found[:-2] &= kind[3:] != _DIGIT
    found[-1] = False
    found &= is_open[:-1]
    return found


def _commands(codes: NDArray[np.uint32], kind: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """[T] -> [T - 1] where a LaTeX command has its name, or a formula its bracket: after a backslash."""
    is_name = (kind == _LOWER) | (kind == _UPPER) | _is_either(codes, "(", "[")
    found: NDArray[np.bool_] = is_name[1:] & (codes[:-1] == ord("\\"))
    return found


@lru_cache(maxsize=1)
def _classes() -> NDArray[np.uint8]:
    """[65536] the class of each code point; those above are of another script."""
    kind = np.full(0x10000, _OTHER, dtype=np.uint8)
    for block, start, end in _BLOCKS:
        kind[start:end] = block
    kind[:0x80] = _MARK
    kind[ord("0") : ord("9") + 1] = _DIGIT
    kind[ord("A") : ord("Z") + 1] = _UPPER
    kind[ord("a") : ord("z") + 1] = _LOWER
    for chars, chosen in (("{}[]<>;=_\\|&^#@~`*", _CODE), ("?", _QUESTION), (_SPACES, _SPACE), ("\n", _LINE)):
        kind[[ord(char) for char in chars]] = chosen
    kind[[ord("\uff1f"), ord("\u061f")]] = _QUESTION
    return kind
