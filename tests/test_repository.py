"""What the repository itself must hold: no key, no foreign host, pins that agree, notebooks in shape."""

import json
import re
import site
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from workbench.redaction import holds_secret

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FORBIDDEN = re.compile(
    r"/(?:work|root)/\w|files\.pythonhosted|pypi\.org/simple|127\.0\.0\.1:\d{4,5}/simple"
)


def tracked_files() -> list[Path]:
    """Every file of the repository that is text."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:8192]]


def pins(name: str) -> dict[str, str]:
    """Package -> the line that pins it."""
    lines = [
        line.removesuffix(" \\")
        for line in (ROOT / name).read_text().splitlines()
        if re.match(r"[a-z0-9]", line)
    ]
    return {re.split(r"[=;\[ ]", line)[0]: line for line in lines}


def test_no_file_holds_a_key() -> None:
    guilty = [
        path
        for path in tracked_files()
        if path.suffix not in (".txt", ".jsonl") and holds_secret(path.read_text())
    ]
    assert [path.name for path in guilty if path.parent.name != "tests" and "secret" not in path.name] == []


def test_no_file_names_a_path_of_one_machine_or_a_registry() -> None:
    allowed = {Path(__file__).name}
    guilty = [
        str(path)
        for path in tracked_files()
        if path.name not in allowed and FORBIDDEN.search(path.read_text())
    ]
    assert guilty == []


def test_both_constraints_files_pin_the_same_versions() -> None:
    assert pins("constraints.txt") == pins("constraints.hashed.txt")


def test_every_pin_is_exact_and_has_a_hash() -> None:
    text = (ROOT / "constraints.hashed.txt").read_text()
    blocks = re.findall(r"^([a-z0-9].*)\n((?:    --hash=sha256:[0-9a-f]{64}.*\n)*)", text, re.MULTILINE)
    assert len(blocks) > 150
    assert [head for head, hashes in blocks if "==" not in head or not hashes] == []


def test_every_direct_dependency_is_pinned_within_its_range() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for extra in project["optional-dependencies"].values() for line in extra]
    pinned = {name: line.split("==")[1].split(" ")[0] for name, line in pins("constraints.txt").items()}
    for line in [*project["dependencies"], *extras]:
        wanted = Requirement(line)
        if wanted.name not in ("workbench", "torch"):
            assert wanted.specifier.contains(pinned[wanted.name.lower()]), line


def test_conda_installs_from_the_same_constraints() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(part["pip"] for part in environment["dependencies"] if isinstance(part, dict))
    assert pip == ["-c constraints.txt", "torch==2.13.0", "-e .[all]"]


def test_every_action_of_the_workflow_is_pinned_to_a_commit() -> None:
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        uses = re.findall(r"uses:\s*(\S+)", path.read_text())
        assert uses
        assert [action for action in uses if not re.search(r"@[0-9a-f]{40}$", action)] == []


def test_no_installed_package_runs_code_at_start_up_by_a_pth_file() -> None:
    known = {"distutils-precedence.pth", "a1_coverage.pth"}
    files = [path for folder in site.getsitepackages() for path in Path(folder).glob("*.pth")]
    running = [path.name for path in files if re.search(r"^import[ \t]", path.read_text(), re.MULTILINE)]
    assert set(running) - known == set()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_is_short_has_parameters_and_no_failed_cell(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    sources = ["".join(cell["source"]) for cell in code]
    assert sum("parameters" in cell["metadata"].get("tags", []) for cell in code) == 1
    assert "parameters" in code[1]["metadata"]["tags"], "imports first, then the parameters"
    assert sum(len(source.splitlines()) for source in sources) <= 120
    assert max(len(source.splitlines()) for source in sources) <= 20
    assert not any(re.search(r"^class |sys\.path|^%?pip ", source, re.MULTILINE) for source in sources)
    assert not any(output["output_type"] == "error" for cell in code for output in cell["outputs"])
