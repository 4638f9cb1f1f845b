"""Scores by text: the same, the same but for its dress, contained, and the words in common."""

import re
import unicodedata
from collections import Counter

from workbench.errors import DataError

_DRESS = " \t\r\n\"'`*_$\u201c\u201d\u2018\u2019"
_WORD = re.compile(r"\w+")


def exact(response: str, reference: str) -> float:
    """1 if the response is the reference, white space around either aside.

    >>> exact(" Paris ", "Paris"), exact("paris", "Paris")
    (1.0, 0.0)
    """
    return float(response.strip() == reference.strip())


def normalised(response: str, reference: str) -> float:
    """1 if both are the same after `plain`: case, white space, quotes, emphasis and a final stop aside.

    >>> normalised("**Paris**.", "paris")
    1.0
    """
    return float(plain(response) == plain(reference))


def contains(response: str, reference: str) -> float:
    """1 if the reference occurs in the response as whole words, both after `plain`.

    A response that lists every possible answer scores 1 too: use it where that cannot pay.

    >>> contains("The capital is Paris.", "Paris"), contains("Parisian", "Paris")
    (1.0, 0.0)

    Raises:
        DataError: the reference is empty, and so in every response.
    """
    wanted, text = plain(reference), plain(response)
    if not wanted:
        raise DataError("the scorer 'contains' needs a reference that is not empty")
    start = text.find(wanted)
    while start >= 0:
        before, after = text[start - 1 : start], text[start + len(wanted) : start + len(wanted) + 1]
        if not (_joins(before, wanted[0]) or _joins(wanted[-1], after)):
            return 1.0
        start = text.find(wanted, start + len(wanted))
    return 0.0


def token_f1(response: str, reference: str) -> float:
    """Harmonic mean of precision and recall over words, each counted as often as it occurs.

    >>> round(token_f1("the red fox", "a red fox"), 3)
    0.667

    Source: Rajpurkar et al. (2016), SQuAD, arXiv:1606.05250, there with articles removed.
    """
    given, wanted = Counter(_words(response)), Counter(_words(reference))
    if not given or not wanted:
        return float(given == wanted)
    shared = (given & wanted).total()
    return 2.0 * shared / (given.total() + wanted.total())


def plain(text: str) -> str:
    """`text` in one case and form, single spaces, none around commas, no quotes or stop around it.

    >>> plain(' "Red,  GREEN". ')
    'red,green'
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    stripped = folded.strip(_DRESS + ".").replace("\u2212", "-")
    return ",".join(" ".join(part.split()) for part in stripped.split(","))


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _joins(left: str, right: str) -> bool:
    """Whether the two characters are of one word; "" is the end of the text."""
    return bool(left and right and (left.isalnum() and right.isalnum()))
