"""Routers side by side: each fitted on the other folds, scored on the held-out one.

Dimensions: N scored prompts, M models, R resamples.
"""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from workbench.errors import DataError, RoutingError
from workbench.features import FeatureConfig
from workbench.routing.cascade_trace import agreement_rule, learned_cascade
from workbench.routing.ensemble_trace import ensembles
from workbench.routing.folds import Folded, Integers, Scored, folded, scored
from workbench.routing.forecast import with_mean_costs
from workbench.routing.leaderboard import Leaderboard
from workbench.routing.out_of_fold import Contender, OutOfFold
from workbench.routing.resamples import resamples
from workbench.routing.scorecard import Measured, Scorecard, scorecard
from workbench.routing.training_data import TrainingData
from workbench.routing.trials import Trial, all_tried

ORACLE = "oracle"
CASCADE = "cascade"
"""Stands for all that look at answers: the cascade, the untrained rule of two that agree, the ensembles."""
FITTED = "no_information_fitted"
"""The no-information router without hindsight: each model's means are those of the training folds."""

OnProgress = Callable[[str], None]

BASELINES = tuple(Contender(kind) for kind in ("random", "cheapest", "best_single", "knn", "controller"))
"""Beside which a router that is being trained is measured."""

CONTENDERS = (
    Contender("random"),
    Contender("cheapest"),
    Contender("best_single"),
    Contender("no_information", label=FITTED),
    Contender("label_oracle"),
    Contender("knn"),
    Contender("clusters"),
    Contender("tfidf_lr"),
    Contender("matrix_factorisation"),
    Contender("mlp"),
    Contender("controller"),
    Contender(CASCADE),
)
"""All that a table of routers has."""

_NEED_TORCH = frozenset({"matrix_factorisation", "mlp", "controller"})


def cross_validate(
    table: pd.DataFrame,
    *,
    folds: str | int = 5,
    contenders: Sequence[Contender] = BASELINES,
    seed: int = 0,
    n_resamples: int = 1000,
    feature_config: FeatureConfig | None = None,
) -> Leaderboard:
    """Fit each contender on all folds but one, score it on that one, and pool the folds.

    `folds` names a column of the table (rows without a value are left out), or is a number of folds to
    make, in which prompts of one group stay together. Features are extracted once, for all contenders.

    Raises:
        ConfigError: there is no such column, or too few folds.
        InsufficientDataError: too few prompts were answered by several models.
    """
    divided = folded(table, folds, seed=seed, feature_config=feature_config)
    return evaluate(divided, contenders, seed=seed, n_resamples=n_resamples)


def applicable(data: TrainingData, contenders: Sequence[Contender] = CONTENDERS) -> tuple[Contender, ...]:
    """Those that this table has what it takes for: costs, tasks, responses; and torch."""
    missing: set[str] = set()
    if np.isnan(data.models.cost_usd).all():
        missing.add("cheapest")
    if all(prompt.task is None for prompt in data.prompts):
        missing.add("label_oracle")
    if data.answers is None or np.isnan(data.models.cost_usd).any() or len(data.model_ids) < 3:
        missing.add(CASCADE)
    if importlib.util.find_spec("torch") is None:
        missing |= _NEED_TORCH
    return tuple(contender for contender in contenders if contender.kind not in missing)


def evaluate(
    divided: Folded,
    contenders: Sequence[Contender],
    *,
    seed: int = 0,
    n_resamples: int = 1000,
    margin: float | None = None,
    n_processes: int = 1,
    on_progress: OnProgress = lambda told: None,
) -> Leaderboard:
    """The leaderboard of the contenders, then of the hull of the single models and the oracle, in hindsight.

    `margin` is the quality that an honest operating point may lose on the training folds; None: none is
    looked for, which saves more than half of the time. With `n_processes` above 1 contenders are fitted side
    by side (a script then needs `if __name__ == "__main__":`). A router that cannot be fitted is left out,
    and the notes say why.

    Raises:
        ConfigError: an option of a router cannot work.
        InsufficientDataError: too few prompts were answered by several models.
    """
    found, rows = scored(divided)
    draws = resamples(found.data.groups, n_resamples=n_resamples, seed=seed)
    card = scorecard(found, draws, margin=margin or 0.0)
    notes = [*divided.notes, *found.notes]
    measured: list[Measured] = []
    predictions: list[OutOfFold] = []
    plain = [contender for contender in contenders if contender.kind != CASCADE]
    needs_points = margin is not None and found.cost_usd is not None
    trial = Trial(divided, rows, found.answered, seed, needs_points)
    for number, told in enumerate(all_tried(plain, trial, n_processes=n_processes)):
        on_progress(f"{number + 1} of {len(plain)}: {plain[number].label or plain[number].kind}")
        notes += told.notes
        if told.said is not None:
            predictions.append(told.said)
            measured.append(card.measured(told.said, told.inside))
    if len(plain) < len(contenders):
        on_progress("cascades and ensembles")
        try:
            measured += _cascades(card, divided, rows, margin=margin or 0.0, seed=seed)
        except (DataError, RoutingError) as exc:
            notes.append(f"cascades are left out: {exc}")
    oracle = _oracle(found)
    measured += [card.hindsight(), card.measured(oracle, {})]
    return Leaderboard(card.compared(measured), (*predictions, oracle), found, tuple(notes))


def _cascades(
    card: Scorecard, divided: Folded, rows: Integers, *, margin: float, seed: int
) -> list[Measured]:
    """Lines of the learned cascade, of the untrained rule, and of the ensembles.

    Raises:
        DataError: the table has no responses or costs, or not every model answered each scored prompt.
    """
    is_priced = bool(np.isfinite(card.scored.data.cost_usd).all())
    if divided.data.answers is None or not is_priced or not card.scored.is_complete:
        raise DataError("a cascade needs the response and the cost of every model on the scored prompts")
    folds = divided, card.scored, rows
    traces = (
        learned_cascade(*folds, margin=margin, seed=seed),
        agreement_rule(*folds, margin=margin),
        *ensembles(*folds, margin=margin, seed=seed),
    )
    return [card.traced(trace) for trace in traces]


def _oracle(found: Scored) -> OutOfFold:
    """Knows what each model will do, and takes the cheapest of the best."""
    data = found.data
    cost = data.cost_usd if found.cost_usd is None else found.cost_usd
    quality = np.where(found.answered, data.quality, -1.0)
    choice = np.lexsort((np.nan_to_num(cost, nan=0.0), -quality), axis=-1)[:, 0]
    known = with_mean_costs(data.quality, data.models)
    return OutOfFold(ORACLE, ORACLE, replace(known, cost_usd=cost, latency_s=data.latency_s), choice)
