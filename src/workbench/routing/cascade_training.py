"""Fitting a cascade to a table of recorded answers.

Few numbers are learned, as tables are small: three of each model, four of all, and an opening for each cost
weight. What a prompt alone says is predicted for each part of the training prompts by the others, so that the
openings are chosen on predictions as bad as those to come.

Dimensions: N prompts, M models, W cost weights.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from workbench.errors import DataError, InsufficientDataError
from workbench.routing.agreement import NOBODY, Concord
from workbench.routing.cascade import Cascade
from workbench.routing.cascade_replay import (
    WITHOUT_RESPONSES,
    CostRatio,
    Played,
    Recorded,
    answer_codes,
    play,
    prompt_logits,
    recorded,
)
from workbench.routing.decide import check_weights
from workbench.routing.forecast import Floats
from workbench.routing.neighbours import fit_knn
from workbench.routing.skill_fit import fit_skills
from workbench.routing.training_data import TrainingData, parts_by_group

_MAX_NEIGHBOURS, _NEIGHBOUR_SHARE = 500, 0.25
"""Many neighbours: the answers say more than the prompt, of which a smooth guess is enough."""
_N_PARTS = 5
_N_TUNED_ON = 2_500
"""Training prompts on which openings are compared, so that the time stays bounded."""
_N_PAIRS, _N_SINGLES = 3, 2
_SHARES = 0.01 * 2.0 ** (np.arange(13) / 2.0)
"""Cost weights as the quality that the mean cost of the best single model is worth."""
_LEAST_AGREE, _MOST_AGREE = 0.01, 0.999
_FEW = 1.0


def fit_cascade(
    data: TrainingData, *, seed: int = 0, cost_weight: float = 0.0, max_asked: int = 5
) -> Cascade:
    """The policy for `data`; `cost_weight` is the quality one gives up to save a dollar.

    Raises:
        DataError: the table has no responses, so that there is nothing for a cascade to look at.
        InsufficientDataError: it has no costs, or no prompt that two models answered.
        ConfigError: the cost weight cannot be used.
    """
    _check(data)
    check_weights(data.models, cost_weight=cost_weight)
    logits = _withheld_logits(data, seed)
    skills = fit_skills(logits, data.quality)
    codes = answer_codes(data)
    concord, cost_ratio = fit_concord(codes, data.quality), fit_cost_ratio(data.cost_usd)
    table = _some(recorded(data, skills, logits, concord, cost_ratio), seed)
    weights = opening_weights(table)
    openings, played = best_openings(table, weights, max_asked=max_asked)
    return Cascade(
        models=data.models,
        prompt_model=fit_knn(data, k=_n_neighbours(data)),
        skills=skills,
        concord=table.concord,
        cost_ratio=table.cost_ratio,
        opening_weights=weights,
        opening=openings,
        expected_quality=np.array([np.nan_to_num(run.quality).mean() for run in played]),
        expected_cost_usd=np.array([run.cost_usd.mean() for run in played]),
        sureness=_sureness(played),
        max_asked=max_asked,
        cost_weight=cost_weight,
    )


def fit_concord(codes: NDArray[np.int64], quality: Floats) -> Concord:
    """How often two right answers to a prompt agree, and two wrong ones.

    Raises:
        InsufficientDataError: no prompt was answered by two models.
    """
    right_same = right_pairs = wrong_same = wrong_pairs = 0.0
    known = (codes != NOBODY) & np.isfinite(quality)
    for a, b in combinations(range(codes.shape[1]), 2):
        both = known[:, a] & known[:, b]
        same, first, second = (codes[both, a] == codes[both, b]), quality[both, a], quality[both, b]
        right_same, right_pairs = right_same + (same * first * second).sum(), right_pairs + first @ second
        wrong = (1.0 - first) * (1.0 - second)
        wrong_same, wrong_pairs = wrong_same + (same * wrong).sum(), wrong_pairs + wrong.sum()
    if right_pairs + wrong_pairs == 0.0:
        raise InsufficientDataError(
            "no prompt was answered by two models, so that no agreement can be learned"
        )
    agree = (right_same + _FEW) / (right_pairs + 2.0 * _FEW)
    collide = np.clip((wrong_same + _FEW) / (wrong_pairs + 2.0 * _FEW), _LEAST_AGREE, _MOST_AGREE)
    return Concord(float(np.clip(agree, _LEAST_AGREE, _MOST_AGREE)), float((1.0 - collide) / collide))


def fit_cost_ratio(cost_usd: Floats) -> CostRatio:
    """Regression of a model's log-ratio to its mean cost on that of two others; 0 where nothing is known."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.log(cost_usd / np.nanmean(cost_usd, axis=0))
    n_models = ratios.shape[1]
    others = [(ratios[:, [m - 1, m - 2]].mean(axis=1), ratios[:, m]) for m in range(n_models)]
    x, y = np.concatenate([x for x, _ in others]), np.concatenate([y for _, y in others])
    x, y = x[np.isfinite(x + y)], y[np.isfinite(x + y)]
    if n_models < 3 or len(x) < _N_PARTS or x.std() == 0.0:
        return CostRatio(0.0, 0.0)
    slope = float(np.clip(np.cov(x, y)[0, 1] / x.var(ddof=1), 0.0, 1.0))
    return CostRatio(float(np.log(np.exp(y).mean() / np.exp(slope * x).mean())), slope)


