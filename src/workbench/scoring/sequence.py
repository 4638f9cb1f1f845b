"""Scores by the words that two texts have in common, in order."""

import re
import unicodedata

_WORD = re.compile(r"\w+")
_MOST_WORDS = 50_000
"""Of each text; what comes after is left out, so that two long texts take seconds and not hours."""


def rouge_l(response: str, reference: str, *, beta: float = 1.0) -> float:
    """F-measure over the longest common subsequence of words; a `beta` above 1 favours recall.

    Words are compared in one case, without stemming.

    >>> rouge_l("police kill the gunman", "police killed the gunman")
    0.75

    Source: Lin (2004), ROUGE: a package for automatic evaluation of summaries, sec. 3.1,
    https://aclanthology.org/W04-1013/.
    """
    given, wanted = _words(response), _words(reference)
    if not given or not wanted:
        return float(given == wanted)
    n_common = common_subsequence(given, wanted)
    return (1.0 + beta**2) * n_common / (len(given) + beta**2 * len(wanted))


def common_subsequence(first: list[str], second: list[str]) -> int:
    """How many words the longest common subsequence of both has.

    Source: Hyyrö (2004), Bit-parallel LCS-length computation revisited: a row of the table is one number.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    everything = (1 << len(first)) - 1
    row = everything
    for word in second:
        matches = row & places.get(word, 0)
        row = ((row + matches) | (row - matches)) & everything
    return len(first) - row.bit_count()


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())[:_MOST_WORDS]
