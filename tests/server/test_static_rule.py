"""Where a router is missing or cannot decide, the first fallback answers (docs/decisions/0004)."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from server.conftest import MODELS, running
from workbench import outcomes
from workbench.catalog import Catalog, ModelSpec
from workbench.errors import InsufficientDataError, StorageError
from workbench.experiment.spec import load_training_spec
from workbench.experiment.training import train
from workbench.routing import checkpoint
from workbench.routing.baselines import BestSingle, Fixed
from workbench.routing.constraints import Constraints
from workbench.routing.forecast import KnownModels
from workbench.routing.policy import Policy
from workbench.server.config import ServerConfig
from workbench.server.decisions import Decisions
from workbench.server.registered import load_here
from workbench.server.router_shelf import RouterShelf
from workbench.server.targets import Target, Targets
from workbench.settings import Settings
from workbench.types import Prompt

pytestmark = pytest.mark.anyio

SMALL, LARGE = MODELS
KNOWN = KnownModels(MODELS, np.array([0.5, 0.9]), np.array([0.001, 0.01]), np.array([0.1, 0.2]))
ONE_ROW = {
    "prompt_id": "p",
    "prompt": "Hi",
    "arm": "a",
    "model": "sim-small",
    "provider": "simulator",
    "quality": 1.0,
    "cost_usd": 0.1,
}


@pytest.fixture
def routed(config: ServerConfig, tmp_path: Path) -> ServerConfig:
    return config.model_copy(
        update={"auto": str(tmp_path / "runs/fleet/router.ckpt"), "fallbacks": (SMALL, LARGE)}
    )


@pytest.mark.parametrize("n_rows", [0, 1], ids=["empty", "one-row"])
async def test_too_little_to_learn_from_is_said_and_the_first_fallback_serves_until_there_is_a_router(
    routed: ServerConfig, tmp_path: Path, n_rows: int
) -> None:
    outcomes.write(pd.DataFrame([ONE_ROW]).iloc[:n_rows], tmp_path / "table.parquet")
    spec = "name: fleet\nquestion: Which?\nkind: knn\nfit_on: {outcomes: table.parquet}\n"
    (tmp_path / "fleet.yaml").write_text(spec)
    with pytest.raises(InsufficientDataError):
        await train(
            load_training_spec(tmp_path / "fleet.yaml"), settings=Settings(runs_dir=tmp_path / "runs")
        )
    async with running(routed) as server:
        answered = await server.ask(model="auto")
        assert answered.status_code == 200
        assert answered.headers["x-workbench-model"] == SMALL
        assert answered.headers["x-workbench-router"] == f"fixed({SMALL})"
        ready = (await server.http.get("/health/ready", headers=server.admin)).json()
        assert ready["is_ready"]
        assert {part["part"]: part["health"] for part in ready["parts"]}["routers"] == "impaired"
        checkpoint.save(BestSingle(KNOWN), Path(routed.auto or ""))
        await server.http.post("/admin/targets/reload", headers=server.admin)
        answered = await server.ask(model="auto")
        assert answered.headers["x-workbench-router"] == "best_single"
        assert answered.headers["x-workbench-model"] == LARGE


async def test_without_fallbacks_a_server_does_not_start_without_its_router(routed: ServerConfig) -> None:
    with pytest.raises(StorageError, match=r"router\.ckpt"):
        async with running(routed.model_copy(update={"fallbacks": ()})):
            pass


async def test_a_file_that_is_read_again_replaces_no_router_by_a_fallback(
    routed: ServerConfig, tmp_path: Path
) -> None:
    targets = Targets(
        MODELS,
        auto=routed.auto,
        routers={},
        load=load_here,
        folder=tmp_path,
        shelf=RouterShelf(tmp_path / "routers"),
        fallbacks=routed.fallbacks,
    )
    with pytest.raises(StorageError, match=r"router\.ckpt"):
        targets.load()


async def test_a_router_that_cannot_decide_leaves_it_to_the_first_fallback(routed: ServerConfig) -> None:
    nobody = Policy(BestSingle(KNOWN), constraints=Constraints(needs=frozenset({"reasoning"})))
    path = Path(routed.auto or "")
    path.parent.mkdir(parents=True)
    checkpoint.save(nobody, path)
    async with running(routed) as server:
        answered = await server.ask(model="auto")
        assert (answered.status_code, answered.headers["x-workbench-model"]) == (200, SMALL)
        assert answered.headers["x-workbench-router"] == f"fixed({SMALL})"


async def test_a_million_characters_that_fit_no_window_take_the_default_route_in_50_ms() -> None:
    catalog = Catalog(
        [ModelSpec("simulator", name, context_tokens=9_000) for name in ("sim-small", "sim-large")]
    )
    narrow = Policy(BestSingle(KNOWN), constraints=Constraints(catalog))
    target = Target(narrow, MODELS, static_rule=Target(Fixed(SMALL), (SMALL,)))
    decisions, took_s = Decisions(), []
    for _ in range(3):
        started_s = time.process_time()
        decision = await decisions.made(target, Prompt("odd", "word " * 200_000))
        took_s.append(time.process_time() - started_s)
    assert decision.router == f"fixed({SMALL})"
    assert min(took_s) < 0.05
    assert (await decisions.made(target, Prompt("p", "Hi"))).router == "best_single"


async def test_a_router_that_cannot_decide_is_a_refusal_where_there_are_no_fallbacks(
    routed: ServerConfig,
) -> None:
    path = Path(routed.auto or "")
    path.parent.mkdir(parents=True)
    checkpoint.save(Policy(BestSingle(KNOWN), constraints=Constraints(allowed=frozenset())), path)
    async with running(routed.model_copy(update={"fallbacks": ()})) as server:
        refused = await server.ask(model="auto")
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "no_route")