def opening_weights(table: Recorded) -> Floats:
    """[W] cost weights from where money hardly counts to where only it does."""
    best = int(np.nanargmax(_means(table.quality)))
    cost = table.mean_cost_usd[best] or float(table.mean_cost_usd.max()) or 1.0
    return np.asarray(_SHARES / cost)


def best_openings(
    table: Recorded, weights: Floats, *, max_asked: int
) -> tuple[NDArray[np.int64], list[Played]]:
    """[W, 2] the opening for each weight, of those that look best there, and how it was played.

    It is judged at the neighbouring weights too, so that less of the choice is luck.
    """
    likely = [_likely_openings(table, weight) for weight in weights]
    wanted: dict[tuple[int, int], set[int]] = {}
    for place, openings in enumerate(likely):
        for opening in openings:
            around = range(max(place - 1, 0), min(place + 2, len(weights)))
            wanted.setdefault(opening, set()).update(around)
    runs = {
        opening: dict(zip(places, _plays(table, opening, weights[places], max_asked), strict=True))
        for opening, places in ((opening, sorted(places)) for opening, places in wanted.items())
    }

    def worth(opening: tuple[int, int], place: int) -> float:
        around = [p for p in (place - 1, place, place + 1) if 0 <= p < len(weights)]
        return float(np.mean([net_quality(runs[opening][p], weights[p]) for p in around]))

    best = [_first_best(openings, place, worth) for place, openings in enumerate(likely)]
    return np.array(best, dtype=np.int64), [runs[opening][place] for place, opening in enumerate(best)]


def _first_best(
    openings: list[tuple[int, int]], place: int, worth: Callable[[tuple[int, int], int], float]
) -> tuple[int, int]:
    return max(openings, key=lambda opening: worth(opening, place))


def _plays(table: Recorded, opening: tuple[int, int], weights: Floats, max_asked: int) -> list[Played]:
    return play(table, np.array(opening), weights.tolist(), max_asked=max_asked)


def net_quality(played: Played, cost_weight: float) -> float:
    """Mean quality less the weighed cost; a prompt that nobody answered counts as wrong."""
    return float(np.nan_to_num(played.quality).mean() - cost_weight * played.cost_usd.mean())


def _likely_openings(table: Recorded, cost_weight: float) -> list[tuple[int, int]]:
    """Single models, and pairs by what they are worth with a third that is asked where they disagree."""
    value = dict(rule_values(table, cost_weight))
    pairs = sorted(value, key=lambda pair: -value[pair])[:_N_PAIRS]
    single = _means(table.quality) - cost_weight * table.mean_cost_usd
    singles = [(int(m), NOBODY) for m in np.argsort(-np.nan_to_num(single, nan=-np.inf))[:_N_SINGLES]]
    return [*pairs, *singles]


