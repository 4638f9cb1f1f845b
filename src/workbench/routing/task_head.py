"""What a prompt's task says of the models; the training prompts need labels, the one that is asked does not.

The task is read off the prompt, with its uncertainty; quality by task then says what the label would.

Dimensions: N or B prompts, D dense features, T tasks, R patterns.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.routing.fields import require
from workbench.routing.forecast import Floats

UNLABELLED = -1
_FARTHEST = 5.0


@dataclass(frozen=True, slots=True)
class TaskHead:
    """Linear discriminants of T tasks: `weights` [D, T], `intercept` [T], and the `scores` [T, R] of each.

    Without labels T is 0, and the head says nothing: scores of 0.
    """

    weights: NDArray[np.float64]
    intercept: NDArray[np.float64]
    scores: NDArray[np.float64]

    def __post_init__(self) -> None:
        require(self.weights.shape[1:] == self.intercept.shape == self.scores.shape[:1], "tasks")
        for numbers in (self.weights, self.intercept, self.scores):
            require(bool(np.isfinite(numbers).all()), "numbers")

    def probabilities(self, dense: NDArray[np.float32]) -> Floats:
        """[B, T] how likely each task is for [B, D] dense features."""
        if not len(self.intercept):
            return np.zeros((len(dense), 0))
        logits: Floats = _within(dense) @ self.weights + self.intercept
        likely: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
        likely /= likely.sum(axis=1, keepdims=True)
        return likely

    def expected(self, dense: NDArray[np.float32]) -> Floats:
        """[B, R] the mean of the tasks' scores, each as likely as the prompt makes it."""
        scores: Floats = self.probabilities(dense) @ self.scores
        return scores


def task_codes(tasks: list[str | None]) -> NDArray[np.int64]:
    """[N] a number for each label, `UNLABELLED` where there is none."""
    number = {task: code for code, task in enumerate(sorted({task for task in tasks if task is not None}))}
    return np.array([UNLABELLED if task is None else number[task] for task in tasks], dtype=np.int64)


def fit_task_head(dense: NDArray[np.float32], codes: NDArray[np.int64], scores: Floats) -> TaskHead:
    """From dense features [N, D], codes of tasks [N] and scores [N, R] of prompts.

    Tasks are normal clouds around their means, all of one shape, to which a ball of the same size is added:
    there are hundreds of features, and often few prompts of a task.
    Source: Friedman (1989), Regularized discriminant analysis, JASA 84.
    """
    is_labelled = codes != UNLABELLED
    names, task = np.unique(codes[is_labelled], return_inverse=True)
    rows, n_features = _within(dense[is_labelled]), dense.shape[1]
    if len(names) < 2:
        return TaskHead(np.zeros((n_features, 0)), np.zeros(0), np.zeros((0, scores.shape[1])))
    counts = np.bincount(task).astype(np.float64)
    centres = (_sums(rows, task) + rows.mean(axis=0)) / (counts[:, None] + 1.0)
    apart = rows - centres[task]
    shape = apart.T @ apart / len(rows)
    size = max(float(np.trace(shape)) / n_features, 1e-6)
    weights = np.linalg.solve(shape + size * np.eye(n_features), centres.T)
    intercept = np.log(counts / len(rows)) - 0.5 * np.einsum("td,dt->t", centres, weights)
    return TaskHead(weights, intercept, _shrunk_means(scores[is_labelled], task, counts))


def _shrunk_means(scores: Floats, task: NDArray[np.int64], counts: Floats) -> Floats:
    """[T, R] mean scores by task, drawn to the overall mean as far as tasks differ by chance alone.

    Source: Searle, Casella & McCulloch (1992), Variance Components, sections 3.6 and 7.4.
    """
    n, n_tasks = len(task), len(counts)
    means, overall = _sums(scores, task) / counts[:, None], scores.mean(axis=0)
    inside = ((scores - means[task]) ** 2).sum(axis=0) / max(n - n_tasks, 1)
    spread = (counts[:, None] * (means - overall) ** 2).sum(axis=0) - (n_tasks - 1) * inside
    between = np.maximum(spread, 0.0) / (n - (counts**2).sum() / n)
    known = counts[:, None] * between / np.maximum(counts[:, None] * between + inside, 1e-12)
    shrunk: Floats = overall + known * (means - overall)
    return shrunk


def _sums(rows: Floats, task: NDArray[np.int64]) -> Floats:
    """[T, columns] sums of [N, columns] by task."""
    totals = np.zeros((int(task.max()) + 1, rows.shape[1]))
    np.add.at(totals, task, rows)
    return totals


def _within(dense: NDArray[np.float32]) -> Floats:
    return np.clip(dense, -_FARTHEST, _FARTHEST).astype(np.float64)
