"""What passes between a protocol and the gateway: a request in our words, an answer, or a refusal.

A protocol (`Protocol`) reads bodies into `Asked` and words `Served` and `Refusal` as its clients expect them.
It does no I/O.
"""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from workbench.client.panel import Panel
from workbench.types import Completion, Decision, Decoding, Delta, Prompt

Json = dict[str, Any]
"""A body as it is encoded; only the modules of protocols look inside."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as a caller made it.

    `target` is `auto`, `router:NAME@ALIAS` or `provider/model`. `user` is whom the caller names as its user,
    `conversation` which conversation this belongs to; None: the caller names none. `fallbacks` are asked
    when the target fails. `shows_decision`: the body says how it was routed, too.
    """

    target: str
    prompt: Prompt
    decoding: Decoding
    is_streamed: bool = False
    user: str | None = None
    conversation: str | None = None
    fallbacks: tuple[str, ...] = ()
    shows_decision: bool = False
    shows_usage: bool = True


@dataclass(frozen=True, slots=True)
class Routed:
    """A request on its way: its number, its arm, and the decision that was made, by which version.

    `panel` are the models that answer together; None: the decision's model answers alone.
    """

    request_id: str
    asked: Asked
    decision: Decision
    arm: str
    created_s: int
    experiment: str | None = None
    panel: Panel | None = None
    router_version: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A model of a panel that was asked. `error` None: it answered; `cost_usd` None: not known."""

    model_id: str
    cost_usd: float | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """A request that was answered; `steps` are the models that a panel asked, in order."""

    routed: Routed
    completion: Completion
    steps: tuple[Step, ...] = ()


@dataclass(slots=True, eq=False)  # Python writes the traceback into it
class Refusal(Exception):  # noqa: N818 - it is no failure of ours
    """A request that was not served, and why, in words for the caller: no path, no key, no stack.

    `code` is a word that programs can test; `status` is of HTTP; `retry_after_s` None: nothing is known.
    """

    status: int
    code: str
    message: str
    retry_after_s: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Stream(Protocol):
    """Words the pieces of one streamed answer; each returns bytes to send, which may be none."""

    def start(self) -> bytes:
        """Before the first piece."""
        ...

    def piece(self, delta: Delta) -> bytes:
        """One piece."""
        ...

    def end(self, served: Served) -> bytes:
        """After the last piece."""
        ...

    def failure(self, refusal: Refusal) -> bytes:
        """Instead of the rest: the stream broke off."""
        ...


class Wire(Protocol):
    """One protocol from the server's side."""

    path: str

    def read(self, body: bytes, *, request_id: str) -> Asked:
        """What a body asks for.

        Raises:
            Refusal: it is no request of this protocol, or asks for what the server cannot give.
        """
        ...

    def whole(self, served: Served) -> Json:
        """The body of an answer."""
        ...

    def stream(self, routed: Routed) -> Stream:
        """What words the pieces of an answer."""
        ...

    def refused(self, refusal: Refusal) -> Json:
        """The body of a refusal."""
        ...

    def schemas(self) -> tuple[Json, Json]:
        """The JSON schemas of a request and of an answer, for the OpenAPI document."""
        ...


def new_request_id() -> str:
    """A name that no other request has."""
    return secrets.token_hex(12)


def decision_of(served: Served) -> Json:
    """The decision as the body shows it on request, and what came of it."""
    routed, completion = served.routed, served.completion
    decision = routed.decision
    shown: Json = {
        "request_id": routed.request_id,
        "model": decision.model_id,
        "router": decision.router,
        "router_version": routed.router_version,
        "arm": routed.arm,
        "experiment": routed.experiment,
        "propensity": decision.propensity,
        "predicted_quality": decision.predicted_quality,
        "predicted_cost_usd": decision.predicted_cost_usd,
        "predicted_latency_s": decision.predicted_latency_s,
        "familiarity": decision.familiarity,
        "fallbacks": list(decision.fallbacks),
        "answered_by": completion.model_id,
        "cost_usd": completion.cost_usd,
        "latency_s": completion.latency_s,
        "attempts": len(completion.attempts),
        "is_cached": completion.is_cached,
    }
    if routed.panel is not None:
        shown["steps"] = [
            {"model": step.model_id, "cost_usd": step.cost_usd, "error": step.error} for step in served.steps
        ]
    return shown


def headers_of(routed: Routed, served: Served | None = None) -> Iterator[tuple[str, str]]:
    """The decision as headers, each once; those of what is not known yet are left out."""
    decision = routed.decision
    yield "x-request-id", routed.request_id
    yield "x-workbench-model", decision.model_id
    yield "x-workbench-router", decision.router
    if routed.router_version:
        yield "x-workbench-router-version", routed.router_version
    yield "x-workbench-arm", routed.arm
    yield "x-workbench-propensity", f"{decision.propensity:.6g}"
    if routed.experiment is not None:
        yield "x-workbench-experiment", routed.experiment
    for name, value in (
        ("predicted-quality", decision.predicted_quality),
        ("predicted-cost-usd", decision.predicted_cost_usd),
        ("familiarity", decision.familiarity),
    ):
        if value is not None:
            yield f"x-workbench-{name}", f"{value:.6g}"
    if decision.fallbacks:
        yield "x-workbench-fallbacks", ",".join(decision.fallbacks[:5])
    if served is not None:
        yield "x-workbench-answered-by", served.completion.model_id
        if served.completion.cost_usd is not None:
            yield "x-workbench-cost-usd", f"{served.completion.cost_usd:.8f}"
        if served.steps:
            yield "x-workbench-steps", ",".join(step.model_id for step in served.steps)
