"""Contenders on the folds of one table, one after the other or in several processes at once.

Each is fitted and asked on one thread: on prompts in such numbers, more threads wait for each other longer
than they work.

Dimensions: N scored prompts, M models.
"""

import importlib
import multiprocessing
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it has no types

from workbench.errors import InsufficientDataError, RoutingError
from workbench.routing.folds import Folded, Integers
from workbench.routing.out_of_fold import Contender, Inside, OutOfFold, inside_training, out_of_fold
from workbench.routing.scorecard import WITHOUT_CURVE


@dataclass(frozen=True, slots=True)
class Trial:
    """What every contender is given: the folds, which prompts [N] are scored, which models `answered` [N, M].

    Where `has_honest_points`, what is needed to choose them is found too.
    """

    divided: Folded
    rows: Integers
    answered: NDArray[np.bool_]
    seed: int
    has_honest_points: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a trial; `said` None: the contender cannot be fitted, as `notes` say."""

    said: OutOfFold | None
    inside: Mapping[int, Inside] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def tried(contender: Contender, trial: Trial) -> Told:
    """One contender on all folds.

    Raises:
        ConfigError: one of its options cannot work.
    """
    importlib.import_module("sklearn.cluster")  # a library can be held to one thread once it is loaded
    name, table = contender.label or contender.kind, (contender, trial.divided, trial.rows)
    with threadpool_limits(1):
        try:
            said = out_of_fold(*table, answered=trial.answered, seed=trial.seed)
        except (InsufficientDataError, RoutingError) as exc:
            return Told(None, notes=(f"{name} is left out: {exc}",))
        if not trial.has_honest_points or contender.kind in WITHOUT_CURVE:
            return Told(said)
        try:
            return Told(said, inside_training(*table, answered=trial.answered, seed=trial.seed))
        except (InsufficientDataError, RoutingError) as exc:
            return Told(
                said, notes=(f"{name} has no honest operating point: inside the training folds, {exc}",)
            )


def all_tried(contenders: Sequence[Contender], trial: Trial, *, n_processes: int = 1) -> Iterator[Told]:
    """Each contender's in turn. With several processes the last begin first, since these take longest.

    The trial goes with each contender and not with the start of a process, which would wait for ever to hand
    it to one that could not start, as in a script without `if __name__ == "__main__"`.

    Raises:
        RoutingError: a process could not start, or was killed.
    """
    if n_processes < 2 or len(contenders) < 2:
        yield from (tried(contender, trial) for contender in contenders)
        return
    context = multiprocessing.get_context("spawn")  # a fork would inherit the locks of torch's threads
    with ProcessPoolExecutor(n_processes, context, _watch_parent) as pool:
        futures = {
            place: pool.submit(tried, contenders[place], trial) for place in range(len(contenders))[::-1]
        }
        try:
            yield from (futures[place].result() for place in range(len(contenders)))
        except BrokenProcessPool as exc:
            raise RoutingError(
                "a process that tries routers was killed, or could not start: leave it more memory, call this"
                ' under `if __name__ == "__main__":` in a script, or ask for one process'
            ) from exc


def _watch_parent() -> None:
    """In a worker process, before its first contender: it must not outlive the process that began it."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed cannot stop its workers, which would fit on and then wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
