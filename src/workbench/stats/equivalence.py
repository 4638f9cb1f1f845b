"""Is the treatment as good: equivalence by two one-sided tests (TOST), and non-inferiority.

Both take a result that has been estimated already, so that clusters are allowed for where they were there:
`paired.paired_mean`, `two_sample.two_sample_mean`, or `paired_proportions.tango` for 0/1 pairs.
"""

from dataclasses import dataclass
from typing import Protocol

from workbench.errors import DataError
from workbench.stats.estimate import Estimate


class Tested(Protocol):
    """A difference, treatment minus control, with its interval and one-sided tests."""

    def interval(self, alpha: float = 0.05) -> Estimate:
        """The two-sided interval at level 1 - `alpha`."""
        ...

    def p_at_most(self, value: float) -> float:
        """One-sided p-value that the difference is at most `value`."""
        ...

    def p_at_least(self, value: float) -> float:
        """One-sided p-value that the difference is at least `value`."""
        ...


@dataclass(frozen=True, slots=True)
class Equivalence:
    """`p_lower` tests that the difference is at most `low`, `p_upper` that it is at least `high`.

    `p_value` is the larger of them. `interval` is at level 1 - 2 alpha: inside (`low`, `high`) just where
    `is_equivalent`, which is `p_value` <= alpha.
    """

    interval: Estimate
    low: float
    high: float
    p_lower: float
    p_upper: float
    p_value: float
    is_equivalent: bool


@dataclass(frozen=True, slots=True)
class NonInferiority:
    """`p_value` tests that the treatment is worse than the control by `margin` or more.

    `interval` is at level 1 - 2 alpha; its lower limit is the one that counts: above -`margin` just where
    `is_non_inferior`, which is `p_value` <= alpha.
    """

    interval: Estimate
    margin: float
    p_value: float
    is_non_inferior: bool


def tost(difference: Tested, *, low: float, high: float, alpha: float = 0.05) -> Equivalence:
    """Is the difference between `low` and `high`, at one-sided level `alpha` each?

    >>> from workbench.stats.paired_proportions import tango
    >>> tost(tango(50, 50, 1000), low=-0.05, high=0.05).is_equivalent
    True

    Args:
        low, high: the margins, fixed before the data were seen, such as -0.02 and 0.02; unit of the score.
    Raises:
        DataError: `low` is not below `high`, or `alpha` not in (0, 1/2).
    Source: Schuirmann (1987), J. Pharmacokin. Biopharm. 15; for paired proportions by score tests, Tango
        (1998), Statistics in Medicine 17, and Liu et al. (2002), ibid. 21.
    """
    _check(alpha)
    if not low < high:
        raise DataError(f"the margins must rise; they are {low} and {high}")
    p_lower, p_upper = difference.p_at_most(low), difference.p_at_least(high)
    p_value = max(p_lower, p_upper)
    return Equivalence(
        difference.interval(2.0 * alpha), low, high, p_lower, p_upper, p_value, p_value <= alpha
    )


def non_inferiority(difference: Tested, *, margin: float, alpha: float = 0.05) -> NonInferiority:
    """Is the treatment worse by less than `margin`, at one-sided level `alpha`? Higher scores are better.

    Drug trials take alpha = 0.025, so that the interval is the usual one at 95 %.

    Raises:
        DataError: `margin` is not above 0, or `alpha` not in (0, 1/2).
    Source: as above; Piaggio et al. (2012), CONSORT extension, JAMA 308.
    """
    _check(alpha)
    if not margin > 0.0:
        raise DataError(f"a margin must be above 0, such as 0.02; it is {margin}")
    p_value = difference.p_at_most(-margin)
    return NonInferiority(difference.interval(2.0 * alpha), margin, p_value, p_value <= alpha)


def _check(alpha: float) -> None:
    if not 0.0 < alpha < 0.5:
        raise DataError(f"a one-sided alpha must be in (0, 0.5), such as 0.05; it is {alpha}")
