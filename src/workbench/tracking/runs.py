"""Sending an experiment to MLflow: written down in its folder first, and sent once however often asked."""

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    InputTag,
    LifecycleStage,
    Metric,
    Param,
    Run,
    RunTag,
)
from mlflow.exceptions import MlflowException
from mlflow.types import ColSpec, DataType, Schema

from workbench.errors import ConfigError, StorageError, TrackingError
from workbench.experiment.analysis import Analysis
from workbench.redaction import holds_secret, without_password
from workbench.storage import locked, read_bytes, write_text
from workbench.tracking.record import DatasetRecord, RunRecord, make_record
from workbench.tracking.store import Tell, artifact_root, connected
from workbench.tracking.traces import log_traces
from workbench.tracking.views import run_page, save_view

_SPOOL = "tracking.json"
_ARTIFACTS = (
    "report.html",
    "analysis.json",
    "leaderboard.csv",
    "outcomes.parquet",
    "spec.yaml",
    "notebook.ipynb",
)
_TEXT_ARTIFACTS = {".html", ".json", ".yaml", ".ipynb", ".svg", ".csv", ".txt", ".md"}
_RECORD_TAG = "workbench.record_id"
_BATCH = 100
"""MLflow takes at most 100 params and 100 tags at once (and 1,000 metrics)."""
_COLUMN_TYPES = {"string": DataType.string, "float64": DataType.double, "Int64": DataType.long}


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """Where a run is in a tracking store. `uri` holds no password; `url_hint` is where to look at it."""

    run_id: str
    experiment_id: str
    uri: str
    url_hint: str


def log_experiment(
    folder: Path,
    *,
    name: str,
    question: str,
    params: Mapping[str, str | int | float],
    analysis: Analysis,
    table: pd.DataFrame,
    uri: str,
    tell: Tell | None = None,
) -> TrackedRun:
    """Send the run in `folder`: a parent run in the MLflow experiment `name`, a nested one for each arm.

    What is sent is first written to `tracking.json` in the folder. The same folder again updates its run.

    Raises:
        ConfigError: a parameter or text looks like a secret; nothing was written.
        TrackingError: the store did not take it, in ten seconds at most; `sync(folder)` sends it later.
    """
    with _locked(folder):
        spool = _read_spool(folder)
        record_id = spool.record.record_id if spool else uuid.uuid4().hex
        record = make_record(
            folder,
            record_id=record_id,
            name=name,
            params=params,
            analysis=replace(analysis, question=question),
            table=table,
        )
        return _send(folder, record, uri=uri, tell=tell)


def sync(folder: Path, *, uri: str, tell: Tell | None = None) -> TrackedRun:
    """Send what `log_experiment` wrote down in `folder`, again or for the first time.

    Raises:
        StorageError: nothing was written down. TrackingError: the store did not take it.
    """
    with _locked(folder):
        spool = _read_spool(folder)
        if spool is None:
            raise StorageError(f"there is no {_SPOOL} in {folder}; run the experiment first")
        return _send(folder, spool.record, uri=uri, tell=tell)


def is_pending(folder: Path) -> bool:
    """Whether the run in `folder` was written down but no tracking store has it."""
    spool = _read_spool(folder)
    return spool is not None and spool.run is None


def tracked(folder: Path) -> TrackedRun | None:
    """Where the run in `folder` was sent; None: it was not."""
    spool = _read_spool(folder)
    return spool.run if spool else None


def add_artifact(run: TrackedRun, path: Path, *, uri: str | None = None) -> None:
    """Add a file to a run that was sent before, such as the executed notebook that logged it.

    `uri` is the store with its password, where it has one.

    Raises:
        StorageError: there is no such file. ConfigError: it holds a key. TrackingError: the store failed.
    """
    if not path.is_file():
        raise StorageError(f"artifact: there is no file {path}")
    if _holds_secret(path):
        raise ConfigError(f"artifact {path} holds what looks like a key; remove it and run again")
    with connected(uri or run.uri) as client:
        client.log_artifact(run.run_id, str(path))


