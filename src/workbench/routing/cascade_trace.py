"""Cascades on folds: what the learned policy, and the untrained rule of two that agree, did with each prompt.

The rule asks two models, gives the answer on which they agree, and else asks a third. Nothing of it is
learned but which three models they are, for each cost weight, on the training folds.

Dimensions: N prompts, M models, P pairs of them, W cost weights.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from workbench.routing.agreement import NOBODY
from workbench.routing.cascade_replay import answer_codes
from workbench.routing.cascade_training import fit_cascade
from workbench.routing.cost_curve import cost_weights
from workbench.routing.fold_trace import Alone, FoldTrace, traced
from workbench.routing.folds import Folded, Integers, Scored
from workbench.routing.forecast import Floats
from workbench.routing.scorecard import Trace
from workbench.routing.training_data import TrainingData

_STEP = 5


def learned_cascade(divided: Folded, scored: Scored, rows: Integers, *, margin: float, seed: int) -> Trace:
    """`cascade`: fitted on each fold's training prompts, at each of its cost weights.

    Raises:
        DataError, InsufficientDataError: the table has no responses or costs.
    """

    def trial(training: TrainingData, asked: TrainingData, alone: Alone) -> FoldTrace:
        policy = fit_cascade(training, seed=seed)
        found = policy.replay(asked, [0.0, *policy.opening_weights])
        is_better = (policy.expected_quality >= alone.least) & (policy.expected_cost_usd < alone.cost_usd)
        if not is_better.any():
            return FoldTrace(found.quality, found.cost_usd, *alone.did(asked))
        place = 1 + int(np.argmin(np.where(is_better, policy.expected_cost_usd, np.inf)))
        return FoldTrace(found.quality, found.cost_usd, found.quality[place], found.cost_usd[place])

    return traced("cascade", trial, divided, scored, rows, margin=margin)


def agreement_rule(divided: Folded, scored: Scored, rows: Integers, *, margin: float) -> Trace:
    """`agreement_rule`: two models and a third where they differ, chosen on the training prompts.

    Raises:
        DataError: the table has no responses.
    """
    weights = cost_weights(divided.data.cost_usd[np.isfinite(divided.data.cost_usd).all(axis=1)])[::_STEP]

    def trial(training: TrainingData, asked: TrainingData, alone: Alone) -> FoldTrace:
        is_complete = np.isfinite(training.quality).all(axis=1) & np.isfinite(training.cost_usd).all(axis=1)
        learned = _Rules.of(training.rows(np.flatnonzero(is_complete)))
        means = learned.means()
        told = _Rules.of(asked)
        did = [told.did(_best(means, weight)) for weight in weights]
        chosen = _cheapest_reaching(means, alone)
        at_chosen = alone.did(asked) if chosen is None else told.did(chosen)
        return FoldTrace(np.stack([q for q, _ in did]), np.stack([c for _, c in did]), *at_chosen)

    return traced("agreement_rule", trial, divided, scored, rows, margin=margin)


Triple = tuple[int, int]
"""A pair's number and the third model."""


@dataclass(frozen=True, slots=True)
class _Rules:
    """Every rule on some prompts: `agree` [P, N], the pairs [P, 2], and what each model did [N, M]."""

    agree: NDArray[np.float32]
    pairs: Integers
    quality: Floats
    cost_usd: Floats

    @classmethod
    def of(cls, data: TrainingData) -> "_Rules":
        """All pairs of models; the first of each, whose answer is given, is the one with the lower column."""
        codes = answer_codes(data)
        pairs = np.array(list(combinations(range(codes.shape[1]), 2)), dtype=np.int64)
        first, second = codes[:, pairs[:, 0]], codes[:, pairs[:, 1]]
        agree = ((first == second) & (first != NOBODY)).T.astype(np.float32)
        return cls(agree, pairs, data.quality, data.cost_usd)

    def means(self) -> tuple[Floats, Floats]:
        """Mean quality and cost of every rule, both [P, M]: agreed answers, and those of the third model."""
        n = self.quality.shape[0]
        agreed = np.einsum("pn,np->p", self.agree, self.quality[:, self.pairs[:, 0]]) / n
        quality = agreed[:, None] + self.quality.mean(axis=0) - self.agree @ self.quality / n
        third = self.cost_usd.mean(axis=0) - self.agree @ self.cost_usd / n
        cost = self.cost_usd.mean(axis=0)[self.pairs].sum(axis=1)[:, None] + third
        is_member = np.arange(self.quality.shape[1]) == self.pairs[:, :, None]
        return np.where(is_member.any(axis=1), -np.inf, quality), cost

    def did(self, rule: Triple) -> tuple[Floats, Floats]:
        """[N] quality and [N] cost of a rule."""
        pair, third = rule
        first, second = self.pairs[pair]
        agreed = self.agree[pair] > 0.0
        cost = self.cost_usd[:, first] + self.cost_usd[:, second]
        return (
            np.where(agreed, self.quality[:, first], self.quality[:, third]),
            cost + np.where(agreed, 0.0, self.cost_usd[:, third]),
        )


def _best(means: tuple[Floats, Floats], cost_weight: float) -> Triple:
    """The rule with the largest mean quality - cost weight x mean cost."""
    quality, cost = means
    return _at(int(np.argmax(quality - cost_weight * cost)), quality.shape[1])


def _cheapest_reaching(means: tuple[Floats, Floats], alone: Alone) -> Triple | None:
    """The cheapest rule that is as good as asked for, and cheaper than one model alone; None: none is."""
    quality, cost = means
    is_better = (quality >= alone.least) & (cost < alone.cost_usd)
    if not is_better.any():
        return None
    return _at(int(np.argmin(np.where(is_better, cost, np.inf))), quality.shape[1])


def _at(flat: int, n_models: int) -> Triple:
    pair, third = divmod(flat, n_models)
    return pair, third
