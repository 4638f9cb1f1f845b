"""What a run looks like in a terminal: a progress line while it goes on, tables and verdicts when it ends."""

import itertools
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as ProgressBar
from rich.table import Table
from rich.text import Text

from workbench.experiment import result_table as result_rows
from workbench.experiment.progress import Observer, Progress
from workbench.experiment.wording import ABSENT, count, percent, points, printable, seconds, usd
from workbench.stats.estimate import Estimate

if TYPE_CHECKING:  # what is drawn is made elsewhere, by modules that take seconds to import
    from workbench.datasets import Dataset, Description
    from workbench.datasets.fetch import OnProgress
    from workbench.experiment.analysis import Analysis
    from workbench.routing.leaderboard import Leaderboard, Result

_LEADERBOARD: "dict[str, Callable[[Result], str]]" = {
    "router": lambda result: result.router,
    "quality": lambda result: percent(result.quality),
    "USD per 1,000 prompts": lambda result: usd(None if result.cost_usd is None else 1000 * result.cost_usd),
    "APGR": lambda result: _interval(result.apgr),
    "CPT50": lambda result: _share(result.cpt50),
    "CPT80": lambda result: _share(result.cpt80),
    "AIQlog": lambda result: _interval(result.aiqlog),
    "over no information": lambda result: _interval(result.over_no_information, sign="+"),
    "over the best kNN": lambda result: _interval(result.over_knn, sign="+"),
    "saving at parity": lambda result: _change(result.saving, sign=""),
    "honest change of quality": lambda result: _points(result.honest_quality_change),
    "honest change of cost": lambda result: _change(result.honest_cost_change),
    "ECE": lambda result: _number(result.ece),
    "Brier": lambda result: _number(result.brier),
    "fit": lambda result: seconds(result.fit_s),
    "decide": lambda result: ABSENT if result.decide_ms is None else f"{result.decide_ms:.2f} ms",
}
_MOST_SO_FAR = 2  # arms whose interval has room beside a progress bar
_STYLE_OF_FINDING = {"better": "green", "worse": "red", "undecided": "default"}


def console() -> Console:
    """The terminal, or the file that output goes to. Brackets in names and paths are text, not markup."""
    return Console(highlight=False, markup=False, emoji=False)


