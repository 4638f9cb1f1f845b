"""Decisions of requests that wait at the same moment, made together where the router can.

A forecast of sixty prompts takes a controller four times the time of one.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol, TypeGuard

from workbench.errors import RoutingError, WorkbenchError
from workbench.routing.base import Router
from workbench.server.targets import Target
from workbench.types import Decision, Prompt

_MOST_AT_ONCE = 64
"""More would make everybody wait for the last."""


class Together(Protocol):
    """A router that decides for many prompts in little more time than for one."""

    def route_all(self, prompts: Sequence[Prompt], candidates: Sequence[str], /) -> list[Decision]:
        """The decision for each of `prompts`, as `route` makes it."""
        ...


class Decisions:
    """Makes together what is asked for in one turn of the event loop, and in those after it that bring more.

    What is asked for alone waits for nobody.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, _Batch] = {}

    async def made(self, target: Target, prompt: Prompt) -> Decision:
        """Which model answers `prompt`: by the router, or where that cannot decide by the static rule.

        Raises:
            RoutingError: the router cannot decide, and there is no static rule.
        """
        try:
            return await self._by_router(target, prompt)
        except RoutingError:
            if target.static_rule is None:
                raise
            return target.static_rule.decide(prompt)

    async def _by_router(self, target: Target, prompt: Prompt) -> Decision:
        router = target.router
        if not _decides_together(router):
            return target.decide(prompt)
        batch = self._waiting.get(id(router))
        if batch is None:
            batch = self._waiting[id(router)] = _Batch(router, target.candidates)
            asyncio.get_running_loop().call_soon(self._decide, batch, 0)
        waiting: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        batch.asked.append((prompt, waiting))
        if len(batch.asked) >= _MOST_AT_ONCE:
            del self._waiting[id(router)]
        return await waiting

    def _decide(self, batch: "_Batch", n_before: int) -> None:
        if self._waiting.get(id(batch.router)) is batch:
            if len(batch.asked) > max(1, n_before):
                asyncio.get_running_loop().call_soon(self._decide, batch, len(batch.asked))
                return
            del self._waiting[id(batch.router)]
        batch.decide()


def _decides_together(router: Router) -> TypeGuard[Together]:
    return hasattr(router, "route_all")  # a protocol that is checked as it runs takes as long as a body


class _Batch:
    """What one router is asked in one turn; it holds the router, so that no other has its id."""

    def __init__(self, router: Together, candidates: Sequence[str]) -> None:
        self.router = router
        self.asked: list[tuple[Prompt, asyncio.Future[Decision]]] = []
        self._candidates = candidates

    def decide(self) -> None:
        """Tell everybody who did not leave meanwhile."""
        asked = [(prompt, waiting) for prompt, waiting in self.asked if not waiting.done()]
        try:
            decisions = self.router.route_all([prompt for prompt, _ in asked], self._candidates)
        except BaseException as exc:
            for _, waiting in asked:
                waiting.set_exception(exc)
            if isinstance(exc, WorkbenchError):
                return
            raise
        for (_, waiting), decision in zip(asked, decisions, strict=True):
            waiting.set_result(decision)
