"""Ensembles on folds: what votes and best-of-n did with each prompt, and what all of their members cost.

Members are chosen on the training folds, for quality within a limit on cost; the points of an ensemble are
several such limits. Best-of-n ranks the answers of the members of the weighted vote.

Dimensions: N prompts, n of a fold, W limits on cost.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from workbench.answers import settled
from workbench.routing.ballots import Ballots, ballots_of
from workbench.routing.ensemble import Ensemble, Vote, fit_majority, fit_weighted_vote
from workbench.routing.fold_trace import Alone, FoldTrace, traced
from workbench.routing.folds import Folded, Integers, Scored
from workbench.routing.membership import Replayed, Selection, choose_members, replay
from workbench.routing.ranker import fit_best_of
from workbench.routing.scorecard import Trace
from workbench.routing.training_data import TrainingData

SHARES = (math.inf, 2.0, 1.0, 0.5, 0.2)
"""Of the best single model's mean cost: the most that an ensemble may cost on the training prompts."""
_MOST_COUNTED = 1_000
"""Training prompts on which members are chosen: enough to tell models apart, and the time stays bounded."""

Rule = Callable[[TrainingData, Ballots, Vote], Ensemble]
"""An ensemble of the members of a vote."""


def ensembles(
    divided: Folded, scored: Scored, rows: Integers, *, margin: float, seed: int
) -> Iterator[Trace]:
    """`majority_vote`, `weighted_vote` and `best_of_n`.

    Raises:
        DataError: the table has no responses.
        ConfigError: it has no costs of a model.
    """
    for name, fit, rule in (
        ("majority_vote", fit_majority, _itself),
        ("weighted_vote", fit_weighted_vote, _itself),
        ("best_of_n", fit_weighted_vote, _ranked),
    ):

        def trial(
            training: TrainingData,
            asked: TrainingData,
            alone: Alone,
            fit: Callable[[TrainingData], Vote] = fit,
            rule: Rule = rule,
        ) -> FoldTrace:
            learnt, told = (ballots_of(data, final_answer=settled) for data in (training, asked))
            votes = _chosen(fit(training), training, learnt, alone, seed=seed)
            ruled = {vote.model_ids: rule(training, learnt, vote) for vote in votes}
            each = [ruled[vote.model_ids] for vote in votes]
            return _did(each, (training, learnt), (asked, told), alone)

        yield traced(name, trial, divided, scored, rows, margin=margin)


def _chosen(vote: Vote, training: TrainingData, ballots: Ballots, alone: Alone, *, seed: int) -> list[Vote]:
    """[W] the members that are best within each limit."""
    some = np.random.default_rng(seed).permutation(len(training.prompts))[:_MOST_COUNTED]
    data, counted = training.rows(some), ballots.rows(some)
    cheapest = float(data.models.cost_usd.min())
    limits = [Selection(most_usd=max(share * alone.cost_usd, cheapest)) for share in SHARES]
    return [choose_members(vote, data, counted, selection=limit) for limit in limits]


def _did(
    members: Sequence[Ensemble],
    learnt: tuple[TrainingData, Ballots],
    told: tuple[TrainingData, Ballots],
    alone: Alone,
) -> FoldTrace:
    """Every ensemble on the prompts that are asked; chosen is the cheapest that training speaks for."""
    means = [_mean(replay(each, *learnt)) for each in members]
    did = [replay(each, *told) for each in members]
    is_better = [quality >= alone.least and cost < alone.cost_usd for quality, cost in means]
    quality, cost_usd = np.stack([each.quality for each in did]), np.stack([each.cost_usd for each in did])
    if not any(is_better):
        return FoldTrace(quality, cost_usd, *alone.did(told[0]))
    place = min(np.flatnonzero(is_better), key=lambda point: means[point][1])
    return FoldTrace(quality, cost_usd, quality[place], cost_usd[place])


def _mean(replayed: Replayed) -> tuple[float, float]:
    return replayed.mean_quality, replayed.mean_cost_usd


def _itself(training: TrainingData, ballots: Ballots, vote: Vote) -> Ensemble:
    return vote


def _ranked(training: TrainingData, ballots: Ballots, vote: Vote) -> Ensemble:
    return fit_best_of(training, ballots, vote.model_ids)