def rule_values(table: Recorded, cost_weight: float) -> Iterator[tuple[tuple[int, int], float]]:
    """Each pair of models, the better first, with the net quality of the best rule that opens with it."""
    mean = _means(table.quality)
    quality = np.where(np.isfinite(table.quality), table.quality, mean)
    cost = np.where(np.isfinite(table.cost_usd), table.cost_usd, table.mean_cost_usd)
    for a, b in combinations(np.flatnonzero(table.can_ask.any(axis=0)).tolist(), 2):
        first, second = (a, b) if mean[a] >= mean[b] else (b, a)
        differ = (table.codes[:, a] != table.codes[:, b]) | (table.codes[:, a] == NOBODY)
        strong = quality[differ].sum(axis=0) - cost_weight * cost[differ].sum(axis=0)
        agreed = quality[~differ, first].sum() - cost_weight * (cost[:, a] + cost[:, b]).sum()
        yield (first, second), float((agreed + np.max(strong)) / len(quality))


def _check(data: TrainingData) -> None:
    if data.answers is None:
        raise DataError(WITHOUT_RESPONSES)
    if not np.isfinite(data.models.cost_usd).any():
        raise InsufficientDataError("a cascade weighs what each answer costs; this table has no cost_usd")


def _withheld_logits(data: TrainingData, seed: int) -> Floats:
    """[N, M] what the other parts of the training prompts say of each prompt."""
    n_parts = min(_N_PARTS, len(np.unique(data.groups)))
    part = parts_by_group(data.groups, n_parts, seed=seed)
    quality = np.full(data.quality.shape, np.nan)
    for held_out in range(n_parts):
        rows = np.flatnonzero(part == held_out)
        others = data.rows(np.flatnonzero(part != held_out))
        router = fit_knn(others, k=_n_neighbours(others))
        quality[rows] = router.forecast(
            [data.prompts[i] for i in rows], features=data.features.rows(rows)
        ).quality
    return prompt_logits(quality)


def _n_neighbours(data: TrainingData) -> int:
    return int(np.clip(_NEIGHBOUR_SHARE * len(data.prompts), 1, _MAX_NEIGHBOURS))


def _some(table: Recorded, seed: int) -> Recorded:
    """At most as many prompts as openings are compared on."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(table.quality))[:_N_TUNED_ON])
    return Recorded(
        right=table.right[chosen],
        codes=table.codes[chosen],
        quality=table.quality[chosen],
        cost_usd=table.cost_usd[chosen],
        can_ask=table.can_ask[chosen],
        mean_cost_usd=table.mean_cost_usd,
        concord=table.concord,
        cost_ratio=table.cost_ratio,
    )


def _sureness(played: Sequence[Played]) -> Floats:
    """[2] intercept and slope of a logistic regression of quality on the belief's logit, by Newton steps."""
    right = np.concatenate([run.right for run in played])
    quality = np.concatenate([run.quality for run in played])
    known = np.isfinite(quality)
    columns = np.stack([np.ones(known.sum()), logit(np.clip(right[known], 1e-6, 1.0 - 1e-6))])
    values = np.array([0.0, 1.0])
    for _ in range(10):
        predicted = expit(values @ columns)
        gradient = columns @ (quality[known] - predicted) - (values - [0.0, 1.0])
        curvature = (columns * (predicted * (1.0 - predicted))) @ columns.T + np.eye(2)
        values = values + np.clip(np.linalg.solve(curvature, gradient), -1.0, 1.0)
    return np.asarray(values)


def _means(values: Floats) -> Floats:
    known = np.isfinite(values)
    totals = np.where(known, values, 0.0).sum(axis=0)
    return np.asarray(
        np.divide(totals, known.sum(axis=0), out=np.full(len(totals), np.nan), where=known.any(axis=0))
    )
