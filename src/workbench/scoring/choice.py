"""Scores by the letter of a multiple choice."""

from workbench.answers.letter import letter
from workbench.errors import DataError


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
