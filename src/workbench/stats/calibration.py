"""Whether scores in [0, 1] mean what they say: reliability, ECE, Brier score, Spiegelhalter's test."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.estimate import Estimate
from workbench.stats.paired import paired_mean
from workbench.stats.proportions import wilson

Binning = Literal["equal_width", "equal_count"]


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Scores from `low` to `high`: how many, their mean, and the share that came true (Wilson's interval)."""

    low: float
    high: float
    n: int
    mean_score: float
    observed: Estimate


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far scores are from the shares that come true.

    `ece` is the mean distance of score and share over the bins, weighted by their size. Chance alone keeps it
    above 0: `ece_of_calibrated` is what scores that mean what they say would have on average. Its interval is
    the bootstrap's, moved by its bias. `brier` is the mean squared error (t interval). `p_value` is
    Spiegelhalter's, two-sided, that scores are calibrated; `z` > 0: outcomes are farther off than they say.
    """

    bins: tuple[ReliabilityBin, ...]
    ece: Estimate
    ece_of_calibrated: float
    brier: Estimate
    z: float
    p_value: float
    n: int


def calibration(
    scores: np.ndarray,
    outcomes: np.ndarray,
    *,
    n_bins: int = 10,
    binning: Binning = "equal_width",
    alpha: float = 0.05,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Calibration:
    """Reliability of `scores` [n] in [0, 1] for outcomes [n], 0 or 1. Empty bins are left out.

    Args:
        binning: "equal_width": [0, 1] in equal parts; "equal_count": by quantiles. A score between two bins
            belongs to the lower one.
    Raises:
        DataError: unequal lengths, a score outside [0, 1], an outcome that is not 0 or 1.
        InsufficientDataError: fewer than two scores.
    Source: Guo, Pleiss, Sun & Weinberger (2017), On Calibration of Modern Neural Networks, ICML, for ECE;
        Brier (1950), Monthly Weather Review 78; Spiegelhalter (1986), Statistics in Medicine 5, 421-433.
    """
    score, outcome = np.asarray(scores, dtype=np.float64), np.asarray(outcomes, dtype=np.float64)
    _check(score, outcome, n_bins)
    edges, place = _binned(score, n_bins, binning)
    used, codes = np.unique(place, return_inverse=True)
    sizes, n = np.bincount(codes), len(score)
    score_sums, outcome_sums = np.bincount(codes, score), np.bincount(codes, outcome)
    squared = (score - outcome) ** 2
    bins = tuple(
        ReliabilityBin(
            low=float(edges[used[i]]),
            high=float(edges[used[i] + 1]),
            n=int(sizes[i]),
            mean_score=float(score_sums[i] / sizes[i]),
            observed=wilson(int(outcome_sums[i]), int(sizes[i]), alpha=alpha),
        )
        for i in range(len(used))
    )
    z = _spiegelhalter(score, outcome)
    random = np.random.default_rng(seed)
    return Calibration(
        bins=bins,
        ece=_ece(score - outcome, codes, random, alpha=alpha, n_resamples=n_resamples),
        ece_of_calibrated=_ece_of_calibrated(score, codes, random, n_resamples=n_resamples),
        brier=paired_mean(squared, bounds=(0.0, 1.0)).interval(alpha),
        z=z,
        p_value=float(2.0 * stats.norm.sf(abs(z))),
        n=n,
    )


def _ece(
    gaps: np.ndarray, codes: np.ndarray, random: np.random.Generator, *, alpha: float, n_resamples: int
) -> Estimate:
    """ECE, with the interval 2 x ECE - quantiles of its bootstrap, cut to [0, 1]."""
    n, n_bins = len(gaps), int(codes.max()) + 1
    value = float(np.abs(np.bincount(codes, gaps)).sum() / n)
    drawn = np.empty(n_resamples)
    for i in range(n_resamples):
        rows = random.integers(n, size=n)
        drawn[i] = np.abs(np.bincount(codes[rows], gaps[rows], n_bins)).sum() / n
    low, high = np.quantile(drawn, [alpha / 2.0, 1.0 - alpha / 2.0])
    ends = max(2.0 * value - float(high), 0.0), min(2.0 * value - float(low), 1.0)
    return Estimate(value, min(ends[0], value), max(ends[1], value))


def _ece_of_calibrated(
    score: np.ndarray, codes: np.ndarray, random: np.random.Generator, *, n_resamples: int
) -> float:
    """The mean ECE if each outcome had the probability that its score says."""
    n, total = len(score), 0.0
    for _ in range(min(n_resamples, 200)):
        gaps = score - (random.random(n) < score)
        total += float(np.abs(np.bincount(codes, gaps)).sum() / n)
    return total / min(n_resamples, 200)


def _spiegelhalter(score: np.ndarray, outcome: np.ndarray) -> float:
    """0 where all scores are 0, 1/2 or 1, of which the test knows nothing."""
    spread = float(((1.0 - 2.0 * score) ** 2 * score * (1.0 - score)).sum())
    excess = float(((outcome - score) * (1.0 - 2.0 * score)).sum())
    return excess / math.sqrt(spread) if spread > 0.0 else 0.0


def _binned(score: np.ndarray, n_bins: int, binning: Binning) -> tuple[np.ndarray, np.ndarray]:
    """[n_bins + 1] edges, and [n] the bin of each score."""
    if binning not in get_args(Binning):
        raise DataError(f"binning must be one of {', '.join(get_args(Binning))}; got {binning!r}")
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    if binning == "equal_count":
        edges = np.unique(np.quantile(score, edges))
        if len(edges) == 1:
            edges = np.repeat(edges, 2)
    return edges, np.searchsorted(edges[1:-1], score, side="left")


def _check(score: np.ndarray, outcome: np.ndarray, n_bins: int) -> None:
    if score.shape != outcome.shape or score.ndim != 1:
        raise DataError(f"{len(score)} scores do not pair with {len(outcome)} outcomes")
    if len(score) < 2:
        raise InsufficientDataError(f"calibration needs 2 scores or more; there are {len(score)}")
    if not ((score >= 0.0) & (score <= 1.0)).all():
        raise DataError("a score must be in [0, 1]; one is not, or is missing")
    if not np.isin(outcome, (0.0, 1.0)).all():
        raise DataError("an outcome must be 0 or 1")
    if n_bins < 1:
        raise DataError(f"n_bins must be 1 or more; it is {n_bins}")
