"""Prompt sets and recorded benchmarks: the embedded default, a user's own, and public ones."""

from workbench.datasets.tasks import Task, tasks

__all__ = ["Task", "tasks"]
