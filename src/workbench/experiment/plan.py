"""What a run will do, worked out and checked before the first call: prompts, arms, calls, prices, scorer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from workbench import datasets
from workbench.catalog import Catalog, default_catalog, read_catalog
from workbench.errors import BudgetError, ConfigError
from workbench.experiment.arms import Arm, FoldRouter, make_arms
from workbench.experiment.assignment import ordered
from workbench.experiment.calls import Call
from workbench.experiment.phrasing import AS_IT_IS
from workbench.experiment.spec import ExperimentSpec, digest
from workbench.experiment.tables import read_table
from workbench.providers.base import Provider
from workbench.providers.batches import check_takes_batches
from workbench.providers.registry import SIMULATOR
from workbench.providers.replay import ReplayProvider
from workbench.scoring import LocalScorer, local_scorer
from workbench.scoring.options import Embedding, Judge, PairwiseJudge
from workbench.scoring.score import TIE
from workbench.settings import Settings
from workbench.types import Completion, Decision, Decoding, Prompt

RECORDED = "recorded"
"""The scorer that takes the quality from the replayed table instead of looking at the answer."""


@dataclass(frozen=True, slots=True)
class Plan:
    """An experiment ready to run. `simulator_url` None: a simulator must be started where one is used.

    `scorer` None: a model or people judge, or the quality is recorded. `cache_dir` is where answers are kept
    that may be used again, `secret_dir` where the secret of the judges is. `trace_share` and `show_content`
    are as in the settings.
    """

    spec: ExperimentSpec
    prompts: tuple[Prompt, ...]
    arms: tuple[Arm, ...]
    calls: tuple[Call, ...]
    catalog: Catalog
    fingerprint: dict[str, Any]
    replay: ReplayProvider | None
    scorer: LocalScorer | None
    simulator_url: str | None = None
    cache_dir: Path = Path("cache")
    secret_dir: Path = Path("cache")
    trace_share: float = 0.0
    show_content: bool = False

    @property
    def model_ids(self) -> tuple[str, ...]:
        """Every model that any arm may call."""
        return tuple(dict.fromkeys(model_id for arm in self.arms for model_id in arm.model_ids))

    @property
    def called_ids(self) -> tuple[str, ...]:
        """The same, and the model that scores."""
        return tuple(dict.fromkeys((*self.model_ids, *self.judging_ids)))

    @property
    def judging_ids(self) -> tuple[str, ...]:
        """The model that scores; none where no model does."""
        match self.spec.scorer:
            case Judge(model=model) | PairwiseJudge(model=model):
                return (model,)
            case Embedding(model=model) if "/" in model:
                return (model,)
        return ()

    @property
    def against(self) -> str | None:
        """The arm that a pairwise judge holds the others against; None: there is no such judge."""
        options = self.spec.scorer
        if not isinstance(options, PairwiseJudge):
            return None
        return self.spec.control_arm if options.against == "control" else options.against

    @property
    def scores_later(self) -> bool:
        """Whether answers are scored after they are kept, as that takes time, or a model that is paid."""
        return isinstance(self.spec.scorer, Judge | PairwiseJudge | Embedding) or (
            self.scorer is not None and self.scorer.is_slow
        )

    @property
    def providers(self) -> tuple[Provider, ...]:
        """Providers that are made here and not found in the registry."""
        return (self.replay,) if self.replay else ()

    @property
    def uses_simulator(self) -> bool:
        """Whether an arm asks a simulated model."""
        return any(model_id.startswith(f"{SIMULATOR}/") for model_id in self.called_ids)

    def score(self, completion: Completion, call: Call) -> float | None:
        """The quality of an answer in [0, 1]; None: it is scored later, or by people, or not at all."""
        prompt = call.prompt
        if self.scorer is not None:
            return None if self.scorer.is_slow else self.scorer.score(completion.text, prompt.reference or "")
        if self.spec.scorer.kind == RECORDED and self.replay is not None:
            seed = self.decoding(call).seed
            return self.replay.recorded_quality(completion.model, prompt, seed=seed)
        return TIE if call.arm.name == self.against else None

    def decoding(self, call: Call) -> Decoding:
        """How this call is to be answered, with the seed of its repeat."""
        return self.spec.decode(call.repeat, call.arm.decoding)

    def cost_bound_usd(self, call: Call, decision: Decision) -> float:
        """The most that one request to each model that this call asks can cost; 0.0: no price is known."""
        if call.arm.panel is None:
            return self.request_bound_usd(decision.model_id, call.asked, call)
        return call.arm.panel.bound_usd(
            call.asked, lambda model_id, sent: self.request_bound_usd(model_id, sent, call)
        )

    def request_bound_usd(self, model_id: str, prompt: Prompt, call: Call) -> float:
        """The most that one request to this model, as part of this call, can cost; 0.0: no price is known."""
        spec = self.catalog.get(model_id)
        if spec is None or spec.price is None:
            return 0.0
        return spec.cost_bound_usd(prompt, self.decoding(call), in_batch=call.arm.is_batched)

    def dearest(self, call: Call) -> tuple[float, str]:
        """The most that this call can cost at one request to each model, and the model or panel that does."""
        if call.arm.panel is not None:
            bound_usd = self.cost_bound_usd(call, Decision(call.arm.model_ids[0], call.arm.name))
            return bound_usd, f"the {call.arm.panel.kind} {call.arm.name!r}"
        return max(
            (self.cost_bound_usd(call, Decision(model_id, call.arm.name)), model_id)
            for model_id in call.arm.model_ids
        )

    def price_date(self, model_id: str) -> str | None:
        """The date of the price that a cost of this model is computed from."""
        spec = self.catalog.get(model_id)
        price = None if spec is None else spec.price_on()
        return None if price is None else price.date.isoformat()


def make_plan(spec: ExperimentSpec, settings: Settings) -> Plan:
    """Everything that `spec` needs, loaded, fitted and checked.

    Raises:
        ConfigError, DataError, StorageError, BudgetError: what cannot work, before anything is spent.
    """
    recorded = read_table(spec.replay, folder=spec.folder, settings=settings) if spec.replay else None
    replay = None if recorded is None else ReplayProvider(recorded)
    prompts = _prompts(spec, recorded)
    local = local_scorer(spec.scorer, folder=spec.folder)
    arms, table_digests = make_arms(spec, settings)
    plan = Plan(
        spec=spec,
        prompts=prompts,
        arms=tuple(arms),
        calls=tuple(ordered(spec, prompts, arms)),
        catalog=_catalog(settings, replay),
        fingerprint={
            **spec.fingerprint(),
            "prompts_sha256": digest([(p.prompt_id, p.text, p.reference, p.system) for p in prompts]),
            "fitted_on_sha256": table_digests,
            **({"scorer_sha256": local.sha256} if local is not None and local.sha256 else {}),
        },
        replay=replay,
        scorer=local,
        simulator_url=settings.simulator_url or Settings().simulator_url,
        cache_dir=settings.cache_dir / "answers",
        secret_dir=settings.cache_dir,
        trace_share=settings.trace_share,
        show_content=settings.show_content,
    )
    _check_scorer(plan)
    _check_models(plan)
    _check_batches(plan)
    _check_folds(plan)
    _check_replayed(plan)
    _check_stopping(plan)
    _check_budget(plan)
    return plan


def prompts_of_spec(spec: ExperimentSpec, settings: Settings) -> tuple[Prompt, ...]:
    """The prompts that a run of `spec` asks, with their references."""
    is_replayed = spec.replay is not None and "prompts" not in spec.model_fields_set
    recorded = (
        read_table(spec.replay, folder=spec.folder, settings=settings)
        if is_replayed and spec.replay
        else None
    )
    return _prompts(spec, recorded)


def _prompts(spec: ExperimentSpec, recorded: pd.DataFrame | None) -> tuple[Prompt, ...]:
    """The prompts as written; where none are, those of the replayed table."""
    written = spec.prompts
    if recorded is not None and "prompts" not in spec.model_fields_set:
        return datasets.prompts_of(recorded)
    local = spec.folder / written.source
    source = str(local) if local.exists() else written.source
    return datasets.load_prompts(
        source,
        split=written.split,
        tasks=written.tasks,
        n=written.n,
        seed=spec.seed,
        cluster=spec.design.clusters,
    )


def _catalog(settings: Settings, replay: ReplayProvider | None) -> Catalog:
    catalog = default_catalog()
    if settings.models_file is not None:
        catalog = catalog | read_catalog(settings.models_file)
    return catalog | replay.catalog() if replay else catalog


def _check_scorer(plan: Plan) -> None:
    options = plan.spec.scorer
    if options.kind == RECORDED and plan.replay is None:
        raise ConfigError(
            "scorer 'recorded' takes the quality from a replayed table; name one under `replay`"
        )
    if plan.against is not None and plan.against not in [arm.name for arm in plan.arms]:
        raise ConfigError(f"the scorer pairwise_judge is against {plan.against!r}, which is not an arm")
    needs_reference = isinstance(options, Embedding) or (
        plan.scorer is not None and plan.scorer.needs_reference
    )
    without = [prompt.prompt_id for prompt in plan.prompts if prompt.reference is None]
    if needs_reference and without:
        raise ConfigError(
            f"scorer {options.kind!r} compares with a reference, but {len(without)} of "
            f"{len(plan.prompts)} prompts have none ({', '.join(without[:3])}, ...)"
        )
    if plan.scorer is not None and needs_reference:
        for prompt in plan.prompts:
            plan.scorer.check_reference(prompt.reference or "")


def _check_models(plan: Plan) -> None:
    """Every model must be one that may be called; under a budget, one with a price."""
    for model_id in plan.called_ids:
        known = plan.catalog.callable_model(model_id)
        if plan.spec.budget_usd is not None:
            known.cost_bound_usd(plan.prompts[0], plan.spec.decode(0))


def _check_batches(plan: Plan) -> None:
    """A model that is asked in batches must be one of a provider that takes them, at a known price."""
    for arm in plan.arms:
        for model_id in arm.model_ids if arm.is_batched else ():
            known = plan.catalog.callable_model(model_id)
            check_takes_batches(known.provider)
            known.batch_price_on()


def _check_folds(plan: Plan) -> None:
    """A router that was fitted by folds can be asked about prompts of its table only."""
    for arm in plan.arms:
        if isinstance(arm.router, FoldRouter):
            for prompt in plan.prompts:
                arm.router.router_of(prompt)


def _check_replayed(plan: Plan) -> None:
    """What was recorded was asked in its own words, with its own decoding; another arm's are not there."""
    name = "" if plan.replay is None else f"{plan.replay.name}/"
    for arm in plan.arms if name else ():
        is_reworded = arm.phrasing != AS_IT_IS or arm.decoding is not None
        is_fused = arm.panel is not None and arm.panel.is_fused
        if any(model_id.startswith(name) for model_id in arm.model_ids) and (is_reworded or is_fused):
            raise ConfigError(
                f"arm {arm.name!r}: a replay has the answers that were recorded, and none to other words, "
                "to other decoding or to the answers of others; name the recorded arm, or ask a live model"
            )


def _check_stopping(plan: Plan) -> None:
    """A sequential run looks at scores while it goes on; people score when it has ended."""
    is_scored = plan.scorer is not None or plan.scores_later or plan.spec.scorer.kind == RECORDED
    if plan.spec.stopping.is_sequential and not is_scored:
        raise ConfigError(
            f"stopping: the scorer {plan.spec.scorer.kind!r} scores when the run has ended, so that a "
            "sequential run has nothing to look at; score at once, or leave `stopping` out"
        )


def _check_budget(plan: Plan) -> None:
    """A budget that cannot pay for the dearest single call would end the run in the middle of a pair."""
    limit_usd = plan.spec.budget_usd
    if limit_usd is None:
        return
    (bound_usd, model_id), call = max(
        ((plan.dearest(call), call) for call in plan.calls if call.repeat == 0), key=lambda item: item[0]
    )
    if bound_usd > limit_usd:
        raise BudgetError(
            f"budget_usd is {limit_usd:g}, but one call of {model_id} for prompt {call.prompt.prompt_id!r} "
            f"can cost up to {bound_usd:.6f} USD; raise the budget or lower decoding.max_output_tokens"
        )
