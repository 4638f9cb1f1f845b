"""The report of an experiment: one HTML file that needs nothing else, and runs nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

import pandas as pd
from jinja2 import Environment, StrictUndefined

from workbench import plots
from workbench.experiment.analysis import Analysis
from workbench.experiment.result_table import HEADER, rows
from workbench.experiment.samples import samples
from workbench.experiment.subgroups import by_task
from workbench.experiment.wording import ABSENT, count, percent, printable, shortened, usd
from workbench.stats.estimate import Estimate

_EXAMPLES_PER_ERROR = 3


@dataclass(frozen=True, slots=True)
class _Failure:
    arm: str
    error: str
    calls: str
    examples: str


def html(
    analysis: Analysis,
    table: pd.DataFrame,
    *,
    spec_yaml: str,
    how_to_reproduce: str,
    provenance: Mapping[str, str] | None = None,
) -> str:
    """The report as one self-contained page: no script, nothing loaded, every text escaped.

    Args:
        table: the outcome table that was analysed.
        how_to_reproduce: the commands that give the same result again.
        provenance: what else to record (version, commit, digests, run id), name by name.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(files("workbench").joinpath("report.html.j2").read_text("utf-8"))
    return template.render(
        analysis=analysis,
        header=HEADER,
        rows=rows(analysis),
        figures=_figures(analysis),
        tasks=_tasks(analysis, table),
        failures=_failures(table),
        samples=samples(analysis, table),
        ledger=_ledger(analysis),
        level=f"{100 * (1 - analysis.alpha):g} %",
        tests=sorted({comparison.test for comparison in analysis.comparisons}),
        is_clustered=any(comparison.n_clusters is not None for comparison in analysis.comparisons),
        spec_yaml=_lines(spec_yaml),
        how_to_reproduce=_lines(how_to_reproduce),
        provenance=dict(provenance or {}),
        printable=printable,
    )


def _figures(analysis: Analysis) -> list[tuple[str, str]]:
    """(what it shows, data URI) of each figure that can be drawn."""
    figures = []
    if analysis.comparisons:
        caption = (
            "Difference from the control; a bar across the line, or a grey one, leaves the question open."
        )
        figures.append((caption, plots.png_uri(plots.forest(analysis))))
    if any(arm.usd_per_1k_prompts is not None for arm in analysis.arms):
        caption = "Quality against cost; up and to the left is better. The diamond is the control."
        figures.append((caption, plots.png_uri(plots.quality_cost(analysis))))
    return figures


def _tasks(analysis: Analysis, table: pd.DataFrame) -> list[tuple[str, ...]]:
    """One row a task: its name, its prompts, and each arm's quality in the order of the analysis."""
    arms = [summary.arm for summary in analysis.arms]
    long = by_task(table, alpha=analysis.alpha, metric=analysis.metric, arms=arms)
    shown: dict[str, dict[str, str]] = {}
    sizes: dict[str, int] = {}
    for task, arm, n_prompts, value, low, high in long.to_records(index=False):
        shown.setdefault(str(task), {})[arm] = percent(Estimate(value, low, high))
        sizes[str(task)] = max(n_prompts, sizes.get(str(task), 0))
    return [
        (printable(task), f"{sizes[task]:,}", *(cells.get(arm, ABSENT) for arm in arms))
        for task, cells in shown.items()
    ]


def _failures(table: pd.DataFrame) -> list[_Failure]:
    """Errors by arm and class, the most frequent first, with the first prompts that met them."""
    if "error" not in table:
        return []
    failed = table[table["error"].notna()]
    groups = sorted(failed.groupby(["arm", "error"], sort=True), key=lambda item: -len(item[1]))
    return [
        _Failure(
            printable(str(arm)),
            shortened(str(error), limit=80),
            count(len(part), "call"),
            ", ".join(printable(str(name)) for name in part["prompt_id"].unique()[:_EXAMPLES_PER_ERROR]),
        )
        for (arm, error), part in groups
    ]


def _ledger(analysis: Analysis) -> str:
    """What the calls cost, arm by arm and in all."""
    parts = [f"{printable(arm.arm)} {usd(arm.total_cost_usd)}" for arm in analysis.arms]
    known = [arm.total_cost_usd for arm in analysis.arms if arm.total_cost_usd is not None]
    if not known:
        return "No price is known for any arm."
    partly = "" if len(known) == len(analysis.arms) else " (of the arms whose price is known)"
    return f"{usd(sum(known))} in all{partly}: {', '.join(parts)}."


def _lines(text: str) -> str:
    return shortened(text, limit=len(text))
