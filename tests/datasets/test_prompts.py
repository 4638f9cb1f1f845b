"""Loading prompts: the embedded set, a user's own files, outcome tables, and what is wrong with each."""

import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.datasets import load_prompts, prompts_of, tasks
from workbench.errors import DataError, InsufficientDataError, StorageError, WorkbenchError
from workbench.types import Prompt


def jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_embedded_set_loads_by_its_name_in_file_order() -> None:
    assert load_prompts("tasks") == tuple(task.prompt for task in tasks())


def test_split_and_task_select() -> None:
    wanted = [t.prompt for t in tasks() if t.split == "test" and t.prompt.task in ("logic", "lookup")]
    assert list(load_prompts("tasks", split="test", tasks=["logic", "lookup"])) == wanted


def test_a_sample_is_spread_over_the_tasks_and_keeps_file_order() -> None:
    sample = load_prompts("tasks", n=60, seed=3)
    assert set(Counter(prompt.task for prompt in sample).values()) == {10}
    everything = load_prompts("tasks")
    assert sorted(sample, key=everything.index) == list(sample)


@settings(max_examples=25)
@given(n=st.integers(1, 800), seed=st.integers(0, 5))
def test_a_sample_has_its_size_follows_its_seed_and_is_never_lopsided(n: int, seed: int) -> None:
    sample = load_prompts("tasks", n=n, seed=seed)
    counts = Counter(prompt.task for prompt in sample)
    assert len(set(sample)) == len(sample) == min(n, 720)
    assert sample == load_prompts("tasks", n=n, seed=seed)
    assert max(counts.values()) - min(counts[prompt.task] for prompt in load_prompts("tasks")) <= 1


def test_another_seed_draws_other_prompts() -> None:
    assert load_prompts("tasks", n=20, seed=0) != load_prompts("tasks", n=20, seed=1)


def test_a_users_jsonl_keeps_all_that_a_prompt_has(tmp_path: Path) -> None:
    row = {
        "prompt_id": "a",
        "text": "2 + 2?",
        "task": "sums",
        "cluster": "c",
        "reference": "4",
        "system": "Be brief.",
    }
    path = jsonl(tmp_path / "mine.jsonl", row)
    assert load_prompts(path) == (Prompt("a", "2 + 2?", "sums", "c", "4", "Be brief."),)


def test_a_csv_keeps_text_such_as_none_and_leading_zeros(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text('prompt_id,prompt,reference\n007,"Null, or\nNA?",None\n008,Why?,\n')
    assert load_prompts(path) == (Prompt("007", "Null, or\nNA?", reference="None"), Prompt("008", "Why?"))


def test_a_file_from_windows_loads_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "Why?"}\r\n')
    (tmp_path / "mine.csv").write_bytes(b"\xef\xbb\xbftext\r\nWhy?\r\n")
    assert load_prompts(tmp_path / "mine.jsonl") == load_prompts(tmp_path / "mine.csv")


def test_parquet_loads_like_the_others(tmp_path: Path) -> None:
    pd.DataFrame({"text": ["Why?"], "reference": [4]}).to_parquet(tmp_path / "mine.parquet")
    (prompt,) = load_prompts(str(tmp_path / "mine.parquet"))
    assert (prompt.text, prompt.reference) == ("Why?", "4")


def test_an_id_that_is_not_given_follows_from_the_text_alone(tmp_path: Path) -> None:
    one = load_prompts(jsonl(tmp_path / "one.jsonl", {"text": "Why?"}, {"text": "How?"}))
    two = load_prompts(jsonl(tmp_path / "two.jsonl", {"text": "How?"}))
    assert one[1].prompt_id == two[0].prompt_id != one[0].prompt_id


def test_a_reference_that_is_an_object_becomes_json(tmp_path: Path) -> None:
    (prompt,) = load_prompts(
        jsonl(tmp_path / "mine.jsonl", {"text": "Extract.", "reference": {"name": "Ann"}})
    )
    assert prompt.reference == '{"name": "Ann"}'


def test_an_outcome_table_gives_each_prompt_once() -> None:
    table = pd.DataFrame(
        {"prompt_id": ["p", "p", "q"], "arm": ["a", "b", "a"], "prompt": ["Why?", "Why?", "How?"]}
    )
    assert prompts_of(table) == (Prompt("p", "Why?"), Prompt("q", "How?"))


