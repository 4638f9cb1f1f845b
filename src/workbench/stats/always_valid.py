"""Is the treatment better: an answer that may be asked for after every prompt. What a run and a live panel
use.

`AlwaysValidTest` takes differences as they come; `always_valid` takes them all at once. Three methods stand
behind
both: "exact" (`bet_mixture`: valid for any number of prompts; for 0/1 scores the beta mixture of the
    discordant pairs), "betting" (`betting_sequence`: valid as well, a little wider) and "asymptotic"
    (`sequential`: for many prompts).
"""

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.bet_mixture import MeanSequence, log_e_values
from workbench.stats.betting_sequence import BettingSequence
from workbench.stats.sequential import AsymptoticSequence

Floats = NDArray[np.float64]
Method = Literal["exact", "asymptotic", "betting"]
Verdict = Literal["better", "worse", "undecided"]

_N_PLANNED = 1000
_CONTRADICTION = (
    "rows contradict each other: the difference changed, they are not in order, or by rare chance"
)
_COLUMNS = ("mean", "low", "high", "p_value")


class Sequence(Protocol):
    """What a method does: limits after each new row, and the log e-value against a mean of 0."""

    def extend(self, differences: Floats) -> tuple[Floats, Floats, Floats]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """[N] what could be said after each unit: a row of a plot. `p_value` only falls, the interval only
    narrows."""

    n: NDArray[np.int64]
    mean: Floats
    low: Floats
    high: Floats
    p_value: Floats


@dataclass(frozen=True, slots=True, eq=False)
class AlwaysValid:
    """The mean difference after `n` units, with an interval and a p-value that hold at every look at once.

    `p_value` is of no difference, two-sided; it is at most `alpha` exactly where the interval excludes 0, as
    it excludes its limits. That first happened after `decided_at` units, None where it never did.
    `trajectory` is the way there. `warning`: rows contradict each other, as when the difference changed;
    `low` and `high` then span what was said at different times.
    """

    estimate: float
    low: float
    high: float
    p_value: float
    n: int
    method: Method
    alpha: float
    decided_at: int | None
    trajectory: Trajectory
    warning: str | None

    @property
    def verdict(self) -> Verdict:
        """better or worse: a difference was found, and nothing contradicts it; else undecided."""
        if self.decided_at is None or self.warning is not None:
            return "undecided"
        return "better" if self.trajectory.mean[self.decided_at - 1] > 0.0 else "worse"


class AlwaysValidTest:
    """Paired differences as they come, one a unit: after each, the answer so far at a cost of microseconds.

    A unit is a prompt, its repeats averaged, or a whole cluster, averaged first: what is independent of the
    others. They come in random order, and none is added before it is complete.

    >>> test = AlwaysValidTest()
    >>> test.add([1.0] * 20)
    >>> test.result().low > 0.0
    True
    """

    def __init__(self, *, method: Method = "exact", alpha: float = 0.05, n_planned: int = _N_PLANNED) -> None:
        """`n_planned` is for the asymptotic method alone: where it is at its best; not to be changed on the
        way.

        Raises:
            DataError: `alpha` not in (0, 1), or an unknown method.
        """
        if not 0.0 < alpha < 1.0:
            raise DataError(f"alpha must be in (0, 1); got {alpha}")
        self._method, self._alpha = method, alpha
        self._sequence = _sequence(method, alpha, n_planned)
        self._rows = np.empty((len(_COLUMNS), 256))
        self._n, self._total, self._p_value = 0, 0.0, 1.0
        self._decided_at: int | None = None

    @property
    def n(self) -> int:
        """Units so far."""
        return self._n

    def add(self, differences: Floats | list[float]) -> None:
        """Take one more unit, or several in their order, each treatment minus control in [-1, 1].

        Raises:
            DataError: a difference that is NaN or out of bounds; names its row among all.
        """
        new = np.asarray(differences, dtype=np.float64)
        _check(new, self._n)
        if not len(new):
            return
        totals = self._total + np.cumsum(new)
        means = totals / np.arange(self._n + 1, self._n + len(new) + 1)
        low, high, log_e = self._sequence.extend(new)
        p_value = np.minimum.accumulate(np.minimum(np.exp(-np.maximum(log_e, 0.0)), self._p_value))
        crossed = _first(p_value <= self._alpha)
        if self._decided_at is None and crossed is not None:
            self._decided_at = self._n + crossed
        self._keep(np.stack([means, low, high, p_value]))
        self._total, self._p_value = float(totals[-1]), float(p_value[-1])

    def result(self) -> AlwaysValid:
        """The answer so far.

        Raises:
            InsufficientDataError: no unit yet.
        """
        if not self._n:
            raise InsufficientDataError("a comparison needs one complete unit or more; there is none")
        mean, low, high, p_value = self._rows[:, : self._n]
        trajectory = Trajectory(np.arange(1, self._n + 1), mean, low, high, p_value)
        limits = (float(low[-1]), float(high[-1]))
        return AlwaysValid(
            estimate=float(mean[-1]),
            low=min(limits),
            high=max(limits),
            p_value=float(p_value[-1]),
            n=self._n,
            method=self._method,
            alpha=self._alpha,
            decided_at=self._decided_at,
            trajectory=trajectory,
            warning=_CONTRADICTION if limits[0] > limits[1] else None,
        )

    def _keep(self, rows: Floats) -> None:
        """Append [4, N] to what is kept; room doubles, so that a row costs the same however many there
        are."""
        end = self._n + rows.shape[1]
        if end > self._rows.shape[1]:
            room = np.empty((len(_COLUMNS), 2 * end))
            room[:, : self._n] = self._rows[:, : self._n]
            self._rows = room
        self._rows[:, self._n : end] = rows
        self._n = end