@contextmanager
def progress(shown_on: Console) -> Iterator[Observer]:
    """An observer that draws one line for each experiment: calls, money, errors and time to go.

    A file gets a line for every tenth of the calls instead.
    """
    if not shown_on.is_terminal:
        yield _line_each_tenth(shown_on)
        return
    columns = (
        TextColumn("{task.description:<16}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("{task.fields[money]}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
    )
    with ProgressBar(*columns, console=shown_on) as bar:
        lines: dict[str, TaskID] = {}

        def show(seen: Progress) -> None:
            if seen.experiment not in lines:
                _tell_bound(shown_on, seen)
                lines[seen.experiment] = bar.add_task(
                    printable(seen.experiment), total=seen.n_total, money="", rate=""
                )
            bar.update(
                lines[seen.experiment],
                completed=seen.n_done,
                total=seen.n_total,
                money=f"{_money(seen)}{_so_far(seen)}",
                rate="" if seen.rate is None else f"{seen.rate:.1f}/s",
            )

        yield show


def _line_each_tenth(shown_on: Console) -> Observer:
    told: dict[str, int] = {}

    def show(seen: Progress) -> None:
        if seen.experiment not in told:
            _tell_bound(shown_on, seen)
        tenth = 10 * seen.n_done // max(1, seen.n_total)
        if tenth > told.get(seen.experiment, -1):
            told[seen.experiment] = tenth
            done = f"{seen.n_done:,} of {count(seen.n_total, 'call')}"
            text = f"{printable(seen.experiment)}: {done}, {_money(seen)}{_so_far(seen)}"
            shown_on.print(text, soft_wrap=True)

    return show


def _tell_bound(shown_on: Console, seen: Progress) -> None:
    """Before the first call: what the calls will and can cost, and whether a budget that was set will do."""
    if seen.bound_usd is None or seen.budget_usd is None or seen.n_done == seen.n_total:
        return
    calls = count(seen.n_total - seen.n_done, "call")
    left_usd, expected = seen.budget_usd - seen.spent_usd, ""
    stops = f"; the budget stops them at {usd(seen.budget_usd)}" if seen.bound_usd > left_usd else ""
    if seen.expected_usd is not None:
        expected = f" about {usd(seen.expected_usd)},"
        if seen.expected_usd > left_usd:
            share = 100 * max(left_usd, 0.0) / seen.expected_usd
            stops = f"; the budget of {usd(seen.budget_usd)} will stop them after about {share:.0f} %"
    text = f"{printable(seen.experiment)}: {calls} cost{expected} at most {usd(seen.bound_usd)}{stops}"
    is_short = seen.expected_usd is not None and seen.expected_usd > left_usd
    shown_on.print(text, style="yellow" if is_short else "dim", soft_wrap=True)


def result_table(analysis: "Analysis") -> "Cells":
    """What each arm did: one row an arm. The number of prompts is in the verdicts, to save the width."""
    shown = [place for place, name in enumerate(result_rows.HEADER) if name != "prompts"]
    rows = ([row[place] for place in shown] for row in result_rows.rows(analysis))
    return cells([result_rows.HEADER[place] for place in shown], rows)


def verdicts(analysis: "Analysis") -> Iterator[Text]:
    """One line a comparison, coloured by its finding, then what a reader must be warned of."""
    for comparison in analysis.comparisons:
        yield Text(f"- {printable(comparison.verdict)}", style=_STYLE_OF_FINDING[comparison.finding])
    for warning in analysis.warnings:
        yield Text(f"! {printable(warning)}", style="dim")


def leaderboard_table(board: "Leaderboard") -> "Cells":
    """Routers on prompts that they had not seen."""
    header, *rows = leaderboard_rows(board)
    return cells(header, rows)


def leaderboard_rows(board: "Leaderboard") -> list[list[str]]:
    """The header, then a row a router; a column that means nothing for this table is left out."""
    columns = {name: [worded(result) for result in board.results] for name, worded in _LEADERBOARD.items()}
    shown = {name: cells for name, cells in columns.items() if set(cells) != {ABSENT}}
    return [list(shown), *(list(row) for row in zip(*shown.values(), strict=True))]


def dataset_table(rows: "Iterable[Dataset]") -> "Cells":
    """Prompt sets and benchmarks, and whether each is on this machine."""
    header = ("name", "kind", "prompts", "models", "licence", "here")
    return cells(header, (_dataset_row(row) for row in rows))


def description(found: "Description") -> str:
    """What is known of a dataset, a line for each thing."""
    row = found.dataset
    lines = {
        "what": row.title,
        "prompts x models": f"{row.n_prompts:,} x {row.n_models}"
        if row.n_models
        else f"{row.n_prompts:,} prompts",
        "licence": row.licence,
        "source": f"{found.source} {found.commit}".strip(),
        "files": f"{found.n_files} ({found.n_bytes:,} bytes)" if found.n_bytes else "",
        "citation": found.citation,
        "notes": found.notes,
        "here": str(row.location or ""),
        "to get it": found.how_to_get,
    }
    return "\n".join(
        f"{name:<17} {printable(text)}" for name, text in {"name": row.name, **lines}.items() if text
    )


@contextmanager
def download(shown_on: Console, name: str) -> "Iterator[OnProgress]":
    """Draws the bytes of a download as they come; into a file, nothing."""
    if not shown_on.is_terminal:
        yield lambda seen: None
        return
    columns = (TextColumn(printable(name)), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with ProgressBar(*columns, console=shown_on) as bar:
        line = bar.add_task(name, total=None)
        yield lambda seen: bar.update(line, completed=seen.bytes_done, total=seen.n_bytes)


@dataclass(frozen=True, slots=True)
class Cells:
    """A plain table: the first column to the left, the others to the right; only headers are broken.

    Where it is too wide for the terminal, no cell is cut: the columns that are left follow in a second
    table, beside the first column again, which is folded if it must be. [columns][cells], where each
    column's first cell is its header.
    """

    columns: tuple[tuple[str, ...], ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        first, *others = self.columns
        room = options.max_width
        while others:
            n_fitting = _n_fitting([_width(column) for column in others], room - _width(first) - _GAP)
            yield _drawn([first, *others[:n_fitting]])
            others = others[n_fitting:]


def cells(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Cells:
    """A table of text. No cell can steer the terminal: control characters are taken out."""
    columns = zip(header, *rows, strict=True)
    return Cells(tuple(tuple(printable(cell) for cell in column) for column in columns))


_GAP = 2
"""Columns are this far apart."""


def _n_fitting(widths: Sequence[int], room: int) -> int:
    """How many of the columns fit side by side; one at least."""
    needed = itertools.accumulate(width + _GAP for width in widths)
    return max(1, sum(total <= room for total in needed))


def _width(column: Sequence[str]) -> int:
    header, *values = column
    return max(map(cell_len, (*_broken(header, values), *values)))


def _broken(header: str, values: Sequence[str]) -> list[str]:
    """The header in lines about as wide as its column."""
    width = max(map(cell_len, values), default=0)
    return textwrap.wrap(header, max(width, 7), break_long_words=False)


def _drawn(columns: Sequence[Sequence[str]]) -> Table:
    drawn = Table(box=box.SIMPLE_HEAD, padding=(0, _GAP - 1, 0, 0), pad_edge=False)
    for position, (header, *values) in enumerate(columns):
        broken = "\n".join(_broken(header, values))
        if position:
            drawn.add_column(broken, justify="right", no_wrap=True)
        else:
            drawn.add_column(broken, overflow="fold")
    for row in zip(*(column[1:] for column in columns), strict=True):
        drawn.add_row(*map(Text, row))
    return drawn


def _dataset_row(row: "Dataset") -> tuple[str, ...]:
    n_models = str(row.n_models) if row.n_models else ABSENT
    here = "yes" if row.location else "fetchable" if row.is_fetchable else "no"
    return (row.name, row.kind, f"{row.n_prompts:,}", n_models, row.licence, here)


def _number(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return ABSENT if value is None else f"{100 * value:.0f} %"


def _interval(estimate: Estimate | None, *, sign: str = "") -> str:
    if estimate is None:
        return ABSENT
    return f"{estimate.value:{sign}.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _points(change: Estimate | None) -> str:
    return ABSENT if change is None else points(change)


def _change(share: Estimate | None, *, sign: str = "+") -> str:
    if share is None:
        return ABSENT
    return f"{100 * share.value:{sign}.0f} % [{100 * share.low:.0f}, {100 * share.high:.0f}]"


def _so_far(seen: Progress) -> str:
    """Of a sequential run: how the arms compare, or that it is decided. An interval holds at every look."""
    if seen.stopping is None:
        return ""
    if seen.stopping.reason is not None:
        return f", {seen.stopping.reason} after {count(seen.stopping.n_prompts, 'prompt')}"
    known = [(one.arm, one.difference) for one in seen.comparisons if one.difference is not None]
    return "".join(f", {printable(arm)} {points(difference)}" for arm, difference in known[:_MOST_SO_FAR])


def _money(seen: Progress) -> str:
    budget = f" of {usd(seen.budget_usd)}" if seen.budget_usd is not None else ""
    errors = f", {count(seen.n_errors, 'error')}" if seen.n_errors else ""
    return f"{usd(seen.spent_usd)}{budget}{errors}"
