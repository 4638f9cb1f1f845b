"""The mean by task: what a router that knows no more of a prompt than its task's name could do.

A gain over it is understanding of the prompt; a gain up to it may be recognition of the benchmark.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.features import PromptFeatures
from workbench.routing.decide import check_weights, decide
from workbench.routing.fields import require
from workbench.routing.forecast import Forecast, KnownModels, with_mean_costs
from workbench.routing.training_data import TrainingData, column_means
from workbench.types import Decision, Prompt


@dataclass(frozen=True, slots=True)
class LabelOracle:
    """A model's mean quality on the training prompts of the same task.

    `quality` [T, M] has a row for each of T `tasks`; the overall mean of a model that saw none of the task.
    """

    models: KnownModels
    tasks: tuple[str, ...]
    quality: NDArray[np.float64]
    cost_weight: float = 0.0
    latency_weight: float = 0.0

    def __post_init__(self) -> None:
        require(self.quality.shape == (len(self.tasks), len(self.models.model_ids)), "tasks")

    @property
    def name(self) -> str:
        """`label_oracle`."""
        return "label_oracle"

    def forecast(self, prompts: Sequence[Prompt], *, features: PromptFeatures | None = None) -> Forecast:
        """The means of each prompt's task; of a task that is not known, or absent, the overall means.

        `features` do not say which task it is, and are not used.
        """
        row = {task: number for number, task in enumerate(self.tasks)}
        known = np.vstack([self.quality, self.models.quality])
        chosen = [row.get(prompt.task, -1) if prompt.task is not None else -1 for prompt in prompts]
        return with_mean_costs(known[np.array(chosen, dtype=np.int64)], self.models)

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """The candidate with the best forecast, as `decide` weighs it.

        Raises:
            RoutingError: there are no candidates.
        """
        return decide(self, prompt, candidates)


def fit_label_oracle(
    data: TrainingData, *, cost_weight: float = 0.0, latency_weight: float = 0.0
) -> LabelOracle:
    """The means by task.

    Raises:
        ConfigError: a weight cannot be used.
    """
    check_weights(data.models, cost_weight=cost_weight, latency_weight=latency_weight)
    tasks = tuple(sorted({prompt.task for prompt in data.prompts if prompt.task is not None}))
    task_of = np.array([prompt.task for prompt in data.prompts], dtype=object)
    means = [column_means(data.quality[task_of == task]) for task in tasks]
    quality = np.array(means).reshape(len(tasks), len(data.model_ids))
    quality = np.where(np.isnan(quality), data.models.quality, quality)
    return LabelOracle(data.models, tasks, quality, cost_weight, latency_weight)
