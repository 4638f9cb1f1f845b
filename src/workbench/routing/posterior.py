"""What feedback says of each model's reward: a Bayesian linear regression a model, in a few dimensions.

A model's surprise, its reward less what was expected of it, is x . theta and noise, where x is the prompt's
context. Before any feedback theta is around 0 for each model: what was expected is then believed.

Dimensions: M models, K dimensions of the context, C columns, positions of models.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.errors import ConfigError
from workbench.routing.fields import require
from workbench.routing.forecast import Floats

Columns = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """All that was learned, as sums over feedback, which is what a file keeps.

    `gram` [M, K, K] sums x x^T, `moment` [M, K] sums x times the surprise, each row weighted by its age
    when there is forgetting; `clock` is the number of the latest request in them.
    """

    model_ids: tuple[str, ...]
    gram: NDArray[np.float64]
    moment: NDArray[np.float64]
    clock: int

    def __post_init__(self) -> None:
        n_models, size = len(self.model_ids), self.moment.shape[-1]
        require(self.moment.shape == (n_models, size), "models")
        require(self.gram.shape == (n_models, size, size), "context")
        require(bool(np.isfinite(self.gram).all() and np.isfinite(self.moment).all()), "numbers")
        require(self.clock >= 0, "clock")

    @classmethod
    def none(cls, model_ids: Sequence[str], size: int) -> "Evidence":
        """Nothing learned yet, of contexts with `size` dimensions."""
        n_models = len(model_ids)
        return cls(tuple(model_ids), np.zeros((n_models, size, size)), np.zeros((n_models, size)), 0)

    def of_models(self, model_ids: Sequence[str], size: int) -> "Evidence":
        """The same for `model_ids`: a copy, in which a model that is new has none.

        Raises:
            ConfigError: it was learned in contexts of another size.
        """
        if self.moment.shape[1] != size:
            raise ConfigError(
                f"what was learned is of contexts with {self.moment.shape[1]} dimensions, the router's have "
                f"{size}; start anew, or give it the router it was learned with"
            )
        fresh = Evidence.none(model_ids, size)
        for column, model_id in enumerate(model_ids):
            if model_id in self.model_ids:
                known = self.model_ids.index(model_id)
                fresh.gram[column], fresh.moment[column] = self.gram[known], self.moment[known]
        return Evidence(fresh.model_ids, fresh.gram, fresh.moment, self.clock)


class Posterior:
    """Mean and standard deviation of each model's surprise in a context; one row more costs K x K additions.

    The sums are kept, not their inverse: they do not lose precision however many rows come, and rows may come
    in any order. The inverse is made anew, for the models that learned something, when it is next asked for.

    Source: Bishop (2006), Pattern Recognition and Machine Learning, section 3.3.
    """

    def __init__(
        self, evidence: Evidence, *, prior_sd: float, noise_sd: float, half_life: float | None = None
    ) -> None:
        """`evidence` is taken over, not copied; `half_life` is in requests, None: nothing is forgotten."""
        self._evidence = evidence
        self._clock = evidence.clock
        self._noise_sd = noise_sd
        self._ridge = (noise_sd / prior_sd) ** 2
        self._half_life = half_life
        self._theta = np.zeros_like(evidence.moment)
        self._covariance = np.zeros_like(evidence.gram)
        self._is_stale = np.ones(len(evidence.model_ids), dtype=np.bool_)

    @property
    def size(self) -> int:
        """K."""
        return int(self._evidence.moment.shape[1])

    @property
    def clock(self) -> int:
        """The number of the latest request that was learned from."""
        return self._clock

    def evidence(self) -> Evidence:
        """A copy of what was learned so far."""
        now = self._evidence
        return Evidence(now.model_ids, now.gram.copy(), now.moment.copy(), self._clock)

    def observe(self, column: int, context: Floats, surprise: float, *, at: int) -> None:
        """Learn that the model of this column surprised by so much in `context` [K], in request number `at`.

        A row counts half for each half-life by which it is older than the latest one, whichever came first.
        """
        weight = 1.0
        if self._half_life is not None:
            self._age(math.exp2(-max(at - self._clock, 0) / self._half_life))
            weight = math.exp2(-max(self._clock - at, 0) / self._half_life)
        self._clock = max(self._clock, at)
        self._evidence.gram[column] += weight * np.outer(context, context)
        self._evidence.moment[column] += weight * surprise * context
        self._is_stale[column] = True

    def predicted(self, context: Floats, columns: Columns) -> tuple[Floats, Floats]:
        """[C], [C] mean and standard deviation of the surprise that `columns` will have in `context` [K].

        The deviation is that of the mean: noise is not in it.
        """
        self._refresh()
        mean: Floats = self._theta[columns] @ context
        variance: Floats = (self._covariance[columns] @ context) @ context
        return mean, np.sqrt(np.maximum(variance, 0.0))

    def _age(self, kept: float) -> None:
        if kept < 1.0:
            self._evidence.gram[:] *= kept
            self._evidence.moment[:] *= kept
            self._is_stale[:] = True

    def _refresh(self) -> None:
        stale = np.flatnonzero(self._is_stale)
        if len(stale) == 0:
            return
        inverse = np.linalg.inv(self._evidence.gram[stale] + self._ridge * np.eye(self.size))
        self._covariance[stale] = self._noise_sd**2 * inverse
        self._theta[stale] = (inverse @ self._evidence.moment[stale][:, :, None])[:, :, 0]
        self._is_stale[stale] = False