@dataclass(frozen=True, slots=True)
class _Spool:
    """The content of `tracking.json`; `run` is None while the run is pending."""

    record: RunRecord
    run: TrackedRun | None


def _read_spool(folder: Path) -> _Spool | None:
    path = folder / _SPOOL
    if not path.exists():
        return None
    content = json.loads(read_bytes(path, purpose="tracking record"))
    run = TrackedRun(**content["run"]) if content["run"] else None
    return _Spool(RunRecord.from_json(content["record"]), run)


def _write_spool(folder: Path, record: RunRecord, *, run: TrackedRun | None, reason: str | None) -> None:
    content = {
        "state": "logged" if run else "pending",
        "reason": reason,
        "run": asdict(run) if run else None,
        "record": record.to_json(),
    }
    write_text(folder / _SPOOL, json.dumps(content, indent=2) + "\n")


def _locked(folder: Path) -> AbstractContextManager[None]:
    return locked(
        folder / f".{_SPOOL}.lock", busy=f"another process is sending {folder} to the tracking store"
    )


def _send(folder: Path, record: RunRecord, *, uri: str, tell: Tell | None) -> TrackedRun:
    _write_spool(folder, record, run=None, reason="not sent yet")
    try:
        with connected(uri, tell=tell) as client:
            experiment_id = experiment_named(client, record.name, uri=uri)
            save_view(client, experiment_id)
            run_id = _log(client, experiment_id, record, folder=folder)
            log_traces(folder, uri=uri, experiment_id=experiment_id, run_id=run_id, tell=tell)
    except TrackingError as exc:
        _write_spool(folder, record, run=None, reason=str(exc))
        raise
    run = TrackedRun(run_id, experiment_id, without_password(uri), _url_hint(uri, experiment_id, run_id))
    _write_spool(folder, record, run=run, reason=None)
    return run


def experiment_named(client: MlflowClient, name: str, *, uri: str) -> str:
    """The id of the MLflow experiment `name`, made where there is none, also by several processes at once."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        root = artifact_root(uri)
        with suppress(MlflowException):  # another process made it between the question and the order
            return str(
                client.create_experiment(name, artifact_location=root and f"{root}/{_folder_name(name)}")
            )
        experiment = client.get_experiment_by_name(name)
    return _usable(experiment, name)


def _usable(experiment: Experiment | None, name: str) -> str:
    if experiment is None:
        raise TrackingError(f"the tracking store would not make the experiment {name!r}")
    if experiment.lifecycle_stage == LifecycleStage.DELETED:
        raise TrackingError(
            f"the MLflow experiment {name!r} was deleted; restore it (mlflow experiments restore "
            f"--experiment-id {experiment.experiment_id}) or give this one another name"
        )
    return str(experiment.experiment_id)


def _log(client: MlflowClient, experiment_id: str, record: RunRecord, *, folder: Path) -> str:
    """Write the parent and its arms; the parent's id. What is there already is not written again."""
    known = _known_runs(client, experiment_id, record.record_id)
    parent = known.get("") or _create(client, experiment_id, record, arm="", parent_id=None)
    run_id = str(parent.info.run_id)
    refused = list(_refused(folder))
    tags = record.tags | ({"workbench.refused_artifacts": ", ".join(refused)} if refused else {})
    _update(client, parent, metrics=record.metrics, params=record.params, tags=tags)
    dataset = _dataset_input(record.dataset)
    client.log_inputs(run_id, [dataset])
    for arm in reversed(record.arms):  # MLflow lists the last one first
        child = known.get(arm.arm) or _create(client, experiment_id, record, arm=arm.arm, parent_id=run_id)
        _update(client, child, metrics=arm.metrics, params=record.params, tags=arm.tags)
        client.log_inputs(child.info.run_id, [dataset])
        client.set_terminated(child.info.run_id)
    _log_artifacts(client, run_id, folder)
    client.set_terminated(run_id)
    return run_id


