"""What came of a request, told to a router that learns from it, and what it has been told already."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError
from workbench.routing.forecast import Floats, Forecast
from workbench.types import Prompt

REMEMBERED = 200_000
"""Requests whose feedback is known to have come; one told again after so many others counts again."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """How good an answer was. It may come late, in any order, and more than once: it counts once a request.

    `quality` is in [0, 1]; what lies outside counts as the nearest of these. None of `cost_usd` and
    `latency_s`: not known, and taken to be as expected. `at` is the number of the request, as
    `Bandit.n_asked` said after it; None: the latest one (it matters only where the past is forgotten).

    Raises:
        DataError: a number that is NaN, or a request number below 0; names the request.
    """

    request_id: str
    prompt: Prompt
    model_id: str
    quality: float
    cost_usd: float | None = None
    latency_s: float | None = None
    at: int | None = None

    def __post_init__(self) -> None:
        for name in ("quality", "cost_usd", "latency_s"):
            value = getattr(self, name)
            if value is not None and math.isnan(value):
                raise DataError(f"{name} in the feedback on request {self.request_id!r} is NaN")
        if self.at is not None and self.at < 0:
            raise DataError(f"the feedback on request {self.request_id!r} is of request number {self.at}")


def rewards(
    feedback: Sequence[Feedback],
    forecast: Forecast,
    columns: NDArray[np.int64],
    *,
    cost_weight: float,
    latency_weight: float,
) -> Floats:
    """[N] quality - cost_weight x cost_usd - latency_weight x latency_s, of `columns` [N] of the forecast.

    Raises:
        DataError: a cost or latency that counts is not known, nor expected; names the request.
    """
    rows = np.arange(len(feedback))
    reward = np.clip(_numbers(row.quality for row in feedback), 0.0, 1.0)
    if cost_weight > 0.0:
        cost = _numbers(row.cost_usd for row in feedback)
        reward = reward - cost_weight * np.where(np.isnan(cost), forecast.cost_usd[rows, columns], cost)
    if latency_weight > 0.0:
        latency = _numbers(row.latency_s for row in feedback)
        expected = forecast.latency_s[rows, columns]
        reward = reward - latency_weight * np.where(np.isnan(latency), expected, latency)
    if np.isnan(reward).any():
        row = feedback[int(np.argmax(np.isnan(reward)))]
        raise DataError(
            f"the feedback on request {row.request_id!r} needs a cost and latency: they count, and none is "
            f"expected of {row.model_id}"
        )
    return reward


class SeenRequests:
    """The requests whose feedback has come: the latest `REMEMBERED` of them, 64 bits each."""

    def __init__(self, keys: Iterable[int] = (), *, remembered: int = REMEMBERED) -> None:
        """`keys` as `keys()` gave them."""
        self._keys = dict.fromkeys(keys)
        self._remembered = remembered

    def __contains__(self, request_id: str) -> bool:
        return _key(request_id) in self._keys

    def add(self, request_id: str) -> None:
        """Remember it, and forget the one that came first where there are too many."""
        self._keys[_key(request_id)] = None
        if len(self._keys) > self._remembered:
            del self._keys[next(iter(self._keys))]

    def keys(self) -> NDArray[np.uint64]:
        """[requests] in the order in which they came."""
        return np.fromiter(self._keys, dtype=np.uint64, count=len(self._keys))


def _numbers(values: Iterable[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _key(request_id: str) -> int:
    digest = hashlib.blake2b(request_id.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")
