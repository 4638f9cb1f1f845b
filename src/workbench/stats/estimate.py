"""An estimate is never shown without its interval: the pair of them, as one value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its confidence interval, in the unit of the value."""

    value: float
    low: float
    high: float
