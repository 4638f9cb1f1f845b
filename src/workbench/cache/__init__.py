"""Answers that were paid for once, kept: in memory, on disk or in Redis, under a key of all they depend on.

| question | module |
|---|---|
| what makes two calls one | `key` |
| what is written, and whether it can be trusted when it is read | `entry` |
| what a store is, and how well it does | `store` |
| where answers are | `memory`, `disk`, and `redis` (an extra, imported by its own name) |
| who waits for whom, when the same is asked twice at once | `flights` |

`providers.cache.Cached` puts one of these before a provider.
"""

from workbench.cache.disk import DiskStore
from workbench.cache.entry import decode, encode
from workbench.cache.flights import Flight, Flights
from workbench.cache.key import Source, key_of
from workbench.cache.memory import MemoryStore
from workbench.cache.store import Statistics, Store

__all__ = [
    "DiskStore",
    "Flight",
    "Flights",
    "MemoryStore",
    "Source",
    "Statistics",
    "Store",
    "decode",
    "encode",
    "key_of",
]
