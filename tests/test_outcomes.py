"""The outcome table: what is accepted, what is refused and how, and that it comes back as it was."""

import io
import string
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.pandas import column, data_frames, range_indexes

from workbench import outcomes
from workbench.errors import DataError, InsufficientDataError, StorageError
from workbench.types import Outcome

TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def table_of(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"prompt_id": ["p1", "p2", "p3"], "arm": "a"} | columns)


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Valid tables with absent values anywhere that allows them."""
    keys = draw(
        st.lists(
            st.tuples(st.sampled_from("pqrs"), st.sampled_from("ab"), st.integers(0, 2)),
            min_size=1,
            unique=True,
        )
    )
    n = len(keys)
    quality = st.none() | st.floats(0, 1)
    return pd.DataFrame(
        {
            "prompt_id": [key[0] for key in keys],
            "arm": [key[1] for key in keys],
            "repeat": [key[2] for key in keys],
            "response": draw(st.lists(TEXTS, min_size=n, max_size=n)),
            "task": draw(st.lists(TEXTS, min_size=n, max_size=n)),
            "quality": draw(st.lists(quality, min_size=n, max_size=n)),
            "output_tokens": draw(st.lists(st.none() | st.integers(0, 10**6), min_size=n, max_size=n)),
            "note": draw(st.lists(TEXTS, min_size=n, max_size=n)),
        }
    )


def test_outcomes_become_a_table_with_every_column() -> None:
    table = outcomes.from_outcomes([Outcome("p", "a", "m", "prov", quality=0.5, output_tokens=3)])
    assert tuple(table.columns) == outcomes.COLUMNS
    row = table.iloc[0]
    assert (row["quality"], row["output_tokens"], row["repeat"]) == (0.5, 3, 0)
    assert table["error"].isna().all()


def test_no_outcomes_are_an_empty_table() -> None:
    assert tuple(outcomes.from_outcomes([]).columns) == outcomes.COLUMNS


def test_other_columns_are_kept_last() -> None:
    table = outcomes.validate(table_of(benchmark="gsm", quality=1.0))
    assert list(table.columns) == ["prompt_id", "arm", "quality", "repeat", "benchmark"]


def test_categories_and_numbers_in_text_are_read() -> None:
    table = outcomes.validate(table_of(task=pd.Categorical(["x", "y", None]), quality=["0.5", "1", None]))
    assert table["quality"].tolist()[:2] == [0.5, 1.0]
    assert table["task"].tolist()[:2] == ["x", "y"]


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        (
            {"quality": [0.5, 1.5, -1]},
            r"column 'quality' is not in \[0, 1\] in 2 of 3 rows \(row 1: '1.5', row 2: '-1",
        ),
        ({"quality": [0.5, float("inf"), 1]}, r"column 'quality' is not in \[0, 1\] in 1 of 3"),
        ({"quality": ["good", 1, 1]}, r"column 'quality' is not a number in 1 of 3 rows \(row 0: 'good'\)"),
        ({"cost_usd": [0, -0.1, 0]}, r"column 'cost_usd' is not a finite number >= 0 .*row 1"),
        ({"cost_usd": [0, 0, float("inf")]}, r"column 'cost_usd' is not a finite number"),
        ({"propensity": [1, 0, 0.5]}, r"column 'propensity' is not in \(0, 1\] .*row 1"),
        ({"output_tokens": [1, 2.5, 3]}, r"column 'output_tokens' is not a whole number .*row 1: '2.5'"),
        ({"repeat": [0, -1, 0]}, r"column 'repeat' is not a finite number >= 0"),
        ({"response": ["a", 5, "c"]}, r"column 'response' is not text .*row 1: '5'"),
        ({"arm": ["a", None, "a"]}, r"column 'arm' is absent in 1 of 3 rows \(row 1"),
        ({"prompt_id": ["p", "q", "p"]}, r"column 'prompt_id' repeats an earlier row .*row 2: 'p'"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_bad_value_is_named_with_its_column_and_row(columns: dict[str, object], what: str) -> None:
    with pytest.raises(DataError, match=what):
        outcomes.validate(table_of(**columns))


def test_a_missing_key_column_is_named_with_those_there_are() -> None:
    with pytest.raises(DataError, match=r"needs the column 'arm'; this one has \['prompt_id', 'model'\]"):
        outcomes.validate(pd.DataFrame({"prompt_id": ["p"], "model": ["m"]}))


def test_only_the_first_three_bad_rows_are_listed() -> None:
    with pytest.raises(DataError) as caught:
        outcomes.validate(pd.DataFrame({"prompt_id": [str(i) for i in range(99)], "arm": "a", "quality": 7}))
    assert "in 99 of 99 rows" in str(caught.value)
    assert str(caught.value).count("row ") == 3


def test_validating_leaves_the_callers_table_alone() -> None:
    table = table_of(quality=["1", "0", "1"])
    before = table.copy(deep=True)
    outcomes.validate(table)
    pd.testing.assert_frame_equal(table, before)


@settings(max_examples=15, deadline=None)
@given(tables())
def test_a_table_comes_back_from_disk_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, table: pd.DataFrame
) -> None:
    path = tmp_path_factory.mktemp("round-trip") / "table.parquet"
    outcomes.write(table, path)
    again = outcomes.read(path)
    assert outcomes.digest(again) == outcomes.digest(table)
    expected = outcomes.validate(table)
    for name in expected:
        assert again[name].astype(object).where(again[name].notna(), None).tolist() == (
            expected[name].astype(object).where(expected[name].notna(), None).tolist()
        )


@settings(max_examples=20, deadline=None)
@given(tables(), st.randoms(use_true_random=False))
def test_the_digest_does_not_depend_on_order(table: pd.DataFrame, random: object) -> None:
    shuffled = table.sample(frac=1.0, random_state=random.randrange(2**31))  # type: ignore[attr-defined]
    shuffled = shuffled[sorted(table.columns, reverse=True)]
    assert outcomes.digest(shuffled) == outcomes.digest(table)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(TEXTS, TEXTS), min_size=3, max_size=3),
    st.lists(st.tuples(TEXTS, TEXTS), min_size=3, max_size=3),
)
def test_different_contents_have_different_digests(
    one: list[tuple[str | None, str | None]], other: list[tuple[str | None, str | None]]
) -> None:
    digests = [
        outcomes.digest(table_of(response=[row[0] for row in rows], task=[row[1] for row in rows]))
        for rows in (one, other)
    ]
    assert (digests[0] == digests[1]) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["", None, "x"], [None, "", "x"]),
        (["-", None, "x"], [None, "-", "x"]),
        (["a,b", "c", "x"], ["a", "b,c", "x"]),
        (["1:a", "", "x"], ["", "1:a", "x"]),
        (["nan", None, "x"], [None, "nan", "x"]),
    ],
)
def test_absent_empty_and_look_alikes_are_told_apart(one: list[str | None], other: list[str | None]) -> None:
    assert outcomes.digest(table_of(response=one)) != outcomes.digest(table_of(response=other))


def test_a_column_name_belongs_to_the_content() -> None:
    assert outcomes.digest(table_of(note="x")) != outcomes.digest(table_of(remark="x"))


def test_fifty_thousand_rows_are_digested_in_a_second() -> None:
    rng = np.random.default_rng(0)
    n = 50_000
    table = pd.DataFrame(
        {"prompt_id": [f"p{i // 5}" for i in range(n)], "arm": [f"a{i % 5}" for i in range(n)]}
    )
    table = table.assign(
        quality=rng.random(n), cost_usd=rng.random(n), prompt="What is asked? " * 20, error=None
    )
    before = time.process_time()
    outcomes.digest(table)
    assert time.process_time() - before < 10.0  # what is quadratic takes minutes


@pytest.mark.parametrize(
    "content", [b"", b"not parquet", b"PAR1 and then nothing"], ids=["empty", "text", "torn"]
)
def test_a_file_that_is_not_parquet_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"t\.parquet is not a whole Parquet file"):
        outcomes.read(tmp_path / "t.parquet")


def test_names_that_are_whole_numbers_are_read_as_text(tmp_path: Path) -> None:
    table = pd.DataFrame({"prompt_id": [7], "model": [4], "task": [1], "response": [12], "quality": [1.0]})
    table.to_parquet(tmp_path / "t.parquet")
    read = outcomes.read(tmp_path / "t.parquet").iloc[0]
    assert (read["prompt_id"], read["arm"], read["task"], read["response"]) == ("7", "4", "1", "12")


def test_a_truncated_table_is_not_read_in_part(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    outcomes.write(table_of(response="word " * 50), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError):
        outcomes.read(path)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="outcome table: there is no file"):
        outcomes.read(tmp_path / "none.parquet")


def test_a_table_of_models_gets_them_as_arms(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt_id": ["p", "p"], "model": ["m", "n"]}), tmp_path / "t.parquet")
    assert outcomes.read(tmp_path / "t.parquet")["arm"].tolist() == ["m", "n"]


SPLIT_TABLES = data_frames(
    index=range_indexes(min_size=1, max_size=25),
    columns=[
        column("prompt_id", elements=st.sampled_from(string.ascii_lowercase[:12])),
        column("prompt", elements=st.sampled_from(["Sum 1", "sum  1", "Name it", "Why?", "why?\n", "Sort"])),
        column("cluster", elements=st.sampled_from(["c1", "c2", "c3", "c4"])),
    ],
)


@settings(max_examples=30, deadline=None)
@given(SPLIT_TABLES, st.integers(0, 5))
def test_no_prompt_duplicate_or_cluster_is_in_two_parts(table: pd.DataFrame, seed: int) -> None:
    table = table.assign(cluster=table["cluster"].where(table.index % 3 == 0, None))
    parts = outcomes.split_by_prompt(table, (0.5, 0.5), seed=seed)
    folded = table["prompt"].map(outcomes.normalise)
    for key in (table["prompt_id"], folded, table["cluster"]):
        assert (parts.groupby(key).nunique() <= 1).all()


def test_parts_have_about_the_sizes_asked_for() -> None:
    table = pd.DataFrame({"prompt_id": [f"p{i}" for i in range(5_000)]})
    shares = outcomes.split_by_prompt(table, (0.7, 0.2, 0.1), names=("train", "valid", "test")).value_counts(
        normalize=True
    )
    spread = 5 * np.sqrt(0.25 / 5_000)
    assert abs(shares["train"] - 0.7) < spread
    assert abs(shares["test"] - 0.1) < spread


def test_more_prompts_do_not_move_the_others_to_another_part() -> None:
    table = pd.DataFrame({"prompt_id": [f"p{i}" for i in range(300)]})
    few = outcomes.split_by_prompt(table.head(100))
    many = outcomes.split_by_prompt(table.sample(frac=1.0, random_state=1)).sort_index()
    assert few.tolist() == many.head(100).tolist()


def test_another_seed_is_another_split() -> None:
    table = pd.DataFrame({"prompt_id": [f"p{i}" for i in range(200)]})
    assert (outcomes.split_by_prompt(table, seed=1) != outcomes.split_by_prompt(table, seed=2)).any()


@pytest.mark.parametrize("fractions", [(0.5, 0.6), (1.0,), (1.2, -0.2), (float("nan"), 0.5)])
def test_fractions_that_do_not_add_up_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="must be one per name"):
        outcomes.split_by_prompt(table_of(), fractions)


def test_a_split_of_nothing_is_nothing() -> None:
    assert outcomes.split_by_prompt(outcomes.from_outcomes([])).empty


def test_pivot_averages_repeats_and_keeps_the_order_of_prompts() -> None:
    rows = [("b", "y", 0, 1.0), ("b", "y", 1, 0.0), ("a", "x", 0, 1.0), ("a", "y", 0, None)]
    table = outcomes.validate(pd.DataFrame(rows, columns=["prompt_id", "arm", "repeat", "quality"]))
    matrix = outcomes.pivot(table)
    assert (list(matrix.index), list(matrix.columns)) == (["b", "a"], ["x", "y"])
    assert matrix.loc["b", "y"] == 0.5
    assert matrix.isna().loc["b", "x"]
    assert matrix.isna().loc["a", "y"]


def test_pivot_says_what_is_missing() -> None:
    with pytest.raises(DataError, match="no column 'cost_usd'"):
        outcomes.pivot(table_of(), "cost_usd")
    with pytest.raises(InsufficientDataError, match="no rows"):
        outcomes.pivot(outcomes.from_outcomes([]))


def test_the_recorded_benchmarks_are_outcome_tables(shared_data: Path) -> None:
    table = outcomes.read(shared_data / "routerbench365.parquet")
    assert outcomes.pivot(table).shape == (365, 11)
    assert outcomes.pivot(table)["gpt-4-1106-preview"].mean() == pytest.approx(0.7815, abs=5e-4)


def test_the_same_table_in_memory_and_from_bytes_has_one_digest(tmp_path: Path) -> None:
    table = table_of(quality=[0.1 + 0.2, 1 / 3, None], response=["", None, "é"], extra=[1, 2, 3])
    outcomes.write(table, tmp_path / "t.parquet")
    other = pq.read_table(io.BytesIO((tmp_path / "t.parquet").read_bytes())).to_pandas()
    assert outcomes.digest(other) == outcomes.digest(table)


def test_a_small_file_that_unpacks_to_gigabytes_is_not_read_on() -> None:
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), pa.array(["x" * 50_000]))
    file = io.BytesIO()
    pq.write_table(pa.table({"prompt": text}), file, store_schema=False)
    assert len(file.getvalue()) < 500_000
    with pytest.raises(DataError, match=r"small\.parquet unpacks to more than"):
        outcomes.read_parquet(file.getvalue(), source="small.parquet", max_bytes=2**26)


def test_a_file_of_too_many_rows_is_not_read() -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"prompt": pa.nulls(outcomes.MAX_ROWS + 1)}), file)
    with pytest.raises(DataError, match="has 10,000,001 rows; at most 10,000,000"):
        outcomes.read_parquet(file.getvalue(), source="long.parquet")


def test_a_table_of_many_batches_is_read_whole() -> None:
    table = pd.DataFrame({"n": range(5000), "kind": pd.Categorical([str(n % 7) for n in range(5000)])})
    read = outcomes.read_parquet(table.to_parquet(), source="table.parquet")
    pd.testing.assert_frame_equal(read, table)


@pytest.mark.parametrize("dtype", ["object", "str", "string"])
def test_a_table_without_rows_is_one(tmp_path: Path, dtype: str) -> None:
    empty = pd.DataFrame({name: pd.Series([], dtype=dtype) for name in ("prompt_id", "arm", "prompt")})
    outcomes.write(empty, tmp_path / "empty.parquet")
    assert outcomes.read(tmp_path / "empty.parquet").empty
