"""Sample-ratio mismatch: whether arms got the shares of traffic that they were meant to get.

A mismatch says that the assignment, the logging or the filtering is broken, and that no difference between
the arms can be trusted. K arms.
Source: Fabijan et al. (2019), Diagnosing Sample Ratio Mismatch in Online Controlled Experiments, KDD.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from scipy import stats
from scipy.special import gammaln, logsumexp

from workbench.errors import DataError, InsufficientDataError

_MAX_OUTCOMES = 200_000
"""Of the multinomial, so that all can be listed."""


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Counts of the arms beside what was intended.

    `p_value` is Pearson's chi-square with K - 1 degrees of freedom, two-sided; `exact_p_value` adds up all
    outcomes that are no likelier than this one (binomial for two arms, else multinomial), None where there
    are too many to list. `is_mismatch`: the exact one, or else the other, is at most alpha.
    """

    observed: tuple[int, ...]
    expected: tuple[float, ...]
    chi_square: float
    df: int
    p_value: float
    exact_p_value: float | None
    is_mismatch: bool


@dataclass(frozen=True, slots=True)
class SequentialSampleRatio:
    """The same, looked at after every row: `p_value` holds at all looks together, for any number of rows.

    `e_value` is the evidence against the intended shares after the last row, a likelihood ratio whose mean is
    1 where they are true; `p_value` is 1 / the greatest so far. `detected_at` is the row after which it first
    was at most alpha; None: never. `e_process` [N] is the evidence after each row.
    """

    observed: tuple[int, ...]
    e_value: float
    p_value: float
    detected_at: int | None
    e_process: np.ndarray = field(repr=False, compare=False)


def sample_ratio(
    counts: np.ndarray, shares: np.ndarray | None = None, *, alpha: float = 0.001
) -> SampleRatio:
    """Test the counts [K] of the arms against their intended shares [K].

    >>> round(sample_ratio(np.array([520, 480])).p_value, 4)
    0.2059

    Args:
        counts: rows that each arm got.
        shares: intended, in any unit (2 and 1 for two thirds and a third); None: equal.
        alpha: small, as a false alarm stops an experiment.
    Raises:
        DataError: fewer than two arms, negative counts, or shares that are not positive, one an arm.
        InsufficientDataError: no rows.
    """
    observed, intended = _counted(counts), _shares(shares, len(counts))
    n = int(observed.sum())
    if n == 0:
        raise InsufficientDataError("a sample ratio needs one row or more; there is none")
    expected = n * intended
    chi_square = float(((observed - expected) ** 2 / expected).sum())
    p_value = float(stats.chi2.sf(chi_square, len(observed) - 1))
    exact = _exact(observed, intended)
    return SampleRatio(
        observed=tuple(int(count) for count in observed),
        expected=tuple(float(count) for count in expected),
        chi_square=chi_square,
        df=len(observed) - 1,
        p_value=p_value,
        exact_p_value=exact,
        is_mismatch=(p_value if exact is None else exact) <= alpha,
    )


def sequential_sample_ratio(
    assignments: np.ndarray,
    shares: np.ndarray | None = None,
    *,
    n_arms: int | None = None,
    concentration: float = 100.0,
    alpha: float = 0.001,
) -> SequentialSampleRatio:
    """The test that may be looked at after every assignment [N], in the order in which they were made.

    >>> sequential_sample_ratio(np.tile([0, 0, 0, 1], 100)).detected_at is not None
    True

    Args:
        assignments: [N] the arm of each row, a whole number from 0.
        shares: as in `sample_ratio`.
        n_arms: K, where shares are not given; None: as many as were assigned.
        concentration: of the Dirichlet prior around the intended shares: 100 expects mismatches of about five
            points, and finds these soonest; 10,000 those of half a point.
    Raises:
        DataError: as in `sample_ratio`, or an arm that is not one of them.
        InsufficientDataError: no rows.
    Source: Lindon & Malek (2022), Anytime-Valid Inference for Multinomial Count Data, NeurIPS, arXiv
        2011.03567: the Bayes factor of a Dirichlet mixture is a martingale under the intended shares.
    """
    arm = np.asarray(assignments)
    if not len(arm):
        raise InsufficientDataError("a sample ratio needs one row or more; there is none")
    if arm.min() < 0 or (arm != np.round(arm)).any():
        raise DataError("an assignment must be the arm's index, a whole number from 0")
    arm = arm.astype(np.int64)
    count = int(arm.max()) + 1
    intended = _shares(shares, n_arms or max(count, 2) if shares is None else len(shares))
    if count > len(intended):
        raise DataError(f"row {int(np.argmax(arm))} has arm {count - 1}; there are {len(intended)} arms")
    is_of = arm[:, None] == np.arange(len(intended))
    rows = np.arange(len(arm))
    before = (np.cumsum(is_of, axis=0) - is_of)[rows, arm]
    predicted = (concentration * intended[arm] + before) / (concentration + rows)
    evidence = np.cumsum(np.log(predicted / intended[arm]))
    is_found = evidence >= math.log(1.0 / alpha)
    return SequentialSampleRatio(
        observed=tuple(int(total) for total in is_of.sum(axis=0)),
        e_value=float(np.exp(evidence[-1])),
        p_value=min(1.0, float(np.exp(-evidence.max()))),
        detected_at=int(np.argmax(is_found)) + 1 if is_found.any() else None,
        e_process=np.exp(evidence),
    )


def _exact(observed: np.ndarray, intended: np.ndarray) -> float | None:
    n, k = int(observed.sum()), len(observed)
    if k == 2:
        return float(stats.binomtest(int(observed[0]), n, float(intended[0])).pvalue)
    if math.comb(n + k - 1, k - 1) > _MAX_OUTCOMES:
        return None
    outcomes = _outcomes(n, k)
    log_chance = gammaln(n + 1.0) - gammaln(outcomes + 1.0).sum(axis=1) + outcomes @ np.log(intended)
    seen = gammaln(n + 1.0) - gammaln(observed + 1.0).sum() + observed @ np.log(intended)
    return min(1.0, float(np.exp(logsumexp(log_chance[log_chance <= seen + 1e-7]))))


def _outcomes(n: int, k: int) -> np.ndarray:
    """[outcomes, k] every way in which n rows fall into k arms."""
    counts = np.zeros((1, 0), dtype=np.int64)
    for _ in range(k - 1):
        left = n - counts.sum(axis=1)
        rows = np.repeat(np.arange(len(counts)), left + 1)
        start = np.repeat(np.cumsum(left + 1) - (left + 1), left + 1)
        counts = np.column_stack([counts[rows], np.arange(len(rows)) - start])
    return np.column_stack([counts, n - counts.sum(axis=1)])


def _counted(counts: np.ndarray) -> np.ndarray:
    observed = np.asarray(counts, dtype=np.float64)
    if observed.ndim != 1 or len(observed) < 2:
        raise DataError("a sample ratio needs the counts of 2 arms or more")
    if not ((observed >= 0.0) & (observed == np.round(observed))).all():
        raise DataError(f"counts must be whole numbers >= 0; got {observed.tolist()}")
    return observed


def _shares(shares: np.ndarray | None, n_arms: int) -> np.ndarray:
    intended = np.ones(n_arms) if shares is None else np.asarray(shares, dtype=np.float64)
    if len(intended) != n_arms or n_arms < 2:
        raise DataError(f"there are {n_arms} arms and {len(intended)} shares; give 2 or more, one an arm")
    if not ((intended > 0.0) & np.isfinite(intended)).all():
        raise DataError(f"shares must be positive; got {intended.tolist()}")
    return np.asarray(intended / intended.sum())
