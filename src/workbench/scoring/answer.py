"""The scorer of the embedded prompt set, whose prompts ask for a last line `Answer: ...`."""

from workbench.answers.final import final_answer, final_line
from workbench.answers.number import Number, numbers, same
from workbench.scoring.structured import found_object, n_equal, reference_object
from workbench.scoring.text import plain

_BRACKETS = " \t\r\n\"'`*_$<>[]()."


def answer(response: str, reference: str) -> float:
    """1 if the final answer is the reference: as a JSON object, as a number, or as text.

    The final answer follows the last `Answer:`; a response without that mark must be the answer and no
    more. A JSON object must have the same keys with equal values. For a number, every number in the
    final answer must be that one ("$42", "x = 42", not "41 or 42"). Other answers are compared as
    `normalised` does, brackets around them aside.

    >>> answer("6 * 7 = 42\\nAnswer: 42", "42"), answer("Answer: 41 or 42", "42")
    (1.0, 0.0)
    """
    fields = reference_object(reference)
    if fields is not None:
        marked = final_answer(response)
        given = found_object(response if marked is None else marked)
        return float(given is not None and len(given) == len(fields) == n_equal(given, fields))
    marked = final_line(response)
    line = response if marked is None else marked
    wanted = _number(reference)
    if wanted is not None:
        found = numbers(line)
        return float(bool(found) and all(same(number, wanted) for number in found))
    return float(_bare(line) == _bare(reference))


def _number(reference: str) -> Number | None:
    """The reference as a number, where it is one and no more."""
    found = numbers(reference)
    is_number = len(found) == 1 and not any(letter.isalpha() for letter in reference)
    return found[0] if is_number else None


def _bare(text: str) -> str:
    return plain(text.strip(_BRACKETS))
