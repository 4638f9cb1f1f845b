"""Training a router on recorded outcomes: cross-validated, then fitted on everything, and kept in a file."""

from dataclasses import dataclass
from pathlib import Path

from workbench import outcomes
from workbench.experiment.arms import needed_experiments, read_table
from workbench.experiment.progress import Observer
from workbench.experiment.run import run
from workbench.experiment.spec import TrainingSpec, load_spec
from workbench.routing import checkpoint
from workbench.routing.base import Router
from workbench.routing.evaluate import BASELINES, Contender, Leaderboard, cross_validate
from workbench.routing.registry import fit
from workbench.routing.training_data import from_table
from workbench.settings import Settings
from workbench.storage import writable_folder, write_text


@dataclass(frozen=True, slots=True)
class Training:
    """A trained router, the file that it is saved in, and how it fared on prompts that it had not seen."""

    spec: TrainingSpec
    folder: Path
    router: Router
    checkpoint: Path
    leaderboard: Leaderboard
    data_digest: str


async def train(
    spec: TrainingSpec, *, settings: Settings | None = None, observer: Observer | None = None
) -> Training:
    """Measure `spec`'s router beside the baselines, then fit it on all rows and save it.

    Experiments that it learns from are run first, or gone on with.

    Raises:
        ConfigError, DataError, StorageError, RoutingError: what is wrong, by name.
    """
    settings = settings or Settings()
    for path in needed_experiments(spec):
        await run(load_spec(path), settings=settings, observer=observer)
    folder = writable_folder(settings.runs_dir / spec.name)
    table = read_table(spec.fit_on, folder=spec.folder, settings=settings)
    options = dict(spec.options)
    router = fit(spec.kind, from_table(table), seed=spec.seed, cost_weight=spec.cost_weight, **options)
    path = folder / "router.ckpt"
    checkpoint.save(router, path)
    leaderboard = cross_validate(table, folds=spec.folds, contenders=_contenders(spec), seed=spec.seed)
    write_text(folder / "leaderboard.csv", leaderboard.table.to_csv(index=False))
    return Training(spec, folder, router, path, leaderboard, outcomes.digest(table))


def _contenders(spec: TrainingSpec) -> list[Contender]:
    """The baselines, and the router that is asked for, all with the same weight of cost."""
    kinds = list(dict.fromkeys([*(contender.kind for contender in BASELINES), spec.kind]))
    return [
        Contender(
            kind,
            cost_weight=spec.cost_weight,
            options=dict(spec.options) if kind == spec.kind else {},
        )
        for kind in kinds
    ]
