"""Whether a router on a leaderboard is better than what is simpler, in numbers and in a sentence."""

from dataclasses import dataclass
from typing import Literal

from workbench.errors import InsufficientDataError
from workbench.experiment.wording import points
from workbench.routing.curves import prediction
from workbench.routing.leaderboard import Leaderboard
from workbench.routing.out_of_fold import OutOfFold
from workbench.routing.resamples import estimate, resamples
from workbench.routing.scorecard import Measured, scorecard
from workbench.stats.estimate import Estimate

Finding = Literal["better", "worse", "undecided"]
_ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Standing:
    """A router against a rival: the paired difference in `metric`, its interval, and what that says.

    The intervals of all rivals of a router together hold at 95 % (Bonferroni).
    """

    router: str
    rival: str
    metric: str
    difference: Estimate

    @property
    def finding(self) -> Finding:
        """`better` or `worse` where the interval is on one side of 0."""
        if self.difference.low > 0.0:
            return "better"
        return "worse" if self.difference.high < 0.0 else "undecided"

    def __str__(self) -> str:
        difference = self.difference
        numbers = f"{difference.value:+.3f} [{difference.low:.3f}, {difference.high:.3f}]"
        return f"{self.router} against {self.rival}: {self.metric} {numbers}, {self.finding}"


def standings(board: Leaderboard, router: str, *, seed: int = 0) -> tuple[Standing, ...]:
    """`router` against no information, the means by task, and each nearest neighbours of the leaderboard.

    They are compared by APGR where there are two models, else by AIQlog, else by quality, with the same draws
    as the leaderboard's. A rival without such a number is left out.

    Raises:
        InsufficientDataError: the router is not on the leaderboard, or has no such number.
    """
    said, scored = prediction(board, router), board.scored
    card = scorecard(scored, resamples(scored.data.groups, seed=seed), margin=0.0)
    own = card.measured(said, {})
    if own.value is None:
        raise InsufficientDataError(f"router {router!r} has no number that routers could be compared by")
    rivals = [card.hindsight()]
    rivals += [card.measured(other, {}) for other in board.predictions if _is_rival(other, router)]
    rivals = [rival for rival in rivals if rival.value is not None]
    level = 1.0 - _ALPHA / max(1, len(rivals))
    return tuple(_standing(own, rival, level=level) for rival in rivals)


def summary(board: Leaderboard, router: str, *, seed: int = 0) -> str:
    """One sentence: which of the simpler routers it is better than, and which not."""
    found = standings(board, router, seed=seed)
    names = {kind: [one.rival for one in found if one.finding == kind] for kind in _WORDED}
    said = [f"{_WORDED[kind]} {' and '.join(rivals)}" for kind, rivals in names.items() if rivals]
    if not said:
        return f"The {router} has nothing to be compared with."
    metric = found[0].metric
    return f"By {metric}, the {router} is {', and '.join(said)}, on {_count(board)} that it had not seen."


def operating_point(board: Leaderboard, router: str) -> str:
    """One sentence on what to expect in use, at a weight of cost that the training folds alone chose."""
    line = next((result for result in board.results if result.router == router), None)
    if line is None:
        raise InsufficientDataError(f"there is no router {router!r} on the leaderboard")
    quality, cost = line.honest_quality_change, line.honest_cost_change
    if quality is None or cost is None:
        return f"The {router} has no operating point: the costs of the models are not known."
    low, value, high = (100.0 * share for share in (cost.low, cost.value, cost.high))
    return (
        f"At the weight of cost that the training folds chose, the {router} costs {value:+.0f} % "
        f"[{low:.0f}, {high:.0f}] at {points(quality)} of quality, against those folds' best single model."
    )


_WORDED: dict[Finding, str] = {
    "better": "better than",
    "worse": "worse than",
    "undecided": "not shown to differ from",
}


def _is_rival(other: OutOfFold, router: str) -> bool:
    return other.router != router and other.kind in ("label_oracle", "knn")


def _standing(own: Measured, rival: Measured, *, level: float) -> Standing:
    difference = Estimate(float("nan"), float("nan"), float("nan"))
    if (
        own.value is not None
        and rival.value is not None
        and own.draws is not None
        and rival.draws is not None
    ):
        difference = estimate(own.value - rival.value, own.draws - rival.draws, level=level)
    return Standing(own.result.router, rival.result.router, _metric(own), difference)


def _metric(measured: Measured) -> str:
    if measured.result.apgr is not None:
        return "APGR"
    return "quality" if measured.result.aiqlog is None else "AIQlog"


def _count(board: Leaderboard) -> str:
    return f"{len(board.scored.data.prompts):,} prompts"
