"""Numbers for Prometheus: requests, errors, tokens, money, latency, the cache and the breakers.

No label is a caller's word: models, routers and arms are names that the server knows. Owns prometheus-client.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from workbench.client import Client
from workbench.server.exchange import Routed, Served
from workbench.server.merged_metrics import MergedMetrics
from workbench.server.outcome_log import OutcomeLog
from workbench.server.virtual_keys import VirtualKey

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Kind = TypeVar("Kind", Counter, Histogram)

_LABELS = ("provider", "model", "router", "arm")
_LATENCY_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_OPEN = {"closed": 0.0, "half-open": 0.5, "open": 1.0}


class Metrics:
    """What happened since the server started; `exposition` words it."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._now: _Now | None = None
        self._merged: MergedMetrics | None = None
        self._requests = self._counter(
            "workbench_requests", "Requests that were answered or failed", "outcome"
        )
        self._errors = self._counter(
            "workbench_errors", "Requests that failed, by the kind of error", "error"
        )
        self._tokens = self._counter("workbench_tokens", "Tokens read and written", "direction")
        self._cost_usd = self._counter("workbench_cost_usd", "US dollars that answers cost")
        self._fallbacks = self._counter("workbench_fallbacks", "Answers by another model than was chosen")
        self._latency_s = self._histogram("workbench_latency_seconds", "From the request to the whole answer")
        self._first_token_s = self._histogram(
            "workbench_first_token_seconds", "To the first token of a stream"
        )

    def watch(self, client: Client, log: OutcomeLog) -> None:
        """Read the cache, the breakers and the log when they are asked for."""
        if self._now is not None:
            self._registry.unregister(self._now)
        self._now = _Now(client, log)
        self._registry.register(self._now)

    @asynccontextmanager
    async def merged_in(self, folder: Path) -> AsyncIterator[None]:
        """Tell the other workers what happened here, and word what happened there, while the block runs."""
        self._merged = MergedMetrics(folder, self._own)
        async with self._merged.told():
            yield

    def served(self, _key: VirtualKey, served: Served) -> None:
        """Count an answer."""
        completion = served.completion
        labels = _labels(served.routed, completion.model_id)
        self._requests.of((*labels, "answered")).inc()
        self._tokens.of((*labels, "input")).inc(completion.usage.input_tokens)
        self._tokens.of((*labels, "output")).inc(completion.usage.output_tokens)
        for model_id, cost_usd in _spent(served):
            self._cost_usd.of(_labels(served.routed, model_id)).inc(cost_usd)
        self._latency_s.of(labels).observe(completion.latency_s)
        if completion.first_token_s is not None:
            self._first_token_s.of(labels).observe(completion.first_token_s)
        if served.routed.panel is None and completion.model_id != served.routed.decision.model_id:
            self._fallbacks.of(labels).inc()

    def failed(
        self,
        _key: VirtualKey,
        routed: Routed,
        failure: BaseException,
        *,
        cost_usd: float | None,
        latency_s: float,
    ) -> None:
        """Count a request that nobody answered."""
        labels = _labels(routed, routed.decision.model_id)
        self._requests.of((*labels, "failed")).inc()
        self._errors.of((*labels, type(failure).__name__)).inc()
        self._cost_usd.of(labels).inc(cost_usd or 0.0)
        self._latency_s.of(labels).observe(latency_s)

    def exposition(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return self._own() if self._merged is None else self._merged.exposition()

    def _own(self) -> bytes:
        return generate_latest(self._registry)

    def _counter(self, name: str, what: str, *labels: str) -> "_Labelled[Counter]":
        return _Labelled(Counter(name, what, (*_LABELS, *labels), registry=self._registry))

    def _histogram(self, name: str, what: str) -> "_Labelled[Histogram]":
        return _Labelled(Histogram(name, what, _LABELS, registry=self._registry, buckets=_LATENCY_S))


class _Labelled(Generic[Kind]):
    """A metric whose children are remembered: prometheus-client checks the labels at each look."""

    def __init__(self, metric: Kind) -> None:
        self._metric: Kind = metric
        self._children: dict[tuple[str, ...], Kind] = {}

    def of(self, labels: tuple[str, ...]) -> Kind:
        """The child that counts these."""
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._metric.labels(*labels)
        return child


class _Now(Collector):
    """What is read at the moment of asking."""

    def __init__(self, client: Client, log: OutcomeLog) -> None:
        self._client = client
        self._log = log

    def collect(self) -> Iterator[Metric]:
        """One family after another."""
        cache = self._client.cache_statistics
        lookups = CounterMetricFamily("workbench_cache_lookups", "Looks into the cache", labels=["result"])
        lookups.add_metric(["hit"], cache.n_hits)
        lookups.add_metric(["miss"], cache.n_misses)
        yield lookups
        names = ["provider", "model", "account"]
        breakers = GaugeMetricFamily(
            "workbench_breaker_open", "1: not asked; 0.5: tried; 0: well", labels=names
        )
        for channel, breaker in self._client.breakers.items():
            breakers.add_metric(list(channel), _OPEN[breaker.state])
        yield breakers
        yield GaugeMetricFamily("workbench_outcomes_waiting", "Rows not yet kept", value=self._log.n_waiting)
        yield CounterMetricFamily("workbench_outcomes_lost", "Rows not kept at all", value=self._log.n_lost)


def _spent(served: Served) -> list[tuple[str, float]]:
    """Each model that was asked, with what it cost."""
    if not served.steps:
        return [(served.completion.model_id, served.completion.cost_usd or 0.0)]
    return [(step.model_id, step.cost_usd or 0.0) for step in served.steps]


def _labels(routed: Routed, model_id: str) -> tuple[str, str, str, str]:
    provider, _, model = model_id.partition("/")
    return provider, model, routed.decision.router, routed.arm