def _known_runs(client: MlflowClient, experiment_id: str, record_id: str) -> dict[str, Run]:
    """The runs of this record that the store has, by arm; the parent's is empty."""
    runs = client.search_runs([experiment_id], f"tags.`{_RECORD_TAG}` = '{record_id}'")
    return {run.data.tags.get("arm", ""): run for run in runs}


def _create(
    client: MlflowClient, experiment_id: str, record: RunRecord, *, arm: str, parent_id: str | None
) -> Run:
    tags = {_RECORD_TAG: record.record_id}
    if parent_id is not None:
        tags |= {"mlflow.parentRunId": parent_id, "arm": arm}
    name = arm if parent_id is not None else time.strftime("%Y-%m-%d %H:%M")
    return client.create_run(experiment_id, tags=tags, run_name=name)


def _update(
    client: MlflowClient,
    run: Run,
    *,
    metrics: Mapping[str, float],
    params: Mapping[str, str],
    tags: Mapping[str, str],
) -> None:
    """Log what differs from what the run has, in batches.

    Raises:
        ConfigError: a parameter has another value than before; MLflow keeps parameters for good.
    """
    had = run.data
    for name, value in params.items():
        if had.params.get(name, value) != value:
            raise ConfigError(
                f"parameter {name!r} was logged as {had.params[name]!r} and is now {value!r}; "
                "give the changed experiment another name"
            )
    now_ms = int(time.time() * 1000)
    new_metrics = [Metric(k, v, now_ms, 0) for k, v in metrics.items() if had.metrics.get(k) != v]
    new_params = [Param(k, v) for k, v in params.items() if k not in had.params]
    new_tags = [RunTag(k, v) for k, v in tags.items() if had.tags.get(k) != v]
    for start in range(0, max(len(new_metrics), len(new_params), len(new_tags)), _BATCH):
        end = start + _BATCH
        client.log_batch(run.info.run_id, new_metrics[start:end], new_params[start:end], new_tags[start:end])


def _dataset_input(record: DatasetRecord) -> DatasetInput:
    columns = [
        ColSpec(_COLUMN_TYPES.get(dtype, DataType.string), name) for name, dtype in record.columns.items()
    ]
    dataset = Dataset(
        name=record.name,
        digest=record.digest,
        source_type="local",
        source=json.dumps({"uri": "outcomes.parquet, an artifact of the parent run"}),
        schema=json.dumps({"mlflow_colspec": Schema(columns).to_dict()}),
        profile=json.dumps({"num_rows": record.n_rows, "num_columns": len(record.columns)}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "evaluation")])


def _log_artifacts(client: MlflowClient, run_id: str, folder: Path) -> None:
    refused = set(_refused(folder))
    for path in _artifacts(folder):
        if path.name not in refused:
            client.log_artifact(run_id, str(path), "plots" if path.parent.name == "plots" else None)


def _artifacts(folder: Path) -> Iterator[Path]:
    """The files of a run that MLflow keeps; a link that leads out of the folder is none of them."""
    candidates: Sequence[Path] = [
        *(folder / name for name in _ARTIFACTS),
        *sorted(folder.glob("plots/*.png")),
    ]
    root = folder.resolve()
    return (path for path in candidates if path.is_file() and path.resolve().is_relative_to(root))


def _refused(folder: Path) -> Iterator[str]:
    """Names of the artifacts that stay here, because they hold what looks like a key."""
    return (path.name for path in _artifacts(folder) if _holds_secret(path))


def _holds_secret(path: Path) -> bool:
    if path.suffix not in _TEXT_ARTIFACTS:
        return False
    return holds_secret(read_bytes(path, purpose="artifact").decode(errors="replace"))


def _folder_name(name: str) -> str:
    """A folder for the artifacts of the experiment `name`, which may be any text."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:80]


def _url_hint(uri: str, experiment_id: str, run_id: str) -> str:
    if uri.startswith(("http://", "https://")):
        return run_page(without_password(uri), experiment_id, run_id)
    page = run_page("http://127.0.0.1:5000", experiment_id, run_id)
    return f"{page} after: mlflow ui --backend-store-uri {without_password(uri)}"
