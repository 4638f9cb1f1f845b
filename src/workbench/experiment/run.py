"""Running an experiment: every arm asked every prompt, each answer scored and durable before the next step.

A run lives in one folder, `runs/<name>/`. It can be killed at any moment and run again: what the journal
holds is not bought twice. Everything that can be known to be wrong is found before the first call.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from workbench import outcomes
from workbench.experiment.analyse import analyse
from workbench.experiment.analysis import Analysis, to_json
from workbench.experiment.batch_delivery import PACE, Pace
from workbench.experiment.execution import JOURNAL, STATE, Execution, State
from workbench.experiment.journal import read_journal, set_damaged_aside
from workbench.experiment.labels import HUMAN_QUALITY, read_labels, with_labels
from workbench.experiment.ledger import Ledger
from workbench.experiment.plan import Plan, make_plan
from workbench.experiment.planned_analysis import planned_analysis
from workbench.experiment.progress import Observer
from workbench.experiment.spec import ExperimentSpec, load_spec
from workbench.experiment.tables import needed_experiments
from workbench.scoring.options import Human
from workbench.settings import Settings
from workbench.storage import folder_inside, locked, read_bytes, set_aside, writable_folder, write_text


@dataclass(frozen=True, slots=True)
class Run:
    """A run that came to its end: what was asked, what came of it, and what may be concluded.

    `notes` says what a reader must know beside the analysis: calls resumed, journal lines dropped,
    calls that the budget did not allow.
    """

    spec: ExperimentSpec
    plan: Plan
    folder: Path
    table: pd.DataFrame
    analysis: Analysis
    state: State
    n_resumed: int
    spent_usd: float
    ledger: Ledger
    notes: tuple[str, ...] = ()


async def run(
    spec: ExperimentSpec,
    *,
    settings: Settings | None = None,
    observer: Observer | None = None,
    pace: Pace = PACE,
) -> Run:
    """Run `spec`, or go on where a run of it ended, and analyse it. Experiments it learns from run first.

    `pace` is how often offline batches are asked after.

    Raises:
        ConfigError, DataError, StorageError, BudgetError: found before anything is spent.
        FingerprintError: the folder holds a run of something else.
        LockedError: another process is running this experiment.
    """
    settings = settings or Settings()
    with _alone(spec, settings) as folder:
        writable_folder(folder)  # before anything is paid for, also by the experiments that this one needs
        for path in needed_experiments(spec):
            await run(load_spec(path), settings=settings, observer=observer, pace=pace)
        plan = make_plan(spec, settings)
        content = read_journal(folder / JOURNAL)
        execution = Execution(plan, folder, content, observer or (lambda progress: None), pace)
        await execution.finish_calls()
        return _concluded(execution, plan, folder)


def set_run_aside(spec: ExperimentSpec, settings: Settings) -> Path | None:
    """Rename the folder of an earlier run, so that the next one begins anew; None where there is none."""
    with _alone(spec, settings) as folder:
        return set_aside(folder)


def repair_journal(spec: ExperimentSpec, settings: Settings) -> int:
    """Set damaged lines of the journal aside, so that the run can go on; returns how many."""
    with _alone(spec, settings) as folder:
        return set_damaged_aside(folder / JOURNAL)


def mark_interrupted(spec: ExperimentSpec, settings: Settings) -> None:
    """Say in `run.json` of runs whose process was ended from outside that they do not run any more.

    Raises:
        LockedError: one of them is still running.
    """
    for path in needed_experiments(spec):
        mark_interrupted(load_spec(path), settings)
    with _alone(spec, settings) as folder:
        if not (folder / STATE).exists():
            return
        record = json.loads(read_bytes(folder / STATE, purpose="state of the run"))
        if record["state"] == "running":
            content = read_journal(folder / JOURNAL)
            record |= {"state": "interrupted", "n_done": len(content.outcomes)}
            write_text(folder / STATE, json.dumps(record | {"spent_usd": content.spent_usd}, indent=1))


@contextmanager
def _alone(spec: ExperimentSpec, settings: Settings) -> Iterator[Path]:
    """The folder of the run, which no other process may touch while the block runs."""
    folder = folder_inside(settings.runs_dir, spec.name, what="experiment")
    busy = f"another process is running {spec.name!r} in {folder}; wait for it to end, or stop it"
    with locked(settings.runs_dir / f".{spec.name}.lock", busy=busy):
        yield folder


def _labelled(table: pd.DataFrame, spec: ExperimentSpec) -> pd.DataFrame:
    """The table with the labels that people have given so far as its quality, where they are the scorer."""
    if not isinstance(spec.scorer, Human) or not (path := spec.folder / spec.scorer.labels).exists():
        return table
    labelled = with_labels(table, read_labels(path, table))
    return labelled.assign(quality=labelled[HUMAN_QUALITY])


def _concluded(execution: Execution, plan: Plan, folder: Path) -> Run:
    """Write the outcome table and the analysis."""
    spec, table = plan.spec, _labelled(execution.table(), plan.spec)
    outcomes.write(table, folder / "outcomes.parquet")
    asked, table = planned_analysis(plan, table)
    analysis = analyse(
        table,
        question=spec.question,
        control=spec.control_arm,
        alpha=spec.alpha,
        arms=[arm.name for arm in spec.arms],
        plan=asked,
    )
    write_text(folder / "analysis.json", to_json(analysis))
    return Run(
        spec=spec,
        plan=plan,
        folder=folder,
        table=table,
        analysis=analysis,
        state=execution.state,
        n_resumed=execution.n_resumed,
        spent_usd=execution.spent_usd,
        ledger=execution.ledger,
        notes=tuple(execution.notes()),
    )
