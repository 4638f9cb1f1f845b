"""Best of n: a learned pairwise ranker that says which of several answers to take.

Bradley and Terry's model: answer i is better than answer j with probability 1 / (1 + exp(-(u_i - u_j))),
where the utility u of an answer is a weighted sum of what is known of it: who gave it, who gave the same
final answer, its length against the others', whether it refuses, and what a forecast says of its supporters.
It is a logistic regression on differences, without intercept; the answer of the greatest utility is taken.
Source: Bradley & Terry (1952), Rank Analysis of Incomplete Block Designs, Biometrika 39.

Dimensions: N prompts, K members, F features, P pairs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from workbench.errors import ConfigError
from workbench.routing.ballots import NO_ANSWER, Ballots, columns_of
from workbench.routing.decide import Predictor
from workbench.routing.ensemble import first_best, most_reliable, reliabilities
from workbench.routing.fields import require
from workbench.routing.forecast import Floats
from workbench.routing.training_data import TrainingData, parts_by_group
from workbench.types import Decision, Prompt

_SUREST = 0.01
"""A predicted quality counts as no nearer to 0 or 1 than this: its log-odds are added up."""
_N_OTHER_FEATURES = 5
_N_PARTS = 5


@dataclass(frozen=True, slots=True)
class BestOf:
    """The answer of the greatest utility.

    `model_ids` [K] are from the most reliable to the least, with their shrunk accuracies `reliability` [K],
    which stand in for what is not predicted. `coefficients` [F], F = 2 K + 5: of who gave the answer, of who
    gave the same, and of the rest in the order of `utilities`.
    """

    model_ids: tuple[str, ...]
    reliability: Floats
    coefficients: Floats

    def __post_init__(self) -> None:
        n_members = len(self.model_ids)
        require(n_members > 0 and self.reliability.shape == (n_members,), "members")
        require(self.coefficients.shape == (2 * n_members + _N_OTHER_FEATURES,), "features")
        require(bool(np.isfinite(self.coefficients).all()), "numbers")

    @property
    def name(self) -> str:
        """`best_of_K`."""
        return f"best_of_{len(self.model_ids)}"

    def choose(self, ballots: Ballots, *, predicted: Floats | None = None) -> NDArray[np.int64]:
        """As `Ensemble.choose`."""
        ballots = ballots.of(self.model_ids)
        utilities = features_of(ballots, self.reliability, predicted) @ self.coefficients
        return first_best(utilities, ballots)

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """As `most_reliable`."""
        return most_reliable(self.name, self.model_ids, candidates)


def fit_best_of(
    data: TrainingData,
    ballots: Ballots,
    model_ids: Sequence[str],
    *,
    predicted: Floats | None = None,
    c: float = 1.0,
) -> BestOf:
    """Learn which of the members' answers to take from the pairs of them that differ in quality.

    Args:
        model_ids: [K] the members.
        predicted: [N, M] qualities of the models of `data`, made without looking at the prompt's own outcome
            (`predicted_out_of_part`): a forecast that was fitted on these rows would be trusted too much.
        c: inverse strength of the L2 penalty.

    Raises:
        ConfigError: `c` is not above 0, or a member is named twice or not at all.
        DataError: a member is not among the models.
    """
    if not c > 0.0 or not model_ids or len(set(model_ids)) < len(model_ids):
        raise ConfigError(
            f"best-of-n needs c above 0 (it was {c}) and different members, not {list(model_ids)}"
        )
    columns = np.array(columns_of(model_ids, data.model_ids))
    reliability = reliabilities(data)[columns]
    order = np.argsort(-reliability, kind="stable")
    columns, reliability = columns[order], reliability[order]
    members = tuple(data.model_ids[i] for i in columns)
    features = features_of(
        ballots.of(members), reliability, None if predicted is None else predicted[:, columns]
    )
    quality = np.where(ballots.of(members).is_answered, data.quality[:, columns], np.nan)
    return BestOf(members, reliability, _fitted(features, quality, c))


def features_of(ballots: Ballots, reliability: Floats, predicted: Floats | None) -> Floats:
    """[N, K, F] what is known of each answer.

    Who gave it [K], who gave the same final answer [K], and then: its length against the others' (in
    doublings), whether it refuses, whether it has no final answer, the log-odds of its own predicted quality,
    and their sum over all who gave it.
    """
    n_prompts, n_members = ballots.final.shape
    same = np.stack([ballots.agrees_with(column) for column in range(n_members)], axis=2).astype(np.float64)
    own = np.broadcast_to(np.eye(n_members), same.shape)
    expected = np.broadcast_to(reliability, (n_prompts, n_members))
    if predicted is not None:
        expected = np.where(np.isnan(predicted), expected, predicted)
    odds = logit(np.clip(expected, _SUREST, 1.0 - _SUREST))
    others = [
        _relative_length(ballots),
        ballots.is_refusal,
        ballots.final == NO_ANSWER,
        odds,
        (same * odds[:, None, :]).sum(axis=2),
    ]
    features: Floats = np.concatenate([own, same, np.stack(others, axis=2)], axis=2)
    return features


def predicted_out_of_part(
    data: TrainingData, fit: Callable[[TrainingData], Predictor], *, n_parts: int = _N_PARTS, seed: int = 0
) -> Floats:
    """[N, M] qualities predicted for each prompt by a router that was fitted on the other parts."""
    part = parts_by_group(data.groups, n_parts, seed=seed)
    predicted = np.full(data.quality.shape, np.nan)
    for held_out in np.unique(part):
        rows = np.flatnonzero(part == held_out)
        router = fit(data.rows(np.flatnonzero(part != held_out)))
        forecast = router.forecast([data.prompts[i] for i in rows], features=data.features.rows(rows))
        predicted[rows] = forecast.quality
    return predicted


def _relative_length(ballots: Ballots) -> Floats:
    """[N, K] log2 of the length over the geometric mean of the prompt's answers; 0 where there is none."""
    answered = ballots.is_answered
    logs = np.where(answered, np.log2(1.0 + np.nan_to_num(ballots.n_chars)), 0.0)
    mean = logs.sum(axis=1, keepdims=True) / np.maximum(answered.sum(axis=1, keepdims=True), 1)
    return np.where(answered, logs - mean, 0.0)


def _fitted(features: Floats, quality: Floats, c: float) -> Floats:
    """[F] coefficients; 0 where no pair of answers differs in quality: the most reliable is then taken."""
    from sklearn.linear_model import LogisticRegression

    pairs = list(_pairs(features, quality))
    difference = np.concatenate([rows for rows, _ in pairs]) if pairs else np.empty((0, features.shape[2]))
    if not len(difference):
        return np.zeros(features.shape[2])
    weight = np.concatenate([weights for _, weights in pairs])
    model = LogisticRegression(C=c, fit_intercept=False, max_iter=500)
    model.fit(  # each pair from both ends, as the regression wants two classes
        np.concatenate([difference, -difference]),
        np.repeat([1, 0], len(difference)),
        sample_weight=np.concatenate([weight, weight]) / 2.0,
    )
    coefficients: Floats = model.coef_[0]
    return coefficients


def _pairs(features: Floats, quality: Floats) -> Iterator[tuple[Floats, Floats]]:
    """[P, F] features of the better answer minus the worse one's, and [P] by how much it is better."""
    for left, right in combinations(range(quality.shape[1]), 2):
        gain = quality[:, left] - quality[:, right]
        rows = np.flatnonzero(np.isfinite(gain) & (gain != 0.0))
        sign = np.sign(gain[rows])[:, None]
        yield (features[rows, left] - features[rows, right]) * sign, np.abs(gain[rows])
