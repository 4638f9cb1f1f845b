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

import numpy as np
import pandas as pd
import yaml

from workbench import __version__, outcomes
from workbench.errors import MissingExtraError, TrackingError
from workbench.experiment.analyse import analyse
from workbench.experiment.analysis import to_json
from workbench.experiment.run import Run
from workbench.experiment.spec import ArmSpec, ExperimentSpec, TrainingSpec
from workbench.experiment.training import Training, decided
from workbench.experiment.wording import shortened
from workbench.features import FeatureConfig
from workbench.outcomes import digest
from workbench.routing import new_model
from workbench.routing.base import Router
from workbench.routing.controller import MetaController
from workbench.routing.leaderboard import Leaderboard
from workbench.routing.policy import Policy
from workbench.routing.training_table import from_table
from workbench.settings import Settings, project_dir
from workbench.storage import folder_inside, writable_folder, write_bytes, write_text

if TYPE_CHECKING:
    from workbench.tracking import TrackedRun

Tell = Callable[[str], None]

_MOST_CHARACTERS = 1_000  # of an arm's description: a template may be longer than MLflow takes


@dataclass(frozen=True, slots=True)
class Published:
    """Where a run can be seen. None: it is not there, and `warnings` says why."""

    report: Path | None
    tracked: "TrackedRun | None"
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AddedModel:
    """A registered version that knows `model_id`, from its outcomes on `n_prompts`."""

    address: str
    model_id: str
    n_prompts: int


def publish(run: Run | Training, *, settings: Settings | None = None, tell: Tell | None = None) -> Published:
    """Write the report, plots and spec of `run` into its folder, and log the folder to MLflow.

    `tell` is given a line when something takes long.
    """
    settings = settings or Settings()
    report = tracked = None
    warnings = []
    write_text(run.folder / "spec.yaml", spec_yaml(run.spec))
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


def publish_leaderboard(
    board: Leaderboard, *, name: str, question: str, settings: Settings | None = None
) -> Published:
    """Keep routers side by side in a folder of runs, and log them to MLflow as the arms of a run of `name`.

    What the routers chose is part of the folder's name, so that another table or choice is another run.
    The control is `best_single` where it is among them, else the first.

    Raises:
        ConfigError: `name` cannot be a folder's. StorageError: the folder cannot be written.
    """
    settings = settings or Settings()
    routers = [said.router for said in board.predictions]
    table, control = decided(board), "best_single" if "best_single" in routers else routers[0]
    its_name = f"{name}-{digest(table)[:8]}"
    folder = writable_folder(folder_inside(settings.runs_dir, its_name, what="leaderboard"))
    analysis = analyse(table, question=question, control=control)
    outcomes.write(table, folder / "outcomes.parquet")
    write_text(folder / "analysis.json", to_json(analysis))
    write_text(folder / "leaderboard.csv", board.table.to_csv(index=False))
    data = board.scored.data
    params = {"n_prompts": len(data.prompts), "n_models": len(data.model_ids)}
    try:
        from workbench import tracking  # an extra, and takes two seconds to import

        tracked = tracking.log_experiment(
            folder,
            name=name,
            question=question,
            params=params,
            analysis=analysis,
            table=table,
            uri=tracking.store_uri(settings),
        )
    except MissingExtraError as exc:
        return Published(None, None, (f"not in MLflow: {exc}",))
    except TrackingError as exc:
        return Published(
            None, None, (f"not in MLflow yet: {exc}. When it can be reached: workbench sync {folder}",)
        )
    return Published(None, tracked)


def publish_router(training: Training, *, settings: Settings | None = None, tell: Tell | None = None) -> str:
    """Keep a trained router in MLflow, as the next version of its name; returns what `load_router` takes.

    `workbench.load_router(address)` loads it.

    Raises:
        MissingExtraError: MLflow is not installed. TrackingError: the store did not take it.
    """
    from workbench import tracking  # an extra, and takes two seconds to import

    card = tracking.ModelCard(
        name=training.spec.name,
        params=_training_parameters(training),
        metrics=_own_metrics(training),
        input_example=[prompt.text for prompt in training.leaderboard.scored.data.prompts[:2]],
    )
    uri = tracking.store_uri(settings or Settings())
    logged = tracking.log_router(
        training.checkpoint,
        card,
        uri=uri,
        run=tracking.tracked(training.folder),
        tell=tell,
    )
    return tracking.register(logged, training.spec.name, uri=uri).address


