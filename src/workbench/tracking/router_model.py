"""A trained router as an MLflow model: its checkpoint, loaded by our own code, and no pickle anywhere."""

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
from mlflow.entities import LoggedModelOutput, Metric, Param
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema

from workbench.errors import ConfigError, DataError
from workbench.redaction import refuse_secrets
from workbench.routing import checkpoint
from workbench.routing.base import Router
from workbench.routing.decide import Predictor
from workbench.storage import read_bytes, write_text
from workbench.tracking.record import checked_params, finite
from workbench.tracking.runs import experiment_named
from workbench.tracking.store import Tell, connected
from workbench.types import Prompt

_NOT_IN_NAMES = re.compile(r"[/:.%\"']+")
_CHECKPOINT = "router.ckpt"
_CANDIDATES = "candidates.json"
_SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.string, "prompt")]),
    outputs=Schema(
        [
            ColSpec(DataType.string, "model_id"),
            ColSpec(DataType.double, "propensity"),
            ColSpec(DataType.double, "predicted_quality", required=False),
            ColSpec(DataType.double, "predicted_cost_usd", required=False),
        ]
    ),
)


@dataclass(frozen=True, slots=True)
class LoggedRouter:
    """Where a router is in a tracking store; `model_uri` is what `mlflow.pyfunc.load_model` takes."""

    run_id: str
    model_id: str
    model_uri: str


def log_router(
    router: Router | Path,
    *,
    uri: str,
    name: str,
    params: Mapping[str, str | int | float],
    metrics: Mapping[str, float],
    input_example: Sequence[str],
    candidates: Sequence[str] = (),
    tell: Tell | None = None,
) -> LoggedRouter:
    """Keep a router, or the checkpoint at a path, as a model of the MLflow experiment `name`.

    `mlflow.pyfunc.load_model(model_uri).predict` maps a table with a column `prompt` to one with
    `model_id`, `propensity`, `predicted_quality` and `predicted_cost_usd`. `candidates` are the models to
    choose from, by default those that the router was fitted on; `input_example` are prompts.

    Raises:
        ConfigError: a parameter looks like a secret, or there are no candidates.
        CheckpointError: the checkpoint cannot be read.
        TrackingError: the store did not take the model.
    """
    router = checkpoint.load(router) if isinstance(router, Path) else router
    chosen = list(candidates) or _known_models(router)
    texts = checked_params({"router": router.name, **params})
    numbers, _ = finite(metrics)
    refuse_secrets({"name": name}, what="tracked")
    with tempfile.TemporaryDirectory(prefix="router-") as folder:
        saved = _save(router, Path(folder), candidates=chosen, input_example=input_example)
        with connected(uri, tell=tell) as client:
            experiment_id = experiment_named(client, name, uri=uri)
            run = client.create_run(
                experiment_id, run_name=f"{router.name} {time.strftime('%Y-%m-%d %H:%M')}"
            )
            run_id = str(run.info.run_id)
            model = client.create_logged_model(
                experiment_id,
                name=_NOT_IN_NAMES.sub("-", router.name),
                source_run_id=run_id,
                params=texts,
                model_type="router",
            )
            client.log_model_artifacts(model.model_id, str(saved))
            client.finalize_logged_model(model.model_id, "READY")
            now_ms = int(time.time() * 1000)
            client.log_batch(
                run_id,
                [Metric(key, value, now_ms, 0, model_id=model.model_id) for key, value in numbers.items()],
                [Param(key, value) for key, value in texts.items()],
            )
            client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
            client.log_artifact(run_id, str(saved / "data" / "router" / _CHECKPOINT))
            client.set_terminated(run_id)
    return LoggedRouter(run_id, str(model.model_id), f"models:/{model.model_id}")


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
        columns = ("model_id", "propensity", "predicted_quality", "predicted_cost_usd")
        rows = [[getattr(decision, column) for column in columns] for decision in decisions]
        table = pd.DataFrame(rows, columns=list(columns), index=model_input.index)
        return table.astype(dict.fromkeys(columns[1:], "float64"))


def _load_pyfunc(data_path: str) -> RoutedTable:
    """MLflow calls this by its name to load the model; what it reads is data, never a pickle."""
    folder = Path(data_path)
    candidates = json.loads(read_bytes(folder / _CANDIDATES, purpose="candidates of a router"))
    return RoutedTable(checkpoint.load(folder / _CHECKPOINT), candidates)


def _save(router: Router, folder: Path, *, candidates: Sequence[str], input_example: Sequence[str]) -> Path:
    """The folder of the MLflow model: our checkpoint, and who loads it."""
    content = folder / "router"
    content.mkdir()
    checkpoint.save(router, content / _CHECKPOINT)
    write_text(content / _CANDIDATES, json.dumps(candidates))
    saved = folder / "model"
    with warnings.catch_warnings():  # MLflow compares an index of pandas with a range
        warnings.filterwarnings("ignore", message="Operation with range is deprecated")
        mlflow.pyfunc.save_model(
            saved,
            loader_module=__name__,
            data_path=str(content),
            mlflow_model=Model(),
            signature=_SIGNATURE,
            input_example=pd.DataFrame({"prompt": list(input_example)}),
            pip_requirements=[f"workbench[tracking,torch]=={version('workbench')}"],
        )
    return saved


def _known_models(router: Router) -> list[str]:
    if not isinstance(router, Predictor):
        raise ConfigError(f"router {router.name} knows no models of its own; name its candidates")
    return list(router.models.model_ids)
