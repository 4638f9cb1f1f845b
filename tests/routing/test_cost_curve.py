"""The cost curve of a router: its hull, AIQ and saving, worked by hand."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.spatial import ConvexHull

from workbench.errors import DataError
from workbench.routing.cost_curve import (
    CostCurve,
    aiq_log,
    cost_weights,
    hull,
    mean_of_choice,
    no_information_curve,
    points_of,
    router_curve,
    saving_at_parity,
    swept,
    yardstick,
)
from workbench.routing.resamples import resamples


def test_a_hull_worked_by_hand() -> None:
    curve = hull(np.array([1.0, 2.0, 3.0, 4.0, 1.0]), np.array([0.2, 0.5, 0.6, 0.55, 0.1]))
    assert curve.cost_usd.tolist() == [1.0, 2.0, 3.0]
    assert curve.quality.tolist() == [0.2, 0.5, 0.6]


def test_the_hull_is_the_upper_left_part_of_scipys() -> None:
    points = np.random.default_rng(0).random((60, 2))
    corners = points[ConvexHull(points).vertices]
    best = corners[np.argmax(corners[:, 1])]
    cheapest = points[np.argmin(points[:, 0])]
    slope = (best[1] - cheapest[1]) / (best[0] - cheapest[0])
    is_above = corners[:, 1] >= cheapest[1] + slope * (corners[:, 0] - cheapest[0]) - 1e-12
    expected = corners[is_above & (corners[:, 0] <= best[0])]
    curve = hull(points[:, 0], points[:, 1])
    assert np.allclose(np.c_[curve.cost_usd, curve.quality], expected[np.argsort(expected[:, 0])])


def test_a_single_point_is_its_own_hull() -> None:
    curve = hull(np.array([2.0, 2.0]), np.array([0.3, 0.7]))
    assert (curve.cost_usd.tolist(), curve.quality.tolist()) == ([2.0], [0.7])


def test_aiq_is_the_integral_over_log_cost() -> None:
    curve = CostCurve(np.array([0.5, 2.0, 5.0]), np.array([0.1, 0.6, 0.9]))
    reference, _ = quad(
        lambda t: float(curve.at(np.exp(t))), np.log(1.0), np.log(8.0), points=[np.log(2), np.log(5)]
    )
    assert aiq_log(curve, low_usd=1.0, high_usd=8.0) == pytest.approx(reference / np.log(8.0))


def test_aiq_of_a_flat_curve_is_its_height() -> None:
    assert aiq_log(CostCurve(np.array([3.0]), np.array([0.4])), low_usd=1.0, high_usd=9.0) == pytest.approx(
        0.4
    )


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (2.0, 2.0), (3.0, 1.0)])
def test_an_empty_cost_range_is_refused(low: float, high: float) -> None:
    with pytest.raises(DataError, match="cost range"):
        aiq_log(CostCurve(np.array([1.0]), np.array([0.4])), low_usd=low, high_usd=high)


def test_saving_at_parity_worked_by_hand() -> None:
    curve = CostCurve(np.array([1.0, 3.0]), np.array([0.5, 0.9]))
    assert saving_at_parity(curve, quality=0.8, cost_usd=10.0) == pytest.approx(1 - 2.5 / 10)
    assert np.isnan(saving_at_parity(curve, quality=0.95, cost_usd=10.0))


def test_a_router_that_knows_everything_pays_only_where_it_must() -> None:
    # model 1 costs 10 and is always right, model 0 costs 1 and is right half of the time
    quality = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0], [0.0, 1.0]])
    cost = np.tile([1.0, 10.0], (4, 1))
    curve = router_curve(quality, cost, quality, cost)
    assert curve.cost_usd.tolist() == [1.0, 5.5]
    assert curve.quality.tolist() == [0.5, 1.0]
    assert saving_at_parity(curve, quality=1.0, cost_usd=10.0) == pytest.approx(0.45)


def test_a_router_that_knows_nothing_is_on_the_hull_of_the_single_models() -> None:
    rng = np.random.default_rng(2)
    quality, cost = (
        rng.random((50, 4)) + np.array([0.0, 0.1, 0.2, 0.4]),
        np.tile([1.0, 2.0, 4.0, 8.0], (50, 1)),
    )
    means = np.tile(quality.mean(axis=0), (50, 1))
    found, expected = router_curve(means, cost, quality, cost), no_information_curve(quality, cost)
    assert np.allclose(found.cost_usd, expected.cost_usd)
    assert np.allclose(found.quality, expected.quality)


def test_draws_of_a_curve_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(4)
    quality = rng.random((40, 3)) * [0.5, 0.7, 1.0]
    cost = np.tile([1.0, 3.0, 9.0], (40, 1)) * rng.random((40, 1))
    predicted = quality + 0.3 * rng.random((40, 3))
    draws = resamples(np.arange(40), n_resamples=12, seed=3)
    singles = [(quality[:, model], cost[:, model]) for model in range(3)]
    measure = yardstick(points_of(singles, draws), draws)
    choices = list(swept(predicted, cost, cost_weights(cost)))
    rows = np.arange(40)
    points = points_of(((quality[rows, choice], cost[rows, choice]) for choice in choices), draws)
    aiq, saving = measure.drawn(points)
    again = np.random.default_rng(3)
    for number in range(12):
        drawn = again.integers(0, 40, size=40)
        did = [mean_of_choice(choice[drawn], quality[drawn], cost[drawn]) for choice in choices]
        means, costs = quality[drawn].mean(axis=0), cost[drawn].mean(axis=0)
        curve = hull(np.array([c for _, c in did] + [costs[0]]), np.array([q for q, _ in did] + [means[0]]))
        low, high, best = costs[0], costs[measure.best], means[measure.best]
        assert aiq[number] == pytest.approx(aiq_log(curve, low_usd=low, high_usd=high))
        found = saving_at_parity(curve, quality=best, cost_usd=high)
        assert saving[number] == pytest.approx(max(0.0, np.nan_to_num(found)))


def test_a_curve_is_not_flat_where_it_cannot_be_had() -> None:
    # a router that only ever asks the dear model: below its cost it can be mixed with the cheap one, no more
    quality, cost = np.tile([0.5, 0.9], (10, 1)), np.tile([1.0, 4.0], (10, 1))
    draws = resamples(np.arange(10), n_resamples=3)
    measure = yardstick(points_of([(quality[:, m], cost[:, m]) for m in (0, 1)], draws), draws)
    dear = points_of([(quality[:, 1], cost[:, 1])], draws)
    assert measure.measured(dear) == pytest.approx(measure.measured(measure.singles))
    assert measure.measured(dear)[1] == 0.0


def test_free_models_have_one_weight() -> None:
    assert cost_weights(np.zeros((3, 2))).tolist() == [0.0]


def test_the_mean_of_a_choice_is_of_the_chosen_cells() -> None:
    quality, cost = np.array([[0.1, 0.2], [0.3, 0.4]]), np.array([[1.0, 2.0], [3.0, 4.0]])
    assert mean_of_choice(np.array([1, 0]), quality, cost) == (0.25, 2.5)


def test_a_missing_answer_is_refused() -> None:
    values = np.ones((2, 2))
    with pytest.raises(DataError, match="quality has a NaN"):
        router_curve(values, values, np.array([[1.0, np.nan], [1.0, 1.0]]), values)