def add_model(
    address: str, rows: pd.DataFrame, model_id: str, *, settings: Settings | None = None
) -> AddedModel:
    """Teach a registered controller one more model from a few of its outcomes, without fitting it again.

    The new version of the router is its challenger, or its champion where it has none. `rows` are outcomes
    of the model `model_id` (that is also the arm's name, or its provider and model), 32 or more; where they
    have the outcomes of known models on the same prompts too, fewer of the new one's are needed.

    Raises:
        ConfigError: there is no such router, it is no controller, it knows the model, or `rows` does not.
        InsufficientDataError: fewer than two prompts have an outcome of the model.
        MissingExtraError: MLflow is not installed. TrackingError: the store did not take it.
    """
    from workbench import tracking  # an extra, and takes two seconds to import

    uri = tracking.store_uri(settings or Settings())
    known = tracking.load_router(address, uri=uri)
    named = {model_id: model_id}
    data = from_table(rows, model_ids=named, feature_config=_features_of(known.router))
    router = new_model.add_model(known.router, data, model_id)
    card = tracking.ModelCard(
        name=known.version.name,
        params={"added_to": known.version.address, "added_model": model_id, "outcomes_sha256": digest(rows)},
        metrics={},
        input_example=[prompt.text for prompt in data.prompts[:2]],
        candidates=(*known.candidates, model_id),
    )
    version = tracking.register(tracking.log_router(router, card, uri=uri), known.version.name, uri=uri)
    learned = data.quality[:, data.model_ids.index(model_id)]
    return AddedModel(version.address, model_id, int(np.isfinite(learned).sum()))


def _features_of(router: Router) -> FeatureConfig:
    """How the router reads prompts; as usual where it does not say, since it is refused later."""
    held = router.router if isinstance(router, Policy) else router
    return held.feature_config if isinstance(held, MetaController) else FeatureConfig()


def spec_yaml(spec: ExperimentSpec | TrainingSpec) -> str:
    """The spec as YAML, with every default written out."""
    return yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _write_report(run: Run | Training) -> Path:
    from workbench import plots, report  # matplotlib is an extra

    figures = {}
    if run.analysis.comparisons:
        figures["differences"] = plots.forest(run.analysis)
    if any(arm.usd_per_1k_prompts is not None for arm in run.analysis.arms):
        figures["quality_cost"] = plots.quality_cost(run.analysis)
    if any(comparison.looks is not None for comparison in run.analysis.comparisons):
        figures["looks"] = plots.trajectories(run.analysis)
    for name, figure in figures.items():
        write_bytes(run.folder / "plots" / f"{name}.png", plots.png(figure))
    page = report.html(
        run.analysis,
        run.table,
        spec_yaml=spec_yaml(run.spec),
        how_to_reproduce=_command(run),
        provenance={"workbench": __version__, "outcomes sha256": digest(run.table)},
        ledger=run.ledger if isinstance(run, Run) else None,
    )
    write_text(run.folder / "report.html", page)
    return run.folder / "report.html"


def _track(run: Run | Training, settings: Settings, tell: Tell | None) -> "TrackedRun":
    from workbench import tracking  # an extra, and takes two seconds to import

    return tracking.log_experiment(
        run.folder,
        name=run.spec.name,
        question=run.spec.question,
        params=parameters(run) if isinstance(run, Run) else _training_parameters(run),
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
        "scorer": str(spec.scorer),
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
        listed[f"arm.{_parameter_name(arm.name)}"] = _described(arm)
    return listed


def _described(arm: ArmSpec) -> str:
    """The model, or what the arm is made of; and its own words and decoding, if it has any."""
    written = arm.model_dump(mode="json", exclude_defaults=True, exclude={"name", "model", "levels"})
    parts = [] if arm.model is None else [arm.model]
    for key, value in written.items():
        inner = ", ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else value
        parts.append(f"{key}: {inner}")
    return shortened("; ".join(parts), limit=_MOST_CHARACTERS)


def _parameter_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_. /-]|\.(?=\.)", "_", name)  # MLflow takes no ".." either


def _command(run: Run | Training) -> str:
    file, home = run.spec.file, project_dir()
    verb = "run" if isinstance(run, Run) else "train"
    return f"workbench {verb} {file.relative_to(home) if file.is_relative_to(home) else file.name}"


def _training_parameters(training: Training) -> dict[str, str | int | float]:
    spec, point = training.spec, training.point
    return {
        "question": spec.question,
        "fit_on": spec.fit_on.outcomes,
        "data_sha256": training.fitted_on_sha256[:16],
        "folds": spec.folds,
        "cost_weight": spec.cost_weight if point is None else point.cost_weight,
        "latency_weight": spec.latency_weight if point is None else point.latency_weight,
        **({} if point is None else {"aim": str(spec.aim), "promised": str(point.promised)}),
        "seed": spec.seed,
        **{f"option.{name}": value for name, value in spec.options.items()},
    }


def _own_metrics(training: Training) -> dict[str, float]:
    """The router's own line of the leaderboard, every finite number of it; the other lines are in a file."""
    lines = training.leaderboard.table.to_dict("records")
    own = next(line for line in lines if line["router"] == training.router.name)
    return {
        f"{_parameter_name(training.router.name)}.{name}": float(value)
        for name, value in own.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
