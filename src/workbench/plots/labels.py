"""Names beside marks, so placed that they cover neither marks nor each other."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from workbench.plots.canvas import GREY, INK, boxes_for_missing_characters, short

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


def label(
    figure: Figure,
    axes: Axes,
    *,
    names: Sequence[str],
    points: Sequence[tuple[float, float]],
    bars: Sequence[tuple[float, float, float]],
) -> None:
    """Name each mark at the nearest place where the name covers no mark, bar or other name."""
    with boxes_for_missing_characters():
        figure.canvas.draw()
    taken = [_box(axes, x, y, y) for x, y in points] + [_box(axes, x, low, high) for x, low, high in bars]
    frame = axes.get_window_extent()
    for name, point in zip(names, points, strict=True):
        text = axes.annotate(short(name), point, xytext=(0, 0), textcoords="offset points", parse_math=False)
        text.set(fontsize=9, color=INK, zorder=6)
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6})
        with boxes_for_missing_characters():
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
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4},
        ).set_in_layout(False)


def _box(axes: Axes, x: float, low: float, high: float) -> Bbox:
    corners = axes.transData.transform([(x, low), (x, high)])
    return Bbox.from_extents(corners[0][0] - 6, corners[0][1] - 6, corners[1][0] + 6, corners[1][1] + 6)


def _overlap(box: Bbox, other: Bbox) -> float:
    shared = Bbox.intersection(box, other)
    return 0.0 if shared is None else float(shared.width * shared.height)


def _outside(box: Bbox, frame: Bbox) -> float:
    return float(box.width * box.height) - _overlap(box, frame)
