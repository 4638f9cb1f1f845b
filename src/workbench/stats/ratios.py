"""Ratios of two means of the same prompts, such as cost per correct answer: Fieller and the delta method."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from workbench.errors import DataError
from workbench.stats.clusters import Codes, codes_of, mean_error, ratio_error
from workbench.stats.estimate import Estimate
from workbench.stats.relative import RelativeDifference, ratio_tested
from workbench.stats.two_sample import check_samples

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fieller:
    """The ratios that the data do not reject: all from `low` to `high`, but for the `gap` if there is one.

    `kind` "bounded": the denominator is clearly not 0. "exclusive": it may be 0, and only the ratios inside
    `gap` are rejected; `high` is then infinite, and `low` too where a ratio may be negative. "unbounded": no
    ratio is rejected. Whoever reads `low` and `high` alone gets a set that is too large, never too small.
    """

    value: float
    low: float
    high: float
    kind: Literal["bounded", "exclusive", "unbounded"]
    gap: tuple[float, float] | None

    def __contains__(self, ratio: float) -> bool:
        """Is `ratio` in the set?"""
        is_in_gap = self.gap is not None and self.gap[0] < ratio < self.gap[1]
        return self.low <= ratio <= self.high and not is_in_gap


@dataclass(frozen=True, slots=True)
class RatioOfMeans:
    """`ratio` = `numerator_mean` / `denominator_mean`; inf or nan where the latter is 0.

    `numerator_error`, `denominator_error` are the standard errors of the means and `correlation` theirs;
    `standard_error` is that of the ratio by the delta method; t has `df` degrees of freedom. `least` is the
    least ratio possible, -inf or 0.
    """

    ratio: float
    standard_error: float
    numerator_mean: float
    denominator_mean: float
    numerator_error: float
    denominator_error: float
    correlation: float
    df: float
    least: float

    def fieller(self, alpha: float = 0.05) -> Fieller:
        """Fieller's set at level 1 - `alpha`: exact for normal means, also where the denominator is small."""
        t = float(stats.t.isf(alpha / 2.0, self.df))
        covariance = self.correlation * self.numerator_error * self.denominator_error
        square = self.denominator_mean**2 - (t * self.denominator_error) ** 2
        product = self.numerator_mean * self.denominator_mean - t * t * covariance
        constant = self.numerator_mean**2 - (t * self.numerator_error) ** 2
        root = math.sqrt(max(product * product - square * constant, 0.0))
        if square > 0.0:
            low, high = (product - root) / square, (product + root) / square
            return Fieller(self.ratio, max(low, self.least), max(high, self.least), "bounded", None)
        if square == 0.0 or root == 0.0:
            return Fieller(self.ratio, self.least, math.inf, "unbounded", None)
        below, above = (product + root) / square, (product - root) / square
        if above <= self.least:
            return Fieller(self.ratio, self.least, math.inf, "unbounded", None)
        if below < self.least:
            return Fieller(self.ratio, above, math.inf, "exclusive", (below, above))
        return Fieller(self.ratio, self.least, math.inf, "exclusive", (below, above))

    def interval(self, alpha: float = 0.05) -> Estimate:
        """ratio +- t standard errors by the delta method: fit only where the denominator is clearly not 0.

        Where the denominator's mean is 0 nothing is ruled out.
        """
        if not math.isfinite(self.standard_error):
            return Estimate(self.ratio, self.least, math.inf)
        margin = float(stats.t.isf(alpha / 2.0, self.df)) * self.standard_error
        return Estimate(self.ratio, max(self.ratio - margin, self.least), self.ratio + margin)


def ratio_of_means(
    numerator: np.ndarray, denominator: np.ndarray, clusters: np.ndarray | None = None
) -> RatioOfMeans:
    """mean(`numerator`) / mean(`denominator`), [N] of the same prompts, with what its intervals need.

    >>> round(ratio_of_means(np.array([2.0, 4.0, 9.0]), np.array([1.0, 2.0, 3.0])).ratio, 4)
    2.5

    Args:
        clusters: [N] equal for prompts that are not independent; errors are then CR2.
    Raises:
        DataError: not finite, or of unequal length.
        InsufficientDataError: fewer than two prompts or clusters.
    Source: Fieller (1954), Some Problems in Interval Estimation, JRSS B 16; Franz (2007), arXiv 0710.2024,
        for the three kinds; delta method as in `relative`.
    """
    if numerator.shape != denominator.shape:
        raise DataError(f"{len(numerator)} numerators do not pair with {len(denominator)} denominators")
    check_samples(numerator, denominator)
    return _ratio(numerator, denominator, codes_of(clusters, len(numerator)), least=-math.inf)


def cost_per_correct(
    cost_usd: np.ndarray, is_correct: np.ndarray, clusters: np.ndarray | None = None
) -> RatioOfMeans:
    """USD per correct answer of one arm: total `cost_usd` [N] over the number of `is_correct` [N] (0, 1).

    A quality in [0, 1] may stand for `is_correct`. As `ratio_of_means`, but no ratio is below 0.

    >>> round(cost_per_correct(np.array([0.02, 0.02, 0.02]), np.array([1, 0, 1])).ratio, 6)
    0.03

    Raises:
        DataError: also a cost below 0, or a correctness outside [0, 1].
        InsufficientDataError: fewer than two prompts or clusters.
    """
    _check_cost(cost_usd, is_correct)
    return _ratio(cost_usd, is_correct, codes_of(clusters, len(cost_usd)), least=0.0)


