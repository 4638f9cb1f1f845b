"""MLflow, and nothing else knows it: runs, their spool, the trained router as a model, and the server.

Everything that MLflow is told about an experiment is in the experiment's own folder first
(`tracking.json`), so that a tracking server that is down loses nothing: `sync` sends it later.
"""

import os
import warnings

from workbench.errors import MissingExtraError

# Nothing is reported to MLflow's makers; this is read when mlflow is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

try:
    with warnings.catch_warnings():  # MLflow warns of type hints of its own
        warnings.filterwarnings("ignore", message=".*Any type hint is inferred", category=UserWarning)
        import mlflow.pyfunc  # noqa: F401 - asked for here, before the modules below need it
except ModuleNotFoundError as exc:
    raise MissingExtraError("tracking", "tracking with MLflow") from exc

from workbench.environment import store_uri
from workbench.tracking.record import RunRecord
from workbench.tracking.registered import (
    CHALLENGER,
    CHAMPION,
    LoadedRouter,
    RouterVersion,
    load_router,
    promote,
    register,
    set_alias,
    told,
    versions,
)
from workbench.tracking.router_model import LoggedRouter, ModelCard, log_router
from workbench.tracking.runs import TrackedRun, add_artifact, is_pending, log_experiment, sync, tracked
from workbench.tracking.server import open_ui, ui_command

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "LoadedRouter",
    "LoggedRouter",
    "ModelCard",
    "RouterVersion",
    "RunRecord",
    "TrackedRun",
    "add_artifact",
    "is_pending",
    "load_router",
    "log_experiment",
    "log_router",
    "open_ui",
    "promote",
    "register",
    "set_alias",
    "store_uri",
    "sync",
    "told",
    "tracked",
    "ui_command",
    "versions",
]
