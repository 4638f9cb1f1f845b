"""The untrained cascade: ask two cheap models; where they agree accept, else ask a strong one.

Which three models these are is chosen on the training rows, and nothing else is learned.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from workbench.routing.agreement import NOBODY
from workbench.routing.cascade_replay import answer_codes
from workbench.routing.decide import check_weights
from workbench.routing.fields import require
from workbench.routing.forecast import Floats
from workbench.routing.training_data import TrainingData


@dataclass(frozen=True, slots=True)
class AgreementRule:
    """`first` and `second` are asked, `strong` where they disagree; one model alone where all are it."""

    model_ids: tuple[str, ...]
    first: int
    second: int
    strong: int

    def __post_init__(self) -> None:
        columns = (self.first, self.second, self.strong)
        require(all(0 <= column < len(self.model_ids) for column in columns), "models")

    def replay(self, data: TrainingData) -> tuple[Floats, Floats]:
        """[N] quality given and cost paid on recorded answers; NaN where a model that is asked has no record.

        Raises:
            DataError: the table has no responses.
        """
        if self.first == self.second:
            return data.quality[:, self.first], data.cost_usd[:, self.first]
        codes = answer_codes(data)
        agree = (codes[:, self.first] == codes[:, self.second]) & (codes[:, self.first] != NOBODY)
        quality = np.where(agree, data.quality[:, self.first], data.quality[:, self.strong])
        opening = data.cost_usd[:, self.first] + data.cost_usd[:, self.second]
        return quality, opening + np.where(agree, 0.0, data.cost_usd[:, self.strong])


def fit_agreement_rules(data: TrainingData, cost_weights: Sequence[float]) -> list[AgreementRule]:
    """For each cost weight the rule, or the single model, with the best mean quality less the weighed cost.

    Raises:
        DataError: the table has no responses.
        ConfigError: a cost weight cannot be used.
    """
    check_weights(data.models, cost_weight=max(cost_weights))
    pairs, columns = _rules(data), range(len(data.model_ids))
    places = [(first, second, strong) for first, second, *_ in pairs for strong in columns]
    places += [(column, column, column) for column in columns]
    quality = np.concatenate([*(found for *_, found, _ in pairs), data.models.quality])
    cost = np.concatenate([*(found for *_, found in pairs), data.models.cost_usd])
    best = [int(np.nanargmax(quality - weight * cost)) for weight in cost_weights]
    return [AgreementRule(data.model_ids, *places[place]) for place in best]


def _rules(data: TrainingData) -> list[tuple[int, int, Floats, Floats]]:
    """Each pair, the better model first, with the mean quality and cost [M] for each strong model."""
    codes, models = answer_codes(data), data.models
    quality = np.where(np.isfinite(data.quality), data.quality, models.quality)
    cost = np.where(np.isfinite(data.cost_usd), data.cost_usd, models.cost_usd)
    found = []
    for a, b in combinations(range(len(data.model_ids)), 2):
        first, second = (a, b) if models.quality[a] >= models.quality[b] else (b, a)
        agree = (codes[:, a] == codes[:, b]) & (codes[:, a] != NOBODY)
        n = len(agree)
        accepted = quality[agree, first].sum()
        opening = (cost[:, a] + cost[:, b]).sum()
        strong_quality = (accepted + quality[~agree].sum(axis=0)) / n
        strong_cost = (opening + cost[~agree].sum(axis=0)) / n
        strong_quality[[a, b]] = np.nan  # they were asked already
        found.append((first, second, strong_quality, strong_cost))
    return found
