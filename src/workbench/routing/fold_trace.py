"""What a policy that looks at answers did with the prompts of each fold, fitted on the others.

Dimensions: N prompts, n of a fold, W cost weights or other settings.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from workbench.routing.folds import Folded, Integers, Scored
from workbench.routing.forecast import Floats
from workbench.routing.honest import Chosen
from workbench.routing.scorecard import Trace
from workbench.routing.training_data import TrainingData


@dataclass(frozen=True, slots=True)
class FoldTrace:
    """Quality and cost of the prompts of a fold, both [W, n] and, at the point chosen beforehand, [n].

    Where no point is chosen, the best single model's.
    """

    quality: Floats
    cost_usd: Floats
    chosen_quality: Floats
    chosen_cost_usd: Floats


@dataclass(frozen=True, slots=True)
class Alone:
    """The best single model of the training prompts; a chosen point has `least` quality for less cost."""

    model: int
    least: float
    cost_usd: float

    def did(self, asked: TrainingData) -> tuple[Floats, Floats]:
        """[n] quality and [n] cost."""
        return asked.quality[:, self.model], asked.cost_usd[:, self.model]


Trial = Callable[[TrainingData, TrainingData, Alone], FoldTrace]
"""From training data, scored data, and what a point that is chosen beforehand must be better than."""


def traced(
    name: str, trial: Trial, divided: Folded, scored: Scored, rows: Integers, *, margin: float
) -> Trace:
    """What `trial` did on each fold, one after the other; the first of its points is the one for quality."""
    cost_usd = scored.data.cost_usd if scored.cost_usd is None else scored.cost_usd
    parts: list[FoldTrace] = []
    alone: list[Integers] = []
    held_out_folds = np.unique(scored.fold)
    started_s = time.perf_counter()
    for held_out in held_out_folds:
        training = divided.data.rows(divided.training(held_out))
        single = int(np.nanargmax(training.models.quality))
        asked = divided.data.rows(rows[scored.fold == held_out])
        known = training.models
        least, spent = float(known.quality[single]) - margin, float(known.cost_usd[single])
        parts.append(trial(training, asked, Alone(single, least, spent)))
        alone.append(np.full(len(asked.prompts), single))
    in_order = np.argsort(
        np.concatenate([np.flatnonzero(scored.fold == held_out) for held_out in held_out_folds])
    )
    whole = FoldTrace(
        *(
            np.nan_to_num(np.concatenate([getattr(part, field) for part in parts], axis=-1)[..., in_order])
            for field in FoldTrace.__slots__
        )
    )
    single_choice = np.concatenate(alone)[in_order]
    return Trace(
        name=name,
        quality=whole.quality[0],
        cost_usd=whole.cost_usd[0],
        points=tuple(zip(whole.quality, whole.cost_usd, strict=True)),
        chosen=Chosen(
            quality=whole.chosen_quality,
            cost_usd=whole.chosen_cost_usd,
            single_quality=scored.did(scored.data.quality, single_choice),
            single_cost_usd=scored.did(cost_usd, single_choice),
        ),
        fit_s=(time.perf_counter() - started_s) / len(held_out_folds),
    )
