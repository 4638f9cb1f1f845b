"""A difference in percent of the control: the ratio of two means, less 1, by the delta method."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from workbench.errors import DataError
from workbench.stats.clusters import MeanError, codes_of, mean_error
from workbench.stats.estimate import Estimate
from workbench.stats.two_sample import check_samples, clustered_error, welch_error


@dataclass(frozen=True, slots=True)
class RelativeDifference:
    """`estimate` is mean(treatment) / mean(control) - 1: 0.05 is 5 % more; `ratio` is 1 + `estimate`.

    `standard_error` is that of `estimate` (and of `ratio`), `log_standard_error` that of log(`ratio`), both
    by the delta method; `p_value` is two-sided, of log(`ratio`) = 0 by t with `df` degrees of freedom.
    """

    estimate: float
    ratio: float
    standard_error: float
    log_standard_error: float
    df: float
    p_value: float

    def interval(self, alpha: float = 0.05) -> Estimate:
        """Of `estimate` at level 1 - `alpha`, made on the log scale: it agrees with `p_value`."""
        ratio = self.ratio_interval(alpha)
        return Estimate(self.estimate, ratio.low - 1.0, ratio.high - 1.0)

    def ratio_interval(self, alpha: float = 0.05) -> Estimate:
        """Of `ratio` at level 1 - `alpha`: `interval` plus 1."""
        margin = float(stats.t.isf(alpha / 2.0, self.df)) * self.log_standard_error
        return Estimate(self.ratio, self.ratio * math.exp(-margin), self.ratio * math.exp(margin))

    def linear_interval(self, alpha: float = 0.05) -> Estimate:
        """Of `estimate` at level 1 - `alpha`, symmetric: estimate +- t standard errors."""
        margin = float(stats.t.isf(alpha / 2.0, self.df)) * self.standard_error
        return Estimate(self.estimate, self.estimate - margin, self.estimate + margin)


def paired_relative_difference(
    treatment: np.ndarray, control: np.ndarray, clusters: np.ndarray | None = None
) -> RelativeDifference:
    """By how much mean(`treatment`) exceeds mean(`control`), as a share of the latter; [N] the same prompts.

    >>> round(paired_relative_difference(np.array([1.1, 2.4, 3.0]), np.array([1.0, 2.0, 3.0])).estimate, 4)
    0.0833

    Args:
        clusters: [N] equal for prompts that are not independent; errors are then CR2.
    Raises:
        DataError: not finite, of unequal length, or a mean that is not above 0.
        InsufficientDataError: fewer than two prompts or clusters.
    Source: Casella & Berger (2002), Statistical Inference, sec. 5.5.4; Deng, Knoblich & Lu (2018), Applying
        the Delta Method in Metric Analytics, KDD.
    """
    if treatment.shape != control.shape:
        raise DataError(f"{len(treatment)} treatments do not pair with {len(control)} controls")
    above, below = _means(treatment, control)
    error = mean_error(treatment / above - control / below, codes_of(clusters, len(treatment)))
    return ratio_tested(above / below, error)


def two_sample_relative_difference(
    treatment: np.ndarray,
    control: np.ndarray,
    treatment_clusters: np.ndarray | None = None,
    control_clusters: np.ndarray | None = None,
) -> RelativeDifference:
    """The same of two samples that share no prompt, [N] and [M]; degrees of freedom are Welch's.

    Args and errors as in `two_sample.two_sample_mean` and `paired_relative_difference`.
    """
    above, below = _means(treatment, control)
    if (treatment_clusters is None) != (control_clusters is None):
        raise DataError("clusters are given for one sample only; give them for both, or for none")
    if treatment_clusters is None or control_clusters is None:
        error = welch_error(treatment / above, control / below)
    else:
        error = clustered_error(treatment / above, control / below, treatment_clusters, control_clusters)
    return ratio_tested(above / below, error)


def ratio_tested(ratio: float, log_error: MeanError) -> RelativeDifference:
    """A ratio with the error of its logarithm, tested against 1; without any error p is 1 or 0."""
    log_standard_error = math.sqrt(log_error.variance)
    if log_standard_error > 0.0:
        p_value = float(2.0 * stats.t.sf(abs(math.log(ratio)) / log_standard_error, log_error.df))
    else:
        p_value = float(ratio == 1.0)
    return RelativeDifference(
        ratio - 1.0, ratio, ratio * log_standard_error, log_standard_error, log_error.df, p_value
    )


def _means(treatment: np.ndarray, control: np.ndarray) -> tuple[float, float]:
    check_samples(treatment, control)
    above, below = float(np.mean(treatment)), float(np.mean(control))
    if not (above > 0.0 and below > 0.0):
        raise DataError(f"a relative difference needs means above 0; they are {above:g} and {below:g}")
    return above, below
