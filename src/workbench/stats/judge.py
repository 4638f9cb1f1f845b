"""How good a judge is: against human labels, and against itself with the answers in the other order."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.estimate import Estimate
from workbench.stats.paired import paired_mean
from workbench.stats.proportions import mcnemar, wilson


@dataclass(frozen=True, slots=True)
class JudgeAccuracy:
    """A judge's verdicts beside human labels, both yes or no; each share with Wilson's interval.

    `sensitivity` is the share of true yes that it calls yes, `specificity` that of true no that it calls no.
    """

    sensitivity: Estimate
    specificity: Estimate
    accuracy: Estimate
    n_true_positive: int
    n_false_negative: int
    n_true_negative: int
    n_false_positive: int


@dataclass(frozen=True, slots=True)
class CorrectedPrevalence:
    """The share of true yes behind a judge's verdicts: `estimate`, beside the `apparent` share of the judge.

    `standard_error` is Rogan and Gladen's; the interval is Lang and Reiczigel's, which need not be centred.
    """

    estimate: Estimate
    standard_error: float
    apparent: Estimate
    sensitivity: float
    specificity: float


@dataclass(frozen=True, slots=True)
class PositionBias:
    """What the order of two answers does to a pairwise judge.

    `flip_rate` is the share of pairs whose verdict changes with the order (Wilson's interval): `n_to_first`
    favour what was shown first, `n_to_second` what was shown second. `bias` is the mean verdict for the first
    shown, in [-1, 1], 0 for an even judge (t interval); `p_value` is the exact test that it is even.
    """

    flip_rate: Estimate
    bias: Estimate
    p_value: float
    n_to_first: int
    n_to_second: int
    n_pairs: int


def judge_accuracy(verdicts: np.ndarray, labels: np.ndarray, *, alpha: float = 0.05) -> JudgeAccuracy:
    """Sensitivity, specificity and accuracy of a judge's verdicts [n] against human labels [n], 0 or 1.

    Raises:
        DataError: unequal lengths, or a value that is neither 0 nor 1.
        InsufficientDataError: no label that is 1, or none that is 0.
    """
    said, true = _binary(verdicts, "verdict"), _binary(labels, "label")
    if len(said) != len(true):
        raise DataError(f"{len(said)} verdicts do not pair with {len(true)} labels")
    if true.all() or not true.any():
        raise InsufficientDataError("labels of both kinds are needed, 0 and 1; label more prompts")
    cells = (said & true), (~said & true), (~said & ~true), (said & ~true)
    return judge_accuracy_counts(*(int(cell.sum()) for cell in cells), alpha=alpha)


def judge_accuracy_counts(
    n_true_positive: int,
    n_false_negative: int,
    n_true_negative: int,
    n_false_positive: int,
    *,
    alpha: float = 0.05,
) -> JudgeAccuracy:
    """The same from the four counts.

    Raises:
        DataError: a negative count.
        InsufficientDataError: no true yes, or no true no.
    """
    n_true, n_false = n_true_positive + n_false_negative, n_true_negative + n_false_positive
    return JudgeAccuracy(
        sensitivity=wilson(n_true_positive, n_true, alpha=alpha),
        specificity=wilson(n_true_negative, n_false, alpha=alpha),
        accuracy=wilson(n_true_positive + n_true_negative, n_true + n_false, alpha=alpha),
        n_true_positive=n_true_positive,
        n_false_negative=n_false_negative,
        n_true_negative=n_true_negative,
        n_false_positive=n_false_positive,
    )


def rogan_gladen(
    n_positive: int, n: int, *, judge: JudgeAccuracy, alpha: float = 0.05
) -> CorrectedPrevalence:
    """The true share of yes, where the judge said yes to `n_positive` of `n` prompts that have no label.

    (apparent + specificity - 1) / (sensitivity + specificity - 1), cut to [0, 1]. The interval adds to each
    count as Agresti and Coull do, so that it holds for few labels and for shares near 0 or 1. It is
    empty but for 0 (or 1) where the judge says yes far more rarely (or often) than its labelled errors allow.

    >>> judge = judge_accuracy_counts(45, 5, 45, 5)
    >>> round(rogan_gladen(50, 100, judge=judge).estimate.value, 9)
    0.5

    Args:
        judge: of labelled prompts that are not among the `n`.
    Raises:
        DataError: more yes than prompts, or a judge no better than chance: sensitivity + specificity <= 1.
    Source: Rogan & Gladen (1978), American Journal of Epidemiology 107, 71-76; Lang & Reiczigel (2014),
        Confidence limits for prevalence of disease adjusted for estimated sensitivity and specificity,
        Preventive Veterinary Medicine 113, 13-22.
    """
    apparent = wilson(n_positive, n, alpha=alpha)
    sensitivity, specificity = judge.sensitivity.value, judge.specificity.value
    if sensitivity + specificity <= 1.0:
        raise DataError(
            f"a judge of sensitivity {sensitivity:.3g} and specificity {specificity:.3g} is no better than "
            "chance: its verdicts cannot be corrected"
        )
    n_true = judge.n_true_positive + judge.n_false_negative
    n_false = judge.n_true_negative + judge.n_false_positive
    value, error = _corrected(apparent.value, n, (sensitivity, n_true), (specificity, n_false))
    z = float(stats.norm.isf(alpha / 2.0))
    steadied = (
        (n_positive + z**2 / 2.0) / (n + z**2),
        n + z**2,
        ((judge.n_true_positive + 1.0) / (n_true + 2.0), n_true + 2.0),
        ((judge.n_true_negative + 1.0) / (n_false + 2.0), n_false + 2.0),
    )
    centre, spread = _corrected(*steadied)
    shift = 2.0 * z**2 * (centre * _variance(*steadied[2]) - (1.0 - centre) * _variance(*steadied[3]))
    value = min(max(value, 0.0), 1.0)
    low, high = (min(max(centre + shift + side * z * spread, 0.0), 1.0) for side in (-1.0, 1.0))
    return CorrectedPrevalence(
        Estimate(value, min(low, value), max(high, value)), error, apparent, sensitivity, specificity
    )


def position_bias(original: np.ndarray, swapped: np.ndarray, *, alpha: float = 0.05) -> PositionBias:
    """What showing answer B before answer A changes.

    >>> position_bias(np.array([1, 1, 0]), np.array([1, -1, 0])).n_to_first
    1

    Args:
        original: [n] the verdict with A shown first: 1 for A, -1 for B, 0 for a tie.
        swapped: [n] the verdict on the same pairs with B shown first: again 1 for A, -1 for B, 0 for a tie.
    Raises:
        DataError: unequal lengths, or a verdict that is not -1, 0 or 1.
        InsufficientDataError: fewer than two pairs.
    """
    first, second = np.asarray(original, dtype=np.float64), np.asarray(swapped, dtype=np.float64)
    if first.shape != second.shape:
        raise DataError(f"{len(first)} verdicts do not pair with {len(second)} of the other order")
    if not (np.isin(first, (-1.0, 0.0, 1.0)) & np.isin(second, (-1.0, 0.0, 1.0))).all():
        raise DataError("a verdict must be 1 for A, -1 for B, or 0 for a tie")
    to_first, to_second = int((first > second).sum()), int((first < second).sum())
    bias = paired_mean((first - second) / 2.0)
    return PositionBias(
        flip_rate=wilson(to_first + to_second, len(first), alpha=alpha),
        bias=bias.interval(alpha),
        p_value=mcnemar(to_first, to_second),
        n_to_first=to_first,
        n_to_second=to_second,
        n_pairs=len(first),
    )


def _corrected(
    apparent: float, n: float, sensitivity: tuple[float, float], specificity: tuple[float, float]
) -> tuple[float, float]:
    """The corrected share and its standard error; each rate comes with the number of labels it is from."""
    youden = sensitivity[0] + specificity[0] - 1.0
    value = (apparent + specificity[0] - 1.0) / youden
    variance = _variance(apparent, n)
    variance += value**2 * _variance(*sensitivity) + (1.0 - value) ** 2 * _variance(*specificity)
    return value, math.sqrt(variance) / abs(youden)


def _variance(share: float, n: float) -> float:
    return share * (1.0 - share) / n


def _binary(values: np.ndarray, name: str) -> np.ndarray:
    column = np.asarray(values, dtype=np.float64)
    if not np.isin(column, (0.0, 1.0)).all():
        raise DataError(f"each {name} must be 0 or 1")
    return np.asarray(column == 1.0)
