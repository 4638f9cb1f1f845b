"""Honest operating points: chosen on the training folds, so that the scored fold has no say in them."""

import numpy as np
import pandas as pd
import pytest

from workbench.routing.evaluate import evaluate
from workbench.routing.folds import Folded, folded
from workbench.routing.honest import Chosen, honest_point
from workbench.routing.leaderboard import Leaderboard
from workbench.routing.out_of_fold import Contender, inside_training
from workbench.routing.resamples import resamples


def board(
    table: pd.DataFrame, *, margin: float = 0.0, folds: str | int = 4, kind: str = "label_oracle"
) -> Leaderboard:
    divided = folded(table, folds)
    return evaluate(divided, [Contender(kind)], margin=margin, n_resamples=50)


def test_changes_worked_by_hand() -> None:
    chosen = Chosen(
        quality=np.array([1.0, 0.0, 1.0, 1.0]),
        cost_usd=np.array([1.0, 1.0, 4.0, 4.0]),
        single_quality=np.array([1.0, 1.0, 1.0, 0.0]),
        single_cost_usd=np.full(4, 4.0),
    )
    point = honest_point(chosen, resamples(np.arange(4), n_resamples=200))
    assert point.quality_change.value == 0.0
    assert point.cost_change.value == pytest.approx(10 / 16 - 1)
    assert point.quality_change.low < 0.0 < point.quality_change.high


def test_a_router_that_knows_the_task_saves_without_a_loss(table: pd.DataFrame) -> None:
    # strong is needed for algebra, weak is always right on poems and costs a twentieth: 1/2 + 1/40 is spent
    result = board(table).results[0]
    assert result.honest_quality_change is not None
    assert result.honest_cost_change is not None
    assert result.honest_quality_change.value == 0.0
    assert result.honest_cost_change.value == pytest.approx(0.525 - 1.0)


def test_a_margin_is_used_up_only_where_it_pays(table: pd.DataFrame) -> None:
    # mid is right on 2 of 3 algebra prompts and costs a quarter of strong: a sixth of all quality is lost
    result = board(table, margin=0.2).results[0]
    assert result.honest_quality_change is not None
    assert result.honest_cost_change is not None
    assert result.honest_quality_change.value == pytest.approx(-1 / 6)
    assert result.honest_cost_change.value == pytest.approx((0.001 + 0.005) / 0.04 - 1.0)


def test_the_scored_fold_does_not_choose_its_own_point(table: pd.DataFrame) -> None:
    number = table["prompt_id"].str[1:].astype(int)
    first = table.assign(fold=number // 6 % 3)  # six prompts have every case
    is_held_out = (first["fold"] == 0) & (first["arm"] == "acme/weak")
    changed = first.assign(quality=first["quality"].mask(is_held_out, 0.0))
    before, after = board(first, folds="fold").results[0], board(changed, folds="fold").results[0]
    assert before.honest_quality_change is not None
    assert after.honest_quality_change is not None
    assert before.honest_quality_change.value == 0.0
    # on fold 0 weak is still asked for poems, a sixth of all prompts, and is now wrong there
    assert after.honest_quality_change.value == pytest.approx(-1 / 6, abs=0.01)


@pytest.mark.parametrize("n_folds", [2, 3, 5, 8])
def test_inner_fits_see_neither_the_fold_nor_what_they_forecast(table: pd.DataFrame, n_folds: int) -> None:
    divided: Folded = folded(table, n_folds)
    for held_out in range(n_folds):
        asked = []
        for inner in divided.inner(held_out, seed=0):
            assert held_out not in divided.fold[inner.learned]
            assert not np.intersect1d(inner.learned, inner.asked).size
            asked.append(inner.asked)
        together = np.concatenate(asked)
        assert len(np.unique(together)) == len(together) > 0
        assert held_out not in divided.fold[together]


def test_nothing_is_saved_where_nothing_is_cheaper_and_as_good(table: pd.DataFrame) -> None:
    only_poems_lie = table.assign(quality=(table["arm"] == "acme/strong").astype(float))
    result = board(only_poems_lie).results[0]
    assert result.honest_cost_change is not None
    assert result.honest_cost_change.value == 0.0


def test_a_router_without_information_asks_the_best_single_model(table: pd.DataFrame) -> None:
    result = board(table, kind="no_information").results[0]
    assert result.honest_quality_change is not None
    assert result.honest_cost_change is not None
    assert result.honest_quality_change.value == result.honest_cost_change.value == 0.0


def test_points_are_not_compared_with_a_single_model_chosen_with_the_answers_in_view(
    table: pd.DataFrame,
) -> None:
    # strong and mid are lucky in one fold each and have .5 elsewhere; weak has .55 for a twentieth of strong
    fold = table["prompt_id"].str[1:].astype(int) % 3
    is_lucky = ((table["arm"] == "acme/strong") & (fold == 0)) | ((table["arm"] == "acme/mid") & (fold == 1))
    quality = np.where(is_lucky, 0.8, np.where(table["arm"] == "acme/weak", 0.55, 0.5))
    drawn = table.assign(quality=quality, fold=fold, cost_usd=table["cost_usd"].replace(0.005, 0.02))
    result = board(drawn, folds="fold", kind="no_information").results[0]
    assert result.honest_quality_change is not None
    assert result.honest_cost_change is not None
    assert result.honest_quality_change.value == pytest.approx(0.05)
    assert result.honest_cost_change.value == pytest.approx(0.001 / 0.02 - 1.0)


def test_the_single_model_inside_is_the_best_of_what_the_router_learned_from(table: pd.DataFrame) -> None:
    chance = np.random.default_rng(0).random(len(table))
    divided = folded(table.assign(quality=chance.round(2)), 4)
    rows = np.arange(len(divided.fold))
    answered = np.ones_like(divided.data.quality, dtype=np.bool_)
    told = inside_training(Contender("label_oracle"), divided, rows, answered=answered, seed=0)
    singles = set()
    for held_out, inside in told.items():
        for asked in set(range(4)) - {held_out}:
            learned = ~np.isin(divided.fold, [held_out, asked])
            best = divided.data.quality[learned].mean(axis=0).argmax()
            assert set(inside.best_single[divided.fold[inside.places] == asked]) == {best}
            singles.add(int(best))
    assert len(singles) > 1
