"""Hedging: a request that is not answered soon is sent once more, and the first answer counts.

Source: Dean & Barroso (2013), The Tail at Scale, https://doi.org/10.1145/2408776.2408794
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


async def first_of_two(
    send: Callable[[], Coroutine[Any, Any, _T]],
    after_s: float,
    send_again: Callable[[], Coroutine[Any, Any, _T]],
) -> _T:
    """What `send` brings; or, if that takes longer than `after_s`, what comes first of it and `send_again`.

    The other one is cancelled, and has ended when this returns. A failure counts when both have failed, and
    then it is that of `send`.
    """
    first = asyncio.create_task(send())
    tasks = [first]
    try:
        done, _ = await asyncio.wait(tasks, timeout=after_s)
        if not done:
            tasks.append(asyncio.create_task(send_again()))
            await _first_success(tasks)
        answered = (task for task in tasks if task.done() and not task.cancelled() and not task.exception())
        return next(answered, first).result()
    finally:
        await _ended(tasks)


async def _first_success(tasks: list[asyncio.Task[_T]]) -> None:
    """Wait until one has an answer, or all have failed."""
    pending = set(tasks)
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        if any(not task.cancelled() and task.exception() is None for task in done):
            return


async def _ended(tasks: list[asyncio.Task[_T]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
