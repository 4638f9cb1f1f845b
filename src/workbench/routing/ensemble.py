"""Ensembles: several models answer, and one of their answers is taken by a vote.

A vote counts final answers. Its members are in the order in which ties are broken: the more reliable first,
of equals the cheaper. What is taken is the answer of the first member that gave the winning final answer.

Dimensions: N prompts, M models, K members.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from workbench.errors import RoutingError
from workbench.routing.ballots import NO_ANSWER, Ballots, columns_of
from workbench.routing.decide import distinct, ranked_candidates
from workbench.routing.fields import require
from workbench.routing.forecast import Floats
from workbench.routing.training_data import TrainingData
from workbench.types import Decision, Prompt

NOBODY = -1
"""The choice where no member answered."""

_PRIOR_PROMPTS = 10.0
"""A member's accuracy is shrunk to the mean of all by so many prompts' worth: enough that a lucky dozen does
not decide, and nothing beside a few hundred."""
_LEAST_WEIGHT = 0.1
_DIGITS = 9
"""Sums of weights that differ by less are a tie."""


class Ensemble(Protocol):
    """Members, and a rule that takes the answer of one of them. As a router it says whom it asks first."""

    @property
    def name(self) -> str:
        """What tables and logs call it."""
        ...

    @property
    def model_ids(self) -> tuple[str, ...]:
        """[K] the members, in the order in which they are asked."""
        ...

    def choose(self, ballots: Ballots, *, predicted: Floats | None = None) -> NDArray[np.int64]:
        """[N] the position in `model_ids` of the member whose answer is taken; -1 where nobody answered.

        `predicted` [N, K] are the qualities that a forecast gives the members, where a rule uses them.
        """
        ...

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """As `most_reliable`."""
        ...


@dataclass(frozen=True, slots=True)
class Vote:
    """The final answer with the greatest sum of `weight` [K] among those who gave it.

    `model_ids` [K] are from the most reliable to the least, `reliability` [K] their shrunk accuracies.
    Where no answer has a final one, the most reliable answer is taken as it is.
    """

    model_ids: tuple[str, ...]
    weight: Floats
    reliability: Floats

    def __post_init__(self) -> None:
        require(len(self.model_ids) > 0, "members")
        require(self.weight.shape == self.reliability.shape == (len(self.model_ids),), "members")
        require(bool(np.isfinite(self.weight).all()), "numbers")

    @property
    def name(self) -> str:
        """`majority_vote` where all weights are equal, else `weighted_vote`."""
        return "majority_vote" if len(set(self.weight.tolist())) == 1 else "weighted_vote"

    def among(self, model_ids: Sequence[str]) -> "Vote":
        """The same vote of fewer members.

        Raises:
            DataError: one of them is not a member.
        """
        kept = sorted(columns_of(model_ids, self.model_ids))
        return Vote(tuple(self.model_ids[i] for i in kept), self.weight[kept], self.reliability[kept])

    def choose(self, ballots: Ballots, *, predicted: Floats | None = None) -> NDArray[np.int64]:
        """As `Ensemble.choose`; a vote does not look at what is predicted."""
        ballots = ballots.of(self.model_ids)
        support = sum(
            weight * ballots.agrees_with(column) for column, weight in enumerate(self.weight.tolist())
        )
        support = np.where(ballots.final == NO_ANSWER, self.weight.min() - 1.0, np.round(support, _DIGITS))
        return first_best(support, ballots)

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """As `most_reliable`."""
        return most_reliable(self.name, self.model_ids, candidates)


def most_reliable(ensemble: str, members: Sequence[str], candidates: Sequence[str]) -> Decision:
    """The first member that is a candidate, with the others in their order: all of them are to be asked.

    Raises:
        RoutingError: there are no candidates, or none of them is a member.
    """
    ranked = ranked_candidates(distinct(candidates, ensemble), members)
    if ranked[0] not in members:
        raise RoutingError(f"the members of {ensemble} are {', '.join(members)}; it was given {candidates}")
    return Decision(ranked[0], ensemble, tuple(ranked[1:]))


def fit_majority(data: TrainingData) -> Vote:
    """A vote of all models with one voice each; `Vote.among` names the members."""
    reliability = reliabilities(data)
    order = _order(reliability, data)
    return Vote(tuple(data.model_ids[i] for i in order), np.ones(len(order)), reliability[order])


def fit_weighted_vote(data: TrainingData) -> Vote:
    """A vote of all models, each with the log-odds of its shrunk accuracy; `Vote.among` names the members.

    This is the best vote between two answers of members that err independently. Where there are more answers,
    that of a member who is mostly wrong still speaks for an answer: no weight is below 0.1.
    Source: Nitzan & Paroush (1982), Optimal Decision Rules in Uncertain Dichotomous Choice Situations.
    """
    reliability = reliabilities(data)
    order = _order(reliability, data)
    weight = np.maximum(logit(reliability), _LEAST_WEIGHT)
    return Vote(tuple(data.model_ids[i] for i in order), weight[order], reliability[order])


def reliabilities(data: TrainingData) -> Floats:
    """[M] each model's accuracy in (0, 1), shrunk to the mean of all."""
    seen = np.isfinite(data.quality)
    totals, counts = np.where(seen, data.quality, 0.0).sum(axis=0), seen.sum(axis=0)
    mean = (totals.sum() + 1.0) / (counts.sum() + 2.0)
    shrunk: Floats = (totals + _PRIOR_PROMPTS * mean) / (counts + _PRIOR_PROMPTS)
    return shrunk


def first_best(score: Floats, ballots: Ballots) -> NDArray[np.int64]:
    """[N] the first member of the greatest `score` [N, K] among those who answered; -1 where none did."""
    choice = np.argmax(np.where(ballots.is_answered, score, -np.inf), axis=1)
    return np.where(ballots.is_answered.any(axis=1), choice, NOBODY)


def _order(reliability: Floats, data: TrainingData) -> NDArray[np.int64]:
    cost_usd = np.nan_to_num(data.models.cost_usd, nan=np.inf)
    return np.lexsort((cost_usd, -reliability))
