"""What a spec asks of the outcomes reaches the analysis, and what a run cost its ledger."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench.errors import ConfigError
from workbench.experiment.run import run
from workbench.experiment.spec import load_spec
from workbench.publication import publish
from workbench.settings import Settings

pytestmark = pytest.mark.anyio

SPEC = """
name: planned
question: Is b as good as a?
replay: {outcomes: recorded.parquet}
scorer: recorded
arms:
  - {name: a, model: replay/a}
  - {name: b, model: replay/b}
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(runs_dir=tmp_path / "runs", tracking_uri=f"sqlite:///{tmp_path}/m.db")


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    random = np.random.default_rng(0)
    rows = [
        {
            "prompt_id": f"p{number}",
            "prompt": f"prompt {number}",
            "task": "odd" if number % 2 else "even",
            "arm": arm,
            "quality": float(random.random() < share),
            "cost_usd": 0.01,
        }
        for number in range(300)
        for arm, share in {"a": 0.4, "b": 0.75}.items()
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "recorded.parquet")

    def write(added: str) -> Path:
        path = tmp_path / "spec.yaml"
        path.write_text(SPEC + added)
        return path

    return write


async def test_a_margin_of_the_spec_is_tested_and_may_be_changed_after_the_run(write, settings):
    first = await run(load_spec(write("analysis: {non_inferiority_margin: 0.02}\n")), settings=settings)
    assert first.analysis.comparisons[0].margin.is_shown
    again = await run(load_spec(write("analysis: {equivalence_margin: 0.1}\n")), settings=settings)
    assert again.n_resumed == 600
    assert not again.analysis.comparisons[0].margin.is_shown


async def test_a_sequential_run_is_analysed_as_one_and_its_ledger_says_what_was_not_spent(write, settings):
    path = write("stopping: {rule: sequential, min_prompts: 20, look_every: 10}\n")
    finished = await run(load_spec(path), settings=settings)
    (found,) = finished.analysis.comparisons
    assert (finished.state, found.test, found.finding) == ("decided", "always-valid test", "better")
    assert found.looks is not None
    n_left = 600 - len(finished.table)
    assert n_left > 300
    assert finished.ledger.n_not_made == n_left
    assert finished.ledger.unspent_usd == pytest.approx(0.01 * n_left)
    assert ("not spent, as the run ended early", f"{n_left}", f"${0.01 * n_left:.2f}") in (
        finished.ledger.lines()
    )


async def test_a_randomised_run_is_analysed_as_two_samples(write, settings):
    path = write("design: {kind: randomised}\n")
    finished = await run(load_spec(path), settings=settings)
    assert finished.analysis.is_randomised
    assert finished.analysis.comparisons[0].test == "Welch's t"
    assert finished.analysis.sample_ratio is not None


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("analysis: {non_inferiority_margin: 2}", "non_inferiority_margin"),
        ("analysis: {equivalence_margin: 0.1, non_inferiority_margin: 0.1}", "either"),
        ("analysis: {covariat: x}", "did you mean 'covariate'"),
    ],
    ids=["in points", "both", "misspelt"],
)
def test_a_wrong_key_is_refused_before_the_run(write, written, message):
    with pytest.raises(ConfigError, match=message):
        load_spec(write(f"{written}\n"))


async def test_the_report_of_a_sequential_run_has_its_way_and_its_ledger(
    write, settings, fresh_store, tmp_path
):
    shutil.copy(fresh_store, tmp_path / "m.db")
    path = write("stopping: {rule: sequential, min_prompts: 20, look_every: 10}\n")
    finished = await run(load_spec(path), settings=settings)
    published = publish(finished, settings=settings)
    assert published.report is not None
    page = published.report.read_text()
    assert "holds at every look" in page
    assert "not spent, as the run ended early" in page
    assert "they hold at every look at once" in page
    assert (finished.folder / "plots" / "looks.png").exists()
