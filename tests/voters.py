"""Made-up voters: models that are independently right with a known probability, or wrong in one of L ways."""

from collections.abc import Sequence

import numpy as np

from workbench.features import FeatureConfig, extract
from workbench.routing.ballots import Ballots, ballots_of
from workbench.routing.training_data import TrainingData
from workbench.types import Prompt


def voters(
    accuracies: Sequence[float],
    *,
    n_prompts: int = 2000,
    n_wrong: int = 3,
    costs: Sequence[float] | None = None,
    seed: int = 0,
) -> tuple[TrainingData, Ballots]:
    """Answers of models acme/m0, acme/m1, ...: "right-0", or one of `n_wrong` wrong ones of the same length.

    They cost 1 USD, or `costs` [M], and take 1, 2, ... seconds.
    """
    random, shape = np.random.default_rng(seed), (n_prompts, len(accuracies))
    is_right = random.random(shape) < np.array(accuracies)
    wrong = random.integers(n_wrong, size=shape)
    names = np.array(["right-0"] + [f"wrong-{number}" for number in range(n_wrong)], dtype=object)
    data = TrainingData(
        prompts=tuple(Prompt(f"p{number}", "a question") for number in range(n_prompts)),
        groups=np.arange(n_prompts),
        model_ids=tuple(f"acme/m{number}" for number in range(len(accuracies))),
        quality=is_right.astype(np.float64),
        cost_usd=np.broadcast_to(np.array(costs or [1.0] * len(accuracies)), shape),
        latency_s=np.broadcast_to(np.arange(1.0, len(accuracies) + 1), shape),
        input_tokens=np.full(shape, np.nan),
        output_tokens=np.full(shape, np.nan),
        answers=names[np.where(is_right, 0, wrong + 1)],
        features=extract([""] * n_prompts, FeatureConfig()),
        feature_config=FeatureConfig(),
    )
    return data, ballots_of(data, final_answer=str)
