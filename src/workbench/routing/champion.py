"""The champion serves, a challenger is tried beside it, and replaces it only when a test says so.

Dimensions: N rows of the log, K candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from workbench.errors import ConfigError
from workbench.routing.base import Router
from workbench.routing.decide import distinct
from workbench.routing.draw import drawn
from workbench.routing.off_policy import target_probabilities
from workbench.routing.randomised import choice_probabilities
from workbench.routing.served_log import ServedLog
from workbench.stats.policy_log import Floats
from workbench.stats.promotion import Promotion, off_policy_gains, promotion
from workbench.types import Decision, Prompt


@dataclass(frozen=True, slots=True)
class Trial:
    """A router that asks the challenger for a `share` of the prompts, and the champion for the others.

    Which one follows from the seed and the prompt alone. The propensity is that of the model, whichever of
    the two chose it: where they agree, 1.

    Raises:
        ConfigError: the share is not between 0 and 1.
    """

    champion: Router
    challenger: Router
    share: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.share < 1.0:
            raise ConfigError(f"the challenger's share is {self.share}; it must be between 0 and 1")

    @property
    def name(self) -> str:
        """As `trial(best_single, knn)`."""
        return f"trial({self.champion.name}, {self.challenger.name})"

    @property
    def max_weight(self) -> float:
        """The largest weight a row of its log can have for either of the two."""
        return 1.0 / min(self.share, 1.0 - self.share)

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """What the one that is asked decides.

        Raises:
            RoutingError: it cannot decide.
        """
        names = distinct(candidates, self.name)
        key = f"trial\0{self.seed}\0{prompt.prompt_id}\0{prompt.text}"
        asked = (self.champion, self.challenger)[drawn(key, np.array([1.0 - self.share, self.share]))]
        decision = asked.route(prompt, names)
        chance = self.probabilities(prompt, names)[names.index(decision.model_id)]
        return replace(decision, router=self.name, propensity=min(float(chance), 1.0))

    def probabilities(self, prompt: Prompt, candidates: Sequence[str]) -> Floats:
        """[K] the probability of each candidate, over both.

        Raises:
            RoutingError: one of the two cannot decide, or draws without saying its probabilities.
        """
        champion = choice_probabilities(self.champion, prompt, candidates)
        challenger = choice_probabilities(self.challenger, prompt, candidates)
        return (1.0 - self.share) * champion + self.share * challenger


def judge(
    challenger: Router,
    champion: Router,
    log: ServedLog,
    *,
    max_weight: float,
    min_gain: float = 0.0,
    alpha: float = 0.05,
) -> Promotion:
    """Whether the challenger replaces the champion in quality, from the log of a `Trial` or of a bandit.

    It may be asked after every row: a wrong verdict has a probability of at most `alpha` over all looks. Both
    routers stay as they are while the log grows, and neither was fitted on it: of a bandit, a copy that does
    not learn on.

    Args:
        max_weight: of the router that served, as `Trial.max_weight` or `Bandit.max_weight`.
        min_gain: what the challenger must gain; below 0: what it may lose, for one that is cheaper.
    Raises:
        RoutingError: one of the two cannot decide, or draws without saying its probabilities.
        DataError: a row weighs more than `max_weight`.
    Source: `stats.promotion`.
    """
    gains = off_policy_gains(
        log.quality,
        target_probabilities(challenger, log),
        target_probabilities(champion, log),
        max_weight=max_weight,
    )
    return promotion(gains.values, bounds=gains.bounds, min_gain=min_gain, alpha=alpha)
