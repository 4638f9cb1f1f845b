"""What is drawn: tables that fit, text that stays text, and progress that does not flood a file."""

import io

import pytest
from rich.console import Console

from workbench import terminal
from workbench.datasets import describe
from workbench.experiment.progress import Progress, RunningComparison
from workbench.experiment.stopping import Stopping
from workbench.stats.estimate import Estimate

HEADER = ("router", "quality", "USD per 1,000 prompts", "saving at parity", "fit")
ROWS = [
    ("best_single", "87.5 % [84.2, 91.1]", "$1.40", "0 %", "0.00 s"),
    ("a-router-with-a-long-name", "100.0 % [100.0, 100.0]", "$0.052", "98 %", "12.3 s"),
]


def drawn(thing: object, *, width: int = 80) -> str:
    file = io.StringIO()
    Console(file=file, width=width, markup=False, highlight=False).print(thing)
    return file.getvalue()


def progressed(n_total: int, *, is_terminal: bool = False, **changes: object) -> str:
    """What is shown of a run of `n_total` calls that is looked at after each."""
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=is_terminal, markup=False, highlight=False)
    with terminal.progress(console) as observer:
        for n_done in range(n_total + 1):
            seen = {"n_done": n_done, "n_total": n_total, "n_resumed": 0, "n_errors": 0, "spent_usd": 0.01}
            seen |= {"budget_usd": None, "elapsed_s": 1.0, "experiment": "sizes"}
            observer(Progress(**seen | changes))  # type: ignore[arg-type]
    return file.getvalue()


@pytest.mark.parametrize("width", [52, 60, 70, 80, 200])
def test_no_cell_is_cut_and_no_line_is_too_long(width: int) -> None:
    text = drawn(terminal.cells(HEADER, ROWS), width=width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "…" not in text
    assert all(cell in text for row in ROWS for cell in row)


def test_where_not_even_two_columns_fit_the_name_is_folded() -> None:
    text = drawn(terminal.cells(HEADER, ROWS), width=40)
    assert "…" not in text
    assert all(cell in text for row in ROWS for cell in row[1:])


def test_each_part_of_a_wide_table_begins_with_the_first_column() -> None:
    wide, narrow = (drawn(terminal.cells(HEADER, ROWS), width=width) for width in (100, 60))
    assert (wide.count("best_single"), narrow.count("best_single")) == (1, 2)


def test_brackets_are_text_and_control_characters_are_taken_out(capsys: pytest.CaptureFixture[str]) -> None:
    console = terminal.console()
    console.print("runs/[red]x[/] :smile:")
    console.print(terminal.cells(("arm", "n"), [("[/]\x1b[31m\u202e", "1")]))
    out = capsys.readouterr().out
    assert "runs/[red]x[/] :smile:" in out
    assert "[/][31m" in out
    assert not {"\x1b", "\u202e"} & set(out)


def test_a_file_gets_a_line_for_every_tenth() -> None:
    lines = progressed(1000).splitlines()
    assert len(lines) == 11
    assert lines[0] == "sizes: 0 of 1,000 calls, $0.01"
    assert lines[-1] == "sizes: 1,000 of 1,000 calls, $0.01"


def test_a_terminal_gets_one_line_that_is_drawn_again() -> None:
    shown = progressed(100, is_terminal=True)
    assert "100/100" in shown
    assert "\x1b[2K" in shown
    assert shown.count("\n") <= 2


@pytest.mark.parametrize(
    ("bound_usd", "told"),
    [
        (0.5, "sizes: 10 calls cost at most $0.50\n"),
        (2.0, "sizes: 10 calls cost at most $2.00; the budget stops them at $1.00\n"),
    ],
    ids=["enough", "too-little"],
)
def test_what_the_calls_can_cost_is_told_once(bound_usd: float, told: str) -> None:
    shown = progressed(10, budget_usd=1.0, bound_usd=bound_usd)
    assert shown.startswith(told)
    assert shown.count("at most") == 1


def test_a_budget_that_is_expected_not_to_do_is_told_before_the_first_call() -> None:
    shown = progressed(10, budget_usd=1.0, bound_usd=4.0, expected_usd=1.98, spent_usd=0.0)
    told = "the budget of $1.00 will stop them after about 51 %"
    assert shown.startswith(f"sizes: 10 calls cost about $1.98, at most $4.00; {told}\n")


def test_a_sequential_run_shows_the_interval_so_far_and_then_why_it_ended() -> None:
    comparison = RunningComparison("large", "small", 40, Estimate(0.04, -0.02, 0.1))
    going_on = progressed(10, comparisons=(comparison,), stopping=Stopping(40, 100))
    assert "large +4.0 points [-2.0, 10.0]" in going_on
    ended = progressed(10, stopping=Stopping(60, 100, "decided", 38, 0.1))
    assert "decided after 60 prompts" in ended


def test_a_finished_run_is_not_told_what_it_could_have_cost() -> None:
    assert "at most" not in progressed(0, budget_usd=1.0, bound_usd=0.0)


def test_a_dataset_is_described_line_by_line() -> None:
    lines = terminal.description(describe("tasks")).splitlines()
    assert lines[0].split() == ["name", "tasks"]
    assert any(line.startswith("licence") and "Apache-2.0" in line for line in lines)