def always_valid(
    differences: Floats,
    units: NDArray[np.int64] | None = None,
    *,
    method: Method = "exact",
    alpha: float = 0.05,
    n_planned: int = _N_PLANNED,
) -> AlwaysValid:
    """The mean paired difference with an interval and a p-value that hold however often one has looked.

    >>> always_valid(np.tile([0.0, 1.0], 20)).decided_at
    20

    Args:
        differences: [N] treatment minus control in [-1, 1], one a prompt, in the order in which they came.
        units: [N] equal for prompts that are not independent: their mean is one row, as if it came with the
            last of them. The mean difference is then that of the mean unit.
        n_planned: for the asymptotic method, where it is at its best; fixed before the first look.
    Raises:
        DataError: a difference that is NaN or out of bounds, units of another length, or `alpha` not in (0,
        1). InsufficientDataError: no differences.
    """
    test = AlwaysValidTest(method=method, alpha=alpha, n_planned=n_planned)
    test.add(differences if units is None else unit_means(differences, units))
    return test.result()


def unit_means(differences: Floats, units: NDArray[np.int64]) -> Floats:
    """[G] the mean difference of each unit, in the order in which the units completed."""
    if differences.shape != units.shape:
        raise DataError(f"there are {len(units)} units for {len(differences)} differences; give one each")
    _, codes = np.unique(units, return_inverse=True)
    last = np.zeros(int(codes.max(initial=-1)) + 1, dtype=np.int64)
    last[codes] = np.arange(len(codes))
    means: Floats = np.bincount(codes, weights=differences) / np.bincount(codes)
    return means[np.argsort(last)]


@dataclass(frozen=True, slots=True)
class NonInferiority:
    """Whether the treatment is shown to lose less than `margin`: `p_value` holds at every look.

    `decided_at` is the unit after which it first was at most alpha, None where it never was.
    """

    margin: float
    p_value: float
    decided_at: int | None
    n: int


def non_inferiority(differences: Floats, *, margin: float, alpha: float = 0.05) -> NonInferiority:
    """Test after every unit against "the treatment is worse by `margin` or more", by bets that it is not.

    >>> non_inferiority(np.zeros(400), margin=0.05).p_value < 0.05
    True

    Args:
        differences: [N] in [-1, 1], one a unit, in the order in which they came.
        margin: in (0, 1); the unit of the score.
    Raises:
        DataError: a margin out of bounds, or as in `always_valid`.
        InsufficientDataError: no differences.
    Source: as `bet_mixture.log_e_values`, one-sided: all of the stake is on more.
    """
    if not (0.0 < margin < 1.0 and 0.0 < alpha < 1.0):
        raise DataError(f"margin and alpha must be in (0, 1); got {margin} and {alpha}")
    if not len(differences):
        raise InsufficientDataError("a comparison needs one complete unit or more; there is none")
    _check(differences, 0)
    log_e = log_e_values(differences, null=-margin, side="greater")
    p_value = math.exp(-max(float(log_e.max()), 0.0))
    return NonInferiority(margin, p_value, _first(log_e >= -math.log(alpha)), len(differences))


def _check(differences: Floats, n_before: int) -> None:
    is_bad = ~(np.abs(differences) <= 1.0)
    if is_bad.any():
        row = int(np.argmax(is_bad))
        raise DataError(f"difference {differences[row]} in row {n_before + row} is not in [-1, 1]")


def _first(holds: NDArray[np.bool_]) -> int | None:
    return int(np.argmax(holds)) + 1 if holds.any() else None


def _sequence(method: Method, alpha: float, n_planned: int) -> Sequence:
    if method == "exact":
        return MeanSequence(alpha=alpha)
    if method == "betting":
        return BettingSequence(alpha=alpha)
    if method == "asymptotic":
        return AsymptoticSequence(alpha=alpha, n_planned=n_planned)
    raise DataError(f"no method is called {method!r}; there are 'exact', 'betting' and 'asymptotic'")
