"""How far raters agree beyond chance: Cohen's and Fleiss' kappa, Gwet's AC1, and the raw share.

C categories in order, U units that were rated. Krippendorff's alpha is in `krippendorff`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.estimate import Estimate
from workbench.stats.proportions import wilson

Weights = Literal["linear", "quadratic"]


@dataclass(frozen=True, slots=True)
class ChanceCorrected:
    """(observed - expected agreement) / (1 - expected agreement), with its interval, inside [-1, 1].

    `p_value` is two-sided, of agreement by chance alone. Where no disagreement was seen, the standard error
    says little: the interval's lower limit is then that of a share 1 - (alpha/2)^(1/U) of units in full
    disagreement (Clopper & Pearson 1934).
    """

    estimate: Estimate
    standard_error: float
    p_value: float
    observed_agreement: float
    expected_agreement: float
    n_units: int


def raw_agreement(first: np.ndarray, second: np.ndarray, *, alpha: float = 0.05) -> Estimate:
    """The share of units [U] that two raters put in the same category, with Wilson's interval.

    Raises:
        DataError: ratings of unequal length or missing.
        InsufficientDataError: no units.
    """
    codes, _ = _coded(first, second, None)
    return wilson(int((codes[0] == codes[1]).sum()), codes.shape[1], alpha=alpha)


def cohen_kappa(
    first: np.ndarray,
    second: np.ndarray,
    *,
    weights: Weights | None = None,
    categories: Sequence[object] | None = None,
    alpha: float = 0.05,
) -> ChanceCorrected:
    """Cohen's kappa of two raters, from their ratings [U] of the same units.

    >>> round(cohen_kappa(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0])).estimate.value, 9)
    0.5

    Args:
        first, second: [U] category of each unit: numbers or text, none missing.
        weights: None: all disagreements are equal. "linear", "quadratic": a disagreement counts by how many
            places of `categories` it spans, or the square of that.
        categories: all that there are, in order; those seen, sorted, where not given.
    Raises:
        DataError: ratings of unequal length, missing or of no category, or all of one and the same.
        InsufficientDataError: fewer than two units.
    Source: as in `cohen_kappa_counts`.
    """
    codes, n_categories = _coded(first, second, categories)
    table = np.bincount(codes[0] * n_categories + codes[1], minlength=n_categories**2)
    return cohen_kappa_counts(table.reshape(n_categories, n_categories), weights=weights, alpha=alpha)


def cohen_kappa_counts(
    table: np.ndarray, *, weights: Weights | None = None, alpha: float = 0.05
) -> ChanceCorrected:
    """The same from a table [C, C] of counts, the first rater's categories in its rows.

    The interval is normal with the standard error of any kappa; the test has that of kappa = 0.

    Args and errors as in `cohen_kappa`.
    Source: Cohen (1960), Educational and Psychological Measurement 20; Cohen (1968), Psychological Bulletin
        70, for weights; Fleiss, Cohen & Everitt (1969), Psychological Bulletin 72, for both errors.
    """
    counts = np.asarray(table, dtype=np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not (counts >= 0.0).all():
        raise DataError(f"a table of agreement must be square, with counts >= 0; its shape is {counts.shape}")
    n, agreement = counts.sum(), _agreement_weights(len(counts), weights)
    if n < 2:
        raise InsufficientDataError(f"kappa needs 2 units or more; there are {n:g}")
    share = counts / n
    rows, columns = share.sum(axis=1), share.sum(axis=0)
    by_chance = np.outer(rows, columns)
    observed, expected = float((agreement * share).sum()), float((agreement * by_chance).sum())
    if expected > 1.0 - 1e-12:
        raise DataError("all ratings are of one category: kappa is not defined; see `gwet_ac1`")
    kappa = (observed - expected) / (1.0 - expected)
    mean = (agreement @ columns)[:, None] + (rows @ agreement)[None, :]
    spread = (share * (agreement - mean * (1.0 - kappa)) ** 2).sum() - (kappa - expected * (1.0 - kappa)) ** 2
    spread_of_none = (by_chance * (agreement - mean) ** 2).sum() - expected**2
    error = math.sqrt(max(float(spread), 0.0) / n) / (1.0 - expected)
    error_of_none = math.sqrt(max(float(spread_of_none), 0.0) / n) / (1.0 - expected)
    z = kappa / error_of_none if error_of_none > 0.0 else 0.0
    return ChanceCorrected(
        estimate=_interval(kappa, float(stats.norm.isf(alpha / 2.0)) * error, observed, expected, n, alpha),
        standard_error=error,
        p_value=float(2.0 * stats.norm.sf(abs(z))),
        observed_agreement=observed,
        expected_agreement=expected,
        n_units=round(float(n)),
    )


def fleiss_kappa(counts: np.ndarray, *, alpha: float = 0.05) -> ChanceCorrected:
    """Fleiss' kappa of several raters, from how many of them put each unit in each category.

    Args:
        counts: [U, C] as of `rating_counts`; a unit with one rating counts in the expected agreement only.
    Raises:
        DataError: negative counts, or all ratings in one category.
        InsufficientDataError: fewer than two units with two ratings.
    Source: Fleiss (1971), Psychological Bulletin 76, 378-382; Gwet (2021), Large-sample variance of Fleiss
        generalized kappa, Educational and Psychological Measurement 81, for the error; t on U - 1 degrees
        of freedom.
    """
    return _of_many(counts, lambda mean, share: share @ mean, alpha)


def gwet_ac1(counts: np.ndarray, *, alpha: float = 0.05) -> ChanceCorrected:
    """Gwet's AC1: as kappa, and steady where one category is rare, when kappa falls though raters agree.

    Args and errors as in `fleiss_kappa`; every possible category is a column, as their number matters.
    Source: Gwet (2008), Computing inter-rater reliability and its variance in the presence of high agreement,
        British Journal of Mathematical and Statistical Psychology 61, 29-48.
    """
    n_categories = np.asarray(counts).shape[-1]
    if n_categories < 2:
        raise DataError("AC1 needs the counts of 2 categories or more, also of those nobody chose")
    return _of_many(counts, lambda mean, share: share @ (1.0 - mean) / (n_categories - 1.0), alpha)


def rating_counts(ratings: np.ndarray, *, categories: Sequence[float] | None = None) -> np.ndarray:
    """[raters, U] ratings, NaN where missing -> [U, C] how many raters chose each category.

    Args:
        categories: all that there are; those seen, sorted, where not given.
    Raises:
        DataError: a rating that is none of the categories.
    """
    table = np.asarray(ratings, dtype=np.float64)
    is_given = ~np.isnan(table)
    known = np.unique(table[is_given]) if categories is None else np.asarray(categories, dtype=np.float64)
    is_of = table[:, :, None] == known
    if (is_given & ~is_of.any(axis=2)).any():
        raise DataError(f"a rating is none of the categories {known.tolist()}")
    return np.asarray(is_of.sum(axis=0))


def _of_many(
    counts: np.ndarray, expected_of: Callable[[np.ndarray, np.ndarray], np.ndarray], alpha: float
) -> ChanceCorrected:
    """`expected_of` [C] mean shares and [U, C] shares is each unit's part of the expected agreement."""
    table = np.asarray(counts, dtype=np.float64)
    if table.ndim != 2 or not (table >= 0.0).all():
        raise DataError(f"counts of ratings must be a table of numbers >= 0; its shape is {table.shape}")
    n_ratings = table.sum(axis=1)
    table, n_ratings = table[n_ratings >= 1.0], n_ratings[n_ratings >= 1.0]
    is_shared, n = n_ratings >= 2.0, len(table)
    if is_shared.sum() < 2:
        raise InsufficientDataError(
            f"agreement needs 2 units that were rated twice; there are {is_shared.sum()}"
        )
    share = table / n_ratings[:, None]
    agreed = (table * (table - 1.0)).sum(axis=1) / np.maximum(n_ratings * (n_ratings - 1.0), 1.0)
    chance = expected_of(share.mean(axis=0), share)
    observed, expected = float(agreed[is_shared].mean()), float(chance.mean())
    if expected > 1.0 - 1e-12:
        raise DataError("all ratings are of one category: kappa is not defined; see `gwet_ac1`")
    value = (observed - expected) / (1.0 - expected)
    scaled = (agreed - expected * is_shared) * (n / is_shared.sum())
    terms = (scaled - 2.0 * (1.0 - value) * (chance - expected)) / (1.0 - expected)
    error = float(terms.std(ddof=1)) / math.sqrt(n)
    margin = float(stats.t.isf(alpha / 2.0, n - 1)) * error
    return ChanceCorrected(
        estimate=_interval(value, margin, observed, expected, n, alpha),
        standard_error=error,
        p_value=float(2.0 * stats.t.sf(abs(value) / error, n - 1)) if error > 0.0 else math.nan,
        observed_agreement=observed,
        expected_agreement=expected,
        n_units=n,
    )


