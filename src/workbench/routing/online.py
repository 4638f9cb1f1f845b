"""A contextual bandit over a fitted router: it goes on learning from feedback, and logs how it chose.

What the router expects of each model is where it starts; from feedback it learns, for each model, how far
that is off and where (`posterior`). Each choice is drawn from known probabilities (`exploration`), none of
which is 0, so that its log tells what any other router would have achieved (`off_policy`).

Dimensions: N prompts, M models, C candidates that the router knows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workbench.errors import ConfigError, DataError, RoutingError
from workbench.routing.context import context_of
from workbench.routing.decide import Predictor, by_score, decision, distinct, scores
from workbench.routing.draw import drawn
from workbench.routing.exploration import Exploration, Thompson
from workbench.routing.feedback import Feedback, SeenRequests, rewards
from workbench.routing.fields import require
from workbench.routing.forecast import Floats, Forecast, KnownModels
from workbench.routing.posterior import Evidence, Posterior
from workbench.types import Decision, Prompt


@dataclass(frozen=True, slots=True)
class Learning:
    """How a bandit explores and learns.

    `epsilon` is the share of requests that go to any candidate, so that of C each has a chance of epsilon / C
    or more. `prior_sd` is how far off the router's expectations are thought to be, `noise_sd` how much one
    answer's quality varies. A reward counts at most `max_surprise` away from what was expected, whatever the
    feedback says. `half_life` is the number of requests after which feedback counts half; None: it always
    counts. Routers that share prompts need seeds of their own, or they draw alike.

    Raises:
        ConfigError: one of them is out of its range.
    """

    epsilon: float = 0.05
    prior_sd: float = 0.1
    noise_sd: float = 0.5
    max_surprise: float = 1.0
    half_life: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.epsilon <= 1.0:
            raise ConfigError(f"epsilon is {self.epsilon}; it must be in (0, 1], or propensities would be 0")
        for name in ("prior_sd", "noise_sd", "max_surprise", "half_life"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0.0):
                raise ConfigError(f"{name} is {value}; it must be a finite number > 0")


@dataclass(frozen=True, slots=True, eq=False)
class BanditState:
    """All that a bandit has learned and done, to go on from: see `bandit_file`."""

    evidence: Evidence
    n_asked: int
    seen: NDArray[np.uint64]

    def __post_init__(self) -> None:
        require(self.n_asked >= 0 and self.seen.ndim == 1, "requests")


@dataclass(frozen=True, slots=True, eq=False)
class _Choice:
    """The known candidates as [C] columns, from the best expected on, and what is believed of them."""

    forecast: Forecast
    columns: NDArray[np.int64]
    reward: Floats
    chances: Floats


class Bandit:
    """Routes by `predictor` and by what feedback has taught since; a router, and `Randomised`.

    A decision follows from the seed, the number of requests before it, and what was learned by then. One
    process, one bandit: it is not to be shared between threads. `predictor`, `exploration` and `learning` are
    as they were given; `checkpoint` keeps them with the state.

    >>> from workbench.routing.baselines import BestSingle
    >>> means = np.array([0.6, 0.7]), np.array([0.01, 0.02]), np.array([np.nan, np.nan])
    >>> bandit = Bandit(BestSingle(KnownModels(("acme/small", "acme/large"), *means)))
    >>> bandit.probabilities(Prompt("p", "Hi"), ["acme/small", "acme/large"]).round(2)
    array([0.25, 0.75])
    """

    def __init__(
        self,
        predictor: Predictor,
        exploration: Exploration | None = None,
        *,
        learning: Learning | None = None,
        state: BanditState | None = None,
    ) -> None:
        """`exploration` is Thompson sampling where none is given; `state` is that of a bandit to go on from.

        Raises:
            ConfigError: the state was learned in contexts of another size.
        """
        self.predictor = predictor
        self.exploration = exploration or Thompson()
        self.learning = learning or Learning()
        ids = predictor.models.model_ids
        size = context_of(predictor, [], predictor.forecast([])).shape[1]
        evidence = Evidence.none(ids, size) if state is None else state.evidence.of_models(ids, size)
        self._posterior = Posterior(
            evidence,
            prior_sd=self.learning.prior_sd,
            noise_sd=self.learning.noise_sd,
            half_life=self.learning.half_life,
        )
        self._seen = SeenRequests(() if state is None else state.seen.tolist())
        self._n_asked = 0 if state is None else state.n_asked

    @property
    def name(self) -> str:
        """As `thompson(knn)`."""
        return f"{self.exploration.name}({self.predictor.name})"

    @property
    def models(self) -> KnownModels:
        """Those of the predictor."""
        return self.predictor.models

    @property
    def n_asked(self) -> int:
        """The number of requests so far, which is the number of the latest one."""
        return self._n_asked

    def state(self) -> BanditState:
        """A copy of what was learned and done so far."""
        return BanditState(self._posterior.evidence(), self._n_asked, self._seen.keys())

    def max_weight(self, n_candidates: int) -> float:
        """The largest weight a row of its log can have for another router: 1 / the least propensity."""
        return n_candidates / self.learning.epsilon

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """One of the candidates, drawn; the others as fallbacks, from the best believed on.

        A candidate that the predictor does not know is a fallback only, the last one.

        Raises:
            RoutingError: there are no candidates, or none that it knows.
        """
        names = distinct(candidates, self.name)
        choice = self._choice(prompt, names)
        place = drawn(f"{self.learning.seed}\0{self._n_asked}", choice.chances)
        self._n_asked += 1
        ids = self.models.model_ids
        believed = [ids[choice.columns[i]] for i in np.argsort(-choice.reward, kind="stable")]
        chosen = ids[choice.columns[place]]
        others = [name for name in believed if name != chosen] + [name for name in names if name not in ids]
        made = decision(self.name, [chosen, *others], choice.forecast, self.models)
        return replace(made, propensity=min(float(choice.chances[place]), 1.0))

    def probabilities(self, prompt: Prompt, candidates: Sequence[str]) -> Floats:
        """[K] the chance of each candidate, were it asked now; 0 of one that the predictor does not know.

        Raises:
            RoutingError: as in `route`.
        """
        choice = self._choice(prompt, distinct(candidates, self.name))
        ids = self.models.model_ids
        chance = {ids[column]: p for column, p in zip(choice.columns, choice.chances, strict=True)}
        return np.array([chance.get(name, 0.0) for name in candidates])

    def learn(self, feedback: Sequence[Feedback]) -> int:
        """Take in what came of requests, all or nothing; how many of them were new.

        The prompts are forecast at once; each row then costs as many additions as the context squared.

        Raises:
            DataError: it is on a model that the predictor does not know, or lacks a cost or latency that
                counts and is not expected either; names the request.
        """
        columns = self._columns(feedback)
        prompts, rows = [row.prompt for row in feedback], np.arange(len(feedback))
        forecast = self.predictor.forecast(prompts)
        contexts = context_of(self.predictor, prompts, forecast)
        surprises = rewards(feedback, forecast, columns, **self._weights())
        surprises -= self._expected(forecast)[rows, columns]
        limit = self.learning.max_surprise
        new = [i for i, row in enumerate(feedback) if self._is_new(row)]
        for i in new:
            at = self._n_asked if (given := feedback[i].at) is None else given
            self._posterior.observe(
                columns[i], contexts[i], float(np.clip(surprises[i], -limit, limit)), at=at
            )
        return len(new)

    def _columns(self, feedback: Sequence[Feedback]) -> NDArray[np.int64]:
        """[N] the position of the model that each row is about."""
        ids = self.models.model_ids
        for row in feedback:
            if row.model_id not in ids:
                raise DataError(
                    f"feedback on request {row.request_id!r} is of {row.model_id!r}, which router "
                    f"{self.name} does not know; it knows {', '.join(ids)}"
                )
        return np.array([ids.index(row.model_id) for row in feedback], dtype=np.int64)

    def _is_new(self, row: Feedback) -> bool:
        """Whether it has not come before; it has from now on."""
        if row.request_id in self._seen:
            return False
        self._seen.add(row.request_id)
        return True

    def _choice(self, prompt: Prompt, names: Sequence[str]) -> _Choice:
        forecast = self.predictor.forecast([prompt])
        ids, weights = self.models.model_ids, self._weights()
        order = by_score(forecast, **weights)[0]
        columns = np.array([i for i in order if ids[i] in names], dtype=np.int64)
        if len(columns) == 0:
            raise RoutingError(f"router {self.name} knows none of {list(names)}; it knows {', '.join(ids)}")
        context = context_of(self.predictor, [prompt], forecast)[0]
        surprise, sd = self._posterior.predicted(context, columns)
        reward = self._expected(forecast)[0, columns] + surprise
        share = self.learning.epsilon
        chances = (1.0 - share) * self.exploration.chances(reward, sd) + share / len(columns)
        return _Choice(forecast, columns, reward, chances)

    def _weights(self) -> dict[str, float]:
        return {
            "cost_weight": self.predictor.cost_weight,
            "latency_weight": self.predictor.latency_weight,
        }

    def _expected(self, forecast: Forecast) -> Floats:
        """[N, M] the reward; of a model that was never seen, the mean over the others."""
        expected = scores(forecast, **self._weights())
        is_known = np.isfinite(expected)
        counts = is_known.sum(axis=1)
        totals = np.where(is_known, expected, 0.0).sum(axis=1)
        means = np.divide(totals, counts, out=np.zeros(len(totals)), where=counts > 0)
        return np.where(is_known, expected, means[:, None])
