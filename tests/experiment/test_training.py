"""Training a router: measured on prompts that it had not seen, kept in a file, told in numbers."""

from pathlib import Path

import pandas as pd
import pytest
from pydantic import ValidationError

from workbench import outcomes
from workbench.errors import ConfigError, StorageError
from workbench.experiment.spec import TrainingSpec
from workbench.experiment.training import Training, train
from workbench.routing import checkpoint
from workbench.routing.policy import Policy
from workbench.settings import Settings
from workbench.types import Prompt

pytestmark = pytest.mark.anyio

KINDS = ("add two numbers", "write a poem")


def table(n: int = 40) -> pd.DataFrame:
    """Each model is right on one kind of prompt."""
    return pd.DataFrame(
        {
            "prompt_id": f"p{number}",
            "prompt": f"{KINDS[number % 2]} {number}",
            "arm": model,
            "quality": float((number % 2 == 0) == (model == "acme/sums")),
            "cost_usd": 0.1,
        }
        for number in range(n)
        for model in ("acme/sums", "acme/poems")
    )


async def trained(tmp_path: Path, **changes: object) -> Training:
    table().to_parquet(tmp_path / "table.parquet")
    written = {
        "name": "router",
        "question": "Does it help?",
        "kind": "knn",
        "fit_on": {"outcomes": "table.parquet"},
        "folds": 2,
        "options": {"k": 3},
        "file": tmp_path / "router.yaml",
    }
    spec = TrainingSpec.model_validate(written | changes)
    return await train(spec, settings=Settings(runs_dir=tmp_path / "runs"))


async def test_the_router_that_is_kept_routes_as_the_one_that_was_trained(tmp_path: Path) -> None:
    made = await trained(tmp_path)
    loaded = checkpoint.load(made.checkpoint)
    candidates = made.leaderboard.scored.data.model_ids
    for text, model in (("add two numbers 99", "acme/sums"), ("write a poem 99", "acme/poems")):
        prompt = Prompt("new", text)
        assert loaded.route(prompt, candidates) == made.router.route(prompt, candidates)
        assert loaded.route(prompt, candidates).model_id == f"replay/{model}"


async def test_the_table_and_the_leaderboard_agree(tmp_path: Path) -> None:
    made = await trained(tmp_path)
    kept = outcomes.read(made.folder / "outcomes.parquet")
    by_arm = kept.groupby("arm")["quality"].mean()
    told = {result.router: result.quality.value for result in made.leaderboard.results}
    assert by_arm.to_dict() == pytest.approx({arm: told[arm] for arm in by_arm.index})
    assert told["knn-3"] == told["oracle"] == 1.0
    assert made.analysis.control == "best_single"


async def test_the_same_seed_gives_the_same_table(tmp_path: Path) -> None:
    first, second = await trained(tmp_path), await trained(tmp_path)
    assert outcomes.digest(first.table) == outcomes.digest(second.table)


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        ({"kind": "nearest"}, ConfigError, "there is no router 'nearest'"),
        ({"options": {"k": 0}}, ConfigError, "it must be 1 or more"),
        ({"options": {"cost_weight": 1}}, ConfigError, r"options.cost_weight: this is no option"),
        ({"fit_on": {"outcomes": "table.parquet", "where": {"part": 1}}}, ConfigError, "no column 'part'"),
        ({"fit_on": {"outcomes": "gone.yaml"}}, StorageError, "there is no file .*gone.yaml"),
    ],
    ids=["kind", "value", "key", "column", "experiment"],
)
async def test_what_cannot_be_trained_says_why(tmp_path: Path, changes, error, told) -> None:
    with pytest.raises(error, match=told):
        await trained(tmp_path, **changes)


async def test_a_router_gets_the_weights_that_keep_the_aim(tmp_path: Path) -> None:
    rows = table(400)
    dear = rows["arm"] == "acme/poems"
    rows = rows.assign(cost_usd=0.1 + 0.9 * dear, quality=rows["quality"].where(~dear, 1.0))
    rows.to_parquet(tmp_path / "dear.parquet")
    made = await trained(
        tmp_path,
        fit_on={"outcomes": "dear.parquet"},
        aim="no worse than the best single model by more than 2 points",
    )
    assert made.point is not None
    assert made.point.promised.usd_per_1000 is not None
    assert made.point.promised.usd_per_1000.value == pytest.approx(550.0)
    loaded = checkpoint.load(made.checkpoint)
    assert isinstance(loaded, Policy)
    assert loaded.promised == made.point.promised
    ids = made.leaderboard.scored.data.model_ids
    assert loaded.route(Prompt("new", "add two numbers 8"), ids).model_id == "replay/acme/sums"
    assert loaded.route(Prompt("new", "write a poem 9"), ids).model_id == "replay/acme/poems"
    assert "for the aim 'no worse than the best single model by more than 2 points'" in made.notes[-1]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"aim": "cheap"}, "is not understood"),
        ({"aim": {"max_usd": 2}}, "an aim has no 'max_usd'"),
        ({"aim": "as cheap as possible", "cost_weight": 1.0}, "either an `aim`"),
    ],
)
async def test_an_aim_is_checked_with_the_spec(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        await trained(tmp_path, **changes)


async def test_a_router_without_predictions_cannot_be_aimed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="kind 'random' makes no predictions"):
        await trained(tmp_path, kind="random", options={}, aim="as cheap as possible")
