"""An arm made ready: what it calls for a prompt, and the routers behind it, fitted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

import numpy as np
import pandas as pd

from workbench.answers import settled
from workbench.client.panel import Panel, panel_of
from workbench.errors import ConfigError
from workbench.experiment.arm_spec import ArmDecodingSpec, ArmSpec, EnsembleSpec, RouterSpec
from workbench.experiment.phrasing import AS_IT_IS, Phrasing
from workbench.experiment.spec import ExperimentSpec, TrainingSpec
from workbench.experiment.tables import read_table
from workbench.outcomes import digest
from workbench.routing import checkpoint
from workbench.routing.ballots import ballots_of
from workbench.routing.base import Router
from workbench.routing.baselines import Fixed
from workbench.routing.cascade_training import fit_cascade
from workbench.routing.decide import Predictor
from workbench.routing.ensemble import Ensemble, Vote, fit_majority, fit_weighted_vote
from workbench.routing.fusion import Fusion
from workbench.routing.online import Bandit
from workbench.routing.ranker import fit_best_of
from workbench.routing.registry import fit
from workbench.routing.training_data import TrainingData
from workbench.routing.training_table import from_table
from workbench.settings import Settings
from workbench.storage import read_bytes
from workbench.types import Decision, Prompt


@dataclass(frozen=True, slots=True)
class Arm:
    """A name, a router, the candidates it chooses from, and what is asked when its choice fails.

    The calls of an arm that `is_batched` are handed in as an offline batch. A `panel` answers in the place of
    the router's choice. `decoding` is what of the experiment's this arm has otherwise; None: nothing.
    `levels` are those of the factors, by name.
    """

    name: str
    router: Router
    candidates: tuple[str, ...]
    fallbacks: tuple[str, ...] = ()
    is_routed: bool = True
    is_batched: bool = False
    panel: Panel | None = None
    phrasing: Phrasing = AS_IT_IS
    decoding: ArmDecodingSpec | None = None
    levels: Mapping[str, str] = field(default_factory=dict)

    def decide(self, prompt: Prompt) -> Decision:
        """Which model answers `prompt`."""
        return self.router.route(prompt, self.candidates)

    @property
    def model_ids(self) -> tuple[str, ...]:
        """Every model that this arm may call."""
        return tuple(dict.fromkeys((*self.candidates, *self.fallbacks)))


@dataclass(frozen=True, slots=True)
class FoldRouter:
    """Routes every prompt by a router that was fitted without it: on the other folds of a recorded table."""

    name: str
    routers: Mapping[str, Router]
    fold_of_prompt: Mapping[str, str]

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """The decision of the router that never saw this prompt.

        Raises:
            ConfigError: the prompt is in no fold.
        """
        return self.router_of(prompt).route(prompt, candidates)

    def router_of(self, prompt: Prompt) -> Router:
        """The router that never saw this prompt.

        Raises:
            ConfigError: the prompt is in no fold.
        """
        fold = self.fold_of_prompt.get(prompt.prompt_id)
        if fold is None:
            raise ConfigError(
                f"prompt {prompt.prompt_id!r} is in no fold, so no router may be asked about it"
            )
        return self.routers[fold]


def make_arms(spec: ExperimentSpec, settings: Settings) -> tuple[list[Arm], dict[str, str]]:
    """Every arm of `spec` ready to decide, and the digest of each table that one was fitted on.

    Raises:
        ConfigError, DataError, RoutingError: an arm cannot be made; nothing has been spent.
    """
    made, digests = [], {}
    for written in spec.arms:
        arm, learned_from = _made(written, spec, settings)
        made.append(
            replace(
                arm,
                is_batched=spec.is_batched(written),
                phrasing=Phrasing(written.template, written.system),
                decoding=written.decoding,
                levels=written.levels,
            )
        )
        if learned_from is not None:
            digests[arm.name] = learned_from
    return made, digests


def fit_as_written(written: RouterSpec | TrainingSpec, data: TrainingData, *, seed: int) -> Router:
    """The router that a spec asks for, fitted on `data`.

    Raises:
        ConfigError: there is no such kind or option, or a value cannot work.
        MissingExtraError, InsufficientDataError: as `routing.registry.fit`.
    """
    for name in ("seed", "cost_weight", "latency_weight"):
        if name in written.options:
            raise ConfigError(f"options.{name}: this is no option of a router, but a key of the spec")
    options: dict[str, object] = dict(written.options)
    return fit(
        written.kind or "",
        data,
        seed=seed,
        cost_weight=written.cost_weight,
        latency_weight=written.latency_weight,
        **options,
    )


def _made(arm: ArmSpec, spec: ExperimentSpec, settings: Settings) -> tuple[Arm, str | None]:
    """The arm, and the digest of what it was fitted on; None: it was not fitted."""
    if arm.model is not None:
        return Arm(arm.name, Fixed(arm.model), (arm.model,), arm.fallbacks, is_routed=False), None
    if arm.router is not None:
        return _routed(arm, spec, settings)
    panel, learned_from = _panel(arm, spec, settings)
    return _together(arm, panel), learned_from


def _together(arm: ArmSpec, panel: Panel) -> Arm:
    return Arm(arm.name, Fixed(panel.model_ids[0]), panel.model_ids, is_routed=False, panel=panel)


def _panel(arm: ArmSpec, spec: ExperimentSpec, settings: Settings) -> tuple[Panel, str | None]:
    learner = arm.cascade or arm.ensemble
    if learner is None:
        raise ConfigError(f"arm {arm.name!r} has nobody to ask")
    if learner.fit_on is None:
        return Panel(_untrained(arm.ensemble or EnsembleSpec())), None
    table = read_table(learner.fit_on, folder=spec.folder, settings=settings)
    data = from_table(table)
    if arm.cascade is not None:
        policy = fit_cascade(
            data, seed=spec.seed, cost_weight=arm.cascade.cost_weight, max_asked=arm.cascade.max_asked
        )
        goal = arm.cascade.quality
        return Panel(policy if goal is None else policy.aiming_at(goal)), digest(table)
    return Panel(_trained(arm.ensemble or EnsembleSpec(), data)), digest(table)


def _untrained(written: EnsembleSpec) -> Ensemble | Fusion:
    n = len(written.members)
    vote = Vote(written.members, np.ones(n), np.full(n, 0.5))
    return vote if written.fuser is None else Fusion(vote, written.fuser)


def _trained(written: EnsembleSpec, data: TrainingData) -> Ensemble | Fusion:
    members = written.members or data.model_ids
    if written.rule == "best_of":
        return fit_best_of(data, ballots_of(data, final_answer=settled), members)
    fitted = fit_weighted_vote(data) if written.rule == "weighted_vote" else fit_majority(data)
    vote = fitted.among(members)
    return vote if written.fuser is None else Fusion(vote, written.fuser)


def _routed(arm: ArmSpec, spec: ExperimentSpec, settings: Settings) -> tuple[Arm, str]:
    written = arm.router
    if written is None:
        raise ConfigError(f"arm {arm.name!r} has no router")
    if written.checkpoint is not None:
        path = spec.folder / written.checkpoint
        loaded = checkpoint.load(path)
        digest_of_file = sha256(read_bytes(path, purpose="saved router")).hexdigest()
        if (panel := panel_of(loaded)) is not None:
            if arm.fallbacks:
                raise ConfigError(
                    f"arm {arm.name!r}: the {panel.kind} in {path} asks others anyway; leave out `fallbacks`"
                )
            return _together(arm, panel), digest_of_file
        if isinstance(loaded, Bandit):
            raise ConfigError(
                f"arm {arm.name!r}: the choices of the bandit in {path} hang on the requests before, which a "
                "run that goes on after a kill cannot repeat; name the router that it started from"
            )
        if not isinstance(loaded, Predictor):
            raise ConfigError(f"arm {arm.name!r}: the router in {path} knows no models to choose from")
        return Arm(arm.name, loaded, loaded.models.model_ids, arm.fallbacks), digest_of_file
    if written.fit_on is None:
        raise ConfigError(
            f"arm {arm.name!r}: router.fit_on is missing; name the outcomes that it learns from"
        )
    table = read_table(written.fit_on, folder=spec.folder, settings=settings)
    router = _fitted(arm.name, written, table, seed=spec.seed)
    return Arm(arm.name, router, from_table(table).model_ids, arm.fallbacks), digest(table)


def _fitted(name: str, written: RouterSpec, table: pd.DataFrame, *, seed: int) -> Router:
    def fitted(rows: pd.DataFrame) -> Router:
        return fit_as_written(written, from_table(rows), seed=seed)

    if written.folds is None:
        return fitted(table)
    if written.folds not in table:
        raise ConfigError(f"router of arm {name!r}: the table has no column {written.folds!r} of folds")
    fold = table[written.folds].astype("string")
    routers = {str(held_out): fitted(table[fold != held_out]) for held_out in sorted(fold.dropna().unique())}
    fold_of_prompt = dict(zip(table["prompt_id"], fold, strict=True))
    return FoldRouter(
        written.kind or "", routers, {str(k): str(v) for k, v in fold_of_prompt.items() if v is not pd.NA}
    )
