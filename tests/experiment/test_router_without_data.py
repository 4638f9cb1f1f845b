"""A router that has nothing to learn from is refused before anything is paid for (docs/decisions/0004)."""

from pathlib import Path

import pandas as pd
import pytest

from workbench import outcomes
from workbench.errors import InsufficientDataError
from workbench.experiment.run import run
from workbench.experiment.spec import load_spec, load_training_spec
from workbench.experiment.training import train
from workbench.providers.simulator import Simulator
from workbench.settings import Settings

pytestmark = pytest.mark.anyio

SPEC = """
name: routed
question: Does a router help?
prompts: {source: tasks, n: 5}
arms:
  - {name: small, model: simulator/sim-small}
  - {name: routed, router: {kind: KIND, fit_on: {outcomes: table.parquet}}}
"""


@pytest.fixture(params=[0, 1], ids=["empty", "one-prompt"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with an outcome table that is too small to learn from."""
    row = {"prompt_id": "p", "prompt": "Hi", "arm": "a", "model": "sim-small", "provider": "simulator"}
    table = pd.DataFrame([row | {"quality": 1.0, "cost_usd": 0.1}])
    outcomes.write(table.iloc[: request.param], tmp_path / "table.parquet")
    return tmp_path


@pytest.mark.parametrize("kind", ["random", "cheapest", "best_single", "knn", "controller"])
async def test_an_arm_whose_router_cannot_be_fitted_ends_the_run_before_it_begins(
    folder: Path, kind: str
) -> None:
    (folder / "spec.yaml").write_text(SPEC.replace("KIND", kind))
    async with Simulator() as simulator:
        settings = Settings(runs_dir=folder / "runs", simulator_url=simulator.base_url)
        with pytest.raises(InsufficientDataError):
            await run(load_spec(folder / "spec.yaml"), settings=settings)
        assert simulator.n_requests == 0


async def test_a_router_is_not_trained_on_nothing(folder: Path) -> None:
    text = "name: r\nquestion: Why?\nkind: knn\nfit_on: {outcomes: table.parquet}\n"
    (folder / "router.yaml").write_text(text)
    with pytest.raises(InsufficientDataError):
        await train(load_training_spec(folder / "router.yaml"), settings=Settings(runs_dir=folder / "runs"))
    assert not (folder / "runs" / "r" / "router.ckpt").exists()
