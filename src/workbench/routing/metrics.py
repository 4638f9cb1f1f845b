"""How good a router's ranking and predictions are: APGR and CPT of a pair of models, and calibration.

Strong/weak pair: prompts are ranked by predicted gain (strong minus weak), and the strong model is asked
for the share f of them with the largest. Accuracy against f is the router's curve; prompts of equal gain
are added in proportion, so their piece of the curve is a straight line and their order does not matter.
Source: Ong et al. (2024), RouteLLM, arXiv 2406.18665, section 3.

Dimensions: N prompts, M models, G groups of equal gain, R resamples.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError, InsufficientDataError
from workbench.routing.forecast import Floats
from workbench.routing.resamples import Resamples


@dataclass(frozen=True, slots=True)
class PairCurve:
    """Mean quality against the share of prompts for which the strong model is asked, both [G + 1]."""

    strong_share: Floats
    quality: Floats


def pair_curve(gain: Floats, strong: Floats, weak: Floats) -> PairCurve:
    """The curve of a predicted gain [N], given what both models made of each prompt [N].

    Raises:
        InsufficientDataError: no prompts.
        DataError: the arrays differ in length, or hold a NaN.
    """
    _check(gain, strong, weak)
    order, starts = _tie_groups(gain)
    counts = np.diff(np.append(starts, len(gain)))
    won = np.add.reduceat((strong - weak)[order], starts)
    share = np.append(0.0, np.cumsum(counts)) / len(gain)
    return PairCurve(share, weak.mean() + np.append(0.0, np.cumsum(won)) / len(gain))


def apgr(gain: Floats, strong: Floats, weak: Floats) -> float:
    """Average performance gap recovered: (area under the curve - weak) / (strong - weak).

    The share of the gap between the models that is closed, on average over all shares of strong calls: 0.5
    for a random router, above 1 only where the weak model is right and the strong one wrong.

    >>> apgr(np.array([3.0, 2.0]), strong=np.array([1.0, 1.0]), weak=np.array([0.0, 1.0]))
    0.75

    Raises:
        DataError: the strong model is no better than the weak one, so there is no gap to recover.
    """
    curve, gap = pair_curve(gain, strong, weak), _gap(strong, weak)
    return float((np.trapezoid(curve.quality, curve.strong_share) - weak.mean()) / gap)


def cpt(gain: Floats, strong: Floats, weak: Floats, *, recovered: float) -> float:
    """Call-performance threshold: the least share of strong calls that closes `recovered` of the gap.

    Raises:
        DataError: `recovered` is outside (0, 1], or there is no gap.
    """
    if not 0.0 < recovered <= 1.0:
        raise DataError(f"recovered is {recovered}; it must be in (0, 1]")
    curve, gap = pair_curve(gain, strong, weak), _gap(strong, weak)
    target = weak.mean() + recovered * gap
    is_reached = curve.quality >= target - 1e-12
    is_reached[-1] = True
    end = int(np.argmax(is_reached))
    low, high = curve.quality[end - 1], curve.quality[end]
    part = (target - low) / (high - low)
    return float(curve.strong_share[end - 1] + part * (curve.strong_share[end] - curve.strong_share[end - 1]))


def apgr_resampled(gain: Floats, strong: Floats, weak: Floats, draws: Resamples) -> Floats:
    """[R] APGR of each resample; NaN for one without a gap.

    The difference of two routers' arrays for the same draws is a paired bootstrap.
    """
    _check(gain, strong, weak)
    order, starts = _tie_groups(gain)
    difference = (strong - weak)[order]
    parts = [_apgr_of_weights(weights[:, order], difference, starts) for weights in draws.weights()]
    return np.concatenate(parts)


def brier(predicted: Floats, quality: Floats) -> float:
    """Mean squared error of predicted quality over the seen pairs; NaN where none was predicted."""
    predicted, quality = _seen_pairs(predicted, quality)
    return float(np.mean((predicted - quality) ** 2)) if len(quality) else float("nan")


def calibration_error(predicted: Floats, quality: Floats, *, n_bins: int = 15) -> float:
    """ECE: the mean distance of predicted from actual quality, over equal-width bins of the prediction.

    Bins count as many times as they have (prompt, model) pairs; NaN where none was predicted.
    Source: Naeini, Cooper & Hauskrecht (2015), Obtaining Well Calibrated Probabilities Using Bayesian
    Binning.
    """
    predicted, quality = _seen_pairs(predicted, quality)
    if len(quality) == 0:
        return float("nan")
    bins = np.clip((predicted * n_bins).astype(np.int64), 0, n_bins - 1)
    distance = np.bincount(bins, weights=predicted - quality, minlength=n_bins)
    return float(np.abs(distance).sum() / len(quality))


def _check(gain: Floats, strong: Floats, weak: Floats) -> None:
    if not len(gain) == len(strong) == len(weak):
        raise DataError(
            f"{len(gain)} gains, {len(strong)} strong and {len(weak)} weak qualities; need one each"
        )
    if len(gain) == 0:
        raise InsufficientDataError("a curve needs one prompt or more")
    for name, values in (("gain", gain), ("strong", strong), ("weak", weak)):
        if np.isnan(values).any():
            raise DataError(f"{name} is NaN for prompt number {int(np.argmax(np.isnan(values)))}")


def _gap(strong: Floats, weak: Floats) -> float:
    gap = float(strong.mean() - weak.mean())
    if gap <= 0.0:
        raise DataError(
            f"the strong model ({strong.mean():.4f}) is no better than the weak ({weak.mean():.4f})"
        )
    return gap


def _tie_groups(gain: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[N] prompts by falling gain, and [G] where each group of equal gain starts."""
    order = np.argsort(-gain, kind="stable")
    ranked = gain[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    return order, starts


def _apgr_of_weights(weights: Floats, difference: Floats, starts: NDArray[np.int64]) -> Floats:
    """[R] from [R, N] counts of each prompt, in order of falling gain."""
    n = weights.sum(axis=1, keepdims=True)
    share = np.add.reduceat(weights, starts, axis=1) / n
    risen = np.cumsum(np.add.reduceat(weights * difference, starts, axis=1) / n, axis=1)
    before = np.concatenate([np.zeros_like(n), risen[:, :-1]], axis=1)
    area = (share * (before + risen) / 2.0).sum(axis=1)
    gap = risen[:, -1]
    ratios: Floats = np.divide(area, gap, out=np.full_like(gap, np.nan), where=gap > 0.0)
    return ratios


def _seen_pairs(predicted: Floats, quality: Floats) -> tuple[Floats, Floats]:
    seen = np.isfinite(predicted) & np.isfinite(quality)
    return predicted[seen], quality[seen]
