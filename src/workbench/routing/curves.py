"""What the routers of a leaderboard reach for what money, and what became of what they predicted.

Dimensions: N scored prompts, M models, K points of a curve, R resamples.
"""

from dataclasses import dataclass

import numpy as np

from workbench.errors import InsufficientDataError
from workbench.routing.cost_curve import Points, cost_weights, hull, points_of, swept
from workbench.routing.folds import Integers, Scored
from workbench.routing.forecast import Floats
from workbench.routing.leaderboard import Leaderboard
from workbench.routing.out_of_fold import OutOfFold
from workbench.routing.resamples import Resamples, resamples
from workbench.routing.scorecard import NO_INFORMATION, WITHOUT_CURVE
from workbench.stats.estimate import Estimate

_N_COSTS = 60


@dataclass(frozen=True, slots=True)
class RouterCurve:
    """Mean quality [K] that a router reaches at mean costs [K], rising, with its 95 % interval."""

    router: str
    cost_usd: Floats
    quality: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True)
class Reliability:
    """Of pairs of prompt and model with like predictions [K]: their mean, and the mean of what happened."""

    predicted: Floats
    happened: tuple[Estimate, ...]
    n_pairs: Integers


def cost_curves(board: Leaderboard, *, n_resamples: int = 300, seed: int = 0) -> tuple[RouterCurve, ...]:
    """The hull of each router that makes predictions, then of the single models, all over the same costs.

    These go from the cheapest single model's mean to the best one's, as for AIQlog; the cheapest model is
    part of every hull. The intervals are pointwise, by percentile bootstrap over prompts.

    Raises:
        InsufficientDataError: costs are not known, or the best single model is the cheapest.
    """
    draws, cost = (
        resamples(board.scored.data.groups, n_resamples=n_resamples, seed=seed),
        board.scored.cost_usd,
    )
    if cost is None:
        raise InsufficientDataError("the table has no costs of some model: there is no curve over cost")
    singles = _points(board.scored, cost, list(board.scored.single_models()), draws)
    means, n = singles.mean_cost_usd(len(draws.unit)), len(draws.unit)
    cheapest, best = int(means.argmin()), int(singles.mean_quality(n).argmax())
    if not 0.0 < means[cheapest] < means[best]:
        raise InsufficientDataError("the best single model is the cheapest: there is no range of costs")
    grid = np.geomspace(means[cheapest], means[best], _N_COSTS)
    curves = []
    for said in board.predictions:
        if said.is_predictor and said.kind not in WITHOUT_CURVE:
            expected = said.forecast.cost_usd
            choices = list(swept(said.predicted, expected, cost_weights(expected)))
            points = _points(board.scored, cost, choices, draws).with_point(singles, cheapest)
            curves.append(_curve(said.router, points, draws, grid))
    return (*curves, _curve(NO_INFORMATION, singles, draws, grid))


def reliability(board: Leaderboard, router: str, *, n_bins: int = 8, seed: int = 0) -> Reliability:
    """What a router predicted against what happened, in bins with equally many pairs of prompt and model.

    The intervals are 95 %, by bootstrap over prompts, since a prompt's pairs are not independent.

    Raises:
        InsufficientDataError: it is not on the leaderboard, or makes no predictions.
    """
    said, truth = prediction(board, router), board.scored.data.quality
    seen = np.isfinite(said.predicted) & np.isfinite(truth)
    if not seen.any():
        raise InsufficientDataError(f"router {router!r} makes no predictions")
    edges = np.unique(np.quantile(said.predicted[seen], np.linspace(0.0, 1.0, n_bins + 1)[1:-1]))
    bins = np.where(seen, np.searchsorted(edges, said.predicted, side="right"), -1)
    draws = resamples(board.scored.data.groups, seed=seed)
    found = [b for b in range(len(edges) + 1) if (bins == b).any()]
    return Reliability(
        predicted=np.array([said.predicted[bins == b].mean() for b in found]),
        happened=tuple(_share(truth, bins == b, draws) for b in found),
        n_pairs=np.array([int((bins == b).sum()) for b in found]),
    )


def prediction(board: Leaderboard, router: str) -> OutOfFold:
    """What this router of the leaderboard said.

    Raises:
        InsufficientDataError: it is not on it, or asks several models and predicts nothing.
    """
    for said in board.predictions:
        if said.router == router:
            return said
    known = ", ".join(said.router for said in board.predictions)
    raise InsufficientDataError(
        f"there are no predictions of a router {router!r}; there are those of {known}"
    )


def _points(scored: Scored, cost_usd: Floats, choices: list[Integers], draws: Resamples) -> Points:
    quality = scored.data.quality
    return points_of(((scored.did(quality, one), scored.did(cost_usd, one)) for one in choices), draws)


def _curve(router: str, points: Points, draws: Resamples, grid: Floats) -> RouterCurve:
    n = len(draws.unit)
    value = hull(points.mean_cost_usd(n), points.mean_quality(n)).at(grid)
    drawn = zip(draws.means(points.cost_usd), draws.means(points.quality), strict=True)
    low, high = np.quantile([hull(*means).at(grid) for means in drawn], [0.025, 0.975], axis=0)
    return RouterCurve(router, grid, value, low, high)


def _share(truth: Floats, is_in: np.ndarray, draws: Resamples) -> Estimate:
    """The mean of `truth` [N, M] where `is_in` [N, M], as a ratio of sums that are drawn by prompt."""
    total, count = np.where(is_in, truth, 0.0).sum(axis=1), is_in.sum(axis=1).astype(np.float64)
    above, below = draws.mean(total), draws.mean(count)
    ratio = np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0.0)
    low, high = np.nanquantile(ratio, [0.025, 0.975])
    return Estimate(float(total.sum() / count.sum()), float(low), float(high))
