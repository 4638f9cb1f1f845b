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
FORBIDDEN = re.compile(r"/(?:work|root)/\w|files\.pythonhosted|pypi\.org/simple|127\.0\.0\.1:\d{4,5}/simple")


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


KEYS = re.compile(
    r"(?:^|(?<=[^A-Za-z0-9])|(?<=\\[nrtbf]))(?:sk-(?:proj-|ant-|or-)?[A-Za-z0-9_-]{16,}|AIza[A-Za-z0-9_-]{35}"
    r"|gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{22,}|(?:gsk|hf|r8)_[A-Za-z0-9]{20,}"
    r"|(?:xai|pplx|nvapi|glpat)-[A-Za-z0-9_-]{20,}|xox[abpr]-[A-Za-z0-9-]{10,}|AKIA[A-Z0-9]{16})",
)
"""As the providers make them. Written again on purpose: it also finds what `redaction` would overlook."""
INVENTED = re.compile(r"canary|abcdefghijklmnop|1234567890abcdefghij")
"""What a key in a test must contain."""


def texts_of(path: Path) -> list[str]:
    """The text of a file; of a notebook, every source and output as it is shown."""
    if path.suffix != ".ipynb":
        return [path.read_text()]
    cells = json.loads(path.read_text())["cells"]
    parts = [cell["source"] for cell in cells] + [cell.get("outputs", []) for cell in cells]
    return [path.read_text(), *strings(parts)]


def strings(value: object) -> list[str]:
    """Every text in a JSON value; lists of lines as one."""
    if isinstance(value, dict):
        return [text for inner in value.values() for text in strings(inner)]
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return ["".join(value)]
    if isinstance(value, list):
        return [text for inner in value for text in strings(inner)]
    return [value] if isinstance(value, str) else []


def keys_in(path: Path) -> list[str]:
    """What is or looks like a key in a file, but for those that tests invent."""
    found = [match[0] for text in texts_of(path) for match in KEYS.finditer(text)]
    is_other = not path.is_relative_to(ROOT / "tests") and any(map(holds_secret, texts_of(path)))
    return [key for key in found if not INVENTED.search(key)] + [path.name] * is_other


def test_no_file_holds_a_key() -> None:
    tested = {ROOT / "src" / "workbench" / "redaction.py"}  # its examples
    assert {
        path.name: keys for path in tracked_files() if path not in tested and (keys := keys_in(path))
    } == {}


@pytest.mark.parametrize(
    "key", ["sk-" + "A1b2" * 6, "AIza" + "A1b2c" * 7, "gsk_" + "A1b2" * 5, "sk-ant-" + "x" * 20]
)
def test_a_planted_key_is_found_wherever_it_is_in_a_notebook(tmp_path: Path, key: str) -> None:
    error = {"output_type": "error", "traceback": [f"\x1b[31mValueError\x1b[0m: {key}"]}
    html = {"output_type": "display_data", "data": {"text/html": ["<b>", f"{key[:9]}", f"{key[9:]}</b>"]}}
    stream = {"output_type": "stream", "text": ["first\n", f"\t{key}\n"]}
    for number, output in enumerate((error, html, stream)):
        path = tmp_path / f"{number}.ipynb"
        path.write_text(json.dumps({"cells": [{"source": ["1"], "outputs": [output]}]}))
        assert key in keys_in(path)


def test_no_cassette_holds_a_header_that_carries_a_key() -> None:
    recorded = [path for path in tracked_files() if "cassette" in str(path).lower() or path.suffix == ".har"]
    header = re.compile(r"(?i)authorization|x-api-key|api-key|set-cookie")
    assert [path.name for path in recorded if header.search(path.read_text())] == []


def test_git_ignores_what_holds_keys_and_answers() -> None:
    private = [".env", "runs/a/journal.jsonl", "mlflow.db", "mlflow.db-wal", "mlartifacts/1/report.html"]
    ignored = subprocess.run(
        ["git", "check-ignore", *private], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ignored.stdout.split() == private
    tracked = subprocess.run(
        ["git", "ls-files", *private], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert tracked.stdout == ""


def test_a_workflow_has_no_more_rights_than_it_needs() -> None:
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {"contents": "read"}
        assert not {"pull_request_target", "workflow_run"} & set(workflow[True]), "YAML reads `on` as true"
        assert "secrets." not in path.read_text()
        checkouts = [
            step
            for job in workflow["jobs"].values()
            for step in job["steps"]
            if "checkout" in str(step.get("uses"))
        ]
        assert all(step["with"]["persist-credentials"] is False for step in checkouts)
        assert not re.search(r"\$\{\{\s*github\.(event|head_ref)", path.read_text()), "text of others as code"


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
