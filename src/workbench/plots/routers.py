"""Figures of a leaderboard: what routers reach over their settings, and whether their predictions hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workbench.errors import InsufficientDataError
from workbench.plots.canvas import BLUE, CYCLE, GREY, INK, LINES, PALE, canvas, short
from workbench.plots.comparisons import cost_axis
from workbench.plots.labels import label
from workbench.routing.curves import RouterCurve, cost_curves, reliability
from workbench.routing.leaderboard import Leaderboard, Result


@dataclass(frozen=True, slots=True)
class Curve:
    """What a router reaches over its settings: [K] `x` ascending and [K] `y`, with an interval or none."""

    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


def quality_cost_curves(
    curves: Mapping[str, Curve],
    points: Mapping[str, tuple[float, float]] | None = None,
    *,
    baseline: str | None = None,
    x_label: str = "USD per 1,000 prompts",
    y_label: str = "quality",
) -> Figure:
    """Routers' curves in one plot, e.g. quality against cost, or accuracy against the share of strong calls.

    Args:
        points: single models as (x, y), named beside their marks.
        baseline: the curve that uses no information about the prompt; drawn dashed.
    """
    figure, axes = canvas(height=4.2)
    learned = [name for name in curves if name != baseline]
    for number, name in enumerate(learned):
        _curve(axes, name, curves[name], colour=CYCLE[number % len(CYCLE)])
    if baseline is not None:
        flat = curves[baseline]
        axes.plot(flat.x, flat.y, "--", color=GREY, linewidth=1.6, label=short(baseline), zorder=2)
    named = dict(points or {})
    for x, y in named.values():
        axes.plot(x, y, "o", color=INK, markersize=5, zorder=4)
    axes.set_xlabel(x_label, parse_math=False)
    axes.set_ylabel(y_label, parse_math=False)
    axes.grid(color=LINES, linewidth=0.8)
    axes.margins(x=0.08, y=0.1)
    axes.legend(frameon=False, loc="lower right", fontsize=9)
    label(figure, axes, names=list(named), points=list(named.values()), bars=[])
    return figure


def routers(board: Leaderboard, *, shown: Sequence[str] = ("controller", "knn", "label_oracle")) -> Figure:
    """Quality against cost: routers `shown` with 95 % bands, the others as thin lines, and single models.

    The single models are points, and what they reach without looking at a prompt is dashed. Where the table
    has no range of costs: each router's quality with its interval.
    """
    if board.scored.cost_usd is None:
        return _router_qualities(board)
    try:
        curves = {curve.router: curve for curve in cost_curves(board)}
    except InsufficientDataError:
        return _router_qualities(board)
    figure, axes = canvas(height=4.6)
    dashed = curves.pop("no_information")
    for name in ("no_information_fitted", "oracle"):
        curves.pop(name, None)
    colours = dict(zip([name for name in shown if name in curves], CYCLE, strict=False))
    _other_curves(axes, [curve for name, curve in curves.items() if name not in colours])
    for name, colour in colours.items():
        _curve(axes, name, _in_percent(curves[name]), colour=colour)
    axes.plot(
        1000 * dashed.cost_usd, 100 * dashed.quality, "--", color=INK, linewidth=1.4, label="no information"
    )
    points = _single_models(board, board.scored.cost_usd)
    for x, y in points.values():
        axes.plot(x, y, "o", color=INK, markersize=5, zorder=4)
    cost_axis(axes, [x for x, _ in points.values()])
    axes.set_xlabel("USD per 1,000 prompts; bands are 95 % intervals of quality")
    axes.set_ylabel(f"quality (%) on {len(board.scored.fold):,} prompts not learned from")
    axes.grid(color=LINES, linewidth=0.8)
    axes.margins(x=0.12, y=0.1)
    axes.legend(frameon=False, loc="lower right", fontsize=9)
    label(figure, axes, names=list(points), points=list(points.values()), bars=[])
    return figure


def calibration(board: Leaderboard, router: str) -> Figure:
    """What a router predicted against what happened, in bins of equal size, with 95 % intervals.

    Raises:
        InsufficientDataError: it is not on the leaderboard, or makes no predictions.
    """
    found = reliability(board, router)
    figure, axes = canvas(height=3.4)
    x = 100 * found.predicted
    low, y, high = (
        np.array([100 * getattr(e, of) for e in found.happened]) for of in ("low", "value", "high")
    )
    ends = [min(x.min(), low.min()) - 3, max(x.max(), high.max()) + 3]
    axes.plot(ends, ends, "--", color=GREY, linewidth=1.2, label="as predicted")
    axes.vlines(x, low, high, color=BLUE, linewidth=1.8)
    axes.plot(x, y, "o", color=BLUE, markersize=6, label=short(router))
    axes.set_xlabel(f"predicted quality (%), {int(found.n_pairs.mean()):,} predictions a bin")
    axes.set_ylabel("quality that was found (%, 95 % interval)")
    axes.set_aspect("equal")
    axes.grid(color=LINES, linewidth=0.8)
    axes.legend(frameon=False, loc="upper left", fontsize=9)
    return figure


def _router_qualities(board: Leaderboard) -> Figure:
    results: list[Result] = [result for result in board.results if result.router != "no_information_fitted"]
    figure, axes = canvas(height=1.1 + 0.34 * len(results))
    positions = np.arange(len(results))[::-1]
    axes.axvline(100 * board.best_single.quality, color=INK, linewidth=1.0, linestyle="--", zorder=1)
    for position, result in zip(positions, results, strict=True):
        colour = GREY if result.kind == "baseline" else BLUE
        quality = result.quality
        axes.plot([100 * quality.low, 100 * quality.high], [position, position], color=colour, linewidth=2.2)
        axes.plot(100 * quality.value, position, "o", color=colour, markersize=6.5)
    axes.set_yticks(positions, [short(result.router) for result in results], parse_math=False)
    best = short(board.best_single.model_id.removeprefix("replay/"))
    axes.set_xlabel(f"quality (%, 95 % interval); dashed: {best} alone", parse_math=False)
    axes.grid(axis="x", color=LINES, linewidth=0.8)
    axes.tick_params(axis="y", length=0)
    return figure


def _other_curves(axes: Axes, others: Sequence[RouterCurve]) -> None:
    """Thin, without bands: what is behind the curves that are looked at."""
    for number, curve in enumerate(others):
        axes.plot(
            1000 * curve.cost_usd,
            100 * curve.quality,
            color=PALE,
            linewidth=0.9,
            zorder=2,
            label=f"others: {', '.join(short(one.router) for one in others)}" if number == 0 else None,
        )


def _in_percent(curve: RouterCurve) -> Curve:
    return Curve(1000 * curve.cost_usd, 100 * curve.quality, 100 * curve.low, 100 * curve.high)


def _single_models(board: Leaderboard, cost_usd: np.ndarray) -> dict[str, tuple[float, float]]:
    """USD per 1,000 prompts and quality in percent of each model asked alone."""
    scored = board.scored
    return {
        model_id.rsplit("/", 1)[-1]: (
            1000 * float(scored.did(cost_usd, choice).mean()),
            100 * float(scored.did(scored.data.quality, choice).mean()),
        )
        for model_id, choice in zip(scored.data.model_ids, scored.single_models(), strict=True)
    }


def _curve(axes: Axes, name: str, curve: Curve, *, colour: str) -> None:
    axes.plot(curve.x, curve.y, color=colour, linewidth=2.0, label=short(name), zorder=3)
    if curve.low is not None and curve.high is not None:
        axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0, zorder=1)
