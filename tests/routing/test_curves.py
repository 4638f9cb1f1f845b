"""Curves and calibration where the numbers are known: strong is always right, weak half of the time."""

import numpy as np
import pandas as pd
import pytest

from workbench.errors import InsufficientDataError
from workbench.routing.curves import cost_curves, prediction, reliability
from workbench.routing.evaluate import cross_validate
from workbench.routing.leaderboard import Leaderboard
from workbench.routing.out_of_fold import Contender

CONTENDERS = (Contender("best_single"), Contender("label_oracle"), Contender("knn"))


@pytest.fixture(scope="module")
def board(pair_table: pd.DataFrame) -> Leaderboard:
    return cross_validate(pair_table, folds=4, contenders=CONTENDERS, n_resamples=50)


def test_the_curve_of_no_information_is_the_line_between_two_models(board: Leaderboard) -> None:
    *_, alone = cost_curves(board, n_resamples=50)
    assert alone.router == "no_information"
    assert alone.cost_usd[[0, -1]] == pytest.approx([0.001, 0.02])
    assert alone.quality == pytest.approx(0.5 + 0.5 * (alone.cost_usd - 0.001) / 0.019)


def test_who_knows_the_task_pays_for_algebra_alone(board: Leaderboard) -> None:
    told = {curve.router: curve for curve in cost_curves(board, n_resamples=50)}["label_oracle"]
    assert told.quality[told.cost_usd > 0.0106] == pytest.approx(1.0)  # half at 0.001, half at 0.02
    assert np.all(told.low <= told.quality + 1e-9)
    assert np.all(told.quality <= told.high + 1e-9)


def test_best_single_has_no_curve_and_no_costs_have_none(
    board: Leaderboard, pair_table: pd.DataFrame
) -> None:
    assert "best_single" not in [curve.router for curve in cost_curves(board, n_resamples=50)]
    free = pair_table.drop(columns="cost_usd")
    without = cross_validate(free, folds=4, contenders=CONTENDERS[:1], n_resamples=50)
    with pytest.raises(InsufficientDataError, match="no costs"):
        cost_curves(without)


def test_the_mean_by_task_is_found_as_predicted(board: Leaderboard) -> None:
    found = reliability(board, "label_oracle", n_bins=2)
    assert found.predicted == pytest.approx([0.0, 1.0], abs=0.05)
    assert [one.value for one in found.happened] == pytest.approx([0.0, 1.0])
    assert found.n_pairs.tolist() == [60, 180]


def test_a_router_that_is_not_there_is_named(board: Leaderboard) -> None:
    with pytest.raises(InsufficientDataError, match=r"'mlp'.*best_single, label_oracle, knn, oracle"):
        prediction(board, "mlp")
