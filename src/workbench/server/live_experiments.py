"""The experiments that run on live traffic: begun and ended by administrators, judged as feedback comes."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from workbench.errors import ConfigError
from workbench.server.database import experiments, outcomes
from workbench.server.exchange import Asked
from workbench.server.live_experiment import (
    ArmStanding,
    LiveArm,
    LiveSpec,
    ScoredRow,
    State,
    standings,
    winner,
)

log = logging.getLogger("workbench")

_GOES_ON: tuple[State, LiveArm | None] = ("running", None)


@dataclass(frozen=True, slots=True)
class LiveExperiment:
    """An experiment as the database has it; `standings` are as they were when it was last judged."""

    spec: LiveSpec
    state: State
    serves: str | None
    standings: tuple[Mapping[str, Any], ...]
    created_at: float
    ended_at: float | None
    versions: Mapping[str, str]

    def assigned(self, arm: LiveArm) -> "Assigned":
        """`arm` for a request, as long as what it was compared with, or won as, is what it stands for."""
        is_running = self.state == "running"
        matters = {one.target for one in self.spec.arms} if is_running else {arm.target}
        versions = {target: version for target, version in self.versions.items() if target in matters}
        return Assigned(arm, self.spec, self.spec.name if is_running else None, versions)


@dataclass(frozen=True, slots=True)
class Assigned:
    """The arm that a request meets; `experiment` None: it is decided, and this arm serves everybody.

    `versions` are those that its targets stood for when it began.
    """

    arm: LiveArm
    spec: LiveSpec
    experiment: str | None
    versions: Mapping[str, str]

    def holds(self, version_now: Callable[[str], str | None]) -> bool:
        """Whether its targets are still there, and the same; an alias may have been moved."""
        is_same = all(version_now(target) == version for target, version in self.versions.items())
        return is_same and version_now(self.arm.target) is not None


class LiveExperiments:
    """All experiments, as this process knows them; at most one runs on a target."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._by_target: dict[str, LiveExperiment] = {}
        self._all: dict[str, LiveExperiment] = {}
        self.reload()

    def reload(self) -> None:
        """Take from the database what other processes began, judged and ended."""
        wanted = sa.select(experiments).order_by(experiments.c.created_at)
        with self._engine.connect() as connection:
            found = [_read(row._asdict()) for row in connection.execute(wanted)]
        self._all = {one.spec.name: one for one in found}
        # Of a target that had several, the last one counts: it runs, or its winner serves.
        self._by_target = {one.spec.target: one for one in found if one.state != "stopped"}

    def assigned(self, asked: Asked, *, tenant: str, request_id: str) -> Assigned | None:
        """The arm that a request meets; None: no experiment is about what it asks for."""
        found = self._by_target.get(asked.target)
        if found is None:
            return None
        if found.state == "running":
            return found.assigned(found.spec.arm_of(asked, tenant=tenant, request_id=request_id))
        return found.assigned(next(arm for arm in found.spec.arms if arm.name == found.serves))

    def listed(self) -> list[LiveExperiment]:
        """Every experiment, the newest first."""
        return list(self._all.values())[::-1]

    def begin(self, spec: LiveSpec, versions: Mapping[str, str]) -> LiveExperiment:
        """Run `spec` from now on, as long as its targets stand for these `versions`.

        Raises:
            ConfigError: there was one of this name, or one runs on this target.
        """
        self.reload()
        running = self._by_target.get(spec.target)
        if running is not None and running.state == "running":
            raise ConfigError(f"experiment {running.spec.name!r} runs on {spec.target!r}; stop it first")
        row = {
            "name": spec.name,
            "spec": spec.model_dump(mode="json"),
            "state": "running",
            "created_at": time.time(),
            "versions": dict(versions),
        }
        try:
            with self._engine.begin() as connection:
                connection.execute(sa.insert(experiments).values(row))
        except IntegrityError as exc:
            raise ConfigError(f"there was an experiment {spec.name!r} already; take another name") from exc
        self.reload()
        return self._all[spec.name]

    def stop(self, name: str) -> bool:
        """End an experiment without a verdict: its target is served as before; False: none runs."""
        self._end(name, "stopped", None, ())
        self.reload()
        return name in self._all and self._all[name].state == "stopped"

    def judge(self, is_moved: Callable[[Mapping[str, str], float], bool]) -> None:
        """Look at what was scored so far, and end the experiments that are decided.

        One whose routers are no longer those that it began with is stopped: they can be compared no more.
        `is_moved` says so of versions and a Unix time at which targets stood for them.
        """
        self.reload()
        for one in self._all.values():
            if one.state == "running":
                found = standings(one.spec, self._rows(one.spec.name))
                state, arm = winner(one.spec, found) or _GOES_ON
                if arm is None and is_moved(one.versions, one.created_at):
                    state = "stopped"
                    log.warning("experiment %s is stopped: an alias of its arms was moved", one.spec.name)
                self._end(one.spec.name, state, arm, found)
        self.reload()

    def _end(self, name: str, state: State, arm: LiveArm | None, found: Sequence[ArmStanding]) -> None:
        """Write what was found; one that another process has ended stays as it is."""
        values: dict[str, Any] = {"state": state}
        if found or arm is not None:
            shown = [asdict(one) for one in found]
            values["verdict"] = {"serves": None if arm is None else arm.name, "standings": shown}
        if state != "running":
            values["ended_at"] = time.time()
        change = sa.update(experiments).where(experiments.c.name == name, experiments.c.state == "running")
        with self._engine.begin() as connection:
            connection.execute(change.values(values))

    def _rows(self, name: str) -> list[ScoredRow]:
        """What was scored, or failed, in the order served; a caller that left has no say."""
        table = outcomes.c
        is_told = sa.or_(
            table.quality.is_not(None),
            sa.and_(table.error.is_not(None), table.error.not_in(("CancelledError", "GeneratorExit"))),
        )
        wanted = (
            sa.select(table.arm, table.quality, table.cluster)
            .where(table.experiment == name, is_told)
            .order_by(table.at, table.request_id)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(wanted).all()
        return [ScoredRow(row.arm, 0.0 if row.quality is None else row.quality, row.cluster) for row in rows]


def _read(row: Mapping[str, Any]) -> LiveExperiment:
    verdict = row["verdict"] or {}
    return LiveExperiment(
        spec=LiveSpec.model_validate(row["spec"]),
        state=row["state"],
        serves=verdict.get("serves"),
        standings=tuple(verdict.get("standings", ())),
        created_at=row["created_at"],
        ended_at=row["ended_at"],
        versions=row["versions"] or {},
    )
