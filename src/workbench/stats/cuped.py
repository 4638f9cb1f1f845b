"""A difference made more exact by a covariate known beforehand, such as what a router predicted."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.clusters import Floats, MeanError, codes_of, mean_error
from workbench.stats.estimate import Estimate
from workbench.stats.two_sample import check_samples, clustered_error, welch_error


@dataclass(frozen=True, slots=True)
class Cuped:
    """`estimate` is the adjusted difference, treatment minus control; `p_value` is two-sided.

    `unadjusted` is the plain one; `theta` what the covariate was multiplied by; `variance_reduction` is
    1 - (`standard_error` / `unadjusted_standard_error`)^2, below 0 where the covariate did harm.
    """

    estimate: float
    standard_error: float
    df: float
    p_value: float
    theta: float
    unadjusted: float
    unadjusted_standard_error: float
    variance_reduction: float

    def interval(self, alpha: float = 0.05) -> Estimate:
        """The two-sided t interval of `estimate` at level 1 - `alpha`."""
        margin = float(stats.t.isf(alpha / 2.0, self.df)) * self.standard_error
        return Estimate(self.estimate, self.estimate - margin, self.estimate + margin)


def two_sample_cuped(
    treatment: np.ndarray,
    control: np.ndarray,
    treatment_covariate: np.ndarray,
    control_covariate: np.ndarray,
    *,
    treatment_clusters: np.ndarray | None = None,
    control_clusters: np.ndarray | None = None,
    theta: float | None = None,
) -> Cuped:
    """The difference of means, less theta times that of the covariate's means.

    theta is cov(Y, X) / var(X) over both samples together, as in the source, unless given. The error is
    that of `two_sample.two_sample_mean` of Y - theta X: Welch, or CR2 where there are clusters.

    Args:
        treatment, control: [N], [M] scores; the covariates belong to the same rows and must not depend on
            the arm: known before it was chosen.
        treatment_clusters, control_clusters: both or none; a label in both is one cluster.
        theta: such as from an earlier experiment.
    Raises:
        DataError: not finite, or of unequal lengths.
        InsufficientDataError: fewer than two rows in a sample, or nothing varies.
    Source: Deng, Xu, Kohavi & Walker (2013), Improving the Sensitivity of Online Controlled Experiments by
        Utilizing Pre-Experiment Data, WSDM.
    """
    check_samples(treatment, control)
    check_samples(treatment_covariate, control_covariate)
    _check_length(treatment, treatment_covariate)
    _check_length(control, control_covariate)
    if theta is None:
        theta = _theta(
            np.concatenate([treatment, control]), np.concatenate([treatment_covariate, control_covariate])
        )
    first, second = treatment - theta * treatment_covariate, control - theta * control_covariate
    return _compared(
        float(np.mean(first) - np.mean(second)),
        _error(first, second, treatment_clusters, control_clusters),
        float(np.mean(treatment) - np.mean(control)),
        _error(treatment, control, treatment_clusters, control_clusters),
        theta=theta,
    )


def paired_cuped(
    differences: np.ndarray,
    covariate: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    covariate_mean: float,
    theta: float | None = None,
) -> Cuped:
    """mean(`differences`) - theta (mean(`covariate`) - `covariate_mean`): for a sample of a known pool.

    Pairs are balanced already: the covariate's mean over *the same* prompts would change nothing. It helps
    where it is known for a pool of which the prompts are a random sample: a router's predicted difference
    for 10,000 prompts, of which 500 were run. The interval is then for the pool.

    Args:
        differences, covariate: [N] of one prompt each; theta is cov / var of these unless given.
        clusters: [N] equal for prompts that are not independent; the error is then CR2.
        covariate_mean: the covariate's mean over the whole pool, which is taken as known.
    Raises:
        DataError: not finite, or of unequal lengths.
        InsufficientDataError: fewer than two prompts or clusters, or nothing varies.
    Source: as above; Cochran (1977), Sampling Techniques, sec. 7.3 (regression estimator of a mean).
    """
    check_samples(differences, covariate)
    _check_length(differences, covariate)
    codes = codes_of(clusters, len(differences))
    shift = float(np.mean(covariate)) - covariate_mean
    is_fitted = theta is None
    theta = _theta(differences, covariate) if theta is None else theta
    terms = differences - theta * (covariate - covariate_mean)
    estimate = float(np.mean(terms))
    if is_fitted:
        terms = _influence(terms - estimate, covariate - np.mean(covariate), shift)
    return _compared(
        estimate,
        mean_error(terms, codes),
        float(np.mean(differences)),
        mean_error(differences, codes),
        theta=theta,
    )


def _influence(residuals: Floats, centred: Floats, shift: float) -> Floats:
    """[N] what each row adds, with the slope's own error; scaled for the degree of freedom that it costs."""
    n = len(residuals)
    scale = math.sqrt((n - 1.0) / max(n - 2.0, 1.0))
    influence: Floats = scale * residuals * (1.0 - n * shift * centred / float(centred @ centred))
    return influence


def _theta(values: Floats, covariate: Floats) -> float:
    centred = covariate - np.mean(covariate)
    total = float(centred @ centred)
    if not total > 0.0:
        raise InsufficientDataError("the covariate is the same in all rows; it explains nothing")
    return float(centred @ values) / total


def _error(
    first: Floats, second: Floats, first_clusters: np.ndarray | None, second_clusters: np.ndarray | None
) -> MeanError:
    if (first_clusters is None) != (second_clusters is None):
        raise DataError("clusters are given for one sample only; give them for both, or for none")
    if first_clusters is None or second_clusters is None:
        return welch_error(first, second)
    return clustered_error(first, second, first_clusters, second_clusters)


def _compared(
    estimate: float, error: MeanError, unadjusted: float, plain: MeanError, *, theta: float
) -> Cuped:
    if not (error.variance > 0.0 and plain.variance > 0.0):
        raise InsufficientDataError("the scores do not vary beyond the covariate; there is no error to give")
    standard_error = math.sqrt(error.variance)
    return Cuped(
        estimate=estimate,
        standard_error=standard_error,
        df=error.df,
        p_value=float(2.0 * stats.t.sf(abs(estimate) / standard_error, error.df)),
        theta=theta,
        unadjusted=unadjusted,
        unadjusted_standard_error=math.sqrt(plain.variance),
        variance_reduction=1.0 - error.variance / plain.variance,
    )


def _check_length(values: np.ndarray, covariate: np.ndarray) -> None:
    if len(values) != len(covariate):
        raise DataError(f"there are {len(covariate)} covariates for {len(values)} rows; give one each")