def _interval(
    value: float, margin: float, observed: float, expected: float, n: float, alpha: float
) -> Estimate:
    low = value - margin
    if observed > 1.0 - 1e-12:
        low = 1.0 - (1.0 - (alpha / 2.0) ** (1.0 / n)) / (1.0 - expected)
    return Estimate(value, max(low, -1.0), min(value + margin, 1.0))


def _agreement_weights(n: int, weights: Weights | None) -> np.ndarray:
    """[C, C] from 1 for the same category to 0 for the farthest."""
    if weights not in (None, "linear", "quadratic"):
        raise DataError(f'weights must be None, "linear" or "quadratic"; got {weights!r}')
    if weights is None or n < 2:
        return np.eye(n)
    distance = np.abs(np.subtract.outer(np.arange(n), np.arange(n))) / (n - 1.0)
    return np.asarray(1.0 - (distance if weights == "linear" else distance**2))


def _coded(
    first: np.ndarray, second: np.ndarray, categories: Sequence[object] | None
) -> tuple[np.ndarray, int]:
    """[2, U] places in the categories, and how many these are."""
    ratings = np.asarray(first), np.asarray(second)
    if ratings[0].shape != ratings[1].shape or ratings[0].ndim != 1:
        raise DataError(
            f"two raters of the same units are needed; there are {ratings[0].shape} and {ratings[1].shape}"
        )
    both = np.concatenate(ratings)
    if both.dtype.kind == "f" and np.isnan(both).any():
        raise DataError("a rating is missing: leave such units out, or use `krippendorff_alpha`")
    if not len(both):
        raise InsufficientDataError("agreement needs one unit or more; there is none")
    if categories is None:
        known, codes = np.unique(both, return_inverse=True)
        return codes.reshape(2, -1), len(known)
    is_of = both[:, None] == np.asarray(categories)
    if not is_of.any(axis=1).all():
        raise DataError(
            f"rating {both[int(np.argmin(is_of.any(axis=1)))]} is none of the categories {categories}"
        )
    return is_of.argmax(axis=1).reshape(2, -1), len(categories)
