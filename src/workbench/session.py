"""What a person at a terminal gets: experiments run, notebooks executed, and what came of it."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.console import Console

from workbench import terminal
from workbench.errors import ConfigError, LockedError, MissingExtraError, StorageError, TrackingError
from workbench.experiment import outlook_text
from workbench.experiment.analysis import Analysis, from_json
from workbench.experiment.outlook import outlook
from workbench.experiment.plan import make_plan
from workbench.experiment.run import mark_interrupted, repair_journal, run, set_run_aside
from workbench.experiment.spec import ExperimentSpec, load_spec, load_training_spec
from workbench.experiment.training import Training, train
from workbench.publication import Published, Tell, publish, publish_router
from workbench.settings import Settings, experiments_dir, notebooks_dir, project_dir
from workbench.storage import read_bytes

if TYPE_CHECKING:
    from workbench.tracking import TrackedRun

_DEMO = "compare_models.yaml"
_SPEC_PARAMETER = "spec_path"
"""The notebook's parameter that `run_notebook` sets itself."""


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
    console.print("\nNext", style="bold")
    console.print(
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
    _print_analysis(console, finished.analysis)
    _print_notes(console, finished.notes)
    _print_places(console, publish(finished, settings=settings, tell=_tell(console)))


def show_plan(spec_path: Path) -> None:
    """Print what an experiment costs, how long it takes, and what its size can find; nothing is sent."""
    console, settings, spec = terminal.console(), Settings(), load_spec(spec_path)
    seen = outlook(make_plan(spec, settings), settings)
    console.print(spec.question)
    console.print(terminal.cells(outlook_text.HEADER, outlook_text.rows(seen)))
    for sentence in outlook_text.sentences(seen):
        console.print(sentence, soft_wrap=not console.is_terminal)


async def train_in_terminal(spec_path: Path) -> None:
    """Train a router, print how it fares beside its baselines, and keep it in MLflow."""
    console, settings, spec = terminal.console(), Settings(), load_training_spec(spec_path)
    with terminal.progress(console) as observer:
        trained = await train(spec, settings=settings, observer=observer)
    console.print(f"\n{spec.question}")
    console.print(terminal.leaderboard_table(trained.leaderboard))
    _print_verdicts(console, trained.analysis)
    _print_notes(console, trained.notes)
    published = publish(trained, settings=settings, tell=_tell(console))
    _print_places(console, published)
    console.print(f"router {trained.checkpoint}", soft_wrap=True)
    if published.tracked is not None:
        _keep_router(console, trained, settings)


def run_notebook(
    spec_path: Path, *, parameters: Mapping[str, str], fresh: bool = False, repair: bool = False
) -> Path:
    """Execute the notebook of an experiment headless, keep it in the run's folder and in MLflow.

    `parameters` are values as YAML, by name.
    """
    from workbench import batch  # an extra, and takes a second to import

    console, settings, spec = terminal.console(), Settings(), load_spec(spec_path)
    notebook, folder = notebook_of(spec), settings.runs_dir / spec.name
    given = _parsed(parameters) | {_SPEC_PARAMETER: str(spec.file)}
    batch.prepare(notebook, given)  # a wrong parameter is found before an earlier run is set aside
    prepare(spec, fresh=fresh, repair=repair)
    try:
        output = batch.execute(
            notebook,
            parameters=given,
            output=folder / "notebook.ipynb",
            on_cell=lambda cell, n_cells: console.print(f"cell {cell} of {n_cells}", style="dim"),
        )
    except BaseException:
        with suppress(LockedError):  # its kernel is gone, and could not say so
            mark_interrupted(spec, settings)
        raise
    analysis = folder / "analysis.json"
    if analysis.exists():
        _print_analysis(console, from_json(read_bytes(analysis, purpose="analysis").decode()))
    _track_notebook(console, output, settings)
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
    """The notebook that a spec names: beside it, elsewhere in the project, or one that comes with us.

    Raises:
        ConfigError: it is somewhere else; someone else's spec is not to run whatever this machine has.
    """
    beside = spec.folder / spec.notebook
    notebook = (beside if beside.exists() else notebooks_dir() / spec.notebook).resolve()
    homes = (spec.folder, project_dir(), notebooks_dir())
    if notebook.suffix != ".ipynb" or not any(notebook.is_relative_to(home.resolve()) for home in homes):
        raise ConfigError(f"notebook {spec.notebook!r} is not an .ipynb in {project_dir()}; move it there")
    return notebook


def sync(folder: Path) -> None:
    """Send a run that was written down to the tracking store.

    Raises:
        StorageError: `folder` is no run's folder. TrackingError: the store did not take it.
    """
    if not folder.is_dir():
        raise StorageError(f"there is no folder {folder}; give that of a run, such as runs/compare-models")
    from workbench import tracking

    tracked = tracking.sync(folder, uri=tracking.store_uri(Settings()))
    terminal.console().print(f"MLflow run {tracked.run_id} is up to date")


def open_ui(*, port: int) -> None:
    """Serve MLflow's pages until stopped."""
    from workbench import tracking

    console = terminal.console()
    uri = tracking.store_uri(Settings())
    with tracking.open_ui(uri, port=port, tell=_tell(console)) as server:
        for name, page in server.pages.items():
            console.print(f"{name}: {page}", soft_wrap=True)
        console.print(f"MLflow is at {server.url}; stop it with Ctrl-C")
        server.wait()


def _parsed(parameters: Mapping[str, str]) -> dict[str, Any]:
    """The values as YAML reads them.

    Raises:
        ConfigError: one is not YAML, or is for `run_notebook` to set.
    """
    if _SPEC_PARAMETER in parameters:
        raise ConfigError(f"parameter {_SPEC_PARAMETER!r} is the spec that is run; it cannot be set")
    parsed = {}
    for name, text in parameters.items():
        try:
            parsed[name] = yaml.safe_load(text)
        except yaml.YAMLError as exc:
            raise ConfigError(f"--parameter {name}={text!r}: the value is not YAML; quote it") from exc
    return parsed


def _track_notebook(console: Console, output: Path, settings: Settings) -> None:
    """Add the executed notebook to the run that it logged, if it did; what fails is a warning."""
    try:
        from workbench import tracking  # an extra, and takes two seconds to import

        tracked: TrackedRun | None = tracking.tracked(output.parent)
        if tracked is None:
            return
        tracking.add_artifact(tracked, output, uri=tracking.store_uri(settings))
    except MissingExtraError:
        return
    except (ConfigError, TrackingError) as exc:
        _print_warning(console, f"the notebook is not in MLflow: {exc}")
        return
    console.print(f"MLflow run {tracked.run_id}; to look at it: workbench ui")


def _keep_router(console: Console, trained: Training, settings: Settings) -> None:
    """Keep the router in MLflow as a model; what fails is a warning, for the checkpoint is there."""
    try:
        console.print(f"registered as {publish_router(trained, settings=settings, tell=_tell(console))}")
    except TrackingError as exc:
        _print_warning(console, f"the router is not in MLflow: {exc}")


def _print_analysis(console: Console, analysis: Analysis) -> None:
    console.print()
    console.print(terminal.result_table(analysis))
    _print_verdicts(console, analysis)


def _print_verdicts(console: Console, analysis: Analysis) -> None:
    console.print()
    for line in terminal.verdicts(analysis):
        console.print(line, soft_wrap=not console.is_terminal)


def _print_notes(console: Console, notes: Sequence[str]) -> None:
    for note in notes:
        console.print(f"note: {note}", style="dim", soft_wrap=True)


def _print_places(console: Console, published: Published) -> None:
    console.print()
    if published.report is not None:
        console.print(f"report {published.report}", soft_wrap=True)
    if published.tracked is not None:
        tracked = published.tracked
        console.print(f"MLflow run {tracked.run_id} ({tracked.uri})", soft_wrap=True)
    for warning in published.warnings:
        _print_warning(console, warning)


def _print_warning(console: Console, warning: str) -> None:
    console.print(f"warning: {warning}", style="yellow", soft_wrap=True)


def _tell(console: Console) -> Tell:
    return partial(console.print, style="dim", soft_wrap=True)
