"""Prediction-powered inference: a judge's many verdicts, corrected by a few human labels.

The mean of the judge's verdicts on all prompts is biased by the judge's errors; the labelled prompts say by
how much. n labelled prompts, N others, all drawn from one population.
Source: Angelopoulos, Bates, Fannjiang, Jordan & Zrnic (2023), Prediction-powered inference, Science 382,
    669-674; Angelopoulos, Duchi & Zrnic (2023), PPI++, arXiv 2311.01453, for the tuned power.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.estimate import Estimate
from workbench.stats.paired import paired_mean

MIN_LABELS = 10
"""Labelled prompts, or clusters of them: with fewer, a judge's rare errors are likely not seen at all."""


@dataclass(frozen=True, slots=True)
class PredictionPowered:
    """The mean label over all prompts, with its interval, and what the labels alone would have said.

    `power` is lambda, how far the judge is trusted: 0 not at all, which is `classical`; 1 fully. `rectifier`
    is the mean of label minus prediction on the labelled prompts: what the judge misses. `effective_labels`
    is how many labels would have given as small a classical error. `p_value` is two-sided, of a mean of 0.
    `standard_error` is the plain one; the interval is a little wider, see `ppi_mean`.
    """

    estimate: Estimate
    standard_error: float
    df: float
    p_value: float
    classical: Estimate
    classical_standard_error: float
    judge_mean: float
    rectifier: float
    power: float
    n_labelled: int
    n_unlabelled: int
    effective_labels: float


def ppi_mean(
    labels: np.ndarray,
    predictions: np.ndarray,
    unlabelled_predictions: np.ndarray,
    *,
    power: float | None = None,
    clusters: np.ndarray | None = None,
    unlabelled_clusters: np.ndarray | None = None,
    bounds: tuple[float, float] | None = None,
    alpha: float = 0.05,
) -> PredictionPowered:
    """The mean label of the population, from few labels and a judge's predictions of many.

    power x mean(unlabelled) + mean(labels - power x predictions). The tuned power is
    cov(label, prediction) / ((1 + n/N) var(prediction)), cut to [0, 1]: never worse than the labels alone
    where these are many. The interval is t's, with n - 2 degrees of freedom where the power was tuned, and
    Satterthwaite's for both parts together. Where the bounds are known, one more labelled prompt is thought
    at either end of the range of label - power x prediction: ten prompts on which judge and human agree do
    not prove that they always do.

    >>> labels, judged = np.tile([1.0, 0.0, 1.0, 1.0], 5), np.tile([1.0, 0.0, 1.0, 0.0], 5)
    >>> round(ppi_mean(labels, judged, np.tile([1.0, 0.0], 500), power=1.0).estimate.value, 6)
    0.75

    Args:
        labels: [n] by humans, for prompts drawn at random.
        predictions: [n] the judge's of the same prompts, same unit.
        unlabelled_predictions: [N] the judge's of the others.
        power: lambda; None: tuned. 1 is the original method.
        clusters, unlabelled_clusters: [n], [N] equal for prompts that are not independent, labelled or not.
        bounds: the least and greatest label possible; None: 0 and 1 where all labels are one of these, else
            unknown.
    Raises:
        DataError: unequal lengths, a value that is not finite or out of bounds, or clusters of one part only.
        InsufficientDataError: fewer than 10 labels, or clusters of them, or than 2 other prompts.
    """
    parts = _checked(labels, predictions, unlabelled_predictions)
    if bounds is None and np.isin(labels, (0.0, 1.0)).all():
        bounds = (0.0, 1.0)
    return _estimated(parts, power, (clusters, unlabelled_clusters), bounds, alpha)