def test_an_outcome_table_that_kept_no_prompts_cannot_be_asked_again() -> None:
    table = pd.DataFrame({"prompt_id": ["p"], "arm": ["a"], "prompt": pd.Series([None], dtype="string")})
    with pytest.raises(InsufficientDataError, match="keeps no prompts"):
        prompts_of(table)


def test_one_id_with_two_texts_is_refused() -> None:
    table = pd.DataFrame({"prompt_id": ["p", "p"], "arm": ["a", "b"], "prompt": ["Why?", "How?"]})
    with pytest.raises(DataError, match=r"repeated prompts.*'p'"):
        prompts_of(table)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no column 'text' or 'prompt'"),
        ('{"question": "Why?"}\n', "has no column 'text' or 'prompt'; it has question"),
        ('{"text": "Why?"}\n{"text"\n', "line 2, is not JSON"),
        ('["Why?"]\n', "line 1, is not a JSON object"),
        ('{"text": "Why?"}\n{"text": "  "}\n', "no text in 1 rows, first in row 2"),
        ('{"text": 3}\n', "no text in 1 rows"),
        ('{"text": "Why?", "prompt_id": "a"}\n{"text": "How?", "prompt_id": "a"}\n', "repeated prompts.*'a'"),
        ('{"text": "Why?"}\n{"text": "Why?"}\n', "repeated prompts"),
        ('{"text": "Why?", "prompt_id": "a"}\n{"text": "How?"}\n', "no prompt_id in row 2"),
        ("[" * 100_000, "line 1, is not JSON"),
    ],
    ids=["empty", "no-text", "torn", "list", "blank", "number", "twice", "same-text", "no-id", "deep"],
)
def test_a_file_that_cannot_be_prompts_is_one_clear_error(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "mine.jsonl").write_text(content)
    with pytest.raises(DataError, match=message):
        load_prompts(tmp_path / "mine.jsonl")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({"name_or_path": "task"}, DataError, r"did you mean 'tasks'\?.*\.jsonl"),
        ({"name_or_path": "nowhere.csv"}, StorageError, r"no file nowhere\.csv"),
        ({"name_or_path": "zeroeval19"}, StorageError, "workbench data fetch"),
        ({"name_or_path": "tasks", "split": "dev"}, DataError, "no split 'dev'; it has test, train"),
        ({"name_or_path": "tasks", "tasks": ["maths"]}, DataError, "no task 'maths'; it has arithmetic"),
        ({"name_or_path": "tasks", "n": 0}, DataError, "n is 0"),
    ],
    ids=["unknown", "missing", "not-here", "split", "task", "none"],
)
def test_a_request_that_cannot_be_met_says_what_there_is(
    call: dict[str, object], error: type[WorkbenchError], message: str
) -> None:
    with pytest.raises(error, match=message):
        load_prompts(**call)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_bytes_that_are_not_the_format_are_a_data_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mine.{suffix}"
    path.write_bytes(b"\xff\xfe\x00\x01 not a table")
    with pytest.raises(DataError, match=f"mine.{suffix}"):
        load_prompts(path)


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_a_file_of_a_gigabyte_is_refused_before_it_is_read(tmp_path: Path, suffix: str) -> None:
    with (tmp_path / f"huge.{suffix}").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(DataError, match="has 1,073,741,824 bytes; at most 268,435,456 are read"):
        load_prompts(tmp_path / f"huge.{suffix}")


@pytest.mark.parametrize(("suffix", "line"), [("jsonl", "{}\n"), ("csv", "a\n")], ids=["jsonl", "csv"])
def test_a_file_of_too_many_rows_is_refused(tmp_path: Path, suffix: str, line: str) -> None:
    (tmp_path / f"long.{suffix}").write_text("text\n" * (suffix == "csv") + line * 1_000_002)
    with pytest.raises(DataError, match="over 1,000,000 rows"):
        load_prompts(tmp_path / f"long.{suffix}")


@pytest.mark.parametrize("column", ["text", "system", "reference"])
def test_a_prompt_that_holds_a_key_of_ours_is_refused(
    tmp_path: Path, column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "canary of the environment")
    row = {"text": "Hi", "system": "Be brief", "reference": "yes"} | {column: "a canary of the environment"}
    (tmp_path / "set.jsonl").write_text(json.dumps(row))
    with pytest.raises(DataError, match="one of your own keys") as caught:
        load_prompts(tmp_path / "set.jsonl")
    assert "canary" not in str(caught.value)
