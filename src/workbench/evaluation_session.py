"""What a person at a terminal gets of routers side by side: a table or JSON, on any recorded outcomes."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from workbench import outcomes, terminal
from workbench.errors import ConfigError
from workbench.experiment.wording import count, percent, usd
from workbench.features import FeatureConfig
from workbench.routing.evaluate import CONTENDERS, applicable, evaluate
from workbench.routing.folds import folded
from workbench.routing.leaderboard import Leaderboard
from workbench.routing.leaderboard_json import to_json
from workbench.routing.out_of_fold import Contender

_N_FOLDS = 5
_MANY_PAIRS = 20_000
"""Of prompts and models: from there on it is worth the seconds that a second process takes to start."""
_MOST_PROCESSES = 2


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What is asked for. `folds` None: five are made; `routers` empty: all that the table allows."""

    table: Path
    folds: str | None = None
    embedding: str | None = None
    routers: tuple[str, ...] = ()
    margin_points: float = 0.0
    seed: int = 0


def evaluate_routers(request: EvaluationRequest, *, as_json: bool) -> None:
    """Print the leaderboard of routers on a table, and on standard error how far it is.

    Raises:
        ConfigError, DataError, StorageError: what is wrong with the table, the folds or a name.
    """
    told = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    board = _leaderboard(request, told)
    for note in board.notes:
        told.print(f"note: {note}", style="dim")
    if as_json:
        sys.stdout.write(to_json(board, table=request.table.name) + "\n")
    else:
        _print(board, terminal.console())


def _leaderboard(request: EvaluationRequest, told: Console) -> Leaderboard:
    chosen = _contenders(request.routers)
    table = outcomes.read(request.table)
    told.print(f"reading {count(table['prompt_id'].nunique(), 'prompt')}", style="dim")
    divided = folded(
        table,
        _N_FOLDS if request.folds is None else request.folds,
        seed=request.seed,
        feature_config=FeatureConfig(embedding=request.embedding),
    )
    is_large = divided.data.quality.size > _MANY_PAIRS
    return evaluate(
        divided,
        chosen or applicable(divided.data),
        seed=request.seed,
        n_processes=min(_MOST_PROCESSES, os.cpu_count() or 1) if is_large else 1,
        margin=request.margin_points / 100.0,
        on_progress=lambda line: told.print(line, style="dim"),
    )


def _contenders(names: tuple[str, ...]) -> tuple[Contender, ...]:
    known = {contender.label or contender.kind: contender for contender in CONTENDERS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(f"there is no router {unknown[0]!r}; there are: {', '.join(known)}")
    return tuple(known[name] for name in dict.fromkeys(names))


def _print(board: Leaderboard, console: Console) -> None:
    single, data = board.best_single, board.scored.data
    alone = next(result for result in board.results if result.router == "no_information").quality
    price = "" if single.cost_usd is None else f", {usd(1000 * single.cost_usd)} per 1,000 prompts"
    console.print(
        f"{count(len(data.prompts), 'prompt')}, {count(len(data.model_ids), 'model')}. Best single model: "
        f"{single.model_id.removeprefix('replay/')}, {percent(alone)}{price}.",
        soft_wrap=True,
    )
    console.print(terminal.leaderboard_table(board))
