"""Scores by number."""

from workbench.answers.final import final_line
from workbench.answers.number import TOLERANCE, Number, Tolerance, numbers, same
from workbench.errors import DataError


def numeric(response: str, reference: str, *, tolerance: Tolerance = TOLERANCE) -> float:
    """1 if the number that the response ends with is the reference's, by default within a relative 1e-6.

    A marked final answer (`Answer: ...`, `#### ...`, `\\boxed{...}`) goes before the rest of the text.
    Commas, currency signs, fractions, and per cent against a share are understood.

    >>> numeric("So she pays $1,250.00 in all.", "1250"), numeric("That is 3/4.", "75%")
    (1.0, 1.0)

    Raises:
        DataError: the reference holds no number.
    """
    wanted = _last(reference)
    if wanted is None:
        raise DataError(f"the scorer 'numeric' needs a number in the reference, which is {reference[:80]!r}")
    given = _last(response)
    return float(given is not None and same(given, wanted, tolerance))


def _last(text: str) -> Number | None:
    marked = final_line(text)
    found = numbers(marked) if marked is not None else []
    found = found or numbers(text)
    return found[-1] if found else None
