"""Routing and cascading as one policy: after each answer, stop or ask another model.

The first models asked, the opening, are fixed for a cost weight. From then on the policy stops where no model
is expected to raise the probability that the given answer is right by more than its cost weighs, and else
asks the one for which the difference is largest. Given is the answer that is most likely right: one of the
group whose members weigh most. `agreement` has the arithmetic, `cascade_training` the fit.

Dimensions: N prompts, M models, K asked of them, W weights, D difficulties.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from workbench.errors import DataError, RoutingError
from workbench.routing.agreement import NOBODY, Concord, Skills
from workbench.routing.cascade_replay import (
    CostRatio,
    Recorded,
    codes_of,
    play,
    prompt_logits,
    recorded,
    survey,
)
from workbench.routing.decide import distinct
from workbench.routing.fields import require
from workbench.routing.forecast import Floats, KnownModels
from workbench.routing.neighbours import KNN
from workbench.routing.training_data import TrainingData
from workbench.types import Decision, Prompt


@dataclass(frozen=True, slots=True)
class Answered:
    """A model that has been asked. `cost_usd` None: not known. `text` "": it settled on nothing."""

    model_id: str
    text: str
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask this model next."""

    model_id: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Give the answer at position `answer` of those asked; `predicted_quality` is its chance to be right."""

    answer: int
    predicted_quality: float


@dataclass(frozen=True, slots=True)
class Replay:
    """The policy on recorded answers, all [W, N]: what it gave and paid, how sure it was, how many it asked.

    NaN as the quality of a prompt that nobody was recorded for.
    """

    quality: Floats
    cost_usd: Floats
    predicted: Floats
    n_asked: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cascade:
    """A policy that was fitted by `cascade_training.fit_cascade`.

    `opening` [W, 2] are the columns asked first at each of `opening_weights` [W] (`NOBODY`: one, or none).
    `expected_quality` and `expected_cost_usd` [W] are what it reached there on the training prompts, of which
    each was predicted by the others. `sureness` [2] are intercept and slope, on the
    logit scale, from belief to predicted quality.
    """

    models: KnownModels
    prompt_model: KNN
    skills: Skills
    concord: Concord
    cost_ratio: CostRatio
    opening_weights: NDArray[np.float64]
    opening: NDArray[np.int64]
    expected_quality: NDArray[np.float64]
    expected_cost_usd: NDArray[np.float64]
    sureness: NDArray[np.float64]
    max_asked: int = 5
    cost_weight: float = 0.0

    def __post_init__(self) -> None:
        n_models = len(self.models.model_ids)
        require(self.skills.intercept.shape == (n_models,), "models")
        require(self.prompt_model.models.model_ids == self.models.model_ids, "models")
        require(self.opening.shape == (len(self.opening_weights), 2) and len(self.opening) > 0, "openings")
        require(bool(((self.opening >= NOBODY) & (self.opening < n_models)).all()), "openings")
        require(self.expected_quality.shape == self.opening_weights.shape, "openings")
        require(self.expected_cost_usd.shape == self.opening_weights.shape, "openings")
        require(self.sureness.shape == (2,) and bool(np.isfinite(self.sureness).all()), "numbers")
        require(self.max_asked >= 1, "number of questions")

    @property
    def name(self) -> str:
        """`cascade`."""
        return "cascade"

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """Whom to ask first; what follows hangs on the answer, and only `next` says it.

        Raises:
            RoutingError: there are no candidates, or the cascade knows none of them.
        """
        names = distinct(candidates, self.name)
        step = self.next(prompt, (), candidates=names)  # it asks, as nobody has been asked
        first = step.model_id if isinstance(step, Ask) else names[0]
        return Decision(first, self.name, tuple(name for name in names if name != first))

    def next(
        self, prompt: Prompt, asked: Sequence[Answered], *, candidates: Sequence[str] | None = None
    ) -> Ask | Stop:
        """Stop, or the model to ask now that those of `asked` have answered; deterministic.

        `candidates` are the models that may be asked; None: all it was fitted on.

        Raises:
            RoutingError: the cascade knows no model that may be asked, or one that answered.
        """
        names = self.models.model_ids
        unknown = [answered.model_id for answered in asked if answered.model_id not in names]
        may_ask = np.array([candidates is None or name in candidates for name in names])
        if unknown or (not asked and not may_ask.any()):
            raise RoutingError(
                f"the cascade knows {', '.join(names)}; it was given {', '.join(unknown or candidates or ())}"
            )
        table = self._table_of(prompt, asked, may_ask)
        columns = np.array([[names.index(answered.model_id) for answered in asked]], dtype=np.int64)
        rows = np.zeros(1, dtype=np.int64)
        pending = self._pending(columns[0], may_ask)
        if pending is not None:
            return Ask(names[pending])
        found = survey(table, rows, columns, least_weight=self.cost_weight)
        model = int(found.next_model(self.cost_weight, columns != NOBODY)[0])
        if len(asked) < self.max_asked and model != NOBODY:
            return Ask(names[model])
        return Stop(int(found.given[0]), float(self._quality(found.right)[0]))

    def replay(self, data: TrainingData, cost_weights: Sequence[float]) -> Replay:
        """What the policy would have given and paid on recorded answers, for each cost weight.

        Raises:
            DataError: the table has no responses, or other models than those it was fitted on.
        """
        if data.model_ids != self.models.model_ids:
            raise DataError(f"the cascade was fitted on {', '.join(self.models.model_ids)}, and on no others")
        forecast = self.prompt_model.forecast(data.prompts, features=data.features)
        table = recorded(data, self.skills, prompt_logits(forecast.quality), self.concord, self.cost_ratio)
        found = [
            play(table, self.opening_at(weight), [weight], max_asked=self.max_asked)[0]
            for weight in cost_weights
        ]
        return Replay(
            quality=np.array([played.quality for played in found]),
            cost_usd=np.array([played.cost_usd for played in found]),
            predicted=self._quality(np.array([played.right for played in found])),
            n_asked=np.array([played.n_asked for played in found]),
        )

    def opening_at(self, cost_weight: float) -> NDArray[np.int64]:
        """[2] the opening of the cost weight that is nearest on the logarithmic scale."""
        known = np.log(np.maximum(self.opening_weights, 1e-12))
        nearest = int(np.argmin(np.abs(known - np.log(max(cost_weight, 1e-12)))))
        return np.asarray(self.opening[nearest])

    def aiming_at(self, quality: float) -> "Cascade":
        """The same policy at the greatest cost weight that reached this quality on the training prompts.

        Where none did, at the one that came nearest to it.
        """
        reached = np.flatnonzero(self.expected_quality >= quality)
        place = reached[-1] if len(reached) else np.argmax(self.expected_quality)
        return replace(self, cost_weight=float(self.opening_weights[place]))

    def _pending(self, asked: NDArray[np.int64], may_ask: NDArray[np.bool_]) -> int | None:
        opening = [
            c
            for c in self.opening_at(self.cost_weight).tolist()
            if c != NOBODY and (may_ask[c] or c in asked)
        ]
        waiting = [column for column in opening if column not in asked]
        return waiting[0] if waiting and len(asked) < len(opening) else None

    def _quality(self, right: Floats) -> Floats:
        surest = np.clip(right, 1e-6, 1.0 - 1e-6)
        quality: Floats = expit(self.sureness[0] + self.sureness[1] * logit(surest))
        return quality

    def _table_of(self, prompt: Prompt, asked: Sequence[Answered], may_ask: NDArray[np.bool_]) -> Recorded:
        """One prompt as a table of one row, of which the answers so far are known."""
        columns = [self.models.model_ids.index(answered.model_id) for answered in asked]
        answers = np.full((1, len(may_ask)), None, dtype=object)
        cost = np.full((1, len(may_ask)), np.nan)
        for column, answered in zip(columns, asked, strict=True):
            answers[0, column] = answered.text
            cost[0, column] = np.nan if answered.cost_usd is None else answered.cost_usd
        may_ask = may_ask.copy()
        may_ask[columns] = False
        return Recorded(
            right=self.skills.right(prompt_logits(self.prompt_model.forecast([prompt]).quality)),
            codes=codes_of(answers),
            quality=np.full(cost.shape, np.nan),
            cost_usd=cost,
            can_ask=may_ask[None, :],
            mean_cost_usd=self.models.cost_usd,
            concord=self.concord,
            cost_ratio=self.cost_ratio,
        )
