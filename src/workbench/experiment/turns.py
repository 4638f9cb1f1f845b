"""Whose turn it is: the calls of a run, handed out so that a slow arm does not keep the others waiting."""

from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager

from workbench.experiment.calls import Call


def by_arm(call: Call) -> Hashable:
    """Arms take turns."""
    return call.arm.name


def in_order(_call: Call) -> Hashable:
    """All calls are of one group, and are handed out as they are planned."""
    return None


class Turns:
    """The next call is of the group that has the fewest under way; of those, the one planned first.

    Groups that are equally fast are asked in the order of the plan. While two are left, a slow one holds
    half of what may be under way at once, and not nearly all of it.
    """

    def __init__(self, calls: Iterable[Call], *, group_of: Callable[[Call], Hashable] = by_arm) -> None:
        self._group_of = group_of
        self._waiting: dict[Hashable, deque[tuple[int, Call]]] = {}
        self._n_under_way: Counter[Hashable] = Counter()
        for number, call in enumerate(calls):
            self._waiting.setdefault(group_of(call), deque()).append((number, call))

    def __bool__(self) -> bool:
        """Whether any call is left."""
        return bool(self._waiting)

    def keep(self, is_wanted: Callable[[Call], bool]) -> None:
        """Leave out the calls that are not wanted any more; those under way are not touched."""
        for group, calls in list(self._waiting.items()):
            kept = deque((number, call) for number, call in calls if is_wanted(call))
            if kept:
                self._waiting[group] = kept
            else:
                del self._waiting[group]

    @contextmanager
    def taken(self) -> Iterator[Call]:
        """The next call, which is under way while the block runs."""
        group = min(self._waiting, key=lambda one: (self._n_under_way[one], self._waiting[one][0][0]))
        _, call = self._waiting[group].popleft()
        if not self._waiting[group]:
            del self._waiting[group]
        self._n_under_way[group] += 1
        try:
            yield call
        finally:
            self._n_under_way[group] -= 1
