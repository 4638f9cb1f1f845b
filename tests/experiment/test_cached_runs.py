"""Runs with a cache: answers that are there are not bought again, and are not taken for cheap ones."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults import refusing_port
from redis_server import serving
from workbench.errors import ConfigError
from workbench.experiment.run import run
from workbench.experiment.spec import load_spec
from workbench.settings import Settings

pytestmark = pytest.mark.anyio

SPEC = """
name: {name}
question: Is large better than small?
prompts: {{source: tasks, split: test, n: 10}}
arms:
  - {{name: small, model: simulator/sim-small}}
  - {{name: {arm}, model: {model}}}
cache: {cache}
repeats: 2
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(
        cache: str, *, name: str = "first", arm: str = "large", model: str = "simulator/sim-large"
    ) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(SPEC.format(name=name, cache=cache, arm=arm, model=model))
        return path

    return write


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(runs_dir=tmp_path / "runs", cache_dir=tmp_path / "kept")


@pytest.fixture
def redis_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with serving(tmp_path / "redis") as server:
        monkeypatch.setenv("WORKBENCH_REDIS_URL", server.url)
        yield server.url


@pytest.mark.parametrize("written", ["off", "'off'", "memory", "disk", "redis"])
def test_a_cache_is_named_as_one_writes_it(write, written: str) -> None:
    assert load_spec(write(written)).cache == written.strip("'")


@pytest.mark.parametrize("written", ["on", "sqlite", "1"])
def test_a_cache_that_there_is_none_of_is_refused(write, written: str) -> None:
    with pytest.raises(ConfigError, match="cache: Input should be 'off', 'memory', 'disk' or 'redis'"):
        load_spec(write(written))


def test_a_run_may_be_resumed_with_another_cache(write) -> None:
    assert load_spec(write("off")).fingerprint() == load_spec(write("disk")).fingerprint()


async def test_without_a_cache_nothing_is_kept(write, settings, simulator) -> None:
    await run(load_spec(write("off")), settings=settings)
    assert not settings.cache_dir.exists()


@pytest.mark.parametrize("cache", ["disk", "redis"])
async def test_a_second_experiment_buys_only_what_the_first_did_not(
    write, settings, simulator, request, cache: str
) -> None:
    if cache == "redis":
        request.getfixturevalue("redis_url")
    first = await run(load_spec(write(cache)), settings=settings)
    n_bought = simulator.n_answers
    second = await run(load_spec(write(cache, name="second")), settings=settings)
    answered = second.table["error"].isna()
    assert n_bought == answered.sum() == simulator.n_answers
    assert list(second.table["response"].dropna()) == list(first.table["response"].dropna())
    assert second.table.loc[answered, ["cost_usd", "latency_s"]].isna().all(axis=None)
    assert second.spent_usd == 0.0
    assert f"{n_bought} answers came from the cache" in " ".join(second.notes)


async def test_a_run_whose_redis_is_gone_buys_what_it_needs(write, settings, simulator, monkeypatch) -> None:
    with refusing_port() as port:
        monkeypatch.setenv("WORKBENCH_REDIS_URL", f"redis://:canary@127.0.0.1:{port}/0")
        finished = await run(load_spec(write("redis")), settings=settings)
    assert simulator.n_answers == finished.table["error"].isna().sum() > 0
    kept = [path.read_bytes() for path in settings.runs_dir.rglob("*") if path.is_file()]
    assert kept
    assert not any(b"canary" in content for content in kept)


async def test_a_run_needs_to_be_told_where_its_redis_is(write, settings, simulator) -> None:
    with pytest.raises(ConfigError, match="set WORKBENCH_REDIS_URL to redis://host:port/0"):
        await run(load_spec(write("redis")), settings=settings)
    assert simulator.n_answers == 0


async def test_an_arm_that_found_its_answers_is_not_reported_as_cheap(write, settings, simulator) -> None:
    spec = load_spec(write("memory", arm="again", model="simulator/sim-small"))
    finished = await run(spec, settings=settings)
    assert simulator.n_answers == finished.table["cost_usd"].gt(0).sum()
    [comparison] = finished.analysis.comparisons
    assert comparison.cost_ratio is None


async def test_repeats_are_bought_one_by_one(write, settings, simulator) -> None:
    finished = await run(load_spec(write("memory")), settings=settings)
    assert simulator.n_answers == finished.table["error"].isna().sum()
    assert not any("cache" in note for note in finished.notes)
