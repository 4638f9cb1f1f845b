"""From what a router said, and what then happened, to its line of the leaderboard.

Dimensions: N scored prompts, M models, R resamples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import rankdata

from workbench.routing.cost_curve import Points, Yardstick, cost_weights, points_of, swept, yardstick
from workbench.routing.folds import Integers, Scored
from workbench.routing.forecast import Floats
from workbench.routing.honest import Chosen, HonestPoint, chosen_inside, honest_point
from workbench.routing.leaderboard import BASELINE_KINDS, Kind, Result
from workbench.routing.metrics import apgr, apgr_resampled, brier, calibration_error, cpt
from workbench.routing.out_of_fold import Inside, OutOfFold
from workbench.routing.resamples import Resamples, estimate
from workbench.stats.estimate import Estimate

WITHOUT_CURVE = frozenset({"random", "cheapest", "best_single", "fixed"})
"""Kinds of router that have one operating point, and no curve."""

NO_INFORMATION = "no_information"
"""The hull of the single models of the scored prompts: the best mixture of them, in hindsight."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What a policy that asks several models did with each prompt, for instance a cascade.

    `quality` and `cost_usd` [N] are of its operating point for quality; `points` the same of each of those it
    has; `chosen` is the one that its training folds spoke for.
    """

    name: str
    quality: Floats
    cost_usd: Floats | None
    points: Sequence[tuple[Floats, Floats]] = ()
    chosen: Chosen | None = None
    fit_s: float | None = None
    decide_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """A line, and the value and [R] draws of the number that routers are compared by; None: it has none."""

    result: Result
    value: float | None
    draws: Floats | None


@dataclass(frozen=True, slots=True)
class Pair:
    """The two models of a table that has no more: what the better and the other made of each prompt [N]."""

    strong: int
    weak: int
    quality: Floats

    def gain(self, said: OutOfFold, fold: Integers) -> Floats:
        """[N] the gain that is expected of the strong model, as a share of the fold's prompts with a smaller.

        Of a router without predictions it is 1 where it chose the strong model, else 0. A fold is one fitted
        router, whose threshold would be set for a share of its own calls. It also keeps a router that says
        the same of every prompt at exactly 0.5: pooled as they are, the folds' constants would rank a fold
        the lower, the more the strong model gains in it.
        """
        expected = said.predicted[:, self.strong] - said.predicted[:, self.weak]
        gain = np.where(np.isfinite(expected), expected, (said.choice == self.strong).astype(np.float64))
        ranks = np.empty_like(gain)
        for name in np.unique(fold):
            rows = fold == name
            ranks[rows] = (rankdata(gain[rows], method="average") - 0.5) / rows.sum()
        return ranks


@dataclass(frozen=True, slots=True)
class Scorecard:
    """What is the same for every router: the prompts, the draws, the yardstick of cost, the pair."""

    scored: Scored
    draws: Resamples
    yardstick: Yardstick | None
    pair: Pair | None
    margin: float

    def measured(self, said: OutOfFold, inside: Mapping[int, Inside]) -> Measured:
        """A router's line; `inside` is what its honest operating point is chosen by."""
        quality, cost = self._did(said.choice)
        result = replace(
            self._line(said.router, _kind(said), quality, cost), fit_s=said.fit_s, decide_ms=said.decide_ms
        )
        if said.is_predictor:
            truth = self.scored.data.quality
            result = replace(
                result, ece=calibration_error(said.predicted, truth), brier=brier(said.predicted, truth)
            )
        if inside and self.scored.cost_usd is not None:
            chosen = chosen_inside(said, inside, self.scored, self.scored.cost_usd, margin=self.margin)
            result = _with_honest(result, honest_point(chosen, self.draws))
        gain = None if self.pair is None else self.pair.gain(said, self.scored.fold)
        return self._ranked(result, gain, self._points(said), quality)

    def traced(self, trace: Trace) -> Measured:
        """The line of a policy that asks several models; it ranks no pair, and predicts no quality."""
        line = self._line(trace.name, "cascade", trace.quality, trace.cost_usd)
        result = replace(line, fit_s=trace.fit_s, decide_ms=trace.decide_ms)
        if trace.chosen is not None:
            result = _with_honest(result, honest_point(trace.chosen, self.draws))
        has_points = bool(trace.points) and self.yardstick is not None
        points = points_of(trace.points, self.draws) if has_points else None
        return self._ranked(result, None, points, trace.quality)

    def hindsight(self) -> Measured:
        """The line of the no-information router: the hull of the single models of the scored prompts."""
        did = [self._did(single) for single in self.scored.single_models()]
        quality, cost = max(did, key=lambda pair: float(pair[0].mean()))
        gain = None if self.pair is None else np.zeros(len(quality))
        points = None if self.yardstick is None else self.yardstick.singles
        return self._ranked(self._line(NO_INFORMATION, "baseline", quality, cost), gain, points, quality)

    def compared(self, measured: Sequence[Measured]) -> tuple[Result, ...]:
        """The lines, each with its differences to the best nearest neighbours and to no information."""
        knn = _best([one for one in measured if one.result.router.startswith("knn")])
        nothing = _best([one for one in measured if one.result.router == NO_INFORMATION])
        return tuple(
            replace(one.result, over_knn=_difference(one, knn), over_no_information=_difference(one, nothing))
            for one in measured
        )

    def _did(self, choice: Integers) -> tuple[Floats, Floats | None]:
        cost = self.scored.cost_usd
        return self.scored.did(self.scored.data.quality, choice), (
            None if cost is None else self.scored.did(cost, choice)
        )

    def _line(self, router: str, kind: Kind, quality: Floats, cost_usd: Floats | None) -> Result:
        return Result(
            router=router,
            kind=kind,
            n_prompts=len(quality),
            quality=estimate(float(quality.mean()), self.draws.mean(quality)),
            cost_usd=None if cost_usd is None else float(cost_usd.mean()),
        )

    def _points(self, said: OutOfFold) -> Points | None:
        """All that a router with predictions can do; None: it has one point, or costs are not known."""
        cost = self.scored.cost_usd
        if self.yardstick is None or cost is None or not said.is_predictor or said.kind in WITHOUT_CURVE:
            return None
        expected = said.forecast.cost_usd
        choices = swept(said.predicted, expected, cost_weights(expected))
        quality = self.scored.data.quality
        return points_of(
            ((self.scored.did(quality, choice), self.scored.did(cost, choice)) for choice in choices),
            self.draws,
        )

    def _ranked(
        self, result: Result, gain: Floats | None, points: Points | None, quality: Floats
    ) -> Measured:
        """With the measures of the pair and of the curve; compared by the pair's, else the curve's."""
        value, draws = None, None
        if points is None and gain is None and self.pair is None and self.yardstick is None:
            value, draws = float(quality.mean()), self.draws.mean(quality)
        if points is not None and self.yardstick is not None:
            (value, saving), (draws, savings) = self.yardstick.measured(points), self.yardstick.drawn(points)
            result = replace(result, aiqlog=estimate(value, draws), saving=estimate(saving, savings))
        if gain is not None and self.pair is not None:
            strong, weak = self.pair.quality[:, self.pair.strong], self.pair.quality[:, self.pair.weak]
            value, draws = apgr(gain, strong, weak), apgr_resampled(gain, strong, weak, self.draws)
            shares = [cpt(gain, strong, weak, recovered=recovered) for recovered in (0.5, 0.8)]
            result = replace(result, apgr=estimate(value, draws), cpt50=shares[0], cpt80=shares[1])
        return Measured(result, value, draws)


