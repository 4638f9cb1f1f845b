"""The live panel of a running experiment, and what stays of it in a saved notebook."""

import time
from collections.abc import Callable, Sequence
from html import escape
from types import TracebackType
from typing import Self

from workbench.errors import MissingExtraError
from workbench.experiment.progress import Progress, RunningComparison
from workbench.stats.estimate import Estimate

try:
    import ipywidgets
    from IPython.display import HTML, display
except ModuleNotFoundError as exc:
    raise MissingExtraError("notebooks", "the live panel") from exc

_UPDATE_S = 0.2
_BAR = 40  # characters of the bar of progress
_WIDTH = 15  # characters of the line that an interval is drawn on: odd, so that 0 has a column
_SCALES = (5, 10, 20, 50, 100)  # percentage points to either side of no difference


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
        self._bar.value = _share(progress)
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
        self._text.value = f"<b>{_plain(self._title)}</b>: waiting for the first answer"
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
    """The panel as HTML without scripts or outside references; `stopped` says that the run broke off.

    Bars are drawn in text, and only elements are used that nbconvert's `sanitize_html` leaves alone; it
    empties `style`, so nothing depends on that.
    """
    if progress is None:
        return f"<div><b>{_plain(title)}</b>: nothing was run</div>"
    share = _share(progress)
    full = round(share * _BAR)
    bar = f"<div><code>{'█' * full}{'░' * (_BAR - full)}</code> {share:.0%}</div>"
    note = "<div><b>The run broke off here; run it again to resume.</b></div>" if stopped else ""
    return f"<div>{bar}{_body(title, progress)}{note}</div>"


def _plain(text: str) -> str:
    """Text that JupyterLab shows as it is: it takes what stands between dollar signs for a formula."""
    return escape(text).replace("$", "<span>$</span>")


def _share(progress: Progress) -> float:
    return min(progress.n_done / progress.n_total, 1.0) if progress.n_total else 1.0


def _body(title: str, progress: Progress) -> str:
    table = _drawn(progress.comparisons) if progress.comparisons else ""
    looked = () if progress.stopping is None else (_plain(str(progress.stopping)),)
    lines = (f"<b>{_plain(title)}</b>", _counts(progress), _money(progress), *looked)
    return "".join(f'<div style="line-height: 1.5">{line}</div>' for line in lines) + table


def _counts(progress: Progress) -> str:
    resumed = f" ({progress.n_resumed:,} from before)" if progress.n_resumed else ""
    errors = f"{progress.n_errors:,} error{'' if progress.n_errors == 1 else 's'}"
    name = f"{_plain(progress.experiment)}: " if progress.experiment else ""
    return f"{name}{progress.n_done:,} of {progress.n_total:,} calls{resumed} · {errors} · {_pace(progress)}"


def _pace(progress: Progress) -> str:
    remaining_s = progress.remaining_s
    elapsed = f"{_duration(progress.elapsed_s)} so far"
    if progress.n_done >= progress.n_total:
        return f"took {_duration(progress.elapsed_s)}"
    if remaining_s is None or progress.elapsed_s <= 0.0:
        return elapsed
    return f"{elapsed}, {progress.rate or 0.0:.1f} calls/s, about {_duration(remaining_s)} to go"


def _money(progress: Progress) -> str:
    if progress.budget_usd is None:
        return f"spent {progress.spent_usd:,.4f} USD"
    return f"spent {progress.spent_usd:,.4f} of {progress.budget_usd:,.2f} USD"


def _drawn(comparisons: Sequence[RunningComparison]) -> str:
    """The table as text that is scrolled where it is too wide, because it is unreadable when it wraps."""
    return f'<pre style="white-space: pre; overflow-x: auto">{escape(_table(comparisons))}</pre>'


def _table(comparisons: Sequence[RunningComparison]) -> str:
    """One line an arm: on how many prompts, the difference in percentage points, and a drawing of it."""
    scale = _scale([c.difference for c in comparisons if c.difference is not None])
    control = _short(comparisons[0].control, limit=16)
    head = ("arm", "n", f"points against {control}", f"-{scale} to {scale}")
    return _aligned([head, *(_row(comparison, scale=scale) for comparison in comparisons)])


def _row(comparison: RunningComparison, *, scale: int) -> tuple[str, ...]:
    difference = comparison.difference
    interval, bar = "not enough prompts yet", ""
    if difference is not None:
        low, value, high = (100.0 * n for n in (difference.low, difference.value, difference.high))
        interval = f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"
        bar = interval_bar(difference, scale=scale)
    return _short(comparison.arm), f"{comparison.n_prompts:,}", interval, bar


def _scale(differences: Sequence[Estimate]) -> int:
    """The smallest scale, in points, that holds every interval.

    >>> _scale([Estimate(0.02, -0.01, 0.06)]), _scale([])
    (10, 100)
    """
    ends = [100.0 * abs(end) for one in differences for end in (one.low, one.high)]
    return next((scale for scale in _SCALES if ends and max(ends) <= scale), _SCALES[-1])


def _short(name: str, *, limit: int = 24) -> str:
    """The name on one line; longer ones would not let the table fit a notebook 900 pixels wide."""
    name = " ".join(name.split())
    return name if len(name) <= limit else f"{name[: limit - 1]}…"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """
    >>> print(_aligned([("arm", "prompts"), ("large", "9")]))
    arm    prompts
    large  9
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def interval_bar(difference: Estimate, *, scale: int) -> str:
    """The interval on a line from `-scale` to `scale` points, with a mark at no difference.

    >>> interval_bar(Estimate(0.03, 0.01, 0.05), scale=10)
    '·······¦━●━····'
    """
    low, value, high = (_column(n, scale) for n in (difference.low, difference.value, difference.high))
    marks = ["━" if low <= column <= high else "·" for column in range(_WIDTH)]
    marks[_column(0.0, scale)] = "┿" if difference.low <= 0.0 <= difference.high else "¦"
    marks[value] = "●"
    return "".join(marks)


def _column(difference: float, scale: int) -> int:
    """The column of a difference, kept inside the line."""
    share = min(max(100.0 * difference / scale, -1.0), 1.0)
    return round((share + 1.0) / 2.0 * (_WIDTH - 1))


def _duration(seconds: float) -> str:
    """
    >>> _duration(4.2), _duration(75), _duration(7300)
    ('4.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
