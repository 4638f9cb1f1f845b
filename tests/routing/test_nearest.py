"""The most similar few, against sorting everything."""

import numpy as np
import pytest

from workbench.routing.controller import Neighbours
from workbench.routing.nearest import nearest

RNG = np.random.default_rng(0)
SIMILARITIES = {
    "different": RNG.normal(size=(70, 6_000)),
    "few-columns": RNG.normal(size=(3, 50)),
    "ties": RNG.integers(0, 5, size=(65, 4_000)).astype(float),
    "all-equal": np.zeros((2, 3_000)),
    "mostly-not-looked-at": np.where(RNG.random((5, 4_000)) < 0.01, RNG.normal(size=(5, 4_000)), -np.inf),
    "nothing-looked-at": np.full((2, 4_000), -np.inf),
    "in-rising-order": np.tile(np.arange(5_000.0), (2, 1)),
    "no-prompts": np.zeros((0, 100)),
}


@pytest.mark.parametrize("n_nearest", [1, 10, 160, 9_999])
@pytest.mark.parametrize("name", list(SIMILARITIES))
def test_the_nearest_are_the_first_when_all_are_sorted(name: str, n_nearest: int) -> None:
    similarity = SIMILARITIES[name].astype(np.float32)
    places, values = nearest(similarity, n_nearest)
    assert np.array_equal(values, -np.sort(-similarity, axis=1)[:, :n_nearest])
    assert np.array_equal(np.take_along_axis(similarity, places, axis=1), values)
    assert all(len(set(row)) == len(row) for row in places.tolist())


def test_scores_of_neighbours_are_means_weighted_by_similarity() -> None:
    similarity = SIMILARITIES["different"].astype(np.float32)
    scores = RNG.normal(size=(6_000, 2)).astype(np.float32)
    neighbours = Neighbours(np.zeros((6_000, 3), dtype=np.float32), scores, (40, 160))
    means, near = neighbours.means(similarity)
    order = np.argsort(-similarity, axis=1)
    for count, found in zip((40, 160), means, strict=True):
        weight = np.take_along_axis(similarity, order[:, :count], axis=1).astype(float)[:, :, None]
        expected = (scores[order[:, :count]] * weight).sum(axis=1) / weight.sum(axis=1)
        assert np.allclose(found, expected, atol=1e-6)
    assert np.allclose(near, np.sort(similarity, axis=1)[:, -10:].mean(axis=1), atol=1e-6)
