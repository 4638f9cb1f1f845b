"""The numbers of all workers as one: each writes its own to a file every second, and reads the others'.

Counts of workers that have ended stay; what is so only now (a breaker, rows that wait) ends with its worker.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from workbench.errors import StorageError
from workbench.storage import read_bytes, write_bytes

_EVERY_S = 1.0
_LARGEST = ("workbench_breaker_open",)
"""Gauges of which the largest counts, and not the sum."""
_SUFFIX = ".prom"

Labels = tuple[tuple[str, str], ...]


class MergedMetrics:
    """Numbers of this worker, `own`, and of the others in `folder`."""

    def __init__(self, folder: Path, own: Callable[[], bytes]) -> None:
        self._folder = folder
        self._own = own
        self._path = folder / f"{os.getpid()}{_SUFFIX}"

    def exposition(self) -> bytes:
        """All of them, in Prometheus' text format."""
        texts = [(self._own().decode(), True), *self._of_others()]
        registry = CollectorRegistry()
        registry.register(_Sums(texts))
        return generate_latest(registry)

    @asynccontextmanager
    async def told(self) -> AsyncIterator[None]:
        """Write them for the others while the block runs, and once more at its end."""
        telling = asyncio.create_task(self._tell(), name="metrics of this worker")
        try:
            yield
        finally:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling
            self._write()

    async def _tell(self) -> None:
        while True:
            await asyncio.to_thread(self._write)
            await asyncio.sleep(_EVERY_S)

    def _write(self) -> None:
        with suppress(StorageError):  # a full disk: the others see what was there before
            write_bytes(self._path, self._own())

    def _of_others(self) -> Iterator[tuple[str, bool]]:
        """What each wrote, and whether it lives."""
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            if path != self._path:
                with suppress(StorageError):
                    yield read_bytes(path, purpose="numbers of a worker").decode(), _lives(int(path.stem))


class _Sums(Collector):
    """Every sample once, over all texts."""

    def __init__(self, texts: Iterable[tuple[str, bool]]) -> None:
        self._texts = list(texts)

    def collect(self) -> Iterator[Metric]:
        """One family after another."""
        families: dict[str, Metric] = {}
        sums: dict[str, dict[tuple[str, Labels], float]] = {}
        for text, lives in self._texts:
            for family in text_string_to_metric_families(text):
                is_gauge = family.type == "gauge"
                if family.name.endswith("_created") or (is_gauge and not lives):
                    continue
                families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                found = sums.setdefault(family.name, {})
                for sample in family.samples:
                    key = (sample.name, tuple(sorted(sample.labels.items())))
                    before = found.get(key, 0.0)
                    is_largest = family.name in _LARGEST
                    found[key] = max(before, sample.value) if is_largest else before + sample.value
        for name, family in families.items():
            for (sample_name, labels), value in sums[name].items():
                family.add_sample(sample_name, dict(labels), value)
            yield family


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
