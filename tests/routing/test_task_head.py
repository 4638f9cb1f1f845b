"""What a prompt's task says: read off the prompt, as likely as it is, and no more than tasks differ."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from workbench.routing.task_head import TaskHead, fit_task_head, task_codes

CODES = np.repeat([0, 1, 2], [40, 60, 100])


def features(*, apart: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(3, 6)) * apart
    return (centres[CODES] + rng.normal(size=(200, 6))).astype(np.float32)


def scores(by_task: list[float], *, noise: float, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (np.array(by_task)[CODES] + noise * rng.normal(size=200))[:, None]


def test_tasks_that_lie_apart_are_read_off_the_prompt() -> None:
    dense = features(apart=2.0)
    said = fit_task_head(dense, CODES, scores([0.3, 0.0, -0.2], noise=0.0)).expected(dense)
    assert np.abs(said - scores([0.3, 0.0, -0.2], noise=0.0)).mean() < 0.02


def test_tasks_are_as_likely_as_normal_clouds_of_one_shape_make_them() -> None:
    dense = features(apart=0.3)
    ours = fit_task_head(dense, CODES, scores([0.3, 0.0, -0.2], noise=0.1)).probabilities(dense)
    count = np.bincount(CODES)
    sums = np.stack([dense[task == CODES].sum(axis=0) for task in range(3)])
    centres = (sums + dense.mean(axis=0)) / (count[:, None] + 1)
    shape = np.cov((dense - centres[CODES]).T, bias=True)
    cloud = shape + np.eye(6) * np.trace(shape) / 6
    densities = np.stack([multivariate_normal(centre, cloud).pdf(dense) for centre in centres], axis=1)
    theirs = densities * count / (densities * count).sum(axis=1, keepdims=True)
    assert ours == pytest.approx(theirs, abs=0.01)


def test_a_prompt_between_tasks_is_expected_between_their_scores() -> None:
    head = TaskHead(np.array([[1.0, -1.0]]), np.zeros(2), np.array([[0.2], [-0.2]]))
    between, one = head.expected(np.array([[0.0], [5.0]], dtype=np.float32))
    assert between == pytest.approx(0.0)
    assert one == pytest.approx(0.2, abs=1e-4)


def test_tasks_that_differ_by_chance_alone_are_drawn_together() -> None:
    dense = features(apart=2.0)
    by_chance = fit_task_head(dense, CODES, scores([0.0, 0.0, 0.0], noise=1.0)).scores
    real = fit_task_head(dense, CODES, scores([0.5, 0.0, -0.5], noise=0.1)).scores
    assert np.ptp(by_chance) < 0.1
    assert real[:, 0] == pytest.approx([0.5, 0.0, -0.5], abs=0.04)


@pytest.mark.parametrize("codes", [np.full(200, -1), np.zeros(200, dtype=np.int64)], ids=["none", "one"])
def test_without_two_tasks_it_says_nothing(codes: np.ndarray) -> None:
    dense = features(apart=1.0)
    head = fit_task_head(dense, codes, scores([1.0, 0.0, 1.0], noise=0.1))
    assert head.probabilities(dense).shape == (200, 0)
    assert not head.expected(dense).any()


def test_a_prompt_without_a_label_teaches_nothing_of_tasks() -> None:
    dense, targets = features(apart=2.0), scores([0.3, 0.0, -0.2], noise=0.1)
    codes = np.where(np.arange(200) % 3 == 0, -1, CODES)
    some = codes >= 0
    whole, part = fit_task_head(dense, codes, targets), fit_task_head(dense[some], codes[some], targets[some])
    assert np.array_equal(whole.weights, part.weights)
    assert np.array_equal(whole.scores, part.scores)


def test_tasks_are_numbered_by_name() -> None:
    assert task_codes(["b", None, "a", "b"]).tolist() == [1, -1, 0, 1]
