"""The paper that figures are drawn on: size, colours, names, and the way into a page or a notebook."""

import base64
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from workbench.experiment.wording import printable

# Okabe & Ito (2008), Color Universal Design: told apart with any colour vision, and in grey.
BLUE, VERMILLION, GREY, INK = "#0072B2", "#D55E00", "#6B6B6B", "#222222"
CYCLE = (BLUE, VERMILLION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES, PALE = "#E4E4E4", "#A8A8A8"
_LONGEST_NAME = 34
_DPI = 144


def canvas(*, height: float) -> tuple[Figure, Axes]:
    """An empty figure, 7.2 inches wide, and the axes to draw on."""
    figure = _NotebookFigure(figsize=(7.2, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9, colors=INK)
    axes.xaxis.label.set_fontsize(9.5)
    axes.yaxis.label.set_fontsize(9.5)
    return figure, axes


def png(figure: Figure) -> bytes:
    """The figure as PNG, cropped to what is drawn.

    Names are drawn in the fonts that matplotlib is set to (`font.family`); a character that none of them
    has, such as Chinese in the default, is a box, because the tables beside the figure have the name.
    """
    buffer = io.BytesIO()
    with boxes_for_missing_characters():
        figure.savefig(buffer, format="png", dpi=_DPI, bbox_inches="tight", pad_inches=0.1)
    return buffer.getvalue()


def png_uri(figure: Figure) -> str:
    """The figure as a `data:` URI, for a page that must stand alone."""
    return "data:image/png;base64," + base64.b64encode(png(figure)).decode()


def short(name: str) -> str:
    """`name` without control characters, and no longer than a plot has room for."""
    name = printable(name)
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


@contextmanager
def boxes_for_missing_characters() -> Iterator[None]:
    """Inside, a character that no font has is drawn as a box, without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font", category=UserWarning)
        yield


class _NotebookFigure(Figure):
    """A figure that a notebook shows as it is, without pyplot and its global state."""

    def _repr_png_(self) -> bytes:
        return png(self)
