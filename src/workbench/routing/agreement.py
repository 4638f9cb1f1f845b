"""How likely each of several answers is right, given who agrees with whom, and what another would add.

Each prompt has a difficulty that nobody sees: given it, models are right or wrong independently of each
other, each with the probability that its skill gives. Right answers agree with probability `right_agree`;
wrong ones fall together as customers at the tables of a Chinese restaurant do, whose concentration is
`dispersion`. Bayes' rule then weighs the answers: agreement counts for more between models that are rarely
wrong, and for less where wrong answers are few, such as the four letters of a choice.
Source: Rasch (1960), Probabilistic Models for Some Intelligence and Attainment Tests; Pitman (2006),
Combinatorial Stochastic Processes, section 3.1.

Dimensions: N prompts, M models, K asked of them, H = K + 1 hypotheses (the answer of the k-th asked is the
right one; none is), D difficulties.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, gammaln

from workbench.routing.fields import require
from workbench.routing.forecast import Floats

NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(11)
"""[D] standard normal difficulties, by Gauss-Hermite quadrature."""
NODE_WEIGHTS = _NODE_WEIGHTS / _NODE_WEIGHTS.sum()

NOBODY = -1
_SUREST = 1e-6


@dataclass(frozen=True, slots=True)
class Skills:
    """Each model's logit of a right answer: intercept + slope x prompt's logit + discrimination x difficulty.

    All [M]. The prompt's logit is what a router of prompts predicts of that model for the prompt.
    """

    intercept: Floats
    slope: Floats
    discrimination: Floats

    def __post_init__(self) -> None:
        require(self.intercept.shape == self.slope.shape == self.discrimination.shape, "models")
        for values in (self.intercept, self.slope, self.discrimination):
            require(bool(np.isfinite(values).all()), "numbers")

    def right(self, logits: Floats) -> Floats:
        """[N, M, D] probability of a right answer at each difficulty, from [N, M] logits of the prompts."""
        level = self.intercept + self.slope * logits
        probability: Floats = expit(level[:, :, None] + self.discrimination[:, None] * NODES)
        return np.clip(probability, _SUREST, 1.0 - _SUREST)


@dataclass(frozen=True, slots=True)
class Concord:
    """How answers fall together: `right_agree` in (0, 1), `dispersion` > 0 of the wrong ones."""

    right_agree: float
    dispersion: float

    def __post_init__(self) -> None:
        require(0.0 < self.right_agree < 1.0 and self.dispersion > 0.0, "concord")


@dataclass(frozen=True, slots=True)
class Belief:
    """What the answers so far say.

    `joint` [N, H, D] is the probability of each hypothesis and difficulty; a group of equal answers stands
    where its first member does (`is_first` [N, K]), and has `size` [N, K] members. `alone` [N, K, D] is the
    probability that an answer which nobody shares is right although it is not the common form.
    `n_asked` [N].
    """

    joint: Floats
    alone: Floats
    is_first: NDArray[np.bool_]
    size: NDArray[np.int64]
    n_asked: NDArray[np.int64]

    @property
    def right(self) -> Floats:
        """[N, K] probability that the answer is right, of the first of each group; 0 of the others."""
        return _right(self.joint, self.alone)

    def rows(self, index: NDArray[np.bool_]) -> "Belief":
        """Some of the prompts."""
        return Belief(
            self.joint[index], self.alone[index], self.is_first[index], self.size[index], self.n_asked[index]
        )


def believe(right: Floats, codes: NDArray[np.int64], concord: Concord) -> Belief:
    """Weigh K answers: `right` [N, K, D] of those asked, `codes` [N, K] equal for equal answers.

    A code of `NOBODY` is no answer, and its `right` is not looked at.
    """
    is_asked = codes != NOBODY
    same = (codes[:, :, None] == codes[:, None, :]) & is_asked[:, :, None] & is_asked[:, None, :]
    size, n_asked = same.sum(axis=2), is_asked.sum(axis=1)
    is_first = (
        (np.argmax(same, axis=2) == np.arange(codes.shape[1])) & is_asked if codes.shape[1] else is_asked
    )
    odd_form = (1.0 - concord.right_agree) * right * ((size == 1) & is_first)[:, :, None]
    not_common = 1.0 - right + odd_form
    log_not = np.where(is_asked[:, :, None], np.log(not_common), 0.0)
    log_more = np.log(concord.right_agree * right) - log_not
    log_none = log_not.sum(axis=1, keepdims=True)
    log_joint = np.concatenate([log_none + same.astype(np.float64) @ log_more, log_none], axis=1)
    log_joint += _log_partition(size, n_asked, is_first, concord.dispersion)[:, :, None] + np.log(
        NODE_WEIGHTS
    )
    joint = np.exp(log_joint - log_joint.max(axis=(1, 2), keepdims=True))
    joint /= joint.sum(axis=(1, 2), keepdims=True)
    return Belief(joint, odd_form / not_common, is_first, size, n_asked)


def expected_right(belief: Belief, right: Floats, concord: Concord) -> Floats:
    """[N] how likely the best answer will be right once a model of `right` [N, D] has answered as well.

    The sum over what it may say, one of the K answers or a new one, of the joint probability that it says so
    and that the answer which is then the best is right.
    """
    n_others = np.concatenate([belief.n_asked[:, None] - belief.size, belief.n_asked[:, None]], axis=1)
    wrong = belief.joint * (1.0 - right)[:, None] / (n_others + concord.dispersion)[:, :, None]
    agreeing = belief.joint * (concord.right_agree * right)[:, None]
    odd_form = belief.joint * ((1.0 - concord.right_agree) * right)[:, None]
    value = np.zeros(len(right))
    if_wrong = _right(wrong, belief.alone)
    for k in range(belief.size.shape[1]):
        others = if_wrong - (belief.alone * wrong[:, [k]]).sum(axis=2)
        others = belief.size[:, [k]] * others + (belief.alone * agreeing[:, [k]]).sum(axis=2)
        others[:, k] = agreeing[:, k].sum(axis=1)
        value += np.where(belief.is_first[:, k], np.where(belief.is_first, others, 0.0).max(axis=1), 0.0)
    new = concord.dispersion * wrong + odd_form
    new[:, -1] += agreeing[:, -1]
    kept = np.where(belief.is_first, _right(new, belief.alone), 0.0).max(axis=1, initial=0.0)
    if_new = odd_form.sum(axis=(1, 2)) + agreeing[:, -1].sum(axis=1)
    return np.asarray(value + np.maximum(kept, if_new))


def _right(joint: Floats, alone: Floats) -> Floats:
    """[N, K] the mass in which the answer is right: its own hypothesis, or right in a form of its own."""
    own = joint[:, :-1]
    elsewhere = joint.sum(axis=1, keepdims=True) - own
    return np.asarray((own + alone * elsewhere).sum(axis=2))


def _log_partition(
    size: NDArray[np.int64], n_asked: NDArray[np.int64], is_first: NDArray[np.bool_], dispersion: float
) -> Floats:
    """[N, H] log-probability that the wrong answers fall into these groups; -inf where there is no group."""
    of_group = np.where(is_first, np.log(dispersion) + gammaln(np.maximum(size, 1)), 0.0)
    total = of_group.sum(axis=1, keepdims=True)
    n_wrong = np.concatenate([n_asked[:, None] - size, n_asked[:, None]], axis=1)
    normaliser = gammaln(dispersion + n_wrong) - gammaln(dispersion)
    log_probability = np.concatenate([total - of_group, total], axis=1) - normaliser
    log_probability[:, :-1][~is_first] = -np.inf
    return log_probability
