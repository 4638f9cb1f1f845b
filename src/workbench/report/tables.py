"""The tables of a report, as text: results, tasks, costs, failures."""

import pandas as pd

from workbench.experiment.analysis import Analysis, ArmSummary
from workbench.experiment.ledger import Ledger
from workbench.experiment.result_table import HEADER, rows
from workbench.experiment.subgroups import by_task
from workbench.experiment.wording import ABSENT, count, percent, printable, seconds, shortened, usd
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


def worth(analysis: Analysis) -> Table:
    """What each arm costs and how long it takes, with intervals; no rows where neither is known."""
    is_known = any(arm.usd_per_1k_prompts is not None or arm.latency_p50_s for arm in analysis.arms)
    return Table(
        (
            "arm",
            "USD per 1,000 prompts",
            "USD per right answer",
            "latency p50",
            "latency p95",
            "on the front",
        ),
        [_worth(arm) for arm in analysis.arms] if is_known else [],
        note="A right answer: cost divided by the sum of qualities. On the front: how probable it is that no "
        "other arm is both cheaper and better, from resampled prompts.",
    )


def _worth(arm: ArmSummary) -> tuple[str, ...]:
    return (
        printable(arm.arm),
        _usd(arm.usd_per_1k_interval, arm.usd_per_1k_prompts),
        _usd(arm.usd_per_correct, None),
        _seconds(arm.latency_p50_interval_s, arm.latency_p50_s),
        _seconds(arm.latency_p95_interval_s, arm.latency_p95_s),
        ABSENT if arm.p_on_front is None else f"{100 * arm.p_on_front:.0f} %",
    )


def _usd(interval: Estimate | None, value: float | None) -> str:
    if interval is None:
        return usd(value)
    return f"{usd(interval.value)} [{usd(interval.low)}, {usd(interval.high)}]"


def _seconds(interval: Estimate | None, value: float | None) -> str:
    if interval is None:
        return seconds(value)
    return f"{seconds(interval.value)} [{interval.low:.2f}, {interval.high:.2f}]"


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