def ppi_paired_difference(
    labels: np.ndarray,
    predictions: np.ndarray,
    unlabelled_predictions: np.ndarray,
    *,
    power: float | None = None,
    clusters: np.ndarray | None = None,
    unlabelled_clusters: np.ndarray | None = None,
    bounds: tuple[float, float] | None = None,
    alpha: float = 0.05,
) -> PredictionPowered:
    """Treatment minus control, both judged on the same prompts, and labelled on a few of them.

    `ppi_mean` of the differences, prompt by prompt: what the judge gets wrong alike in both arms cancels.

    Args:
        labels, predictions: [n, 2] of treatment and control, in this order.
        unlabelled_predictions: [N, 2] the judge's of the other prompts.
        bounds: the least and greatest difference possible; None: -1 and 1 where all labels are 0 or 1, else
            unknown. The two prompts thought beside the labelled ones are half as far apart as the bounds.
    Other args and errors as in `ppi_mean`.
    """
    tables = [np.asarray(part, dtype=np.float64) for part in (labels, predictions, unlabelled_predictions)]
    if any(table.ndim != 2 or table.shape[1] != 2 for table in tables):
        raise DataError(f"two columns, treatment and control, are needed; got {[t.shape for t in tables]}")
    parts = _checked(*(table[:, 0] - table[:, 1] for table in tables))
    if bounds is None and np.isin(tables[0], (0.0, 1.0)).all():
        bounds = (-1.0, 1.0)
    return _estimated(parts, power, (clusters, unlabelled_clusters), bounds, alpha, n_arms=2)


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """[n] labels and predictions of the same prompts, [N] predictions of the others."""

    labels: np.ndarray
    predictions: np.ndarray
    unlabelled: np.ndarray


Clusters = tuple[np.ndarray | None, np.ndarray | None]


def _estimated(
    parts: _Parts,
    power: float | None,
    clusters: Clusters,
    bounds: tuple[float, float] | None,
    alpha: float,
    *,
    n_arms: int = 1,
) -> PredictionPowered:
    labels, n = parts.labels, len(parts.labels)
    groups = _groups(parts, clusters)
    classical = paired_mean(labels, clusters[0], bounds=bounds or _unbounded(labels))
    trusted = _tuned(parts) if power is None else power
    value = float(trusted * parts.unlabelled.mean() + (labels - trusted * parts.predictions).mean())
    n_fitted = 2 if power is None and trusted != 0.0 else 1
    spread = _spread(parts, trusted, groups, n_fitted=n_fitted)
    interval, p_value = classical.interval(alpha), classical.p_value
    if trusted != 0.0:
        error = math.hypot(spread.error, _unseen(parts, trusted, groups, bounds) / n_arms)
        margin = float(stats.t.isf(alpha / 2.0, spread.df)) * error
        low, high = bounds or (-math.inf, math.inf)
        interval = Estimate(value, max(value - margin, low), min(value + margin, high))
        p_value = (
            float(2.0 * stats.t.sf(abs(value) / error, spread.df)) if error > 0.0 else float(value == 0.0)
        )
    gain = (classical.standard_error / spread.error) ** 2 if spread.error > 0.0 else math.inf
    return PredictionPowered(
        estimate=interval,
        standard_error=spread.error,
        df=spread.df,
        p_value=p_value,
        classical=classical.interval(alpha),
        classical_standard_error=classical.standard_error,
        judge_mean=float(np.concatenate([parts.predictions, parts.unlabelled]).mean()),
        rectifier=float((labels - parts.predictions).mean()),
        power=float(trusted),
        n_labelled=n,
        n_unlabelled=len(parts.unlabelled),
        effective_labels=n * gain if trusted != 0.0 else float(n),
    )


