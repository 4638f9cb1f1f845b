"""Scores by the letter of a multiple choice."""

import re

from workbench.errors import DataError

# Ordered from what says most clearly which letter is meant; of one kind, the last in the text counts.
# The letter is a capital, except where nothing but the letter follows the word.
_STATED = re.compile(
    r"(?i:\b(?:answer|option|choice)\b)[\s:=*_`'\"(\[]*+(?i:is\b)?+[\s:*_`'\"(\[{]*+(?:\\(?:text|mathrm)\{\(?)?+"
    r"(?:(?i:option|choice)\b[\s(]*+)?+([A-J](?![\w'])|[a-j](?=[)\]*_`'\".]{0,4}\s*+(?:$|\n)))"
)
_BOXED = re.compile(r"\\boxed\{\(?(?:\\(?:text|mathrm)\{\(?)?([A-Ja-j])\b")
_OPENING = re.compile(r"^[\s*_`'\"(\[]*+([A-Ja-j])(?:[)\].:*_`'\"]|\s*+$)")
_BRACKETED = re.compile(r"\(([A-J])\)|(?:^|\n)[ \t*_]*+([A-J])[).:]")
_ALONE = re.compile(r"(?<![\w'])([B-HJ])(?![\w'])")


def choice(response: str, reference: str) -> float:
    """1 if the letter from A to J that the response settles on is the reference's.

    >>> choice("Let me think. The answer is (C), because ...", "C"), choice("B. Rome", "C")
    (1.0, 0.0)

    Raises:
        DataError: the reference names no letter.
    """
    wanted = letter(reference)
    if wanted is None:
        raise DataError(
            f"the scorer 'choice' needs a letter A to J in the reference, which is {reference[:80]!r}"
        )
    return float(letter(response) == wanted)


def letter(text: str) -> str | None:
    """The letter that `text` settles on, as a capital; None where it names none."""
    for pattern in (_STATED, _BOXED, _OPENING, _BRACKETED, _ALONE):
        found = [next(group for group in match.groups() if group) for match in pattern.finditer(text)]
        if found:
            return found[-1].upper()
    return None
