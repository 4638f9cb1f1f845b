"""What the controller's heads say of training prompts, each from heads that were fitted without its part.

Dimensions: N prompts, n of them, A active n-gram buckets, H heads, P parts, M models, R patterns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.routing.controller import Neighbours, Networks
from workbench.routing.forecast import Floats
from workbench.routing.lesson import Lesson
from workbench.routing.model_space import ModelSpace
from workbench.routing.ridge import ridges
from workbench.routing.task_head import TaskHead, fit_task_head

_CHUNK = 512  # prompts a time, so that [chunk, N] similarities stay small

Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Said:
    """What each head [H, n, R] says of prompts it was not fitted on, and their nearness [n] to the rest."""

    heads: Floats
    nearness: Floats

    def quality(self, space: ModelSpace, mix: Floats) -> Floats:
        """[n, M] what the mix [H, R] of the heads says in the space of the models."""
        if not len(self.nearness):
            return np.zeros((0, len(space.mean)))
        return space.quality(np.einsum("hnr,hr->nr", self.heads, mix))


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Heads fitted without each part: `ridges` of each penalty [P, A, R], a network and `tasks` for each.

    `neighbours` are the prompts at `compared`; of each part those of the others are looked at.
    """

    lesson: Lesson
    ridges: tuple[Singles, ...]
    networks: Networks
    neighbours: Neighbours
    compared: NDArray[np.int64]
    tasks: tuple[TaskHead, ...]

    def said(self, parts: range, weighed: NDArray[np.int64]) -> Said:
        """What the heads without a prompt's own part say of the prompts at `weighed`."""
        if not parts:
            return Said(np.zeros((0, 0, 0)), np.zeros(0))
        lesson = self.lesson
        part = parts.start + lesson.withheld[:, parts.start : parts.stop].argmax(axis=1)
        means, nearness = self._neighbours(part, weighed)
        heads = [
            *self._ridges(part, weighed),
            *means,
            self._networks(part[weighed], weighed),
            self._tasks(part[weighed], weighed),
        ]
        return Said(np.stack(heads), nearness)

    def _ridges(self, part: NDArray[np.int64], weighed: NDArray[np.int64]) -> list[Floats]:
        heads = [np.zeros((len(weighed), ridge.shape[2])) for ridge in self.ridges]
        for number in np.unique(part[weighed]):
            places = np.flatnonzero(part[weighed] == number)
            rows = self.lesson.rows[weighed[places]]
            for head, weights in zip(heads, self.ridges, strict=True):
                head[places] = rows @ weights[number]
        return heads

    def _networks(self, part: NDArray[np.int64], weighed: NDArray[np.int64]) -> Floats:
        said = self.networks.scores(self.lesson.dense[weighed])
        own: Floats = said[part, np.arange(len(weighed))].astype(np.float64)
        return own

    def _tasks(self, part: NDArray[np.int64], weighed: NDArray[np.int64]) -> Floats:
        head = np.zeros((len(weighed), self.lesson.space.rank))
        for number in np.unique(part):
            places = np.flatnonzero(part == number)
            head[places] = self.tasks[number].expected(self.lesson.dense[weighed[places]])
        return head

    def _neighbours(self, part: NDArray[np.int64], weighed: NDArray[np.int64]) -> tuple[list[Floats], Floats]:
        means, near, part_compared = [], [], part[self.compared]
        for start in range(0, len(weighed), _CHUNK):
            some = weighed[start : start + _CHUNK]
            similarity = self.lesson.text[some] @ self.neighbours.text.T
            similarity[part[some][:, None] == part_compared] = -np.inf
            some_means, some_near = self.neighbours.means(similarity)
            means.append(some_means)
            near.append(some_near)
        return [np.concatenate(parts) for parts in zip(*means, strict=True)], np.concatenate(near)


def fit_held_out(
    lesson: Lesson,
    networks: Networks,
    neighbours: Neighbours,
    *,
    compared: NDArray[np.int64],
    penalties: Sequence[float],
) -> HeldOut:
    """With ridges and tasks fitted without each part; the networks, one for each, are fitted already."""
    kept = ~lesson.withheld
    return HeldOut(
        lesson=lesson,
        ridges=tuple(ridges(lesson.rows, lesson.scores, kept=kept, penalties=penalties)),
        networks=networks,
        neighbours=neighbours,
        compared=compared,
        tasks=tuple(
            fit_task_head(lesson.dense[rows], lesson.tasks[rows], lesson.scores[rows]) for rows in kept.T
        ),
    )
