"""The examples of docs/experiments.md: each is run as it stands, on few prompts."""

import re
from pathlib import Path

import pytest

from workbench.experiment.outlook import outlook
from workbench.experiment.plan import make_plan
from workbench.experiment.run import run
from workbench.experiment.spec import load_spec
from workbench.settings import Settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "experiments.md"
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
HEAD = "name: documented\nquestion: Which?\n"
RECORD = """
name: record-fleet
question: What does each model make of it?
prompts: {source: tasks, split: train, n: 24}
arms:
  - {name: small, model: simulator/sim-small}
  - {name: reader, model: simulator/sim-reader}
  - {name: medium, model: simulator/sim-medium}
"""
PILOT = """
name: pilot
question: What do they cost?
prompts: {source: tasks, split: train, n: 24}
arms: [{name: a, model: simulator/sim-small}, {name: b, model: simulator/sim-medium}]
"""
QUESTIONS = "text,reference,document\n" + "".join(f"Question {n}?,{n},d{n // 2}\n" for n in range(8))


def test_the_page_has_its_examples() -> None:
    assert len(EXAMPLES) >= 8


@pytest.mark.anyio
@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
async def test_an_example_runs_as_it_stands(example: str, tmp_path: Path) -> None:
    settings = Settings(runs_dir=tmp_path / "runs")
    (tmp_path / "record_fleet.yaml").write_text(RECORD)
    (tmp_path / "pilot.yaml").write_text(PILOT)
    (tmp_path / "questions.csv").write_text(QUESTIONS)
    path = tmp_path / "spec.yaml"
    prompts = "" if "prompts:" in example else "prompts: {source: tasks, split: test, n: 6}\n"
    path.write_text(HEAD + prompts + example)
    spec = load_spec(path)
    if spec.design.pilot is not None:
        await run(load_spec(tmp_path / "pilot.yaml"), settings=settings)
        assert outlook(make_plan(spec, settings), settings).detectable[0].n_needed
    finished = await run(spec, settings=settings)
    assert finished.state in ("completed", "decided", "futile")
    assert set(finished.table["arm"]) <= {arm.name for arm in spec.arms}
