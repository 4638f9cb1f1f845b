"""The standard error of a mean, and of a difference of means, when rows of one cluster are alike.

G clusters, N rows. CR1 and CR2 are the names of Cameron & Miller (2015) and of the R package clubSandwich.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError, InsufficientDataError

Correction = Literal["CR1", "CR2"]
"""CR1: G / (G - 1), and G - 1 degrees of freedom. CR2: by leverage, and Bell-McCaffrey degrees of freedom."""
Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MeanError:
    """The `variance` of a mean or of a difference of means, and the degrees of freedom `df` of its t."""

    variance: float
    df: float
    n_clusters: int


def codes_of(clusters: np.ndarray | None, n: int) -> Codes:
    """[N] whole numbers from 0, equal where `clusters` [N] are; without clusters each row is one.

    Raises:
        DataError: clusters of another length.
    """
    if clusters is None:
        return np.arange(n)
    if len(clusters) != n:
        raise DataError(f"there are {len(clusters)} clusters for {n} rows; give one each")
    return np.unique(clusters, return_inverse=True)[1].reshape(-1).astype(np.int64)


def mean_error(values: Floats, codes: Codes, *, correction: Correction = "CR2") -> MeanError:
    """Of the mean of `values` [N]; without clusters and with clusters of one size both corrections agree.

    CR2 divides the square of a cluster's summed residuals by 1 - n_g / N, which makes the variance
    unbiased where rows are independent; its degrees of freedom are Satterthwaite's under that model.

    Raises:
        InsufficientDataError: fewer than two clusters.
    Source: Bell & McCaffrey (2002), Bias Reduction in Standard Errors for Linear Regression with Multi-Stage
        Samples, Survey Methodology 28; Imbens & Kolesar (2016), Rev. Econ. Stat. 98.
    """
    sample = _sample(values, codes, int(codes.max()) + 1 if len(codes) else 0)
    check_clusters(sample.n_clusters)
    if correction == "CR1":
        n_clusters = sample.n_clusters
        variance = n_clusters / (n_clusters - 1.0) * float(sample.sums @ sample.sums) / sample.n**2
        return MeanError(variance, n_clusters - 1.0, n_clusters)
    adjusted = sample.adjusted
    return MeanError(float(adjusted @ adjusted), 1.0 / _squared(sample) / sample.n**2, sample.n_clusters)


def difference_error(
    treatment: Floats, control: Floats, treatment_codes: Codes, control_codes: Codes
) -> MeanError:
    """Of mean(`treatment`) - mean(`control`), [N], [M]: CR2 of the regression on an indicator of the arm.

    A code that occurs in both samples is one cluster. Degrees of freedom as in `mean_error`, under
    independent rows of one variance in both samples.
    """
    n_codes = int(max(treatment_codes.max(), control_codes.max())) + 1
    first = _sample(treatment, treatment_codes, n_codes)
    second = _sample(control, control_codes, n_codes)
    check_clusters(first.n_clusters)
    check_clusters(second.n_clusters)
    sums = first.adjusted - second.adjusted
    squared = _squared(first) + _squared(second) + 2.0 * _crossed(first, second)
    df = (1.0 / first.n + 1.0 / second.n) ** 2 / squared
    n_clusters = int(((first.sizes + second.sizes) > 0).sum())
    return MeanError(float(sums @ sums), df, n_clusters)


def ratio_error(numerator: Floats, denominator: Floats, codes: Codes) -> MeanError:
    """Of the ratio of the sums of `numerator` and `denominator` [N], both 0 or more: CR2.

    The ratio is the slope through the origin with weights 1 / denominator, so a cluster's leverage is its
    share of the denominator: a long prompt that costs a lot is allowed for as a large cluster is.

    Raises:
        InsufficientDataError: fewer than two clusters that have a denominator.
    Source: as in `mean_error`, for weighted least squares; Royall & Cumberland (1981), JASA 76.
    """
    sizes = np.bincount(codes, weights=denominator).astype(np.float64)
    residuals = numerator - numerator.sum() / denominator.sum() * denominator
    sample = _Sample(float(sizes.sum()), sizes, np.bincount(codes, weights=residuals).astype(np.float64))
    check_clusters(sample.n_clusters)
    adjusted = sample.adjusted
    return MeanError(float(adjusted @ adjusted), 1.0 / _squared(sample) / sample.n**2, sample.n_clusters)


def check_clusters(n_clusters: int) -> None:
    """Refuse fewer than two independent units."""
    if n_clusters < 2:
        raise InsufficientDataError(
            f"a comparison needs at least 2 independent prompts or clusters; there is {n_clusters}"
        )


@dataclass(frozen=True, slots=True)
class _Sample:
    """A sample as its clusters: [G] how many rows (or how much denominator) each has, summed residuals."""

    n: float
    sizes: Floats
    sums: Floats

    @property
    def n_clusters(self) -> int:
        return int((self.sizes > 0.0).sum())

    @property
    def leverage(self) -> Floats:
        """[G] 1 - n_g / N, the share of a cluster's residuals that the mean has not taken."""
        return 1.0 - self.sizes / self.n

    @property
    def adjusted(self) -> Floats:
        """[G] what each cluster adds to the error of the mean."""
        return self.sums / np.sqrt(self.leverage) / self.n


def _sample(values: Floats, codes: Codes, n_codes: int) -> _Sample:
    residuals = np.asarray(values, dtype=np.float64) - float(np.mean(values)) if len(values) else values
    sizes = np.bincount(codes, minlength=n_codes).astype(np.float64)
    sums = np.bincount(codes, weights=residuals, minlength=n_codes).astype(np.float64)
    return _Sample(len(values), sizes, sums)


def _squared(sample: _Sample) -> float:
    """The sum of squares of the matrix P of which the variance is the quadratic form e' P e."""
    weights = sample.sizes**2 / sample.leverage
    off_diagonal = float(weights.sum()) ** 2 - float(weights @ weights)
    return (float(sample.sizes @ sample.sizes) + off_diagonal / sample.n**2) / sample.n**4


def _crossed(first: _Sample, second: _Sample) -> float:
    """The sum of products of two samples' P, element by element: 0 unless they share clusters."""
    n, m = first.n, second.n
    own = float(first.sizes @ second.sizes) / (n * m) ** 2
    weights = first.sizes * second.sizes / np.sqrt(first.leverage * second.leverage)
    off_diagonal = float(weights.sum()) ** 2 - float(weights @ weights)
    return own + off_diagonal / (n * m) ** 3