def cost_ratio(
    treatment_cost_usd: np.ndarray, control_cost_usd: np.ndarray, clusters: np.ndarray | None = None
) -> RelativeDifference:
    """The treatment's cost over the control's, totals of the same prompts [N]: 0.5 is half.

    Log scale, with the leverage-adjusted error of `clusters.ratio_error`: a little wider than the delta
    method of `relative.paired_relative_difference`, which is too short where a few long prompts, or
    clusters, make up much of the cost.

    >>> round(cost_ratio(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 5.0])).ratio, 4)
    0.5455

    Args:
        clusters: [N] equal for prompts that are not independent.
    Raises:
        DataError: not finite, of unequal length, below 0, or an arm that costs nothing.
        InsufficientDataError: fewer than two prompts or clusters for which the control costs something.
    """
    _check_costs(treatment_cost_usd, control_cost_usd)
    ratio = float(np.sum(treatment_cost_usd) / np.sum(control_cost_usd))
    error = ratio_error(treatment_cost_usd, control_cost_usd, codes_of(clusters, len(control_cost_usd)))
    return ratio_tested(ratio, replace(error, variance=error.variance / ratio**2))


def cost_per_correct_ratio(
    treatment_cost_usd: np.ndarray,
    treatment_is_correct: np.ndarray,
    control_cost_usd: np.ndarray,
    control_is_correct: np.ndarray,
    clusters: np.ndarray | None = None,
) -> RelativeDifference:
    """The treatment's cost per correct answer over the control's, [N] of the same prompts: 0.5 is half.

    Delta method on the log scale: it asks for a few tens of correct answers of each arm.

    Args:
        clusters: [N] equal for prompts that are not independent; errors are then CR2.
    Raises:
        DataError: as in `cost_per_correct`, or an arm without a cost or without a correct answer.
        InsufficientDataError: fewer than two prompts or clusters.
    Source: as in `relative.paired_relative_difference`.
    """
    _check_cost(treatment_cost_usd, treatment_is_correct)
    _check_cost(control_cost_usd, control_is_correct)
    if treatment_cost_usd.shape != control_cost_usd.shape:
        raise DataError(
            f"{len(treatment_cost_usd)} treatments do not pair with {len(control_cost_usd)} controls"
        )
    parts = (treatment_cost_usd, treatment_is_correct, control_cost_usd, control_is_correct)
    means = [float(np.mean(part)) for part in parts]
    if min(means) <= 0.0:
        raise DataError("an arm has no cost or no correct answer; its cost per correct answer has no ratio")
    shares = [part / mean for part, mean in zip(parts, means, strict=True)]
    log_influence = shares[0] - shares[1] - shares[2] + shares[3]
    error = mean_error(log_influence, codes_of(clusters, len(log_influence)))
    return ratio_tested(means[0] / means[1] / (means[2] / means[3]), error)


def _ratio(numerator: Floats, denominator: Floats, codes: Codes, *, least: float) -> RatioOfMeans:
    above, below = float(np.mean(numerator)), float(np.mean(denominator))
    above_error = mean_error(numerator, codes)
    below_error = math.sqrt(mean_error(denominator, codes).variance)
    error = math.sqrt(above_error.variance)
    correlation = _correlation(numerator, denominator, codes, errors=(error, below_error))
    ratio = above / below if below else (math.inf if above > 0.0 else math.nan)
    standard_error = math.nan
    if below:
        residual = mean_error(numerator - ratio * denominator, codes)
        standard_error = math.sqrt(residual.variance) / abs(below)
    return RatioOfMeans(
        ratio=ratio,
        standard_error=standard_error,
        numerator_mean=above,
        denominator_mean=below,
        numerator_error=error,
        denominator_error=below_error,
        correlation=correlation,
        df=above_error.df,
        least=least,
    )


def _correlation(first: Floats, second: Floats, codes: Codes, *, errors: tuple[float, float]) -> float:
    """Of the two means: from the variances of their sum and difference, each in its own standard error."""
    if min(errors) == 0.0:
        return 0.0
    one, other = first / errors[0], second / errors[1]
    variance = mean_error(one + other, codes).variance - mean_error(one - other, codes).variance
    return min(1.0, max(-1.0, variance / 4.0))


def _check_costs(treatment_cost_usd: np.ndarray, control_cost_usd: np.ndarray) -> None:
    if treatment_cost_usd.shape != control_cost_usd.shape:
        raise DataError(
            f"{len(treatment_cost_usd)} treatments do not pair with {len(control_cost_usd)} controls"
        )
    check_samples(treatment_cost_usd, control_cost_usd)
    if min(treatment_cost_usd.min(), control_cost_usd.min()) < 0.0:
        raise DataError("a cost is below 0 USD; it cannot be")
    if min(np.sum(treatment_cost_usd), np.sum(control_cost_usd)) == 0.0:
        raise DataError("an arm costs nothing; its cost has no ratio to another")


def _check_cost(cost_usd: np.ndarray, is_correct: np.ndarray) -> None:
    if cost_usd.shape != is_correct.shape:
        raise DataError(f"{len(cost_usd)} costs do not pair with {len(is_correct)} answers")
    check_samples(cost_usd, is_correct)
    if cost_usd.min() < 0.0:
        raise DataError(f"a cost is {cost_usd.min():g} USD; it cannot be below 0")
    if is_correct.min() < 0 or is_correct.max() > 1:
        raise DataError("an answer is correct (1), not (0) or something between; a value is neither")
