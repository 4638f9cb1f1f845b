"""The live panel of a running experiment, and what stays of it in a saved notebook."""

import time
from collections.abc import Callable
from html import escape
from types import TracebackType
from typing import Self

from workbench.errors import MissingExtraError
from workbench.experiment.progress import Progress, RunningComparison

try:
    import ipywidgets
    from IPython.display import HTML, display
except ModuleNotFoundError as exc:
    raise MissingExtraError("notebooks", "the live panel") from exc

_UPDATE_S = 0.2
_BAR_PX = 240
_CELL = "padding:2px 12px 2px 0;text-align:left"


class ProgressPanel:
    """A run as it goes on: calls, money, time, errors, and the comparisons so far.

    An `Observer`: give it to the run, which calls it with each `Progress`. While it runs it is a
    widget, redrawn at most five times a second; at the end the widget is replaced by the same picture
    in plain HTML, so that a saved notebook shows it without a kernel, a script or widget state.

        with ProgressPanel("Is B better than A?") as panel:
            await run(spec, observer=panel)
    """

    def __init__(self, title: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._title = title
        self._clock = clock
        self._drawn_s = -_UPDATE_S
        self._last: Progress | None = None
        self._bar = ipywidgets.FloatProgress(min=0.0, max=1.0, layout=ipywidgets.Layout(width="100%"))
        self._text = ipywidgets.HTML()
        self._box = ipywidgets.VBox([self._bar, self._text])
        self._handle = None

    def __enter__(self) -> Self:
        self.show()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(stopped=kind is not None)

    def __call__(self, progress: Progress) -> None:
        """Remember `progress`, and draw it unless the last drawing is under 0.2 s old."""
        self._last = progress
        now_s = self._clock()
        if now_s - self._drawn_s < _UPDATE_S:
            return
        self._drawn_s = now_s
        self._bar.value = progress.n_done / progress.n_total if progress.n_total else 1.0
        self._text.value = _body(self._title, progress)

    @property
    def text(self) -> str:
        """The HTML below the bar, as it was drawn last."""
        return str(self._text.value)

    def static(self, *, stopped: bool = False) -> str:
        """The last state as plain HTML."""
        return static_html(self._title, self._last, stopped=stopped)

    def show(self) -> None:
        """Display the panel below the cell that calls this."""
        self._text.value = f"<b>{escape(self._title)}</b>: waiting for the first answer"
        self._handle = display(self._box, display_id=True)

    def close(self, progress: Progress | None = None, *, stopped: bool = False) -> None:
        """Leave the last state, or `progress`, as plain HTML in the place of the widget."""
        self._last = progress or self._last
        if self._handle is not None:
            self._handle.update(HTML(self.static(stopped=stopped)))
            self._handle = None
        self._box.close()
        self._text.close()
        self._bar.close()


def static_html(title: str, progress: Progress | None, *, stopped: bool = False) -> str:
    """The panel as HTML without scripts or outside references; `stopped` says that the run broke off."""
    if progress is None:
        return f"<p><b>{escape(title)}</b>: nothing was run</p>"
    share = progress.n_done / progress.n_total if progress.n_total else 1.0
    colour = "#b91c1c" if stopped else "#2563eb"
    bar = (
        '<div style="background:#e5e7eb;height:10px;width:100%;max-width:640px">'
        f'<div style="background:{colour};height:10px;width:{min(share, 1.0):.1%}"></div></div>'
    )
    note = '<p style="color:#b91c1c">The run broke off here; run it again to resume.</p>' if stopped else ""
    return f"<div>{bar}{_body(title, progress)}{note}</div>"


def _body(title: str, progress: Progress) -> str:
    rows = "".join(_row(comparison) for comparison in progress.comparisons)
    head = f'<tr><th style="{_CELL}">arm against control</th><th style="{_CELL}">prompts</th>'
    head += f'<th style="{_CELL}">difference in quality</th><th style="{_CELL}">-1 to 1</th></tr>'
    table = f'<table style="border-collapse:collapse"><thead>{head}</thead><tbody>{rows}</tbody></table>'
    return f"<b>{escape(title)}</b><br>{_counts(progress)}<br>{_money(progress)}{table if rows else ''}"


def _counts(progress: Progress) -> str:
    resumed = f" ({progress.n_resumed:,} from before)" if progress.n_resumed else ""
    errors = f"{progress.n_errors:,} error{'' if progress.n_errors == 1 else 's'}"
    return f"{progress.n_done:,} of {progress.n_total:,} calls{resumed} · {errors} · {_pace(progress)}"


def _pace(progress: Progress) -> str:
    remaining_s = progress.remaining_s
    elapsed = f"{_duration(progress.elapsed_s)} so far"
    if progress.n_done >= progress.n_total:
        return f"took {_duration(progress.elapsed_s)}"
    if remaining_s is None or progress.elapsed_s <= 0.0:
        return elapsed
    rate = (progress.n_done - progress.n_resumed) / progress.elapsed_s
    return f"{elapsed}, {rate:.1f} calls/s, about {_duration(remaining_s)} to go"


def _money(progress: Progress) -> str:
    if progress.budget_usd is None:
        return f"spent ${progress.spent_usd:,.4f}"
    return f"spent ${progress.spent_usd:,.4f} of ${progress.budget_usd:,.2f}"


def _row(comparison: RunningComparison) -> str:
    difference = comparison.difference
    interval = "not enough prompts yet"
    if difference is not None:
        interval = f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"
    cells = (
        f"{escape(comparison.arm)} against {escape(comparison.control)}",
        f"{comparison.n_prompts:,}",
        interval,
        _interval_bar(comparison),
    )
    return "<tr>" + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells) + "</tr>"


def _interval_bar(comparison: RunningComparison) -> str:
    """The interval on a line from -1 to 1; it is blue where it excludes no difference, else grey."""
    difference = comparison.difference
    if difference is None:
        return ""
    low, value, high = (_x(number) for number in (difference.low, difference.value, difference.high))
    colour = "#2563eb" if difference.low > 0.0 or difference.high < 0.0 else "#6b7280"
    middle = _BAR_PX / 2
    return (
        f'<svg width="{_BAR_PX}" height="14" role="img" aria-label="interval of the difference">'
        f'<line x1="{middle}" x2="{middle}" y1="0" y2="14" stroke="#9ca3af" stroke-dasharray="2"></line>'
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="7" y2="7" stroke="{colour}" stroke-width="3"></line>'
        f'<circle cx="{value:.1f}" cy="7" r="4" fill="{colour}"></circle></svg>'
    )


def _x(difference: float) -> float:
    """Pixels from the left for a difference, kept inside the line."""
    return (min(max(difference, -1.0), 1.0) + 1.0) / 2.0 * _BAR_PX


def _duration(seconds: float) -> str:
    """
    >>> _duration(4.2), _duration(75), _duration(7300)
    ('4.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
