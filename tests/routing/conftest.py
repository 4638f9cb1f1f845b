"""A small table whose answer is known: the weak model fails at algebra and nowhere else."""

import numpy as np
import pandas as pd
import pytest

from workbench.routing.training_data import TrainingData
from workbench.routing.training_table import from_table

STRONG, WEAK, MID = "acme/strong", "acme/weak", "acme/mid"
NOUNS = ("matrix", "river", "garden", "vector", "engine", "planet", "window", "market", "forest", "signal")


def prompt_text(number: int) -> str:
    rng = np.random.default_rng(number)
    topic = "solve this algebra equation" if number % 2 else "write a short poem"
    return f"Please {topic} about {rng.choice(NOUNS)} and {rng.choice(NOUNS)} number {number}"


def make_table(n_prompts: int, models: tuple[str, ...] = (STRONG, WEAK, MID)) -> pd.DataFrame:
    """strong: always right; weak: right but for algebra; mid: right two times of three."""
    rows = []
    for number in range(n_prompts):
        quality = {STRONG: 1.0, WEAK: float(number % 2 == 0), MID: float(number % 3 != 0)}
        cost = {STRONG: 0.02, WEAK: 0.001, MID: 0.005}
        rows += [
            {
                "prompt_id": f"p{number}",
                "prompt": prompt_text(number),
                "task": "algebra" if number % 2 else "poem",
                "arm": model,
                "provider": "acme",
                "model": model.split("/")[1],
                "quality": quality[model],
                "cost_usd": cost[model],
            }
            for model in models
        ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    return make_table(120)


@pytest.fixture(scope="session")
def pair_table() -> pd.DataFrame:
    return make_table(120, (STRONG, WEAK))


@pytest.fixture(scope="session")
def data(table: pd.DataFrame) -> TrainingData:
    return from_table(table)
