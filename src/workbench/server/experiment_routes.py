"""The admin API of experiments on live traffic: begin one, look at it whenever, stop it."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from workbench.errors import ConfigError
from workbench.server.exchange import Refusal
from workbench.server.live_experiment import LiveSpec, State
from workbench.server.live_experiments import LiveExperiment, LiveExperiments
from workbench.server.targets import Targets


class ExperimentShown(BaseModel):
    """An experiment. `serves` is the arm that everybody meets now; null: each unit its own.

    `standings` compare each arm with the control: an interval that may be looked at at any time. `versions`
    are those of the routers that it compares: it holds only as long as its arms stand for these.
    """

    spec: LiveSpec
    state: State
    serves: str | None
    standings: list[dict[str, Any]]
    created_at: float
    ended_at: float | None
    versions: dict[str, str]


def experiment_routes(experiments: LiveExperiments, targets: Targets) -> APIRouter:
    """All routes below `/admin/experiments`."""
    router = APIRouter(prefix="/admin/experiments", tags=["admin"])

    @router.get("")
    def list_experiments() -> list[ExperimentShown]:
        """Every experiment, the newest first, judged now."""
        experiments.judge(targets.is_moved)
        return [_shown(one) for one in experiments.listed()]

    @router.post("", status_code=201)
    def begin_experiment(spec: LiveSpec) -> ExperimentShown:
        """Run an experiment on the requests that ask for its target."""
        try:
            if spec.shadow is not None:
                targets.find(spec.shadow.target)
            versions = {arm.target: targets.find(arm.target).version for arm in spec.arms}
            return _shown(experiments.begin(spec, versions))
        except ConfigError as exc:
            raise Refusal(409, "experiment_refused", str(exc)) from None

    @router.post("/{name}/stop")
    def stop_experiment(name: str) -> ExperimentShown:
        """End an experiment without a verdict."""
        if not experiments.stop(name):
            raise Refusal(404, "experiment_not_found", "no experiment of this name runs")
        return next(_shown(one) for one in experiments.listed() if one.spec.name == name)

    return router


def _shown(one: LiveExperiment) -> ExperimentShown:
    return ExperimentShown(
        spec=one.spec,
        state=one.state,
        serves=one.serves,
        standings=[dict(standing) for standing in one.standings],
        created_at=one.created_at,
        ended_at=one.ended_at,
        versions=dict(one.versions),
    )
