"""Figures of an analysis or a leaderboard: differences, quality against cost, calibration."""

import base64
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np

from workbench.errors import InsufficientDataError, MissingExtraError
from workbench.experiment.analyse import Analysis, ArmSummary, Comparison
from workbench.experiment.wording import printable
from workbench.routing.curves import RouterCurve, cost_curves, reliability
from workbench.routing.leaderboard import Leaderboard, Result

try:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
    from matplotlib.transforms import Bbox
except ModuleNotFoundError as exc:
    raise MissingExtraError("notebooks", "drawing plots") from exc

# Okabe & Ito (2008), Color Universal Design: told apart with any colour vision, and in grey.
_BLUE, _VERMILLION, _GREY, _INK = "#0072B2", "#D55E00", "#6B6B6B", "#222222"
_CYCLE = (_BLUE, _VERMILLION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_COLOUR_OF_FINDING = {"better": _BLUE, "worse": _VERMILLION, "undecided": _GREY}
_LONGEST_NAME = 34
_DPI = 144


@dataclass(frozen=True, slots=True)
class Curve:
    """What a router reaches over its settings: [K] `x` ascending and [K] `y`, with an interval or none."""

    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


class _NotebookFigure(Figure):
    """A figure that a notebook shows as it is, without pyplot and its global state."""

    def _repr_png_(self) -> bytes:
        return png(self)


def forest(analysis: Analysis) -> Figure:
    """Each arm's difference from the control in percentage points, with its interval and a zero line.

    Raises:
        InsufficientDataError: there is nothing to compare.
    """
    comparisons = analysis.comparisons
    if not comparisons:
        raise InsufficientDataError("a forest plot needs an arm besides the control; there is none")
    figure, axes = _canvas(height=1.1 + 0.42 * len(comparisons))
    positions = np.arange(len(comparisons))[::-1]
    axes.axvline(0.0, color=_INK, linewidth=1.0, zorder=1)
    for position, comparison in zip(positions, comparisons, strict=True):
        _interval(axes, comparison, y=float(position))
    axes.set_yticks(positions, [_short(c.arm) for c in comparisons], parse_math=False)
    axes.set_ylim(-0.6, len(comparisons) - 0.4)
    level = f"{100 * (1 - analysis.alpha):g} %"
    measured = f"{analysis.metric}: difference from {_short(analysis.control)}"
    axes.set_xlabel(f"{measured}, percentage points ({level} interval)", parse_math=False)
    axes.grid(axis="x", color="#E4E4E4", linewidth=0.8)
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
    figure, axes = _canvas(height=4.0 + 0.15 * max(0, len(priced) - 6))
    costs = [float(arm.usd_per_1k_prompts or 0.0) for arm in priced]
    for arm, cost in zip(priced, costs, strict=True):
        _quality_bar(axes, arm, cost, is_control=arm.arm == analysis.control)
    _cost_axis(axes, costs)
    axes.set_ylabel(f"{analysis.metric} (%)", parse_math=False)
    axes.grid(color="#E4E4E4", linewidth=0.8)
    axes.margins(x=0.18, y=0.15)
    unpriced = [_short(arm.arm) for arm in analysis.arms if arm.usd_per_1k_prompts is None]
    note = f"\nwithout a known cost: {', '.join(unpriced)}" if unpriced else ""
    level = f"{100 * (1 - analysis.alpha):g} %"
    axes.set_xlabel(f"USD per 1,000 prompts; bars are {level} intervals of quality{note}", parse_math=False)
    points = [(cost, 100.0 * arm.quality.value) for arm, cost in zip(priced, costs, strict=True)]
    bars = [
        (cost, 100.0 * arm.quality.low, 100.0 * arm.quality.high)
        for arm, cost in zip(priced, costs, strict=True)
    ]
    _label(figure, axes, names=[arm.arm for arm in priced], points=points, bars=bars)
    return figure


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
    figure, axes = _canvas(height=4.2)
    learned = [name for name in curves if name != baseline]
    for number, name in enumerate(learned):
        _curve(axes, name, curves[name], colour=_CYCLE[number % len(_CYCLE)])
    if baseline is not None:
        flat = curves[baseline]
        axes.plot(flat.x, flat.y, "--", color=_GREY, linewidth=1.6, label=_short(baseline), zorder=2)
    named = dict(points or {})
    for x, y in named.values():
        axes.plot(x, y, "o", color=_INK, markersize=5, zorder=4)
    axes.set_xlabel(x_label, parse_math=False)
    axes.set_ylabel(y_label, parse_math=False)
    axes.grid(color="#E4E4E4", linewidth=0.8)
    axes.margins(x=0.08, y=0.1)
    axes.legend(frameon=False, loc="lower right", fontsize=9)
    _label(figure, axes, names=list(named), points=list(named.values()), bars=[])
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
    figure, axes = _canvas(height=4.6)
    dashed = curves.pop("no_information")
    for name in ("no_information_fitted", "oracle"):
        curves.pop(name, None)
    colours = dict(zip([name for name in shown if name in curves], _CYCLE, strict=False))
    _other_curves(axes, [curve for name, curve in curves.items() if name not in colours])
    for name, colour in colours.items():
        _curve(axes, name, _in_percent(curves[name]), colour=colour)
    axes.plot(
        1000 * dashed.cost_usd, 100 * dashed.quality, "--", color=_INK, linewidth=1.4, label="no information"
    )
    points = _single_models(board, board.scored.cost_usd)
    for x, y in points.values():
        axes.plot(x, y, "o", color=_INK, markersize=5, zorder=4)
    _cost_axis(axes, [x for x, _ in points.values()])
    axes.set_xlabel("USD per 1,000 prompts; bands are 95 % intervals of quality")
    axes.set_ylabel(f"quality (%) on {len(board.scored.fold):,} prompts not learned from")
    axes.grid(color="#E4E4E4", linewidth=0.8)
    axes.margins(x=0.12, y=0.1)
    axes.legend(frameon=False, loc="lower right", fontsize=9)
    _label(figure, axes, names=list(points), points=list(points.values()), bars=[])
    return figure


def calibration(board: Leaderboard, router: str) -> Figure:
    """What a router predicted against what happened, in bins of equal size, with 95 % intervals.

    Raises:
        InsufficientDataError: it is not on the leaderboard, or makes no predictions.
    """
    found = reliability(board, router)
    figure, axes = _canvas(height=3.4)
    x = 100 * found.predicted
    low, y, high = (
        np.array([100 * getattr(e, of) for e in found.happened]) for of in ("low", "value", "high")
    )
    ends = [min(x.min(), low.min()) - 3, max(x.max(), high.max()) + 3]
    axes.plot(ends, ends, "--", color=_GREY, linewidth=1.2, label="as predicted")
    axes.vlines(x, low, high, color=_BLUE, linewidth=1.8)
    axes.plot(x, y, "o", color=_BLUE, markersize=6, label=_short(router))
    axes.set_xlabel(f"predicted quality (%), {int(found.n_pairs.mean()):,} predictions a bin")
    axes.set_ylabel("quality that was found (%, 95 % interval)")
    axes.set_aspect("equal")
    axes.grid(color="#E4E4E4", linewidth=0.8)
    axes.legend(frameon=False, loc="upper left", fontsize=9)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as PNG, cropped to what is drawn.

    Names are drawn in the fonts that matplotlib is set to (`font.family`); a character that none of them
    has, such as Chinese in the default, is a box, because the tables beside the figure have the name.
    """
    buffer = io.BytesIO()
    with _boxes_for_missing_characters():
        figure.savefig(buffer, format="png", dpi=_DPI, bbox_inches="tight", pad_inches=0.1)
    return buffer.getvalue()


def png_uri(figure: Figure) -> str:
    """The figure as a `data:` URI, for a page that must stand alone."""
    return "data:image/png;base64," + base64.b64encode(png(figure)).decode()


@contextmanager
def _boxes_for_missing_characters() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font", category=UserWarning)
        yield


def _canvas(*, height: float) -> tuple[Figure, Axes]:
    figure = _NotebookFigure(figsize=(7.2, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9, colors=_INK)
    axes.xaxis.label.set_fontsize(9.5)
    axes.yaxis.label.set_fontsize(9.5)
    return figure, axes


def _interval(axes: Axes, comparison: Comparison, *, y: float) -> None:
    difference, colour = comparison.difference, _COLOUR_OF_FINDING[comparison.finding]
    low, value, high = (100.0 * number for number in (difference.low, difference.value, difference.high))
    axes.plot([low, high], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt", zorder=2)
    axes.plot(value, y, "o", color=colour, markersize=7, zorder=3)
    numbers = f"{value:+.1f} [{low:.1f}, {high:.1f}]".replace("-", "\N{MINUS SIGN}")  # as on the axis
    text = f"{numbers}  {comparison.finding}"
    axes.annotate(text, (1.02, y), xycoords=("axes fraction", "data"), va="center", fontsize=9, color=colour)


def _quality_bar(axes: Axes, arm: ArmSummary, cost: float, *, is_control: bool) -> None:
    colour = _INK if is_control else _BLUE
    low, value, high = (100.0 * number for number in (arm.quality.low, arm.quality.value, arm.quality.high))
    height = 4 if is_control else 2  # the control is seen where an arm is at the same place
    axes.plot([cost, cost], [low, high], color=colour, linewidth=1.8, solid_capstyle="butt", zorder=height)
    axes.plot(cost, value, "D" if is_control else "o", color=colour, markersize=6.5, zorder=height + 1)


def _cost_axis(axes: Axes, costs: Sequence[float]) -> None:
    if min(costs) > 0.0 and max(costs) > 5.0 * min(costs):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda cost, _: f"${cost:,.6g}"))


def _curve(axes: Axes, name: str, curve: Curve, *, colour: str) -> None:
    axes.plot(curve.x, curve.y, color=colour, linewidth=2.0, label=_short(name), zorder=3)
    if curve.low is not None and curve.high is not None:
        axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0, zorder=1)


def _router_qualities(board: Leaderboard) -> Figure:
    results: list[Result] = [result for result in board.results if result.router != "no_information_fitted"]
    figure, axes = _canvas(height=1.1 + 0.34 * len(results))
    positions = np.arange(len(results))[::-1]
    axes.axvline(100 * board.best_single.quality, color=_INK, linewidth=1.0, linestyle="--", zorder=1)
    for position, result in zip(positions, results, strict=True):
        colour = _GREY if result.kind == "baseline" else _BLUE
        quality = result.quality
        axes.plot([100 * quality.low, 100 * quality.high], [position, position], color=colour, linewidth=2.2)
        axes.plot(100 * quality.value, position, "o", color=colour, markersize=6.5)
    axes.set_yticks(positions, [_short(result.router) for result in results], parse_math=False)
    best = _short(board.best_single.model_id.removeprefix("replay/"))
    axes.set_xlabel(f"quality (%, 95 % interval); dashed: {best} alone", parse_math=False)
    axes.grid(axis="x", color="#E4E4E4", linewidth=0.8)
    axes.tick_params(axis="y", length=0)
    return figure


def _other_curves(axes: Axes, others: Sequence[RouterCurve]) -> None:
    """Thin, without bands: what is behind the curves that are looked at."""
    for number, curve in enumerate(others):
        axes.plot(
            1000 * curve.cost_usd,
            100 * curve.quality,
            color="#A8A8A8",
            linewidth=0.9,
            zorder=2,
            label=f"others: {', '.join(_short(one.router) for one in others)}" if number == 0 else None,
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


_STEPS = (7, 18, 30, 44, 60, 78)
_Place = tuple[float, float, Literal["left", "right"], Literal["top", "bottom", "center"]]
_PLACES: tuple[_Place, ...] = (
    (9, 0, "left", "center"),
    (-9, 0, "right", "center"),
    *(
        place
        for step in _STEPS
        for place in (
            (step / 2 + 5, step, "left", "bottom"),
            (step / 2 + 5, -step, "left", "top"),
            (-step / 2 - 5, step, "right", "bottom"),
            (-step / 2 - 5, -step, "right", "top"),
        )
    ),
)
"""Where a name may stand beside its mark, nearest first: points right and up, and how it is aligned there."""


def _label(
    figure: Figure,
    axes: Axes,
    *,
    names: Sequence[str],
    points: Sequence[tuple[float, float]],
    bars: Sequence[tuple[float, float, float]],
) -> None:
    """Name each mark at the nearest place where the name covers no mark, bar or other name."""
    with _boxes_for_missing_characters():
        figure.canvas.draw()
    taken = [_box(axes, x, y, y) for x, y in points] + [_box(axes, x, low, high) for x, low, high in bars]
    frame = axes.get_window_extent()
    for name, point in zip(names, points, strict=True):
        text = axes.annotate(_short(name), point, xytext=(0, 0), textcoords="offset points", parse_math=False)
        text.set(fontsize=9, color=_INK, zorder=6)
        with _boxes_for_missing_characters():
            size = text.get_window_extent()
        boxes = [_text_box(axes, point, place, size=size) for place in _PLACES]
        crowding = [sum(_overlap(box, other) for other in taken) + _outside(box, frame) for box in boxes]
        best = int(np.argmin(crowding))
        taken.append(boxes[best])
        _move(axes, text, _PLACES[best])


def _text_box(axes: Axes, point: tuple[float, float], place: _Place, *, size: Bbox) -> Bbox:
    """Where a name of this size would stand, in pixels."""
    right, up, horizontal, vertical = place
    pixels = axes.figure.dpi / 72.0
    x, y = axes.transData.transform(point) + np.array([right, up]) * pixels
    x -= size.width if horizontal == "right" else 0.0
    y -= {"top": 1.0, "center": 0.5, "bottom": 0.0}[vertical] * size.height
    return Bbox.from_bounds(x, y, size.width, size.height)


def _move(axes: Axes, text: Annotation, place: _Place) -> None:
    """Put the name in its place, with a thin line to its mark where the two are apart."""
    right, up, horizontal, vertical = place
    text.set(position=(right, up), ha=horizontal, va=vertical)
    text.set_in_layout(False)
    if abs(up) > _STEPS[0]:
        corner = (0.0 if horizontal == "left" else 1.0, 0.0 if vertical == "bottom" else 1.0)
        axes.annotate(
            "",
            text.xy,
            xytext=corner,
            textcoords=text,
            arrowprops={"arrowstyle": "-", "color": _GREY, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4},
        ).set_in_layout(False)


def _box(axes: Axes, x: float, low: float, high: float) -> Bbox:
    corners = axes.transData.transform([(x, low), (x, high)])
    return Bbox.from_extents(corners[0][0] - 6, corners[0][1] - 6, corners[1][0] + 6, corners[1][1] + 6)


def _overlap(box: Bbox, other: Bbox) -> float:
    shared = Bbox.intersection(box, other)
    return 0.0 if shared is None else float(shared.width * shared.height)


def _outside(box: Bbox, frame: Bbox) -> float:
    return float(box.width * box.height) - _overlap(box, frame)


def _short(name: str) -> str:
    name = printable(name)
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
