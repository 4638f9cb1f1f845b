"""What is worked out and refused before the first call."""

from pathlib import Path

import pandas as pd
import pytest

from workbench.errors import BudgetError, ConfigError
from workbench.experiment.plan import Plan, make_plan
from workbench.experiment.spec import ExperimentSpec
from workbench.settings import Settings

ARMS = [
    {"name": "small", "model": "simulator/sim-small"},
    {"name": "large", "model": "simulator/sim-large", "fallbacks": ["simulator/sim-nano"]},
]


def plan(tmp_path: Path, **changes: object) -> Plan:
    written = {
        "name": "planned",
        "question": "Is it?",
        "prompts": {"n": 5},
        "arms": ARMS,
        "file": tmp_path / "spec.yaml",
    }
    return make_plan(ExperimentSpec.model_validate(written | changes), Settings(runs_dir=tmp_path / "runs"))


def folded_table(path: Path) -> None:
    rows = [
        {"prompt_id": f"p{n}", "prompt": f"prompt {n}", "fold": f"f{n % 2}", "arm": arm, "quality": 1.0}
        for n in range(8)
        for arm in ("acme/a", "acme/b")
    ]
    pd.DataFrame(rows).assign(cost_usd=1.0).to_parquet(path)


def test_each_prompt_meets_all_arms_before_the_next_prompt(tmp_path: Path) -> None:
    calls = plan(tmp_path, repeats=2).calls
    assert len({call.key for call in calls}) == len(calls) == 20
    pairs = [(first.prompt, second.prompt) for first, second in zip(calls[::2], calls[1::2], strict=True)]
    assert all(first == second for first, second in pairs)


def test_the_order_follows_from_the_seed(tmp_path: Path) -> None:
    keys = [[call.key for call in plan(tmp_path, seed=seed, prompts={}).calls] for seed in (0, 0, 1)]
    assert keys[0] == keys[1] != keys[2]


def test_the_dearest_model_of_an_arm_bounds_its_calls(tmp_path: Path) -> None:
    planned = plan(tmp_path)
    small, large = (next(c for c in planned.calls if c.arm.name == name) for name in ("small", "large"))
    assert planned.dearest(large)[1] == "simulator/sim-large"
    spec = planned.catalog["simulator/sim-large"]
    assert planned.dearest(large)[0] == spec.cost_bound_usd(large.prompt, planned.spec.decode(0))
    assert planned.dearest(small)[0] < planned.dearest(large)[0]


def test_a_budget_must_pay_for_the_dearest_call(tmp_path: Path) -> None:
    planned = plan(tmp_path)
    needed_usd = max(planned.dearest(call)[0] for call in planned.calls)
    assert plan(tmp_path, budget_usd=needed_usd * 1.001)
    with pytest.raises(BudgetError, match=r"one call of simulator/sim-large for prompt '.*' can cost up to"):
        plan(tmp_path, budget_usd=needed_usd * 0.999)


def test_a_model_that_the_client_would_refuse_is_refused_in_the_same_words(tmp_path: Path) -> None:
    from workbench.client import connect

    with pytest.raises(ConfigError) as planned:
        plan(tmp_path, arms=[{"name": "a", "model": "simulator/sim-smal"}])
    with pytest.raises(ConfigError) as connected:
        connect(["simulator/sim-smal"], simulator_url="http://127.0.0.1:9/v1")
    assert str(planned.value) == str(connected.value)


def test_prompts_outside_every_fold_are_found_before_the_first_call(tmp_path: Path) -> None:
    folded_table(tmp_path / "table.parquet")
    routed = {
        "name": "router",
        "router": {"kind": "best_single", "folds": "fold", "fit_on": {"outcomes": "table.parquet"}},
    }
    with pytest.raises(ConfigError, match="is in no fold"):
        plan(tmp_path, arms=[routed])


def test_a_recorded_table_without_prices_cannot_keep_a_budget(tmp_path: Path) -> None:
    folded_table(tmp_path / "table.parquet")
    replayed = {"replay": {"outcomes": "table.parquet"}, "scorer": "recorded"}
    arms = [{"name": "a", "model": "replay/a"}]
    with pytest.raises(ConfigError, match="replay/a"):
        plan(tmp_path, arms=arms, budget_usd=1.0, **replayed)


def test_a_simulator_named_in_the_env_file_is_used(tmp_path: Path) -> None:
    assert plan(tmp_path).simulator_url is None
    (tmp_path / ".env").write_text("WORKBENCH_SIMULATOR_URL=http://127.0.0.1:8808/v1\n")
    assert plan(tmp_path).simulator_url == "http://127.0.0.1:8808/v1"
