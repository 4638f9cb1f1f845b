"""The letter of a multiple choice that a response settles on."""

import re

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


def letter(text: str) -> str | None:
    """The letter that `text` settles on, as a capital; None where it names none."""
    for pattern in (_STATED, _BOXED, _OPENING, _BRACKETED, _ALONE):
        found = [next(group for group in match.groups() if group) for match in pattern.finditer(text)]
        if found:
            return found[-1].upper()
    return None
