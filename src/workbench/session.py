"""What a person at a terminal gets: experiments run, notebooks executed, and what came of it."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import yaml
from rich.console import Console

from workbench import terminal
from workbench.experiment.analyse import Analysis, from_json
from workbench.experiment.run import repair_journal, run, set_run_aside
from workbench.experiment.spec import ExperimentSpec, load_spec, load_training_spec
from workbench.experiment.training import train
from workbench.publication import Published, publish, publish_router
from workbench.settings import Settings, experiments_dir, notebooks_dir
from workbench.storage import read_bytes

_DEMO = "compare_models.yaml"


async def demo(*, fresh: bool) -> None:
    """The main job on the embedded default: record a fleet, train a router on it, compare, decide, track."""
    console = terminal.console()
    console.print(
        "Simulated models (tables of probabilities, not language models) answer 720 small tasks over real "
        "HTTP on this machine. Two routers learn from one half of the prompts, and the other half decides.\n"
    )
    spec_path = experiments_dir() / _DEMO
    if fresh:
        prepare(load_spec(experiments_dir() / "record_fleet.yaml"), fresh=True)
    await run_in_terminal(spec_path, fresh=fresh)
    console.print(
        "\n[bold]Next[/]\n"
        "  workbench run experiments/compare_models.yaml   the same, as a notebook\n"
        "  workbench train experiments/router.yaml         a router beside baselines\n"
        "  workbench ui                                    look at it all in MLflow"
    )


async def run_in_terminal(spec_path: Path, *, fresh: bool = False, repair: bool = False) -> None:
    """Run an experiment here, with a progress line, and print its table and verdicts."""
    console, settings, spec = terminal.console(), Settings(), load_spec(spec_path)
    prepare(spec, fresh=fresh, repair=repair)
    with terminal.progress(console) as observer:
        finished = await run(spec, settings=settings, observer=observer)
    published = publish(finished, settings=settings, tell=partial(console.print, style="dim"))
    _print_analysis(console, finished.analysis)
    for note in finished.notes:
        console.print(f"note: {note}", style="dim")
    _print_places(console, published)


async def train_in_terminal(spec_path: Path) -> None:
    """Train a router, print how it fares beside its baselines, and keep it in MLflow."""
    console, settings, spec = terminal.console(), Settings(), load_training_spec(spec_path)
    with terminal.progress(console) as observer:
        trained = await train(spec, settings=settings, observer=observer)
    console.print(f"\n{spec.question}")
    console.print(terminal.leaderboard_table(trained.leaderboard))
    console.print(f"router {trained.checkpoint}", soft_wrap=True)
    _print_verdicts(console, trained.analysis)
    tell = partial(console.print, style="dim")
    published = publish(trained, settings=settings, tell=tell)
    if published.tracked is not None:
        console.print(f"model {publish_router(trained, settings=settings, tell=tell)}")
    _print_places(console, published)


def run_notebook(
    spec_path: Path, *, parameters: Mapping[str, str], fresh: bool = False, repair: bool = False
) -> Path:
    """Execute the notebook of an experiment headless, keep it in the run's folder and in MLflow."""
    from workbench import batch, tracking

    console, settings, spec = terminal.console(), Settings(), load_spec(spec_path)
    prepare(spec, fresh=fresh, repair=repair)
    folder = settings.runs_dir / spec.name
    output = batch.execute(
        notebook_of(spec),
        parameters={
            "spec_path": str(spec.file),
            **{name: yaml.safe_load(v) for name, v in parameters.items()},
        },
        output=folder / "notebook.ipynb",
        on_cell=lambda cell, n_cells: console.print(f"cell {cell} of {n_cells}", style="dim"),
    )
    analysis = folder / "analysis.json"
    if analysis.exists():
        _print_analysis(console, from_json(read_bytes(analysis, purpose="analysis").decode()))
    tracked = tracking.tracked(folder)
    if tracked is not None:
        tracking.add_artifact(tracked, output)
        console.print(f"MLflow run {tracked.run_id}; to look at it: workbench ui")
    console.print(f"notebook {output}", soft_wrap=True)
    return output


def prepare(spec: ExperimentSpec, *, fresh: bool = False, repair: bool = False) -> None:
    """Before a run, where asked for: set an earlier one aside, or the damaged lines of its journal."""
    console, settings = terminal.console(), Settings()
    if fresh and (aside := set_run_aside(spec, settings)):
        console.print(f"the earlier run is in {aside}", style="dim", soft_wrap=True)
    if repair and (n_lines := repair_journal(spec, settings)):
        console.print(f"{n_lines} damaged journal lines were set aside", style="dim")


def notebook_of(spec: ExperimentSpec) -> Path:
    """The notebook that a spec names: beside it, or one that comes with the package."""
    beside = spec.folder / spec.notebook
    return beside if beside.exists() else notebooks_dir() / spec.notebook


def sync(folder: Path) -> None:
    """Send a run that was written down to the tracking store."""
    from workbench import tracking

    tracked = tracking.sync(folder, uri=tracking.store_uri(Settings()))
    terminal.console().print(f"MLflow run {tracked.run_id} is up to date")


def open_ui(*, port: int) -> None:
    """Serve MLflow's pages until stopped."""
    from workbench import tracking

    console = terminal.console()
    uri = tracking.store_uri(Settings())
    with tracking.open_ui(uri, port=port, tell=partial(console.print, style="dim")) as server:
        console.print(f"MLflow is at {server.url}; stop it with Ctrl-C")
        server.wait()


def _print_analysis(console: Console, analysis: Analysis) -> None:
    console.print()
    console.print(terminal.result_table(analysis))
    _print_verdicts(console, analysis)


def _print_verdicts(console: Console, analysis: Analysis) -> None:
    console.print()
    for line in terminal.verdicts(analysis):
        console.print(line)


def _print_places(console: Console, published: Published) -> None:
    console.print()
    if published.report is not None:
        console.print(f"report {published.report}", soft_wrap=True)
    if published.tracked is not None:
        console.print(
            f"MLflow run {published.tracked.run_id} ({published.tracked.uri})",
            soft_wrap=True,
        )
    for warning in published.warnings:
        console.print(f"warning: {warning}", style="yellow", soft_wrap=True)
