"""The form in which final answers are compared: equal text where two responses settle on the same.

No task label is needed: numbers compare as numbers, letters of a choice as letters, and lists, JSON and code
as text without the white space that their syntax allows.
"""

import re

from workbench.answers.final import final_line
from workbench.answers.letter import letter
from workbench.answers.number import numbers

# Possessive quantifiers (`*+`) keep the time linear in the text, whatever it is.
_QUANTITY = re.compile(
    r"[-+\u2212]?+\s?+[$€£]?+\s?+(?!0\d)(?:\d[\d.,]*+(?:(?:\ \d++)?+/\d++)?+|\.\d++)"  # no code such as 007
    r"\s?+(?:\\?%)?+(?:\s?+[A-Za-z°]++\.?){0,3}+"  # and its unit
)
_CHOICE = re.compile(r"[(\[]?(?P<letter>[A-J])(?:[)\].:](?:\s.*)?)?", re.DOTALL)
_STATES = re.compile(r"\b(?:answer|option|choice)\b", re.IGNORECASE)
_LOOSE = re.compile(r"\s*+([,:;\[\](){}=+*/])\s*+")
_QUOTES = str.maketrans("", "", "\"'`\u201c\u201d\u2018\u2019")
_DRESS = " \t\r\n*_$"
_LONGEST = 200
"""Characters; what is longer and marks no final answer is prose, of which the last line is looked at."""
_LOOKED_AT = 20_000
"""Characters, from the end of a response: a cascade decides while its caller waits."""
_DIGITS = 9

_REFUSAL = re.compile(
    r"\W{0,8}(?:(?:i['\u2019]m|i am) (?:very )?(?:sorry|unable|not able)|sorry,|i apologi[sz]e|as an ai\b"
    r"|i (?:can['\u2019]?t|cannot|won['\u2019]?t|will not) (?:help|assist|answer|comply|provide|do)\b)",
    re.IGNORECASE,
)


def settled(response: str) -> str:
    """What `response` settles on, in the form to compare; "" where that is nothing.

    >>> settled("The total is 1,250.00.\\nAnswer: $1,250"), settled("1250 dollars")
    ('1250', '1250')
    >>> settled("(B) Rome"), settled("{'a': [1,2]}") == settled('{"a": [1, 2]}')
    ('(B)', True)
    """
    response = response[-_LOOKED_AT:]
    marked = final_line(response)
    text = (response if marked is None else marked).strip(_DRESS)
    if marked is None and len(text) > _LONGEST:
        return _of_prose(text)
    return _of_answer(text)


def is_refusal(response: str) -> bool:
    """Whether the response begins by declining to answer, in English."""
    return _REFUSAL.match(response) is not None


def _of_answer(text: str) -> str:
    bare = text.translate(_QUOTES).strip(_DRESS)
    bare = bare.removesuffix(".") if not bare.endswith("..") else bare
    if len(bare) <= _LONGEST and _QUANTITY.fullmatch(bare):
        found = numbers(bare)
        if found:
            return f"{found[0].value:.{_DIGITS}g}"
    if chosen := _chosen(bare):
        return f"({chosen})"
    return " ".join(_LOOSE.sub(r"\1", bare).split())


def _of_prose(text: str) -> str:
    """The letter that it states, else the last number of its last line, else the text itself."""
    last = text.splitlines()[-1]
    if _STATES.search(last) and (chosen := letter(last)):
        return f"({chosen})"
    found = numbers(last)
    return f"{found[-1].value:.{_DIGITS}g}" if found else " ".join(text.split()).casefold()


def _chosen(text: str) -> str | None:
    """The capital of `B`, `(B)`, `B.` or `B) Rome`, but not of `A dog`; None: it is no choice."""
    found = _CHOICE.fullmatch(text)
    return None if found is None else found["letter"]
