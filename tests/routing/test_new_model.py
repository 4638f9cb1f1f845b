"""A model added from a few outcomes: it lands where its kind is, and the others stay where they were."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal

from workbench.errors import ConfigError, InsufficientDataError
from workbench.features import FeatureConfig
from workbench.routing.checkpoint import load, save
from workbench.routing.controller import MetaController
from workbench.routing.network import NetworkConfig
from workbench.routing.new_model import add_model, posterior
from workbench.routing.train import TrainConfig, fit_controller
from workbench.routing.training_data import TrainingData
from workbench.routing.training_table import from_table
from workbench.types import Prompt

QUICK = TrainConfig(n_parts=2, min_prompts=1, networks=NetworkConfig(max_epochs=8, n_hidden=8))
NEW, STRONG, WEAK = "acme/new", "acme/strong", "acme/weak"
ALGEBRA, POEM = Prompt("a", "Please solve this algebra equation"), Prompt("b", "Please write a short poem")


@pytest.fixture(scope="module")
def router(data: TrainingData) -> MetaController:
    return fit_controller(data, config=QUICK)


@pytest.fixture(scope="module")
def wide(table: pd.DataFrame) -> TrainingData:
    """The table and a new model on a third of its prompts: like the weak one, at a price of its own."""
    like = table[(table["arm"] == WEAK) & table["prompt_id"].isin([f"p{i}" for i in range(40)])]
    return from_table(pd.concat([table, like.assign(arm=NEW, model="new", cost_usd=0.003)]))


@pytest.fixture(scope="module")
def lone(wide: TrainingData) -> TrainingData:
    """The same, with no other model's outcomes."""
    quality = wide.quality.copy()
    quality[:, [name != NEW for name in wide.model_ids]] = np.nan
    return replace(wide, quality=quality)


def test_the_forecasts_of_the_others_stay_the_same(router: MetaController, wide: TrainingData) -> None:
    before, after = (each.forecast(wide.prompts) for each in (router, add_model(router, wide, NEW)))
    assert after.quality.shape[1] == before.quality.shape[1] + 1
    for name in ("quality", "cost_usd", "latency_s", "spread"):
        old, new = getattr(before, name), getattr(after, name)[:, :-1]
        np.testing.assert_allclose(new, old, rtol=1e-12, atol=1e-12)  # to the rounding of a wider product
    assert np.array_equal(after.familiarity, before.familiarity)


@pytest.mark.parametrize("source", ["wide", "lone"])
def test_a_model_like_the_weak_one_is_expected_to_fail_where_that_fails(
    router: MetaController, source: str, request: pytest.FixtureRequest
) -> None:
    added = add_model(router, request.getfixturevalue(source), NEW)
    quality = added.forecast([ALGEBRA, POEM]).quality[:, -1]
    assert quality[0] < 0.4 < 0.6 < quality[1]
    assert added.route(ALGEBRA, [STRONG, NEW]).model_id == STRONG


def test_the_posterior_is_that_of_the_normal_equations() -> None:
    rng = np.random.default_rng(0)
    design, outcomes = rng.normal(size=(30, 3)), rng.normal(size=30)
    covariance, centre = np.diag([0.5, 1.0, 2.0]), np.array([0.1, 0.2, 0.3])
    found, left, _ = posterior(design, outcomes, centre=centre, covariance=covariance, noise=0.4)
    precision = np.linalg.inv(covariance) + design.T @ design / 0.4
    expected = np.linalg.solve(precision, np.linalg.inv(covariance) @ centre + design.T @ outcomes / 0.4)
    assert found == pytest.approx(expected)
    assert left == pytest.approx(np.linalg.inv(precision))


def test_the_evidence_is_the_density_of_the_outcomes() -> None:
    rng = np.random.default_rng(0)
    design, outcomes = rng.normal(size=(6, 2)), rng.normal(size=6)
    centre = np.array([0.5, -0.5])
    _, _, evidence = posterior(design, outcomes, centre=centre, covariance=np.eye(2), noise=0.3)
    exact = multivariate_normal(design @ centre, design @ design.T + 0.3 * np.eye(6)).logpdf(outcomes)
    assert evidence - 3.0 * np.log(2.0 * np.pi) == pytest.approx(float(exact))


def test_two_outcomes_move_the_mean_a_part_of_the_way(router: MetaController, lone: TrainingData) -> None:
    column = lone.model_ids.index(NEW)
    answered = np.flatnonzero(np.isfinite(lone.quality[:, column]))[:2]
    added = add_model(router, replace(lone.rows(answered), quality=lone.quality[answered] * 0.0), NEW)
    assert 0.0 < added.space.mean[-1] < np.mean(router.space.mean)
    assert np.isfinite(added.forecast([ALGEBRA]).quality).all()


def test_its_cost_is_that_of_its_rows_and_what_was_not_recorded_is_not_known(
    router: MetaController, wide: TrainingData
) -> None:
    forecast = add_model(router, wide, NEW).forecast([ALGEBRA, POEM])
    assert forecast.cost_usd[:, -1] == pytest.approx([0.003, 0.003])
    assert np.isnan(forecast.latency_s[:, -1]).all()


def test_it_is_surer_of_a_model_of_which_it_saw_more(router: MetaController, lone: TrainingData) -> None:
    seen = np.flatnonzero(np.isfinite(lone.quality).any(axis=1))
    few, many = (add_model(router, lone.rows(seen[:n]), NEW).guard.between[-1] for n in (4, 40))
    assert few > many >= np.sqrt((router.guard.between**2).mean())


def test_a_saved_router_keeps_the_model(router: MetaController, wide: TrainingData, tmp_path: Path) -> None:
    added = add_model(router, wide, NEW)
    save(added, tmp_path / "router")
    loaded = load(tmp_path / "router")
    assert isinstance(loaded, MetaController)
    assert np.array_equal(loaded.forecast([POEM]).quality, added.forecast([POEM]).quality)


def test_several_models_can_be_added_in_turn(router: MetaController, wide: TrainingData) -> None:
    again = replace(wide, model_ids=tuple(name.replace("new", "newer") for name in wide.model_ids))
    both = add_model(add_model(router, wide, NEW), again, "acme/newer")
    assert both.models.model_ids == (*router.models.model_ids, NEW, "acme/newer")
    assert both.guard.n_fitted == len(router.models.model_ids)


def test_what_cannot_be_added_is_refused(router: MetaController, wide: TrainingData) -> None:
    with pytest.raises(ConfigError, match="knows acme/weak already"):
        add_model(router, wide, WEAK)
    with pytest.raises(ConfigError, match="no outcome of acme/other"):
        add_model(router, wide, "acme/other")
    with pytest.raises(InsufficientDataError, match="has 0 scored outcomes"):
        add_model(router, wide.rows(np.array(unseen(wide))), NEW)
    other = replace(wide, feature_config=FeatureConfig(max_word_ngram=1))
    with pytest.raises(ConfigError, match="the router takes"):
        add_model(router, other, NEW)


def unseen(data: TrainingData) -> list[int]:
    """Prompts that the new model did not answer."""
    return np.flatnonzero(np.isnan(data.quality[:, data.model_ids.index(NEW)])).tolist()
