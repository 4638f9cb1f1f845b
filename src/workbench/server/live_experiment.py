"""An experiment on live traffic: which arm a caller's user meets, and what the log says of the arms so far.

The arm follows from the user alone, so that it stays the same without being kept anywhere. The verdict is
always valid: it is looked for after every answer that was scored, and ends the experiment by itself.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from workbench.server.exchange import Asked
from workbench.stats.estimate import Estimate
from workbench.stats.policy_log import PolicyLog
from workbench.stats.promotion import off_policy_gains, promotion

Unit = Literal["user", "conversation", "request"]
State = Literal["running", "promoted", "kept", "stopped"]

_RESOLUTION = 2**64


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LiveArm(_Strict):
    """One thing to compare: a name, what it asks, and the share of the units that meet it."""

    name: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,60}$")]
    target: Annotated[str, Field(min_length=1, max_length=300)]
    share: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]


class Shadow(_Strict):
    """What is asked beside the arm, unseen by the caller, of a share of the requests, for so much money."""

    target: Annotated[str, Field(min_length=1, max_length=300)]
    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 1.0
    budget_usd: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class LiveSpec(_Strict):
    """An experiment on the requests that ask for `target`.

    `unit` stays in one arm: the caller's user (`user` of the request), its conversation, or nothing but the
    request; where a request names none, it is a unit of its own. `control` is the first arm. A challenger is
    promoted when it gains more than `min_gain` in quality; a negative one is what a cheaper arm may lose.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    target: Annotated[str, Field(min_length=1, max_length=300)] = "auto"
    arms: Annotated[tuple[LiveArm, ...], Field(min_length=2, max_length=20)]
    unit: Unit = "user"
    alpha: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = 0.05
    min_gain: Annotated[float, Field(gt=-1, lt=1, allow_inf_nan=False)] = 0.0
    shadow: Shadow | None = None
    seed: int = 0

    @model_validator(mode="after")
    def _shares_are_all(self) -> Self:
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names):
            raise ValueError(f"arms must have different names, not {names}")
        total = sum(arm.share for arm in self.arms)
        if abs(total - 1.0) > 1e-9:
            raise ValueError(f"the shares of the arms must sum to 1, not {total:g}")
        return self

    @property
    def control(self) -> LiveArm:
        """The arm that the others are compared with."""
        return self.arms[0]

    def arm_of(self, asked: Asked, *, tenant: str, request_id: str) -> LiveArm:
        """Which arm answers: always the same for the same unit."""
        named = {"user": asked.user, "conversation": asked.conversation or asked.user}.get(self.unit)
        return self.arms[
            int(np.searchsorted(self._edges(), self._drawn(tenant, named or request_id), "right"))
        ]

    def is_shadowed(self, request_id: str) -> bool:
        """Whether the shadow is asked too."""
        return self.shadow is not None and self._drawn("shadow", request_id) < self.shadow.share

    def _edges(self) -> np.ndarray:
        return np.cumsum([arm.share for arm in self.arms])[:-1]

    def _drawn(self, *words: str) -> float:
        """[0, 1) from the words and the seed."""
        text = "\0".join((self.name, str(self.seed), *words)).encode(errors="replace")
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") / _RESOLUTION


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """An answer of an arm that was scored (or failed: quality 0), in the order served; `unit` None: alone."""

    arm: str
    quality: float
    unit: str | None


@dataclass(frozen=True, slots=True)
class ArmStanding:
    """An arm against the control so far: the difference in quality with its always-valid interval."""

    arm: str
    n_scored: int
    quality: float | None
    gain: Estimate | None
    verdict: Literal["promote", "keep", "undecided", "control"]


def standings(spec: LiveSpec, rows: Sequence[ScoredRow]) -> list[ArmStanding]:
    """Every arm, the control first. All comparisons together err with probability `alpha` (Bonferroni).

    A unit counts once, by its first answer that was scored: its later ones depend on that, and would change
    a number that was looked at already.

    Source: `stats.promotion.off_policy_gains`: a row's weight is 1 over the share of its arm.
    """
    counted = _first_of_units(rows)
    alpha = spec.alpha / (len(spec.arms) - 1)
    return [_standing(spec, arm, counted, alpha=alpha) for arm in spec.arms]


def _standing(spec: LiveSpec, arm: LiveArm, rows: Sequence[ScoredRow], *, alpha: float) -> ArmStanding:
    own = [row.quality for row in rows if row.arm == arm.name]
    mean = sum(own) / len(own) if own else None
    if arm == spec.control:
        return ArmStanding(arm.name, len(own), mean, None, "control")
    pair = [row for row in rows if row.arm in (arm.name, spec.control.name)]
    if not own or len(own) == len(pair):
        return ArmStanding(arm.name, len(own), mean, None, "undecided")
    shares = np.array([spec.control.share, arm.share]) / (spec.control.share + arm.share)
    action = np.array([row.arm == arm.name for row in pair], dtype=np.int64)
    log = PolicyLog(action, shares[action], np.array([row.quality for row in pair], dtype=np.float64))
    treated, control = np.ones_like(action), np.zeros_like(action)
    gains = off_policy_gains(log, treated, control, max_weight=float(1.0 / shares.min()))
    found = promotion(gains.values, bounds=gains.bounds, min_gain=spec.min_gain, alpha=alpha)
    return ArmStanding(arm.name, len(own), mean, found.gain, found.verdict)


def _first_of_units(rows: Sequence[ScoredRow]) -> list[ScoredRow]:
    seen: set[str] = set()
    first = []
    for row in rows:
        if row.unit is None or row.unit not in seen:
            first.append(row)
        if row.unit is not None:
            seen.add(row.unit)
    return first


def winner(spec: LiveSpec, found: Sequence[ArmStanding]) -> tuple[State, LiveArm] | None:
    """The state that the standings bring about, and the arm that serves then; None: it goes on.

    The first arm that may be promoted is; the control is kept when no other may be any more.
    """
    for standing in found:
        if standing.verdict == "promote":
            return "promoted", next(arm for arm in spec.arms if arm.name == standing.arm)
    if all(standing.verdict in ("keep", "control") for standing in found):
        return "kept", spec.control
    return None
