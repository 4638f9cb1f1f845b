"""What characters are to n-grams, in any script and any version of Python."""

import re

import numpy as np
import pytest

from workbench.features.alphabet import IDEOGRAPH, LETTER, MARK, SPACE, spelled


def of(text: str) -> tuple[str, list[int]]:
    symbols, kind = spelled(np.array([ord(char) for char in text], dtype=np.uint32))
    return "".join(map(chr, symbols.tolist())), kind.tolist()


@pytest.mark.parametrize(
    ("char", "kind"),
    [
        (" ", SPACE),
        ("\0", SPACE),
        ("\u3000", SPACE),
        ("\u2028", SPACE),
        ("_", LETTER),
        ("7", LETTER),
        ("\u00e9", LETTER),
        ("\u093f", LETTER),
        ("\ud55c", LETTER),
        ("\u0d7a", LETTER),
        ("\u4e2d", IDEOGRAPH),
        ("\u30ab", IDEOGRAPH),
        ("\U00020000", IDEOGRAPH),
        ("-", MARK),
        ("\u3002", MARK),
        ("\u20ac", MARK),
        ("\u202e", MARK),
        ("\U0001f600", MARK),
        ("\U0001f9d1", MARK),
    ],
    ids=lambda value: f"U+{ord(value):04X}" if isinstance(value, str) else str(value),
)
def test_a_character_is_of_one_kind(char: str, kind: int) -> None:
    assert of(char)[1] == [kind]


def test_characters_are_lower_case_and_white_space_is_a_space() -> None:
    assert of("A\u00c9\u0416\u03a3\u0130\t\0\u3000\u4e2d\U00020000\U0010ffff")[0] == (
        "a\u00e9\u0436\u03c3i   \u4e2d\U00020000\U0010ffff"
    )


def test_latin_greek_and_cyrillic_words_are_those_of_regular_expressions() -> None:
    text = "".join(
        map(chr, [*range(0x20, 0x7F), *range(0xA1, 0x250), *range(0x3A3, 0x3CF), *range(0x410, 0x450)])
    )
    kind = of(text)[1]
    is_word = [re.fullmatch(r"\w", char) is not None for char in text]
    assert [one == LETTER for one in kind] == is_word