def _tuned(parts: _Parts) -> float:
    """The power that makes the variance least, as estimated: example 6.1 of PPI++."""
    judged = np.concatenate([parts.predictions, parts.unlabelled])
    variance = float(judged.var(ddof=1)) * (1.0 + len(parts.labels) / len(parts.unlabelled))
    if variance == 0.0:
        return 0.0
    return min(max(float(np.cov(parts.labels, parts.predictions)[0, 1]) / variance, 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class _Spread:
    error: float
    df: float


def _spread(parts: _Parts, power: float, groups: np.ndarray | None, *, n_fitted: int) -> _Spread:
    n, n_others = len(parts.labels), len(parts.unlabelled)
    rectified = parts.labels - power * parts.predictions
    rectified, others = rectified - rectified.mean(), power * (parts.unlabelled - parts.unlabelled.mean())
    if groups is None:
        of_labels = float(rectified @ rectified) / (n * (n - n_fitted))
        of_others = float(others @ others) / (n_others * (n_others - 1))
        total = of_labels + of_others
        parts_df = of_labels**2 / (n - n_fitted) + of_others**2 / (n_others - 1)
        return _Spread(math.sqrt(total), total**2 / parts_df if parts_df > 0.0 else float(n - n_fitted))
    sums = np.bincount(groups, weights=np.concatenate([rectified / n, others / n_others]))
    n_groups = len(np.unique(groups[:n]))
    return _Spread(
        math.sqrt(float(sums @ sums) * n_groups / (n_groups - n_fitted)), float(n_groups - n_fitted)
    )


def _unseen(
    parts: _Parts, power: float, groups: np.ndarray | None, bounds: tuple[float, float] | None
) -> float:
    """What one more labelled prompt (or cluster) at either end of the rectified range adds to the error.

    Of a difference, whose range is that of two arms, half: see the simulated coverage in the tests.
    """
    if bounds is None:
        return 0.0
    half_range, n = (1.0 + abs(power)) * (bounds[1] - bounds[0]) / 2.0, len(parts.labels)
    sizes = np.ones(n) if groups is None else np.bincount(groups[:n]).astype(np.float64)
    return math.sqrt(2.0) * half_range * float(sizes @ sizes) / n**2


def _groups(parts: _Parts, clusters: Clusters) -> np.ndarray | None:
    """[n + N] the clusters of labelled and other prompts, numbered together; None: none were given."""
    n = len(parts.labels)
    if clusters[0] is None and clusters[1] is None:
        if n < MIN_LABELS:
            raise InsufficientDataError(
                f"{n} labels are too few to correct a judge; label {MIN_LABELS} or more"
            )
        return None
    if clusters[0] is None or clusters[1] is None:
        raise DataError("give the clusters of both the labelled and the unlabelled prompts, or of neither")
    if len(clusters[0]) != n or len(clusters[1]) != len(parts.unlabelled):
        raise DataError("each labelled and each unlabelled prompt needs its cluster")
    n_labelled = len(np.unique(clusters[0]))
    if n_labelled < MIN_LABELS:
        raise InsufficientDataError(
            f"labels from {n_labelled} clusters are too few to correct a judge; label in {MIN_LABELS} or more"
        )
    return np.unique(np.concatenate([clusters[0], clusters[1]]), return_inverse=True)[1]


def _unbounded(labels: np.ndarray) -> tuple[float, float]:
    if labels.min() == labels.max():
        raise DataError(
            f"all labels are {labels[0]:g}: without bounds nothing is known of others; give `bounds`"
        )
    return -math.inf, math.inf


def _checked(labels: np.ndarray, predictions: np.ndarray, unlabelled: np.ndarray) -> _Parts:
    columns = [np.asarray(part, dtype=np.float64) for part in (labels, predictions, unlabelled)]
    if any(column.ndim != 1 for column in columns) or len(columns[0]) != len(columns[1]):
        raise DataError(f"{len(labels)} labels need as many predictions; there are {len(predictions)}")
    if not all(np.isfinite(column).all() for column in columns):
        raise DataError("a label or prediction is not finite; leave that prompt out, or call it unlabelled")
    if len(columns[2]) < 2:
        raise InsufficientDataError(
            f"2 unlabelled predictions or more are needed; there are {len(columns[2])}"
        )
    return _Parts(*columns)
