"""A trained router as an MLflow model: its checkpoint, loaded by our own code, and no pickle anywhere."""

import hashlib
import json
import re
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric, Param
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema

from workbench.client.panel import models_of
from workbench.errors import ConfigError, DataError
from workbench.redaction import refuse_secrets
from workbench.routing import checkpoint
from workbench.routing.base import Router
from workbench.storage import read_bytes, write_bytes, write_text
from workbench.tracking.record import checked_params, finite
from workbench.tracking.runs import TrackedRun, experiment_named
from workbench.tracking.store import Tell, connected, quiet
from workbench.types import Prompt

_NOT_IN_NAMES = re.compile(r"[/:.%\"']+")
_CHECKPOINT = "router.ckpt"
_CANDIDATES = "candidates.json"
_SHA256 = "checkpoint_sha256"
_SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.string, "prompt")]),
    outputs=Schema(
        [
            ColSpec(DataType.string, "model_id"),
            ColSpec(DataType.double, "propensity"),
            ColSpec(DataType.double, "predicted_quality", required=False),
            ColSpec(DataType.double, "predicted_cost_usd", required=False),
            ColSpec(DataType.double, "predicted_latency_s", required=False),
            ColSpec(DataType.double, "familiarity", required=False),
        ]
    ),
)


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What MLflow is told about a router.

    `name` is the MLflow experiment. `candidates` are the models to choose from, by default those that the
    router was fitted on; `input_example` are prompts.
    """

    name: str
    params: Mapping[str, str | int | float]
    metrics: Mapping[str, float]
    input_example: Sequence[str]
    candidates: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class LoggedRouter:
    """Where a router is in a tracking store; `model_uri` is what `mlflow.pyfunc.load_model` takes."""

    run_id: str
    model_id: str
    model_uri: str


def log_router(
    router: Router | Path,
    card: ModelCard,
    *,
    uri: str,
    run: TrackedRun | None = None,
    tell: Tell | None = None,
) -> LoggedRouter:
    """Keep a router, or the checkpoint at a path, as an MLflow model: of `run`, or else of a run of its own.

    `mlflow.pyfunc.load_model(model_uri).predict` maps a table with a column `prompt` to one with
    `model_id`, `propensity`, `predicted_quality`, `predicted_cost_usd`, `predicted_latency_s` and
    `familiarity`. The same checkpoint again is the same model: it is not kept twice, and `run` is linked.

    Raises:
        ConfigError: a parameter looks like a secret, or there are no candidates.
        CheckpointError: the checkpoint cannot be read.
        TrackingError: the store did not take the model.
    """
    name = (checkpoint.load(router) if isinstance(router, Path) else router).name
    refuse_secrets({"name": card.name}, what="tracked")
    with tempfile.TemporaryDirectory(prefix="router-") as folder:
        saved = _save(router, Path(folder), card)
        content, _ = content_of(saved)
        texts = checked_params(
            {"router": name, **card.params, _SHA256: hashlib.sha256(content.read_bytes()).hexdigest()}
        )
        with connected(uri, tell=tell) as client:
            experiment_id = run.experiment_id if run else experiment_named(client, card.name, uri=uri)
            known = _known_model(client, experiment_id, texts[_SHA256])
            if known is not None and run is None:
                return _logged(known, str(known.source_run_id))
            run_id = run.run_id if run else _new_run(client, experiment_id, name, texts)
            model = known or _new_model(client, experiment_id, run_id, name, texts, saved)
            _link(client, run_id, model, metrics=finite(card.metrics)[0])
            client.log_artifact(run_id, str(content))
            if run is None:
                client.set_terminated(run_id)
    return _logged(model, run_id)


class RoutedTable:
    """What MLflow calls: prompts in, decisions out."""

    def __init__(self, router: Router, candidates: Sequence[str]) -> None:
        self._router = router
        self._candidates = tuple(candidates)

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """[N] prompts, in the column `prompt` -> [N] decisions; `params` are not used.

        Raises:
            DataError: there is no column `prompt`.
        """
        if "prompt" not in model_input:
            raise DataError(f"a router needs the column 'prompt'; this table has {list(model_input.columns)}")
        texts = [str(text) for text in model_input["prompt"]]
        decisions = [
            self._router.route(Prompt(str(number), text), self._candidates)
            for number, text in enumerate(texts)
        ]
        columns = _SIGNATURE.outputs.input_names()
        rows = [[getattr(decision, column) for column in columns] for decision in decisions]
        table = pd.DataFrame(rows, columns=list(columns), index=model_input.index)
        return table.astype(dict.fromkeys(columns[1:], "float64"))


def _load_pyfunc(data_path: str) -> RoutedTable:
    """MLflow calls this by its name to load the model; what it reads is data, never a pickle."""
    folder = Path(data_path)
    candidates = json.loads(read_bytes(folder / _CANDIDATES, purpose="candidates of a router"))
    return RoutedTable(checkpoint.load(folder / _CHECKPOINT), candidates)


def content_of(saved: Path) -> tuple[Path, Path]:
    """The checkpoint and the candidates in the folder of an MLflow model that `log_router` made."""
    content = saved / "data" / "router"
    return content / _CHECKPOINT, content / _CANDIDATES


def _known_model(client: MlflowClient, experiment_id: str, sha256: str) -> LoggedModel | None:
    """The whole model of this checkpoint that the experiment has; None: it has none."""
    found = client.search_logged_models([experiment_id], filter_string=f"params.{_SHA256} = '{sha256}'")
    return next((model for model in found if model.status == LoggedModelStatus.READY), None)


def _new_run(client: MlflowClient, experiment_id: str, name: str, params: Mapping[str, str]) -> str:
    run = client.create_run(experiment_id, run_name=f"{name} {time.strftime('%Y-%m-%d %H:%M')}")
    client.log_batch(run.info.run_id, params=[Param(key, value) for key, value in params.items()])
    return str(run.info.run_id)


def _new_model(
    client: MlflowClient, experiment_id: str, run_id: str, name: str, params: dict[str, str], saved: Path
) -> LoggedModel:
    model = client.create_logged_model(
        experiment_id,
        name=_NOT_IN_NAMES.sub("-", name),
        source_run_id=run_id,
        params=params,
        model_type="router",
    )
    client.log_model_artifacts(model.model_id, str(saved))
    client.set_logged_model_tags(model.model_id, {"mlflow.note.content": _note(model.model_id)})
    return client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def _note(model_id: str) -> str:
    return (
        "Maps a table with the column `prompt` to one with `model_id` (where to send it), `propensity`, "
        "`predicted_quality`, `predicted_cost_usd`, `predicted_latency_s` and `familiarity`: "
        f'`mlflow.pyfunc.load_model("models:/{model_id}").'
        "predict(table)`. It is a checkpoint that the workbench reads; nothing is unpickled."
    )


def _link(client: MlflowClient, run_id: str, model: LoggedModel, *, metrics: Mapping[str, float]) -> None:
    """Make the model an output of the run, with its metrics, unless it is one."""
    outputs = client.get_run(run_id).outputs
    if model.model_id in [output.model_id for output in (outputs.model_outputs if outputs else [])]:
        return
    now_ms = int(time.time() * 1000)
    numbers = [Metric(key, value, now_ms, 0, model_id=model.model_id) for key, value in metrics.items()]
    client.log_batch(run_id, numbers)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])


def _logged(model: LoggedModel, run_id: str) -> LoggedRouter:
    return LoggedRouter(run_id, str(model.model_id), f"models:/{model.model_id}")


def _save(router: Router | Path, folder: Path, card: ModelCard) -> Path:
    """The folder of the MLflow model: our checkpoint, and who loads it."""
    content = folder / "router"
    content.mkdir()
    if isinstance(router, Path):
        write_bytes(content / _CHECKPOINT, read_bytes(router, purpose="router"))
        router = checkpoint.load(router)
    else:
        checkpoint.save(router, content / _CHECKPOINT)
    candidates = list(card.candidates) or list(models_of(router))
    if not candidates:
        raise ConfigError(f"router {router.name} knows no models of its own; name its candidates")
    write_text(content / _CANDIDATES, json.dumps(candidates))
    saved = folder / "model"
    with quiet(), warnings.catch_warnings():  # MLflow compares an index of pandas with a range
        warnings.filterwarnings("ignore", message="Operation with range is deprecated")
        mlflow.pyfunc.save_model(
            saved,
            loader_module=__name__,
            data_path=str(content),
            mlflow_model=Model(),
            signature=_SIGNATURE,
            input_example=pd.DataFrame({"prompt": list(card.input_example)}),
            pip_requirements=[f"workbench[tracking,torch]=={version('workbench')}"],
        )
    return saved
