"""What a run looks like in a terminal: a progress line while it goes on, tables and verdicts when it ends."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table
from rich.text import Text

from workbench.experiment.progress import Observer, Progress
from workbench.experiment.wording import printable, usd


@contextmanager
def progress(console: Console) -> Iterator[Observer]:
    """An observer that draws one line for each experiment: calls, money, errors and time to go."""
    columns = (
        TextColumn("{task.description:<16}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[money]}"),
        TimeRemainingColumn(compact=True),
    )
    with ProgressBar(*columns, console=console) as bar:
        lines: dict[str, object] = {}

        def show(seen: Progress) -> None:
            if seen.experiment not in lines:
                lines[seen.experiment] = bar.add_task(
                    printable(seen.experiment), total=seen.n_total, money=""
                )
            bar.update(lines[seen.experiment], completed=seen.n_done, money=_money(seen))  # type: ignore[arg-type]

        yield show


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> Table:
    """A plain table: the first column to the left, numbers to the right, no control characters."""
    drawn = Table(title=title, title_justify="left", title_style="bold", pad_edge=False)
    for position, name in enumerate(header):
        drawn.add_column(name, justify="left" if position == 0 else "right", no_wrap=position == 0)
    for row in rows:
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    return drawn


def _money(seen: Progress) -> str:
    budget = f" of {usd(seen.budget_usd)}" if seen.budget_usd is not None else ""
    errors = f", {seen.n_errors} errors" if seen.n_errors else ""
    return f"{usd(seen.spent_usd)}{budget}{errors}"
