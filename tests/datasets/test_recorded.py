"""Known benchmarks: provenance as data, where they are found, and what is said when they are not."""

import re
from pathlib import Path

import pandas as pd
import pytest

from workbench import datasets, outcomes
from workbench.datasets.originals import CONVERTERS
from workbench.errors import DataError, StorageError

FETCHABLE = [row for row in datasets.benchmarks().values() if row.files]


def small_table() -> pd.DataFrame:
    return pd.DataFrame(
        {"prompt_id": ["p", "p"], "arm": ["a", "b"], "prompt": ["Why?"] * 2, "quality": [0.0, 1.0]}
    )


def test_every_fetchable_benchmark_has_a_converter_and_no_other_does() -> None:
    assert {row.name for row in FETCHABLE} == set(CONVERTERS)
    assert {row.name for row in datasets.benchmarks().values() if row.not_fetchable} == {"llmrouter9"}


@pytest.mark.parametrize("row", FETCHABLE, ids=lambda row: row.name)
def test_provenance_pins_a_commit_and_every_byte(row: datasets.Benchmark) -> None:
    assert re.fullmatch(r"[0-9a-f]{40}", row.commit)
    assert row.base_url.endswith(row.commit)
    assert row.licence in ("MIT", "Apache-2.0")
    assert all(re.fullmatch(r"[0-9a-f]{64}", file.sha256) and file.n_bytes > 0 for file in row.files)
    assert not any(file.path.startswith("/") or ".." in file.path for file in row.files)


def test_a_benchmark_is_found_in_the_users_folder_before_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes.write(small_table(), tmp_path / "cache" / "benchmarks" / "zeroeval19.parquet")
    assert (
        datasets.benchmark("zeroeval19").location == tmp_path / "cache" / "benchmarks" / "zeroeval19.parquet"
    )
    outcomes.write(small_table(), tmp_path / "mine" / "zeroeval19.parquet")
    monkeypatch.setenv("WORKBENCH_BENCHMARKS_DIR", str(tmp_path / "mine"))
    assert datasets.benchmark("zeroeval19").location == tmp_path / "mine" / "zeroeval19.parquet"
    assert len(datasets.load_benchmark("zeroeval19")) == 2


@pytest.mark.parametrize(
    ("name", "hint"),
    [("zeroeval19", "workbench data fetch zeroeval19"), ("llmrouter9", "could not be established")],
)
def test_an_absent_benchmark_says_how_to_get_it(name: str, hint: str) -> None:
    with pytest.raises(StorageError, match=f"{hint}.*WORKBENCH_BENCHMARKS_DIR"):
        datasets.load_benchmark(name)


@pytest.mark.parametrize("load", [datasets.load_benchmark, datasets.load_outcomes, datasets.describe])
def test_an_unknown_name_lists_the_known_and_suggests(load: object) -> None:
    with pytest.raises(DataError, match=r"did you mean 'zeroeval19'\?.*routellm_pair"):
        load("zeroeval")  # type: ignore[operator]


def test_outcomes_load_by_path_too(tmp_path: Path) -> None:
    outcomes.write(small_table(), tmp_path / "mine.parquet")
    assert datasets.load_outcomes(tmp_path / "mine.parquet")["arm"].to_list() == ["a", "b"]


def test_a_damaged_table_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(DataError, match=r"torn\.parquet is not a whole Parquet file"):
        datasets.load_outcomes(str(tmp_path / "torn.parquet"))


def test_the_list_has_a_row_for_all_that_can_be_loaded() -> None:
    rows = {row.name: row for row in datasets.listed()}
    assert list(rows) == ["tasks", *datasets.benchmarks()]
    assert (rows["tasks"].kind, rows["tasks"].n_prompts) == ("prompts", 720)
    assert rows["tasks"].location is not None
    assert rows["zeroeval19"].location is None


def test_a_description_tells_source_size_and_way_to_get_it() -> None:
    found = datasets.describe("routellm_pair")
    assert found.source == "https://github.com/lm-sys/RouteLLM"
    assert found.n_bytes == sum(file.n_bytes for file in datasets.benchmark("routellm_pair").files)
    assert "workbench data fetch routellm_pair" in found.how_to_get
    assert "arithmetic (120)" in datasets.describe("tasks").notes


@pytest.mark.parametrize("name", datasets.benchmarks())
def test_recorded_tables_have_the_stated_size(
    name: str, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_BENCHMARKS_DIR", str(shared_data))
    table, row = datasets.load_benchmark(name), datasets.benchmark(name)
    assert (table["prompt_id"].nunique(), table["model"].nunique()) == (row.n_prompts, row.n_models)
