"""A finished run made visible: the report and plots in its folder, and the same in MLflow.

Nothing here can lose a result: they are in the folder already. What cannot be published now (a tracking
server that is down, an extra that is not installed) is a warning, and can be made up for later.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from workbench.errors import MissingExtraError, TrackingError
from workbench.experiment.run import Run
from workbench.experiment.spec import ArmSpec, ExperimentSpec
from workbench.experiment.training import Training
from workbench.routing.evaluate import Leaderboard
from workbench.settings import Settings, project_dir
from workbench.storage import write_atomically, write_text

if TYPE_CHECKING:
    from workbench.tracking import LoggedRouter, TrackedRun

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Published:
    """Where a run can be seen. None: it is not there, and `warnings` says why."""

    report: Path | None
    tracked: "TrackedRun | None"
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PublishedRouter:
    """Where a trained router can be loaded from in MLflow. None: it is not there, and `warnings` says why."""

    logged: "LoggedRouter | None"
    warnings: tuple[str, ...] = ()


def publish(run: Run, *, settings: Settings | None = None, tell: Tell | None = None) -> Published:
    """Write the report, plots and spec of `run` into its folder, and log the folder to MLflow.

    `tell` is given a line when something takes long.
    """
    settings = settings or Settings()
    report = tracked = None
    warnings = []
    try:
        report = _write_report(run)
    except MissingExtraError as exc:
        warnings.append(f"no report: {exc}")
    try:
        tracked = _track(run, settings, tell)
    except MissingExtraError as exc:
        warnings.append(f"not in MLflow: {exc}")
    except TrackingError as exc:
        warnings.append(f"not in MLflow yet: {exc}. When it can be reached: workbench sync {run.folder}")
    return Published(report, tracked, tuple(warnings))


def publish_router(
    training: Training, *, settings: Settings | None = None, tell: Tell | None = None
) -> PublishedRouter:
    """Keep a trained router in MLflow as a model, with how it fared beside its baselines."""
    settings = settings or Settings()
    try:
        from workbench import tracking

        logged = tracking.log_router(
            training.checkpoint,
            uri=tracking.store_uri(settings),
            name=training.spec.name,
            params=_training_parameters(training),
            metrics=_leaderboard_metrics(training.leaderboard),
            input_example=[prompt.text for prompt in training.leaderboard.scored.data.prompts[:2]],
            tell=tell,
        )
    except MissingExtraError as exc:
        return PublishedRouter(None, (f"not in MLflow: {exc}",))
    except TrackingError as exc:
        return PublishedRouter(None, (f"not in MLflow: {exc}. The router is kept in {training.checkpoint}",))
    return PublishedRouter(logged)


def spec_yaml(spec: ExperimentSpec) -> str:
    """The spec as YAML, with every default written out."""
    return yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _write_report(run: Run) -> Path:
    from workbench import plots, report  # matplotlib is an extra

    written = spec_yaml(run.spec)
    write_text(run.folder / "spec.yaml", written)
    if run.analysis.comparisons:
        forest = plots.png(plots.forest(run.analysis))
        write_atomically(run.folder / "plots" / "differences.png", lambda file: file.write(forest))
    scatter = plots.png(plots.quality_cost(run.analysis))
    write_atomically(run.folder / "plots" / "quality_cost.png", lambda file: file.write(scatter))
    page = report.html(run.analysis, run.table, spec_yaml=written, how_to_reproduce=_command(run))
    write_text(run.folder / "report.html", page)
    return run.folder / "report.html"


def _track(run: Run, settings: Settings, tell: Tell | None) -> "TrackedRun":
    from workbench import tracking  # mlflow is an extra, and takes two seconds to import

    return tracking.log_experiment(
        run.folder,
        name=run.spec.name,
        question=run.spec.question,
        params=parameters(run),
        analysis=run.analysis,
        table=run.table,
        uri=tracking.store_uri(settings),
        tell=tell,
    )


def parameters(run: Run) -> dict[str, str | int | float]:
    """What MLflow lists as the parameters of a run."""
    spec, prompts = run.spec, run.plan.fingerprint["prompts_sha256"]
    listed: dict[str, str | int | float] = {
        "prompts": spec.replay.outcomes if spec.replay else spec.prompts.source,
        "prompts_sha256": str(prompts)[:16],
        "n_prompts": len(run.plan.prompts),
        "scorer": spec.scorer,
        "repeats": spec.repeats,
        "control": spec.control_arm,
        "alpha": spec.alpha,
        "seed": spec.seed,
        "concurrency": spec.concurrency,
        "state": run.state,
        "spent_usd": round(run.spent_usd, 9),
    }
    if spec.budget_usd is not None:
        listed["budget_usd"] = spec.budget_usd
    for arm in spec.arms:
        listed[f"arm.{_parameter_name(arm.name)}"] = arm.model or f"router: {_described(arm)}"
    return listed


def _described(arm: ArmSpec) -> str:
    written = arm.router.model_dump(mode="json", exclude_defaults=True) if arm.router else {}
    return ", ".join(f"{key}={value}" for key, value in written.items())


def _parameter_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_. /-]", "_", name)


def _command(run: Run) -> str:
    file, home = run.spec.file, project_dir()
    return f"workbench run {file.relative_to(home) if file.is_relative_to(home) else file.name}"


def _training_parameters(training: Training) -> dict[str, str | int | float]:
    spec = training.spec
    return {
        "question": spec.question,
        "fit_on": spec.fit_on.outcomes,
        "data_sha256": training.data_digest[:16],
        "folds": spec.folds,
        "cost_weight": spec.cost_weight,
        "seed": spec.seed,
        **{f"option.{name}": value for name, value in spec.options.items()},
    }


def _leaderboard_metrics(board: Leaderboard) -> dict[str, float]:
    """`<router>.<measure>` for every number of the leaderboard."""
    return {
        f"{_parameter_name(str(row['router']))}.{name}": float(value)
        for row in board.table.to_dict("records")
        for name, value in row.items()
        if isinstance(value, int | float) and not math.isnan(value)
    }
