"""The difference of two means from different prompts: Welch's test, or one that allows for clusters."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.clusters import Floats, MeanError, codes_of, difference_error
from workbench.stats.estimate import Estimate


@dataclass(frozen=True, slots=True)
class TwoSampleMean:
    """`estimate` is mean(treatment) - mean(control), in the unit of the values; `p_value` is two-sided.

    `df` are Welch's degrees of freedom, or those of Bell & McCaffrey with clusters. `n_clusters` counts the
    independent units of both samples: rows, where there are no clusters.
    """

    estimate: float
    standard_error: float
    t: float
    df: float
    p_value: float
    n_treatment: int
    n_control: int
    n_clusters: int

    def interval(self, alpha: float = 0.05) -> Estimate:
        """The two-sided t interval at level 1 - `alpha`."""
        margin = float(stats.t.isf(alpha / 2.0, self.df)) * self.standard_error
        return Estimate(self.estimate, self.estimate - margin, self.estimate + margin)

    def p_at_most(self, value: float) -> float:
        """One-sided p-value that the difference is at most `value`: small where it is larger."""
        return float(stats.t.sf((self.estimate - value) / self.standard_error, self.df))

    def p_at_least(self, value: float) -> float:
        """One-sided p-value that the difference is at least `value`: small where it is smaller."""
        return float(stats.t.cdf((self.estimate - value) / self.standard_error, self.df))


def two_sample_mean(
    treatment: np.ndarray,
    control: np.ndarray,
    treatment_clusters: np.ndarray | None = None,
    control_clusters: np.ndarray | None = None,
) -> TwoSampleMean:
    """mean(`treatment`) - mean(`control`) of two samples that share no prompt; variances may differ.

    Without clusters this is Welch's t-test (variances with ddof 1). With them it is CR2 of the regression
    on an arm indicator, with Bell-McCaffrey degrees of freedom: what clubSandwich gives for lm(y ~ arm).

    >>> round(two_sample_mean(np.array([2.0, 3.0, 4.0]), np.array([1.0, 1.0, 2.0])).estimate, 4)
    1.6667

    Args:
        treatment, control: [N], [M], at least two each.
        treatment_clusters, control_clusters: [N], [M], both or none; a label in both is one cluster.
    Raises:
        DataError: a NaN, clusters of another length, or of one sample only.
        InsufficientDataError: fewer than two rows or clusters in a sample, or no variance in either; for
            0/1 scores use `proportions.newcombe`, which needs none.
    Source: Welch (1947), Biometrika 34; with clusters `clusters.difference_error`.
    """
    check_samples(treatment, control)
    if (treatment_clusters is None) != (control_clusters is None):
        raise DataError("clusters are given for one sample only; give them for both, or for none")
    estimate = float(np.mean(treatment) - np.mean(control))
    if treatment_clusters is None or control_clusters is None:
        error = welch_error(treatment, control)
    else:
        error = clustered_error(treatment, control, treatment_clusters, control_clusters)
    return tested(estimate, error, n_treatment=len(treatment), n_control=len(control))


def tested(estimate: float, error: MeanError, *, n_treatment: int, n_control: int) -> TwoSampleMean:
    """The estimate with its t and p; an error of 0 is refused."""
    if not error.variance > 0.0:
        raise InsufficientDataError(
            "neither sample varies, so nothing says how far its mean may be off; for 0/1 scores use newcombe"
        )
    standard_error = math.sqrt(error.variance)
    t = estimate / standard_error
    p_value = float(2.0 * stats.t.sf(abs(t), error.df))
    return TwoSampleMean(
        estimate, standard_error, t, error.df, p_value, n_treatment, n_control, error.n_clusters
    )


def welch_error(treatment: Floats, control: Floats) -> MeanError:
    """Of the difference of means of independent rows, with the degrees of freedom of Welch-Satterthwaite."""
    parts = [float(np.var(values, ddof=1)) / len(values) for values in (treatment, control)]
    variance = sum(parts)
    spread = parts[0] ** 2 / (len(treatment) - 1) + parts[1] ** 2 / (len(control) - 1)
    df = variance**2 / spread if spread > 0.0 else float(len(treatment) + len(control) - 2)
    return MeanError(variance, df, len(treatment) + len(control))


def clustered_error(
    treatment: Floats, control: Floats, treatment_clusters: np.ndarray, control_clusters: np.ndarray
) -> MeanError:
    """Of the difference of means where rows with one label, in either sample, are alike."""
    for values, clusters in ((treatment, treatment_clusters), (control, control_clusters)):
        if len(values) != len(clusters):
            raise DataError(f"there are {len(clusters)} clusters for {len(values)} rows; give one each")
    n = len(treatment)
    codes = codes_of(np.concatenate([treatment_clusters, control_clusters]), n + len(control))
    return difference_error(treatment, control, codes[:n], codes[n:])


def check_samples(treatment: np.ndarray, control: np.ndarray) -> None:
    """Refuse samples of fewer than two rows, or with a value that is not finite."""
    for name, values in (("treatment", treatment), ("control", control)):
        if len(values) < 2:
            raise InsufficientDataError(f"a mean needs 2 rows or more; {name} has {len(values)}")
        if not np.isfinite(values).all():
            raise DataError(f"{name} has values that are not finite; leave these rows out")