def scorecard(scored: Scored, draws: Resamples, *, margin: float) -> Scorecard:
    """With a yardstick where every model's cost is known, and the best costs more than the cheapest."""
    return Scorecard(scored, draws, _yardstick(scored, draws), _pair(scored), margin)


def _yardstick(scored: Scored, draws: Resamples) -> Yardstick | None:
    cost, quality = scored.cost_usd, scored.data.quality
    if cost is None:
        return None
    singles = ((scored.did(quality, one), scored.did(cost, one)) for one in scored.single_models())
    found = yardstick(points_of(singles, draws), draws)
    return found if found.has_range else None


def _pair(scored: Scored) -> Pair | None:
    """None: there are more models, or the two are equally good."""
    quality = scored.data.quality
    if quality.shape[1] != 2 or not scored.is_complete:
        return None
    strong, weak = np.argsort(-quality.mean(axis=0), kind="stable").tolist()
    if quality[:, strong].mean() == quality[:, weak].mean():
        return None
    return Pair(strong, weak, quality)


def _kind(said: OutOfFold) -> Kind:
    return "baseline" if said.kind in BASELINE_KINDS else "learned"


def _with_honest(result: Result, point: HonestPoint) -> Result:
    return replace(result, honest_quality_change=point.quality_change, honest_cost_change=point.cost_change)


def _best(measured: Sequence[Measured]) -> Measured | None:
    return max(
        (one for one in measured if one.value is not None), key=lambda one: one.value or 0.0, default=None
    )


def _difference(one: Measured, other: Measured | None) -> Estimate | None:
    """Of the same draws; None: either has no such number."""
    if other is None or other is one or one.value is None or other.value is None:
        return None
    if one.draws is None or other.draws is None:
        return None
    return estimate(one.value - other.value, one.draws - other.draws)
