"""Arms: the tables that they learn from, and the routers behind them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench.errors import ConfigError, DataError
from workbench.experiment.arms import FoldRouter, make_arms
from workbench.experiment.spec import ExperimentSpec, TrainingSpec
from workbench.experiment.tables import matching, needed_experiments
from workbench.routing import checkpoint
from workbench.routing.baselines import BestSingle, Fixed
from workbench.routing.forecast import KnownModels
from workbench.routing.online import Bandit
from workbench.settings import Settings
from workbench.types import Prompt

TABLE = pd.DataFrame(
    [
        {
            "prompt_id": f"p{n}",
            "prompt": f"prompt {n}",
            "split": "train" if n < 6 else "test",
            "fold": f"f{n % 2}",
            "arm": model,
            # Each model is right exactly on the prompts of one fold.
            "quality": float((n % 2 == 0) == (model == "acme/even")),
            "cost_usd": 1.0,
        }
        for n in range(8)
        for model in ("acme/even", "acme/odd")
    ]
)


def spec(tmp_path: Path, router: dict[str, object]) -> ExperimentSpec:
    TABLE.to_parquet(tmp_path / "table.parquet")
    written = {"name": "x", "question": "Is it?", "arms": [{"name": "router", "router": router}]}
    return ExperimentSpec.model_validate(written | {"file": tmp_path / "spec.yaml"})


def arm(tmp_path: Path, **router: object):
    made, digests = make_arms(spec(tmp_path, router), Settings(runs_dir=tmp_path / "runs"))
    return made[0], digests


def test_a_bandit_is_no_arm_since_its_choices_cannot_be_repeated(tmp_path: Path) -> None:
    means = np.array([0.5, 0.7]), np.array([0.1, 0.2]), np.array([1.0, 1.0])
    bandit = Bandit(BestSingle(KnownModels(("acme/even", "acme/odd"), *means)))
    checkpoint.save(bandit, tmp_path / "bandit.ckpt")
    with pytest.raises(ConfigError, match="hang on the requests before"):
        arm(tmp_path, checkpoint="bandit.ckpt")


def test_a_router_chooses_among_the_models_of_its_table(tmp_path: Path) -> None:
    made, digests = arm(tmp_path, kind="best_single", fit_on={"outcomes": "table.parquet"})
    assert set(made.model_ids) == {"replay/acme/even", "replay/acme/odd"}
    assert made.decide(Prompt("new", "prompt 9")).model_id in made.model_ids
    assert len(digests["router"]) == 64


def test_a_prompt_is_routed_by_a_router_that_never_saw_it(tmp_path: Path) -> None:
    made, _ = arm(tmp_path, kind="best_single", folds="fold", fit_on={"outcomes": "table.parquet"})
    assert isinstance(made.router, FoldRouter)
    assert made.decide(Prompt("p0", "prompt 0")).model_id == "replay/acme/odd", "what the other fold taught"
    assert made.decide(Prompt("p1", "prompt 1")).model_id == "replay/acme/even"


@pytest.mark.parametrize(
    ("router", "told"),
    [
        ({"kind": "knn"}, r"router.fit_on is missing"),
        ({"kind": "nearest"}, r"there is no router 'nearest'; the kinds are"),
        ({"kind": "knn", "options": {"n": 3}}, r"router 'knn' has no option 'n'; its options are: k"),
        (
            {"kind": "knn", "options": {"k": "three"}},
            r"option 'k' of router 'knn' is 'three'; it must be int",
        ),
        ({"kind": "knn", "options": {"seed": 3}}, r"options.seed: this is no option of a router"),
        ({"kind": "knn", "folds": "part"}, r"the table has no column 'part' of folds"),
    ],
    ids=["no-table", "kind", "option", "type", "key", "folds"],
)
def test_a_router_that_cannot_be_made_says_why(tmp_path: Path, router, told) -> None:
    table = (
        {}
        if "no column" not in told and router == {"kind": "knn"}
        else {"fit_on": {"outcomes": "table.parquet"}}
    )
    with pytest.raises(ConfigError, match=told):
        arm(tmp_path, **router, **table)


def test_a_saved_router_without_models_to_choose_from_is_refused(tmp_path: Path) -> None:
    checkpoint.save(Fixed("acme/even"), tmp_path / "router.ckpt")
    with pytest.raises(ConfigError, match="knows no models to choose from"):
        arm(tmp_path, checkpoint="router.ckpt")


def test_rows_are_kept_by_the_values_that_are_asked_for() -> None:
    assert set(matching(TABLE, {"split": "test"}, where="t")["prompt_id"]) == {"p6", "p7"}


@pytest.mark.parametrize(
    ("conditions", "told"),
    [
        ({"part": "x"}, "t has no column 'part'"),
        ({"split": "tset"}, "no row with split = 'tset'; there are test"),
    ],
    ids=["column", "value"],
)
def test_a_condition_that_nothing_meets_says_what_there_is(conditions, told) -> None:
    with pytest.raises(ConfigError, match=told):
        matching(TABLE, conditions, where="t")


def test_a_table_that_is_nowhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone"):
        arm(tmp_path, kind="knn", fit_on={"outcomes": "gone"})


def test_only_experiments_are_run_first(tmp_path: Path) -> None:
    (tmp_path / "record.yaml").write_text("{name: r, question: Yes or no, arms: [{name: a, model: x/y}]}")
    learned = spec(tmp_path, {"kind": "knn", "fit_on": {"outcomes": "record.yaml"}})
    assert needed_experiments(learned) == [tmp_path / "record.yaml"]
    training = TrainingSpec(name="r", question="Is it?", fit_on={"outcomes": "zeroeval19"})
    assert needed_experiments(training) == []
