"""The tables of a report, as text: results, tasks, costs, failures."""

import pandas as pd

from workbench.experiment.analysis import Analysis
from workbench.experiment.ledger import Ledger
from workbench.experiment.result_table import HEADER, rows
from workbench.experiment.subgroups import by_task
from workbench.experiment.wording import ABSENT, count, percent, printable, shortened, usd
from workbench.report.methods import level
from workbench.report.parts import Table
from workbench.stats.estimate import Estimate

_EXAMPLES_PER_ERROR = 3


def facts(analysis: Analysis) -> list[str]:
    """The size of the experiment in a line: prompts, arms, calls, errors."""
    n_errors = sum(arm.n_errors for arm in analysis.arms)
    return [
        count(max(arm.n_prompts for arm in analysis.arms), "prompt"),
        count(len(analysis.arms), "arm"),
        count(sum(arm.n_calls for arm in analysis.arms), "call"),
        f"{count(n_errors, 'error')}, counted as quality 0" if n_errors else "no errors",
        f"{level(analysis)} intervals",
    ]


def results(analysis: Analysis) -> Table:
    """One row an arm."""
    of_metric = "" if analysis.metric == "quality" else f" of {printable(analysis.metric)}"
    return Table(HEADER, rows(analysis), note=f"Brackets hold {level(analysis)} intervals{of_metric}.")


def tasks(analysis: Analysis, table: pd.DataFrame) -> Table:
    """One row a task: its name, its prompts, and each arm's quality in the order of the analysis."""
    arms = [summary.arm for summary in analysis.arms]
    long = by_task(table, alpha=analysis.alpha, metric=analysis.metric, arms=arms)
    shown: dict[str, dict[str, str]] = {}
    sizes: dict[str, int] = {}
    for task, arm, n_prompts, value, low, high in long.to_records(index=False):
        shown.setdefault(str(task), {})[arm] = percent(Estimate(value, low, high))
        sizes[str(task)] = max(n_prompts, sizes.get(str(task), 0))
    return Table(
        ("task", "prompts", *map(printable, arms)),
        [
            (printable(task), f"{sizes[task]:,}", *(cells.get(arm, ABSENT) for arm in arms))
            for task, cells in shown.items()
        ],
        note="These intervals are not corrected for the number of tasks: they describe, and prove nothing by "
        "themselves.",
    )


def failures(table: pd.DataFrame) -> Table:
    """Errors by arm and class, the most frequent first, with the first prompts that met them."""
    header = ("arm", "error", "how often", "first prompts")
    if "error" not in table:
        return Table(header, [])
    failed = table[table["error"].notna()]
    groups = sorted(failed.groupby(["arm", "error"], sort=True), key=lambda item: -len(item[1]))
    return Table(
        header,
        [
            (
                printable(str(arm)),
                shortened(str(error), limit=80),
                count(len(part), "call"),
                ", ".join(printable(str(name)) for name in part["prompt_id"].unique()[:_EXAMPLES_PER_ERROR]),
            )
            for (arm, error), part in groups
        ],
        is_text=True,
    )


def costs(analysis: Analysis, ledger: Ledger | None) -> Table:
    """What the calls cost, arm by arm and in all, and what else was paid or saved."""
    known = [arm.total_cost_usd for arm in analysis.arms if arm.total_cost_usd is not None]
    lines = [(printable(arm.arm), f"{arm.n_calls:,}", usd(arm.total_cost_usd)) for arm in analysis.arms]
    n_calls = sum(arm.n_calls for arm in analysis.arms)
    if known and len(lines) > 1:
        lines.append(("all arms", f"{n_calls:,}", usd(sum(known))))
    note = "" if len(known) == len(analysis.arms) else "A dash: the price of a call is not known."
    if ledger is not None:
        lines += ledger.lines()
        note = f"{note} {ledger.note}".strip()
    return Table(("", "calls", "USD"), lines, note=note)
