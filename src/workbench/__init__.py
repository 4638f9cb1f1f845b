"""Compare LLM providers with honest statistics, and learn which model each prompt should go to.

>>> import workbench
>>> workbench.Prompt("p1", "2 + 2?").text
'2 + 2?'

Heavy parts are imported when they are used: `import workbench` loads neither torch, mlflow nor pandas.
"""

import importlib
from typing import TYPE_CHECKING, Any

from workbench.errors import WorkbenchError
from workbench.types import Completion, Decision, Decoding, Message, Outcome, Prompt, Usage

if TYPE_CHECKING:
    from workbench.client import Client, connect
    from workbench.experiment.analyse import analyse
    from workbench.experiment.run import run
    from workbench.experiment.spec import load_spec, load_training_spec
    from workbench.experiment.training import train
    from workbench.publication import add_model, publish, publish_router
    from workbench.tracking import load_router

__version__ = "0.1.0"

_LATE = {
    "Client": "workbench.client",
    "connect": "workbench.client",
    "add_model": "workbench.publication",
    "analyse": "workbench.experiment.analyse",
    "load_router": "workbench.tracking",
    "load_spec": "workbench.experiment.spec",
    "load_training_spec": "workbench.experiment.spec",
    "publish": "workbench.publication",
    "publish_router": "workbench.publication",
    "run": "workbench.experiment.run",
    "train": "workbench.experiment.training",
}

__all__ = [
    "Client",
    "Completion",
    "Decision",
    "Decoding",
    "Message",
    "Outcome",
    "Prompt",
    "Usage",
    "WorkbenchError",
    "add_model",
    "analyse",
    "connect",
    "load_router",
    "load_spec",
    "load_training_spec",
    "publish",
    "publish_router",
    "run",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    return getattr(importlib.import_module(_LATE[name]), name)
