"""Reading numbers as people write them, and comparing with a tolerance."""

import math
import re
from dataclasses import dataclass

RELATIVE_TOLERANCE = 1e-6
ABSOLUTE_TOLERANCE = 1e-9

# Possessive quantifiers (`++`) keep the time linear in the text, whatever it is.
_NUMBER = re.compile(
    r"""(?<![\w.^/])                                        # not inside a word, a version, a power or a date
    (?P<sign>[-+\u2212])?+ \s?+ [$€£]?+ \s?+
    (?: \\[dt]?+frac\{ (?P<top>\d++) \}\{ (?P<bottom>\d++) \}
      | (?: (?P<whole>\d++)\  )? (?P<numerator>\d++) \s?+ / \s?+ (?P<denominator>\d++) (?!\s?/)
      | (?P<decimal>
            (?: (?: \d{1,3} (?:,\d{3})++ (?!\d) | \d++ ) (?:\.\d++)?+ | \.\d++ ) (?:[eE][-+]?\d{1,3})?+
        )
    )
    \s?+ (?P<percent>\\?%)?+""",
    re.VERBOSE,
)
_LONGEST = 80
"""Characters; what is longer is not a number that anyone compares."""


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number as it was written: 5 % has the value 5.0 and `is_percent`."""

    value: float
    is_percent: bool = False


def numbers(text: str) -> list[Number]:
    """Every number in `text`, in order.

    >>> [number.value for number in numbers("-2.5, 1,000 and 1 1/2")]
    [-2.5, 1000.0, 1.5]
    """
    read = (_read(match) for match in _NUMBER.finditer(text))
    return [number for number in read if number is not None]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a number may be from the one that is wanted: a share of the latter, or an amount."""

    relative: float = RELATIVE_TOLERANCE
    absolute: float = ABSOLUTE_TOLERANCE

    def allows(self, given: float, wanted: float) -> bool:
        """Whether `given` is within either of `wanted`."""
        return abs(given - wanted) <= max(self.relative * abs(wanted), self.absolute)


TOLERANCE = Tolerance()


def same(given: Number, wanted: Number, tolerance: Tolerance = TOLERANCE) -> bool:
    """Whether both are one number; where only one is in per cent, 50 % is both 50 and 0.5."""
    if given.is_percent == wanted.is_percent:
        return tolerance.allows(given.value, wanted.value)
    if given.is_percent:
        return tolerance.allows(given.value, wanted.value) or tolerance.allows(
            given.value / 100.0, wanted.value
        )
    return tolerance.allows(given.value, wanted.value) or tolerance.allows(given.value, wanted.value / 100.0)


def close(given: float, wanted: float) -> bool:
    """Whether two numbers are equal within the tolerances of this module."""
    return math.isclose(given, wanted, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE)


def _read(match: re.Match[str]) -> Number | None:
    if len(match.group()) > _LONGEST:
        return None
    if match["decimal"]:
        size = float(match["decimal"].replace(",", ""))
    else:
        bottom = float(match["bottom"] or match["denominator"])
        if bottom == 0.0:
            return None
        size = float(match["whole"] or 0) + float(match["top"] or match["numerator"]) / bottom
    value = -size if match["sign"] in ("-", "\u2212") else size
    return Number(value, match["percent"] is not None) if math.isfinite(value) else None
