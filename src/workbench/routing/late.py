"""Modules of routing that need torch, imported only when they are asked for."""

import importlib
from types import ModuleType

from workbench.errors import MissingExtraError


def torch_module(name: str, purpose: str) -> ModuleType:
    """The module of this `name`, imported only now: without torch everything else routes.

    Raises:
        MissingExtraError: torch is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] != "torch":
            raise
        raise MissingExtraError("torch", purpose) from exc
