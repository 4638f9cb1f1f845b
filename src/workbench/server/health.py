"""Whether the server can do its work: each part asked, with the time that it took to answer."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal

_PATIENCE_S = 2.0

Health = Literal["well", "impaired", "down"]
"""`impaired`: requests are served all the same."""


@dataclass(frozen=True, slots=True)
class PartHealth:
    """How one part is; `problem` None: nothing is wrong with it. It names no address and no key."""

    part: str
    health: Health
    latency_s: float
    problem: str | None = None


Check = Callable[[], Awaitable[tuple[Health, str | None]]]


async def examined(checks: Mapping[str, Check]) -> list[PartHealth]:
    """Every part, all asked at once; of one that does not answer in 2 s, requests are served all the same."""
    return list(await asyncio.gather(*(_examined(part, check) for part, check in checks.items())))


def is_ready(parts: list[PartHealth]) -> bool:
    """Whether requests can be served."""
    return all(part.health != "down" for part in parts)


async def _examined(part: str, check: Check) -> PartHealth:
    started_s = time.monotonic()
    try:
        async with asyncio.timeout(_PATIENCE_S):
            health, problem = await check()
    except TimeoutError:
        health, problem = "impaired", f"no answer in {_PATIENCE_S:g} s"
    return PartHealth(part, health, time.monotonic() - started_s, problem)
