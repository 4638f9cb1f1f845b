"""An arm made ready: what it calls for a prompt, and the routers behind it, fitted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pandas as pd

from workbench import datasets
from workbench.errors import ConfigError
from workbench.experiment.spec import (
    ArmSpec,
    ExperimentSpec,
    RouterSpec,
    TableSpec,
    TrainingSpec,
    load_spec,
)
from workbench.outcomes import digest
from workbench.routing import checkpoint
from workbench.routing.base import Router
from workbench.routing.baselines import Fixed
from workbench.routing.decide import Predictor
from workbench.routing.registry import fit
from workbench.routing.training_data import TrainingData, from_table
from workbench.settings import Settings
from workbench.storage import read_bytes
from workbench.types import Decision, Prompt

_YAML = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Arm:
    """A name, a router, the candidates it chooses from, and what is asked when its choice fails.

    The calls of an arm that `is_batched` are handed in as an offline batch.
    """

    name: str
    router: Router
    candidates: tuple[str, ...]
    fallbacks: tuple[str, ...] = ()
    is_routed: bool = True
    is_batched: bool = False

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


def needed_experiments(spec: ExperimentSpec | TrainingSpec) -> list[Path]:
    """The experiments whose outcomes this one learns from or replays: they are run before it.

    Raises:
        ConfigError: one of them needs this one in its turn.
    """
    needed = _named_experiments(spec)
    seen, waiting = set(), [path.resolve() for path in needed]
    while waiting:
        path = waiting.pop()
        if path == spec.file:
            raise ConfigError(f"{spec.file} learns from itself, by way of the experiments it names")
        if path not in seen:
            seen.add(path)
            waiting += [other.resolve() for other in _named_experiments(load_spec(path))]
    return needed


def _named_experiments(spec: ExperimentSpec | TrainingSpec) -> list[Path]:
    if isinstance(spec, TrainingSpec):
        tables: list[TableSpec | None] = [spec.fit_on]
    else:
        tables = [spec.replay, *(arm.router.fit_on for arm in spec.arms if arm.router)]
    named = [table.outcomes for table in tables if table is not None]
    return list(dict.fromkeys(spec.folder / name for name in named if name.endswith(_YAML)))


def read_table(table: TableSpec, *, folder: Path, settings: Settings) -> pd.DataFrame:
    """The rows of a recorded outcome table that `table` asks for; its paths start at `folder`.

    Raises:
        ConfigError: it asks for a column or a value that the table does not have.
        DataError, StorageError: there is no such table.
    """
    if table.outcomes.endswith(_YAML):
        name = load_spec(folder / table.outcomes).name
        rows = datasets.load_outcomes(settings.runs_dir / name / "outcomes.parquet")
    else:
        local = folder / table.outcomes
        rows = datasets.load_outcomes(local if local.exists() else table.outcomes)
    return matching(rows, table.where, where=table.outcomes)


def matching(rows: pd.DataFrame, conditions: Mapping[str, object], *, where: str) -> pd.DataFrame:
    """The rows in which every column of `conditions` has the value given.

    Raises:
        ConfigError: there is no such column, or no such row.
    """
    for column, value in conditions.items():
        if column not in rows:
            raise ConfigError(f"{where} has no column {column!r}; it has {', '.join(map(str, rows.columns))}")
        kept = rows[rows[column] == value]
        if kept.empty:
            seen = ", ".join(sorted(map(str, rows[column].dropna().unique()))[:10])
            raise ConfigError(f"{where} has no row with {column} = {value!r}; there are {seen}")
        rows = kept
    return rows


def make_arms(spec: ExperimentSpec, settings: Settings) -> tuple[list[Arm], dict[str, str]]:
    """Every arm of `spec` ready to decide, and the digest of each table that a router was fitted on.

    Raises:
        ConfigError, DataError, RoutingError: an arm cannot be made; nothing has been spent.
    """
    made, digests = [], {}
    for arm in spec.arms:
        if arm.model is not None:
            router: Router = Fixed(arm.model)
            made.append(
                Arm(
                    arm.name,
                    router,
                    (arm.model,),
                    arm.fallbacks,
                    is_routed=False,
                    is_batched=spec.is_batched(arm),
                )
            )
            continue
        made_arm, table_digest = _routed(arm, spec, settings)
        made.append(made_arm)
        digests[arm.name] = table_digest
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


def _routed(arm: ArmSpec, spec: ExperimentSpec, settings: Settings) -> tuple[Arm, str]:
    written = arm.router
    if written is None:
        raise ConfigError(f"arm {arm.name!r} has no router")
    if written.checkpoint is not None:
        path = spec.folder / written.checkpoint
        loaded = checkpoint.load(path)
        if not isinstance(loaded, Predictor):
            raise ConfigError(f"arm {arm.name!r}: the router in {path} knows no models to choose from")
        content = read_bytes(path, purpose="saved router")
        return Arm(arm.name, loaded, loaded.models.model_ids, arm.fallbacks), sha256(content).hexdigest()
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
