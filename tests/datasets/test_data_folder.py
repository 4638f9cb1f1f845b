"""The data folder is what its README says."""

import hashlib
import re
from pathlib import Path

import pytest

from workbench.datasets import benchmarks
from workbench.settings import data_dir

README = data_dir() / "README.md"


def test_every_data_file_has_the_sum_that_the_readme_states() -> None:
    stated = dict(re.findall(r"^\| `([\w.]+)` \|.*\| `([0-9a-f]{64})` \|$", README.read_text(), re.MULTILINE))
    files = [path for path in data_dir().iterdir() if path.name != README.name]
    assert stated == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_data_folder_is_small() -> None:
    assert sum(path.stat().st_size for path in data_dir().iterdir()) < 600_000


@pytest.mark.parametrize("name", benchmarks())
def test_the_readme_states_the_size_of_each_benchmark(name: str) -> None:
    row = benchmarks()[name]
    line = next(line for line in README.read_text().splitlines() if line.startswith(f"| `{name}`"))
    assert f"| {row.n_prompts:,} x {row.n_models} |" in line
    assert row.repository.removeprefix("https://github.com/") in line
    n_files = re.search(r"(\d+) files?", line)
    assert (int(n_files.group(1)) if n_files else 0) == len(row.files)


def test_no_recorded_benchmark_lies_in_the_data_folder() -> None:
    assert not [path for path in Path(data_dir()).rglob("*") if path.suffix in (".parquet", ".zip", ".gz")]
