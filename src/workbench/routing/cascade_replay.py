"""A cascade on recorded answers: the same arithmetic for one prompt that is being asked and for whole tables.

Dimensions: N prompts, n of them, M models, K asked of them, D difficulties.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from workbench.answers import is_refusal, settled
from workbench.errors import DataError
from workbench.routing.agreement import NOBODY, Belief, Concord, Skills, believe, expected_right
from workbench.routing.forecast import Floats
from workbench.routing.training_data import TrainingData

WITHOUT_RESPONSES = "a cascade looks at answers; this table has no column 'response'"

_LEAST = 0.01
"""How near to 0 or 1 a prompt's predicted quality is taken."""


@dataclass(frozen=True, slots=True)
class CostRatio:
    """What a model's next answer costs over its mean: exp(intercept + slope x mean log-ratio of those asked).

    A prompt that made the models asked so far write at length makes the next one do so too.
    """

    intercept: float
    slope: float


@dataclass(frozen=True, slots=True)
class Recorded:
    """Prompts and their recorded answers: `right` is [N, M, D], `mean_cost_usd` [M], the others [N, M]."""

    right: Floats
    codes: NDArray[np.int64]
    quality: Floats
    cost_usd: Floats
    can_ask: NDArray[np.bool_]
    mean_cost_usd: Floats
    concord: Concord
    cost_ratio: CostRatio


@dataclass(frozen=True, slots=True)
class Played:
    """One run of the policy, all [N]: as `Replay`, with the belief in the answer that was given."""

    quality: Floats
    cost_usd: Floats
    right: Floats
    n_asked: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Survey:
    """What is known before cost is weighed: the position of the answer to give and the belief in it [n].

    `gain` [n, M] is what each model would add to that, -inf where it cannot be asked or cannot be worth it;
    `cost_usd` [n, M] what it will cost.
    """

    given: NDArray[np.int64]
    right: Floats
    gain: Floats
    cost_usd: Floats

    def next_model(self, cost_weight: float, is_asked: NDArray[np.bool_]) -> NDArray[np.int64]:
        """[n] the model to ask, or `NOBODY`; where nobody was asked, somebody must be."""
        weighed = self.gain - cost_weight * self.cost_usd if cost_weight else self.gain
        model = np.argmax(weighed, axis=1)
        value = np.take_along_axis(weighed, model[:, None], axis=1)[:, 0]
        goes_on = (value > 0.0) | (~is_asked.any(axis=1) & np.isfinite(value))
        return np.where(goes_on, model, NOBODY)

    def rows(self, index: NDArray[np.bool_]) -> "Survey":
        """Some of the prompts."""
        return Survey(self.given[index], self.right[index], self.gain[index], self.cost_usd[index])


def recorded(
    data: TrainingData, skills: Skills, logits: Floats, concord: Concord, cost_ratio: CostRatio
) -> Recorded:
    """A table's answers, ready to be played on; `logits` [N, M] as `prompt_logits` makes them.

    Raises:
        DataError: the table has no responses.
    """
    codes = answer_codes(data)
    can_ask = (codes != NOBODY) & np.isfinite(data.quality) & np.isfinite(data.cost_usd)
    return Recorded(
        right=skills.right(logits),
        codes=codes,
        quality=data.quality,
        cost_usd=data.cost_usd,
        can_ask=can_ask,
        mean_cost_usd=data.models.cost_usd,
        concord=concord,
        cost_ratio=cost_ratio,
    )


def prompt_logits(quality: Floats) -> Floats:
    """[N, M] predicted quality on the logit scale, 0 where nothing is predicted."""
    logits: Floats = logit(np.clip(np.nan_to_num(quality, nan=0.5), _LEAST, 1.0 - _LEAST))
    return logits


def answer_codes(data: TrainingData) -> NDArray[np.int64]:
    """[N, M] as `codes_of`.

    Raises:
        DataError: the table has no responses.
    """
    if data.answers is None:
        raise DataError(WITHOUT_RESPONSES)
    return codes_of(data.answers)


def codes_of(answers: NDArray[np.object_]) -> NDArray[np.int64]:
    """[N, M] equal numbers where two answers to a prompt settle on the same; `NOBODY`: no answer.

    A refusal agrees with nobody, not even with another refusal.
    """
    codes = np.full(answers.shape, NOBODY, dtype=np.int64)
    for row, texts in enumerate(answers):
        number_of: dict[str, int] = {}
        for column, text in enumerate(texts):
            if text is not None:
                form = f"refusal {column}" if is_refusal(text) else settled(text)
                codes[row, column] = number_of.setdefault(form, len(number_of))
    return codes


