"""Which prompts are withheld: each once, groups together, neighbourhoods whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.routing.withheld import random_parts, regions

TEXT = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
groups_of_prompts = st.lists(st.integers(0, 9), min_size=1, max_size=60).map(np.array)


@given(groups_of_prompts, st.integers(1, 8), st.integers(0, 99))
def test_every_prompt_is_withheld_once_and_groups_stay_together(
    groups: np.ndarray, n_parts: int, seed: int
) -> None:
    withheld = random_parts(groups, n_parts, seed=seed)
    assert withheld.shape == (len(groups), min(n_parts, len(set(groups))))
    assert (withheld.sum(axis=1) == 1).all()
    assert withheld.any(axis=0).all()
    for group in set(groups):
        assert len(np.unique(withheld[groups == group], axis=0)) == 1


@given(st.lists(st.integers(1, 40), min_size=2, max_size=7), st.integers(0, 99))
def test_a_region_is_of_whole_tasks(sizes: list[int], seed: int) -> None:
    tasks = [f"task {i}" for i, size in enumerate([*sizes, 80]) for _ in range(size)][:200]
    tasks += ["task 0"] * (200 - len(tasks))
    withheld = regions(tasks, TEXT, 4, seed=seed)
    assert (withheld.sum(axis=1) == 1).all()
    assert withheld.any(axis=0).all()
    assert withheld.shape[1] <= 4
    for task in set(tasks):
        assert len(np.unique(withheld[np.array(tasks) == task], axis=0)) == 1


def test_tasks_of_one_size_are_spread_evenly() -> None:
    withheld = regions([f"task {i % 8}" for i in range(200)], TEXT, 4, seed=0)
    assert withheld.sum(axis=0).tolist() == [50, 50, 50, 50]


@pytest.mark.parametrize(
    "tasks", [[None] * 80, ["one"] * 80, ["one"] * 79 + [None]], ids=["none", "one-task", "some"]
)
def test_without_two_tasks_prompts_are_clustered_by_what_they_say(tasks: list[str | None]) -> None:
    centres = np.eye(4, dtype=np.float32)[np.arange(80) % 4] * 20.0
    withheld = regions(tasks, TEXT[:80] + centres, 4, seed=0)
    assert withheld.shape == (80, 4)
    for cluster in range(4):
        assert len(np.unique(withheld[cluster::4], axis=0)) == 1


def test_few_prompts_have_no_regions() -> None:
    assert regions(["a", "b"] * 39, TEXT[:78], 4, seed=0).shape == (78, 0)
    assert regions(["a", "b"] * 40, TEXT[:80], 4, seed=0).shape == (80, 2)


def test_the_same_seed_withholds_the_same() -> None:
    tasks = [f"task {i % 8}" for i in range(200)]
    assert np.array_equal(regions(tasks, TEXT, 4, seed=3), regions(tasks, TEXT, 4, seed=3))
    assert not np.array_equal(regions(tasks, TEXT, 4, seed=3), regions(tasks, TEXT, 4, seed=4))
