"""Prompt sets and recorded benchmarks: the embedded default, a user's own, and public ones."""

from workbench.datasets.benchmarks import Benchmark, benchmark, benchmarks, load_benchmark, load_outcomes
from workbench.datasets.directory import Dataset, Description, describe, listed
from workbench.datasets.fetch import FetchProgress, fetch_benchmark
from workbench.datasets.prompts import load_prompts
from workbench.datasets.tasks import Task, tasks

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
    "tasks",
]
