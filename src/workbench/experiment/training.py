"""Training a router on recorded outcomes: cross-validated, then fitted on everything, and kept in a file."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from workbench import outcomes
from workbench.errors import ConfigError, MissingExtraError
from workbench.experiment.analyse import analyse
from workbench.experiment.analysis import Analysis, to_json
from workbench.experiment.arms import fit_as_written
from workbench.experiment.progress import Observer
from workbench.experiment.run import run
from workbench.experiment.spec import TrainingSpec, load_spec
from workbench.experiment.tables import needed_experiments, read_table
from workbench.routing import checkpoint
from workbench.routing.aim import Aim
from workbench.routing.base import Router
from workbench.routing.evaluate import BASELINES, cross_validate
from workbench.routing.leaderboard import Leaderboard
from workbench.routing.limits import Happened
from workbench.routing.operating_point import operating_point
from workbench.routing.out_of_fold import Contender
from workbench.routing.policy import at_point
from workbench.routing.promise import OperatingPoint
from workbench.routing.training_table import from_table
from workbench.settings import Settings
from workbench.storage import folder_inside, writable_folder, write_text

_CONTROL = "best_single"
_LEARNED = "controller"


@dataclass(frozen=True, slots=True)
class Training:
    """A trained router, the file that it is saved in, and how it fared on prompts that it had not seen.

    `table` is the outcome table of those prompts, with the routers as its arms, and `analysis` compares
    each of them with the best single model. `point` has the weights that were chosen for the spec's aim,
    which the router has, and its line of the leaderboard has not; None: there is no aim. `notes` says that
    too, and which contender could not be measured.
    """

    spec: TrainingSpec
    folder: Path
    router: Router
    checkpoint: Path
    leaderboard: Leaderboard
    table: pd.DataFrame
    analysis: Analysis
    fitted_on_sha256: str
    point: OperatingPoint | None = None
    notes: tuple[str, ...] = ()


async def train(
    spec: TrainingSpec, *, settings: Settings | None = None, observer: Observer | None = None
) -> Training:
    """Measure `spec`'s router beside the baselines, then fit it on all rows and save it.

    Experiments that it learns from are run first, or gone on with.

    Raises:
        ConfigError, DataError, StorageError, RoutingError: what is wrong, by name.
    """
    settings = settings or Settings()
    folder = writable_folder(folder_inside(settings.runs_dir, spec.name, what="router"))
    for path in needed_experiments(spec):
        await run(load_spec(path), settings=settings, observer=observer)
    recorded = read_table(spec.fit_on, folder=spec.folder, settings=settings)
    contenders, notes = _contenders(spec)
    router = fit_as_written(spec, from_table(recorded), seed=spec.seed)
    board = cross_validate(recorded, folds=spec.folds, contenders=contenders, seed=spec.seed)
    point = None
    if spec.aim is not None:
        point = _aimed(board, spec.kind, spec.aim)
        router = at_point(router, point)
        notes = (
            *notes,
            f"for the aim '{spec.aim}' the router has cost_weight {point.cost_weight:.4g} and "
            f"latency_weight {point.latency_weight:.4g}, and is expected to have {point.promised}",
        )
    checkpoint.save(router, folder / "router.ckpt")
    table = decided(board)
    analysis = analyse(table, question=spec.question, control=_CONTROL)
    outcomes.write(table, folder / "outcomes.parquet")
    write_text(folder / "analysis.json", to_json(analysis))
    write_text(folder / "leaderboard.csv", board.table.to_csv(index=False))
    return Training(
        spec=spec,
        folder=folder,
        router=router,
        checkpoint=folder / "router.ckpt",
        leaderboard=board,
        table=table,
        analysis=analysis,
        fitted_on_sha256=outcomes.digest(recorded),
        point=point,
        notes=(*board.notes, *notes),
    )


def decided(board: Leaderboard) -> pd.DataFrame:
    """An outcome table with the routers as arms: what the model that each chose had made of each prompt."""
    data = board.scored.data
    rows = np.arange(len(data.prompts))
    parts = [
        pd.DataFrame(
            {
                "prompt_id": [prompt.prompt_id for prompt in data.prompts],
                "prompt": [prompt.text for prompt in data.prompts],
                "task": [prompt.task for prompt in data.prompts],
                "arm": said.router,
                "model": np.array(data.model_ids)[said.choice],
                "quality": data.quality[rows, said.choice],
                "cost_usd": data.cost_usd[rows, said.choice],
            }
        )
        for said in board.predictions
    ]
    return outcomes.validate(pd.concat(parts, ignore_index=True))


def _aimed(board: Leaderboard, kind: str, aim: Aim) -> OperatingPoint:
    """The point of the contender of this kind that keeps the aim, by its predictions out of fold.

    Raises:
        ConfigError: it makes no predictions, or the aim is about what was not recorded.
        RoutingError: no point is known to keep the aim.
    """
    said = next((said for said in board.predictions if said.kind == kind), None)
    if said is None or np.isnan(said.forecast.quality).all():
        raise ConfigError(f"a router of kind {kind!r} makes no predictions that could be weighed for an aim")
    data = board.scored.data
    complete = np.flatnonzero(np.isfinite(data.quality).all(axis=1))
    return operating_point(said.forecast.rows(complete), Happened.of(data.rows(complete)), aim)


def _contenders(spec: TrainingSpec) -> tuple[list[Contender], tuple[str, ...]]:
    """The baselines and the router that is asked for, with the same weights; and what is left out."""
    kinds = dict.fromkeys([*(contender.kind for contender in BASELINES), spec.kind])
    notes: tuple[str, ...] = ()
    if spec.kind != _LEARNED and importlib.util.find_spec("torch") is None:
        del kinds[_LEARNED]
        notes = (f"not on the leaderboard: {MissingExtraError('torch', 'the learned controller')}",)
    contenders = [
        Contender(
            kind,
            cost_weight=spec.cost_weight,
            latency_weight=spec.latency_weight,
            options=dict(spec.options) if kind == spec.kind else {},
        )
        for kind in kinds
    ]
    return contenders, notes
