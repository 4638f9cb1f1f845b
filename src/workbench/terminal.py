"""What a run looks like in a terminal: a progress line while it goes on, tables and verdicts when it ends."""

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as ProgressBar
from rich.table import Table
from rich.text import Text

from workbench.datasets import Dataset, Description
from workbench.datasets.fetch import OnProgress
from workbench.experiment import result_table as result_rows
from workbench.experiment.analyse import Analysis
from workbench.experiment.progress import Observer, Progress
from workbench.experiment.wording import ABSENT, percent, printable, seconds, usd
from workbench.routing.evaluate import Leaderboard, Result
from workbench.stats.estimate import Estimate

_LEADERBOARD: dict[str, Callable[[Result], str]] = {
    "router": lambda result: result.router,
    "quality": lambda result: percent(Estimate(result.quality, result.quality_low, result.quality_high)),
    "USD per 1,000 prompts": lambda result: usd(None if result.cost_usd is None else 1000 * result.cost_usd),
    "APGR": lambda result: _interval(result.apgr, result.apgr_low, result.apgr_high),
    "CPT50": lambda result: _share(result.cpt50),
    "CPT80": lambda result: _share(result.cpt80),
    "AIQlog": lambda result: _number(result.aiqlog),
    "saving at parity": lambda result: _share(result.saving),
    "ECE": lambda result: _number(result.ece),
    "fit": lambda result: seconds(result.fit_s),
}
_STYLE_OF_FINDING = {"better": "green", "worse": "red", "undecided": "default"}


def console() -> Console:
    """The terminal, or the file that output goes to."""
    return Console(highlight=False)


@contextmanager
def progress(shown_on: Console) -> Iterator[Observer]:
    """An observer that draws one line for each experiment: calls, money, errors and time to go."""
    columns = (
        TextColumn("{task.description:<16}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[money]}"),
        TimeRemainingColumn(compact=True),
    )
    with ProgressBar(*columns, console=shown_on) as bar:
        lines: dict[str, object] = {}

        def show(seen: Progress) -> None:
            if seen.experiment not in lines:
                lines[seen.experiment] = bar.add_task(
                    printable(seen.experiment), total=seen.n_total, money=""
                )
            bar.update(lines[seen.experiment], completed=seen.n_done, money=_money(seen))  # type: ignore[arg-type]

        yield show


def result_table(analysis: Analysis) -> Table:
    """What each arm did: one row an arm. The number of prompts is in the verdicts, to save the width."""
    shown = [place for place, name in enumerate(result_rows.HEADER) if name != "prompts"]
    rows = ([row[place] for place in shown] for row in result_rows.rows(analysis))
    return table([result_rows.HEADER[place] for place in shown], rows)


def verdicts(analysis: Analysis) -> Iterator[Text]:
    """One line a comparison, coloured by its finding, then what a reader must be warned of."""
    for comparison in analysis.comparisons:
        yield Text(f"- {printable(comparison.verdict)}", style=_STYLE_OF_FINDING[comparison.finding])
    for warning in analysis.warnings:
        yield Text(f"! {printable(warning)}", style="dim")


def leaderboard_table(board: Leaderboard) -> Table:
    """Routers on prompts that they had not seen."""
    header, *rows = leaderboard_rows(board)
    return table(header, rows)


def leaderboard_rows(board: Leaderboard) -> list[list[str]]:
    """The header, then a row a router; a column that means nothing for this table is left out."""
    columns = {name: [worded(result) for result in board.results] for name, worded in _LEADERBOARD.items()}
    shown = {name: cells for name, cells in columns.items() if set(cells) != {ABSENT}}
    return [list(shown), *(list(row) for row in zip(*shown.values(), strict=True))]


def dataset_table(rows: Iterable[Dataset]) -> Table:
    """Prompt sets and benchmarks, and whether each is on this machine."""
    header = ("name", "kind", "prompts", "models", "licence", "here")
    return table(header, (_dataset_row(row) for row in rows))


def description(found: Description) -> str:
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
def download(shown_on: Console, name: str) -> Iterator[OnProgress]:
    """Draws the bytes of a download as they come."""
    columns = (TextColumn(printable(name)), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with ProgressBar(*columns, console=shown_on) as bar:
        line = bar.add_task(name, total=None)
        yield lambda seen: bar.update(line, completed=seen.bytes_done, total=seen.n_bytes)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A plain table: the first column to the left, the others to the right; only headers are broken.

    No cell can steer the terminal: control characters are taken out.
    """
    cells = [[Text(printable(cell), no_wrap=True) for cell in row] for row in rows]
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for position, name in enumerate(header):
        width = max((row[position].cell_len for row in cells), default=0)
        broken = "\n".join(textwrap.wrap(name, max(width, 7), break_long_words=False))
        drawn.add_column(broken, justify="right" if position else "left", no_wrap=True)
    for row in cells:
        drawn.add_row(*row)
    return drawn


def _dataset_row(row: Dataset) -> tuple[str, ...]:
    n_models = str(row.n_models) if row.n_models else ABSENT
    here = "yes" if row.location else "fetchable" if row.is_fetchable else "no"
    return (row.name, row.kind, f"{row.n_prompts:,}", n_models, row.licence, here)


def _number(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return ABSENT if value is None else f"{100 * value:.0f} %"


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or low is None or high is None:
        return _number(value)
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _money(seen: Progress) -> str:
    budget = f" of {usd(seen.budget_usd)}" if seen.budget_usd is not None else ""
    errors = f", {seen.n_errors} errors" if seen.n_errors else ""
    return f"{usd(seen.spent_usd)}{budget}{errors}"
