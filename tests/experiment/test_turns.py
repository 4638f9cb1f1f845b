"""Arms take turns: a slow one does not keep a fast one waiting, and equally fast ones keep to the plan."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from workbench.experiment.arms import Arm
from workbench.experiment.calls import Call
from workbench.experiment.run import run
from workbench.experiment.spec import load_spec
from workbench.experiment.turns import Turns, by_arm, in_order
from workbench.providers.fleet import FLEET
from workbench.providers.simulator import Simulator
from workbench.routing.baselines import Fixed
from workbench.settings import Settings
from workbench.types import Prompt

pytestmark = pytest.mark.anyio


def planned(n_prompts: int) -> list[Call]:
    """Two arms, prompt by prompt."""
    arms = [Arm(name, Fixed("a/b"), ("a/b",)) for name in ("slow", "fast")]
    return [Call(arm, Prompt(str(number), "?"), 0) for number in range(n_prompts) for arm in arms]


async def order_of_ends(turns: Turns, *, concurrency: int, n_steps: dict[str, int]) -> list[str]:
    """The arms of all calls, as they end; a call of an arm takes `n_steps` of the event loop."""
    ends: list[str] = []

    async def work() -> None:
        while turns:
            with turns.taken() as call:
                for _ in range(n_steps[call.arm.name]):
                    await asyncio.sleep(0)
                ends.append(call.arm.name)

    await asyncio.gather(*(work() for _ in range(concurrency)))
    return ends


async def test_a_fast_arm_is_done_as_soon_as_half_of_the_workers_could_do_it_alone() -> None:
    """Alone with its half, 4 at a time, the fast arm takes 40 / 4 steps: less than one call of the other."""
    ends = await order_of_ends(Turns(planned(40)), concurrency=8, n_steps={"slow": 20, "fast": 1})
    assert ends[:40].count("fast") >= 36
    assert (ends.count("fast"), ends.count("slow")) == (40, 40)


async def test_in_the_order_of_the_plan_a_slow_arm_keeps_the_other_waiting() -> None:
    turns = Turns(planned(40), group_of=in_order)
    ends = await order_of_ends(turns, concurrency=8, n_steps={"slow": 20, "fast": 1})
    assert ends[:40].count("fast") <= 30


async def test_arms_that_are_equally_fast_are_asked_in_the_order_of_the_plan() -> None:
    calls = planned(20)
    turns, taken = Turns(calls, group_of=by_arm), []
    while turns:
        with turns.taken() as first, turns.taken() as second:
            taken += [first, second]
    assert taken == calls


async def test_what_is_left_of_one_arm_has_all_workers() -> None:
    turns = Turns(call for call in planned(3) if call.arm.name == "slow")
    with turns.taken(), turns.taken(), turns.taken():
        assert not turns


SPEC = """
name: turns
question: Is large better than small?
prompts: {source: tasks, split: test, n: 40}
arms:
  - {name: fast, model: simulator/sim-small}
  - {name: slow, model: simulator/sim-large}
concurrency: 8
"""


async def test_a_run_gives_a_fast_arm_its_half_beside_one_that_is_twenty_times_slower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the fast arm is done, 4 workers have ended few calls of the slow one; in order, most."""
    path, seconds = tmp_path / "spec.yaml", {"sim-small": 0.004, "sim-large": 0.08}
    path.write_text(SPEC)
    fleet = [replace(m, latency_s=seconds[m.name], transient_rate=0.0) for m in FLEET if m.name in seconds]
    async with Simulator(fleet=fleet) as simulator:
        monkeypatch.setenv("WORKBENCH_SIMULATOR_URL", simulator.base_url)
        finished = await run(load_spec(path), settings=Settings(runs_dir=tmp_path / "runs"))
    lines = (finished.folder / "journal.jsonl").read_text().splitlines()
    ends = [entry["arm"] for entry in map(json.loads, lines) if entry.get("kind") == "outcome"]
    last_fast = max(place for place, arm in enumerate(ends) if arm == "fast")
    assert len(ends) == 80
    assert ends[:last_fast].count("slow") <= 20
