"""Scores by the fields of a JSON object."""

import json
import re
from collections.abc import Mapping

from workbench.answers.number import close
from workbench.errors import DataError
from workbench.scoring.text import plain

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]

_OPENING = re.compile(r"\{(?=\s*+[\"}])")
_LONGEST = 200_000
"""Characters at the end of a text in which an object is looked for."""
_TRIES = 256
"""Openings tried in one text, so that a hostile one cannot make the search costly."""


def json_fields(response: str, reference: str) -> float:
    """F1 over the fields of the last JSON object in the response: the same key with an equal value.

    Numbers are compared with a tolerance, also where one is written as text; texts as `normalised` does.

    >>> round(json_fields('Here: {"name": "Ann", "age": 31}', '{"name": "ann", "age": 30}'), 3)
    0.5

    Raises:
        DataError: the reference is not a JSON object.
    """
    wanted = reference_object(reference)
    if wanted is None:
        raise DataError(f"the scorer 'json_fields' needs a JSON object as reference, not {reference[:80]!r}")
    given = found_object(response)
    if given is None:
        return 0.0
    if not given or not wanted:
        return float(given == wanted)
    return 2.0 * n_equal(given, wanted) / (len(given) + len(wanted))


def n_equal(given: Mapping[str, Json], wanted: Mapping[str, Json]) -> int:
    """How many fields of `wanted` have an equal value in `given`."""
    return sum(key in given and _equal(given[key], value) for key, value in wanted.items())


def found_object(text: str) -> dict[str, Json] | None:
    """The last whole JSON object in `text` that is inside no other; None where there is none."""
    text, found, end = text[-_LONGEST:], None, 0
    for tries, match in enumerate(_OPENING.finditer(text)):
        if tries >= _TRIES:
            break
        if match.start() < end:
            continue
        try:
            found, end = json.JSONDecoder(strict=False).raw_decode(text, match.start())
        except RecursionError:
            break
        except ValueError:
            continue
    return found


def reference_object(reference: str) -> dict[str, Json] | None:
    """The reference as a JSON object; None where it is none."""
    try:
        value = json.loads(reference)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _equal(given: Json, wanted: Json) -> bool:
    if isinstance(wanted, bool) or isinstance(given, bool) or wanted is None or given is None:
        return given is wanted
    if isinstance(wanted, dict):
        return isinstance(given, dict) and len(given) == len(wanted) and n_equal(given, wanted) == len(wanted)
    if isinstance(wanted, list):
        return (
            isinstance(given, list)
            and len(given) == len(wanted)
            and all(_equal(a, b) for a, b in zip(given, wanted, strict=True))
        )
    if isinstance(given, dict | list):
        return False
    if isinstance(wanted, str) and isinstance(given, str):
        return plain(given) == plain(wanted)
    numbers = _number(given), _number(wanted)
    return numbers[0] is not None and numbers[1] is not None and close(numbers[0], numbers[1])


def _number(value: str | float) -> float | None:
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
