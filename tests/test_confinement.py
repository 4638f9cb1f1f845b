"""Names that become paths: each stays inside its folder, or is a path that the user wrote."""

from collections.abc import Callable
from pathlib import Path

import pytest

from workbench import session
from workbench.datasets import load_prompts
from workbench.datasets.recorded import cached_table, load_benchmark, load_outcomes
from workbench.errors import ConfigError, WorkbenchError
from workbench.experiment.spec import load_spec, load_training_spec

EXPERIMENT = """
name: {name}
question: Is b better than a?
arms: [{{name: a, model: simulator/sim-nano}}, {{name: b, model: simulator/sim-large}}]
notebook: {notebook}
"""
TRAINING = "{{name: {name}, question: Why?, fit_on: {{outcomes: record.yaml}}}}"
HARMFUL = [
    "../x",
    "/etc/x",
    "a/b",
    "a\\\\b",
    '"a\\0b"',
    "n" * 300,
    "CON",
    "nul.txt",
    ".hidden",
    '"."',
    '".."',
    '" "',
]


def written(folder: Path, text: str) -> Path:
    path = folder / "spec.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", HARMFUL)
def test_a_name_of_an_experiment_or_router_is_one_folder_s(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        load_spec(written(tmp_path, EXPERIMENT.format(name=name, notebook="x.ipynb")))
    with pytest.raises(ConfigError):
        load_training_spec(written(tmp_path, TRAINING.format(name=name)))


@pytest.mark.parametrize("name", ["../x", "/etc/x", "CON", "n" * 300, "a\0b", "..", ""])
@pytest.mark.parametrize(
    "load", [load_prompts, load_outcomes, load_benchmark], ids=lambda load: load.__name__
)
def test_a_name_of_a_data_set_is_known_or_refused(name: str, load: Callable[[str], object]) -> None:
    with pytest.raises(WorkbenchError):
        load(name)


@pytest.mark.parametrize("path", ["n" * 300 + ".csv", "a\0b.csv", "/etc/none.csv", "/dev/zero.csv"])
def test_a_path_that_cannot_be_read_is_told(path: str) -> None:
    with pytest.raises(WorkbenchError):
        load_prompts(path)


def test_only_known_benchmarks_have_a_place_in_the_cache() -> None:
    assert cached_table("routellm_pair").parent.name == "benchmarks"
    with pytest.raises(WorkbenchError, match="there is no benchmark"):
        load_benchmark("../../outcomes")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with an experiment, notebooks inside, outside, and reached by a link that leads out."""
    project = tmp_path / "project"
    for folder in (project / "experiments", project / "notebooks", tmp_path / "outside"):
        folder.mkdir(parents=True)
    for place in ("experiments/own", "notebooks/ours", "../outside/theirs", "notebooks/text"):
        (project / f"{place}.ipynb").write_text("{}")
    (project / "experiments" / "link.ipynb").symlink_to(tmp_path / "outside" / "theirs.ipynb")
    (project / "experiments" / "script.py").write_text("")
    return project


@pytest.mark.parametrize("notebook", ["own.ipynb", "../notebooks/ours.ipynb", "02_compare_models.ipynb"])
def test_a_notebook_of_the_project_is_run(
    project: Path, notebook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    text = EXPERIMENT.format(name="x", notebook=notebook)
    assert session.notebook_of(load_spec(written(project / "experiments", text))).is_file()


@pytest.mark.parametrize(
    "notebook", ["../../outside/theirs.ipynb", "link.ipynb", "script.py", "../../../etc/passwd", "ABSOLUTE"]
)
def test_a_notebook_from_elsewhere_is_not_run(
    project: Path, notebook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    notebook = notebook.replace("ABSOLUTE", str(project.parent / "outside" / "theirs.ipynb"))
    text = EXPERIMENT.format(name="x", notebook=notebook)
    with pytest.raises(ConfigError, match=r"not an \.ipynb in"):
        session.notebook_of(load_spec(written(project / "experiments", text)))
