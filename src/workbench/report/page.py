"""The whole report: which parts an analysis has, in which order, and the page around them."""

from collections.abc import Iterator, Mapping
from itertools import chain

import pandas as pd

from workbench import plots
from workbench.experiment.analysis import Analysis
from workbench.experiment.ledger import Ledger
from workbench.experiment.samples import samples
from workbench.experiment.wording import printable, shortened
from workbench.report import effects, tables
from workbench.report.methods import sentences
from workbench.report.parts import Part, Picture, Section, Table, rendered, style
from workbench.report.references import cited


def html(
    analysis: Analysis,
    table: pd.DataFrame,
    *,
    spec_yaml: str,
    how_to_reproduce: str,
    provenance: Mapping[str, str] | None = None,
    ledger: Ledger | None = None,
) -> str:
    """The report as one self-contained page: no script, nothing loaded, every text escaped.

    Args:
        table: the outcome table that was analysed.
        how_to_reproduce: the commands that give the same result again.
        provenance: what else to record (version, commit, digests, run id), name by name.
        ledger: what the run cost beside its calls; None: the calls alone are added up.
    """
    reproduce = _reproduce(spec_yaml, how_to_reproduce, provenance or {})
    shown = (*parts(analysis, table, ledger=ledger), reproduce)
    return str(rendered("page.html.j2", analysis=analysis, parts=shown, style=style()))


def parts(analysis: Analysis, table: pd.DataFrame, *, ledger: Ledger | None = None) -> tuple[Part, ...]:
    """What the report shows, the verdict first; each can be displayed in a notebook by itself."""
    return tuple(
        chain(
            [_verdict(analysis)],
            _differences(analysis),
            [_section("results", "Results", tables.results(analysis))],
            _quality_cost(analysis),
            _tabular("worth", "Cost and latency", tables.worth(analysis)),
            _looks(analysis),
            _tasks(analysis, table),
            _tabular("factors", "What each factor changes", effects.factors(analysis)),
            _tabular("opinions", "What other methods say", effects.second_opinions(analysis)),
            [_section("costs", "Where the money went", tables.costs(analysis, ledger))],
            _tabular("failures", "Failures", tables.failures(table)),
            _samples(analysis, table),
            [_methods(analysis)],
        )
    )


def _verdict(analysis: Analysis) -> Section:
    return Section(
        "verdict", "", rendered("verdict.html.j2", analysis=analysis, facts=tables.facts(analysis))
    )


def _section(name: str, title: str, *shown: Table) -> Section:
    return Section(name, title, rendered("body.html.j2", tables=shown))


def _tabular(name: str, title: str, *shown: Table) -> Iterator[Section]:
    """Tables that have rows; nothing where none has."""
    filled = [table for table in shown if table.rows]
    if filled:
        yield _section(name, title, *filled)


def _differences(analysis: Analysis) -> Iterator[Part]:
    if analysis.comparisons:
        caption = (
            "Difference from the control; a bar across the line, or a grey one, leaves the question open."
        )
        yield Picture("differences", caption, plots.forest(analysis))
        yield _section("comparisons", "", effects.comparisons(analysis))


def _quality_cost(analysis: Analysis) -> Iterator[Picture]:
    if any(arm.usd_per_1k_prompts is not None for arm in analysis.arms):
        front = " The line joins the arms that no other beats in both." if _has_front(analysis) else ""
        caption = f"Quality against cost; up and to the left is better. The diamond is the control.{front}"
        yield Picture("quality_cost", caption, plots.quality_cost(analysis))


def _has_front(analysis: Analysis) -> bool:
    return sum(bool(arm.on_front) for arm in analysis.arms) > 1


def _looks(analysis: Analysis) -> Iterator[Picture]:
    if any(found.looks is not None for found in analysis.comparisons):
        caption = (
            "The difference after each prompt, with an interval that holds at every look at once. A dashed "
            "line is where an arm was first told apart from the control, taken alone."
        )
        yield Picture("looks", caption, plots.trajectories(analysis))


def _tasks(analysis: Analysis, table: pd.DataFrame) -> Iterator[Section]:
    return _tabular("tasks", "By task", effects.tasks(analysis), tables.tasks(analysis, table))


def _samples(analysis: Analysis, table: pd.DataFrame) -> Iterator[Section]:
    if found := samples(analysis, table):
        yield Section("samples", "Where the arms differ most", rendered("samples.html.j2", samples=found))


def _methods(analysis: Analysis) -> Section:
    said = sentences(analysis)
    body = rendered("methods.html.j2", sentences=said, references=cited(said))
    return Section("methods", "How this was computed", body)


def _reproduce(spec_yaml: str, how_to_reproduce: str, provenance: Mapping[str, str]) -> Section:
    body = rendered(
        "reproduce.html.j2",
        spec_yaml=_lines(spec_yaml),
        how_to_reproduce=_lines(how_to_reproduce),
        provenance=Table(
            (), [(printable(name), printable(text)) for name, text in provenance.items()], is_text=True
        ),
    )
    return Section("reproduce", "How to get the same result", body)


def _lines(text: str) -> str:
    return shortened(text, limit=len(text))