def play(
    table: Recorded, opening: NDArray[np.int64], cost_weights: Sequence[float], *, max_asked: int
) -> list[Played]:
    """Ask the opening of every prompt, then go on until it stops or nobody is left; once for each weight."""
    asked = np.tile(opening[opening != NOBODY][:max_asked], (len(table.quality), 1))
    asked[~np.take_along_axis(table.can_ask, asked, axis=1)] = NOBODY
    first = survey(table, np.arange(len(asked)), asked, least_weight=min(cost_weights))
    return [_played(table, asked, first, cost_weight=weight, max_asked=max_asked) for weight in cost_weights]


def _played(
    table: Recorded, asked: NDArray[np.int64], found: Survey, *, cost_weight: float, max_asked: int
) -> Played:
    n = len(asked)
    rows, n_asked = np.arange(n), np.zeros(n, dtype=np.int64)
    quality, right, cost = np.full(n, np.nan), np.full(n, np.nan), np.zeros(n)
    while len(rows):
        is_asked = asked != NOBODY
        model = found.next_model(cost_weight, is_asked)
        stops = (model == NOBODY) | (is_asked.sum(axis=1) >= max_asked)
        done, final = rows[stops], found.rows(stops)
        n_asked[done], right[done] = is_asked[stops].sum(axis=1), final.right
        quality[done] = _given(table.quality[done], asked[stops], final.given)
        cost[done] = _paid(table.cost_usd[done], asked[stops])
        rows, asked = rows[~stops], np.column_stack([asked[~stops], model[~stops]])
        found = survey(table, rows, asked, least_weight=cost_weight)
    return Played(quality, cost, right, n_asked)


def _given(quality: Floats, asked: NDArray[np.int64], position: NDArray[np.int64]) -> Floats:
    """[n] the quality of the answer that is given; NaN where nobody was asked."""
    if asked.shape[1] == 0:
        return np.full(len(quality), np.nan)
    column = np.take_along_axis(asked, position[:, None], axis=1)
    found = np.take_along_axis(quality, column, axis=1)[:, 0]
    return np.where((asked != NOBODY).any(axis=1), found, np.nan)


def _paid(cost_usd: Floats, asked: NDArray[np.int64]) -> Floats:
    """[n] the sum over those asked, of which a cost that is not known counts as 0."""
    paid = np.where(asked != NOBODY, np.take_along_axis(cost_usd, asked, axis=1), 0.0)
    return np.asarray(np.nansum(paid, axis=1))


def survey(
    table: Recorded, rows: NDArray[np.int64], asked: NDArray[np.int64], *, least_weight: float
) -> Survey:
    """After `asked` [n, K] of `rows` [n]; no gain is worked out that `least_weight` x cost would outweigh."""
    is_asked = asked != NOBODY
    codes = np.where(is_asked, np.take_along_axis(table.codes[rows], asked, axis=1), NOBODY)
    right = np.take_along_axis(table.right[rows], asked[:, :, None], axis=1)
    belief = believe(right, codes, table.concord)
    best = belief.right.max(axis=1, initial=0.0)
    given = np.argmax(belief.right, axis=1) if asked.shape[1] else np.zeros(len(rows), dtype=np.int64)
    can_ask = table.can_ask[rows].copy()
    row, place = np.nonzero(is_asked)
    can_ask[row, asked[row, place]] = False
    cost = _expected_cost(table, rows, asked)
    if least_weight:
        can_pay = np.nan_to_num(least_weight * cost) < 1.0 - best[:, None]
        can_ask &= can_pay | ~is_asked.any(axis=1, keepdims=True)
    gain = _gain(belief, table.right[rows], can_ask, table.concord) - best[:, None]
    return Survey(given, best, gain, cost)


def _gain(belief: Belief, right: Floats, can_ask: NDArray[np.bool_], concord: Concord) -> Floats:
    """[n, M] how likely the best answer is right after each model that can be asked; -inf: it cannot be."""
    found = np.full(can_ask.shape, -np.inf)
    for model in np.flatnonzero(can_ask.any(axis=0)):
        some = can_ask[:, model]
        found[some, model] = expected_right(belief.rows(some), right[some, model], concord)
    return found


def _expected_cost(table: Recorded, rows: NDArray[np.int64], asked: NDArray[np.int64]) -> Floats:
    """[n, M] what each model's answer will cost, from what those asked have cost."""
    mean = table.mean_cost_usd
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.log(table.cost_usd[rows] / mean)
    ratios = np.where(asked != NOBODY, np.take_along_axis(ratios, asked, axis=1), np.nan)
    known = np.isfinite(ratios)
    average = np.where(known, ratios, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    factor = np.exp(table.cost_ratio.intercept + table.cost_ratio.slope * average)
    factor = np.where(known.any(axis=1), factor, 1.0)
    return np.asarray(mean * factor[:, None])
