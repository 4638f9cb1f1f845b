"""One generated problem: its question, its computed answer, and the form the answer must have."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random


@dataclass(frozen=True, slots=True)
class Problem:
    """A question with its right answer; `form` is what the last line shows in place of the answer."""

    question: str
    reference: str
    form: str = "<number>"


Template = Callable[[Random, int], Problem]
"""Draws one problem of difficulty 1, 2 or 3."""

PEOPLE = (
    "Amara", "Bruno", "Chloe", "Dmitri", "Elena", "Farid", "Greta", "Hiro", "Ines", "Jonas", "Keiko", "Liam",
    "Mina", "Noah", "Olga", "Pablo", "Quinn", "Rosa", "Samir", "Tara", "Uma", "Viktor", "Wanda", "Yusuf",
)  # fmt: skip


def decimal(value: int | Fraction, *, places: int | None = None) -> str:
    """An exact decimal, with just the digits it needs or with `places` of them.

    >>> decimal(Fraction(5, 2)), decimal(3), decimal(Fraction(5, 2), places=2)
    ('2.5', '3', '2.50')

    Raises:
        ValueError: the value has no exact decimal of at most 6 (or `places`) places.
    """
    digits = 6 if places is None else places
    scaled = Fraction(value) * 10**digits
    if scaled.denominator != 1:
        raise ValueError(f"{value} is not a decimal of {digits} places")
    whole, part = divmod(abs(scaled.numerator), 10**digits)
    text = f"{whole}.{part:0{digits}d}" if digits else str(whole)
    text = text.rstrip("0").rstrip(".") if places is None else text
    return f"-{text}" if scaled < 0 else text


def dollars(cents: int) -> str:
    """A price, with the cents only where there are some.

    >>> dollars(1250), dollars(300)
    ('$12.50', '$3')
    """
    return f"${decimal(Fraction(cents, 100), places=2 if cents % 100 else 0)}"


def listed(items: Sequence[str]) -> str:
    """The items as English lists them.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
