"""Figures of an analysis: differences from the control, and quality against cost."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from workbench.errors import InsufficientDataError
from workbench.experiment.analysis import Analysis, ArmSummary, Comparison, Looks
from workbench.plots.canvas import BLUE, CYCLE, GREY, INK, LINES, PALE, VERMILLION, canvas, short
from workbench.plots.labels import label

_COLOUR_OF_FINDING = {"better": BLUE, "worse": VERMILLION, "undecided": GREY}


def forest(analysis: Analysis) -> Figure:
    """Each arm's difference from the control in percentage points, with its interval and a zero line.

    Raises:
        InsufficientDataError: there is nothing to compare.
    """
    comparisons = analysis.comparisons
    if not comparisons:
        raise InsufficientDataError("a forest plot needs an arm besides the control; there is none")
    figure, axes = canvas(height=1.1 + 0.42 * len(comparisons))
    positions = np.arange(len(comparisons))[::-1]
    axes.axvline(0.0, color=INK, linewidth=1.0, zorder=1)
    for position, comparison in zip(positions, comparisons, strict=True):
        _interval(axes, comparison, y=float(position))
    axes.set_yticks(positions, [short(c.arm) for c in comparisons], parse_math=False)
    axes.set_ylim(-0.6, len(comparisons) - 0.4)
    level = f"{100 * (1 - analysis.alpha):g} %"
    measured = f"{analysis.metric}: difference from {short(analysis.control)}"
    axes.set_xlabel(f"{measured}, percentage points ({level} interval)", parse_math=False)
    axes.grid(axis="x", color=LINES, linewidth=0.8)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def quality_cost(analysis: Analysis) -> Figure:
    """Each arm's quality, with its interval, against what 1,000 prompts cost.

    The cost axis is logarithmic where costs differ more than fivefold. An arm without a known cost is
    named under the plot.

    Raises:
        InsufficientDataError: no arm has a known cost.
    """
    priced = [arm for arm in analysis.arms if arm.usd_per_1k_prompts is not None]
    if not priced:
        raise InsufficientDataError("no arm has a known cost; add prices to the catalog to plot against cost")
    figure, axes = canvas(height=4.0 + 0.15 * max(0, len(priced) - 6))
    costs = [float(arm.usd_per_1k_prompts or 0.0) for arm in priced]
    for arm, cost in zip(priced, costs, strict=True):
        _quality_bar(axes, arm, cost, is_control=arm.arm == analysis.control)
    cost_axis(axes, costs)
    _front(axes, priced)
    axes.set_ylabel(f"{analysis.metric} (%)", parse_math=False)
    axes.grid(color=LINES, linewidth=0.8)
    axes.margins(x=0.18, y=0.15)
    unpriced = [short(arm.arm) for arm in analysis.arms if arm.usd_per_1k_prompts is None]
    note = f"\nwithout a known cost: {', '.join(unpriced)}" if unpriced else ""
    level = f"{100 * (1 - analysis.alpha):g} %"
    axes.set_xlabel(f"USD per 1,000 prompts; bars are {level} intervals{note}", parse_math=False)
    points = [(cost, 100.0 * arm.quality.value) for arm, cost in zip(priced, costs, strict=True)]
    bars = [
        (cost, 100.0 * arm.quality.low, 100.0 * arm.quality.high)
        for arm, cost in zip(priced, costs, strict=True)
    ]
    label(figure, axes, names=[arm.arm for arm in priced], points=points, bars=bars)
    return figure


def trajectories(analysis: Analysis) -> Figure:
    """What could be said of each arm after every prompt, with the interval that holds at all of them.

    Raises:
        InsufficientDataError: the run looked once, at its end.
    """
    watched = [comparison for comparison in analysis.comparisons if comparison.looks is not None]
    if not watched:
        raise InsufficientDataError("the run looked once, at its end: there is no way to draw")
    figure, axes = canvas(height=3.6)
    axes.axhline(0.0, color=INK, linewidth=1.0, zorder=1)
    for number, comparison in enumerate(watched):
        if comparison.looks is not None:
            _path(axes, comparison.arm, comparison.looks, colour=CYCLE[number % len(CYCLE)])
    axes.set_ylim(_settled(watched))
    is_clustered = any(comparison.n_clusters is not None for comparison in watched)
    planned = "" if analysis.n_planned is None or is_clustered else f" of {analysis.n_planned:,} planned"
    axes.set_xlabel(f"{'clusters' if is_clustered else 'prompts'} looked at{planned}")
    axes.set_ylabel(f"difference from {short(analysis.control)}, points", parse_math=False)
    axes.grid(color=LINES, linewidth=0.8)
    axes.legend(frameon=False, loc="upper right", fontsize=9)
    return figure


def _path(axes: Axes, arm: str, looks: Looks, *, colour: str) -> None:
    path = looks.path
    low, value, high = (100.0 * np.array(line) for line in (path.low, path.value, path.high))
    axes.plot(path.n, value, color=colour, linewidth=2.0, label=short(arm), zorder=3)
    axes.fill_between(path.n, low, high, color=colour, alpha=0.15, linewidth=0, zorder=2)
    if looks.decided_at is not None:
        axes.axvline(looks.decided_at, color=colour, linewidth=1.2, linestyle="--", zorder=1)


def _settled(watched: Sequence[Comparison]) -> tuple[float, float]:
    """The points that the intervals span after the first tenth of the looks, where they span everything."""
    ends = [
        100.0 * np.array(line)[len(line) // 10 :]
        for comparison in watched
        if comparison.looks is not None
        for line in (comparison.looks.path.low, comparison.looks.path.high)
    ]
    low, high = min(float(end.min()) for end in ends), max(float(end.max()) for end in ends)
    room = 0.08 * (high - low) + 1.0
    return low - room, high + room


def _front(axes: Axes, arms: Sequence[ArmSummary]) -> None:
    """A thin line through the arms that no other beats in quality and cost at once."""
    front = sorted((arm.usd_per_1k_prompts or 0.0, 100.0 * arm.quality.value) for arm in arms if arm.on_front)
    if len(front) > 1:
        x, y = zip(*front, strict=True)
        axes.plot(x, y, color=PALE, linewidth=1.2, drawstyle="steps-post", zorder=1)


def _interval(axes: Axes, comparison: Comparison, *, y: float) -> None:
    difference, colour = comparison.difference, _COLOUR_OF_FINDING[comparison.finding]
    low, value, high = (100.0 * number for number in (difference.low, difference.value, difference.high))
    axes.plot([low, high], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt", zorder=2)
    axes.plot(value, y, "o", color=colour, markersize=7, zorder=3)
    numbers = f"{value:+.1f} [{low:.1f}, {high:.1f}]".replace("-", "\N{MINUS SIGN}")  # as on the axis
    text = f"{numbers}  {comparison.finding}"
    axes.annotate(text, (1.02, y), xycoords=("axes fraction", "data"), va="center", fontsize=9, color=colour)


def _quality_bar(axes: Axes, arm: ArmSummary, cost: float, *, is_control: bool) -> None:
    colour = INK if is_control else BLUE
    low, value, high = (100.0 * number for number in (arm.quality.low, arm.quality.value, arm.quality.high))
    height = 4 if is_control else 2  # the control is seen where an arm is at the same place
    if arm.usd_per_1k_interval is not None:
        spread = arm.usd_per_1k_interval
        axes.plot([spread.low, spread.high], [value, value], color=colour, linewidth=1.8, zorder=height)
    axes.plot([cost, cost], [low, high], color=colour, linewidth=1.8, solid_capstyle="butt", zorder=height)
    axes.plot(cost, value, "D" if is_control else "o", color=colour, markersize=6.5, zorder=height + 1)


def cost_axis(axes: Axes, costs: Sequence[float]) -> None:
    """Dollars on the x axis, logarithmic where they differ more than fivefold."""
    if min(costs) > 0.0 and max(costs) > 5.0 * min(costs):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda cost, _: f"${cost:,.6g}"))
