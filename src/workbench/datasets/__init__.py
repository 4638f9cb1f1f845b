"""Prompt sets and recorded benchmarks: the embedded default, a user's own, and public ones.

What needs pandas or httpx is imported when it is used, so that `tasks` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

from workbench.datasets.embedded import Task, tasks

if TYPE_CHECKING:
    from workbench.datasets.directory import Dataset, Description, describe, listed
    from workbench.datasets.fetch import FetchProgress, fetch_benchmark
    from workbench.datasets.prompts import load_prompts, prompts_of
    from workbench.datasets.recorded import Benchmark, benchmark, benchmarks, load_benchmark, load_outcomes

_LATE = {
    "Benchmark": "recorded",
    "Dataset": "directory",
    "Description": "directory",
    "FetchProgress": "fetch",
    "benchmark": "recorded",
    "benchmarks": "recorded",
    "describe": "directory",
    "fetch_benchmark": "fetch",
    "listed": "directory",
    "load_benchmark": "recorded",
    "load_outcomes": "recorded",
    "load_prompts": "prompts",
    "prompts_of": "prompts",
}

__all__ = [
    "Benchmark",
    "Dataset",
    "Description",
    "FetchProgress",
    "Task",
    "benchmark",
    "benchmarks",
    "describe",
    "fetch_benchmark",
    "listed",
    "load_benchmark",
    "load_outcomes",
    "load_prompts",
    "prompts_of",
    "tasks",
]


def __getattr__(name: str) -> Any:  # Any: the type follows from the name, see the imports above
    if name not in _LATE:
        raise AttributeError(f"module 'workbench.datasets' has no attribute {name!r}")
    return getattr(importlib.import_module(f"workbench.datasets.{_LATE[name]}"), name)
