"""Labels by people: a sheet that tells nothing and computes nothing, and what is read back from it."""

import csv
from pathlib import Path

import pandas as pd
import pytest

from workbench import outcomes
from workbench.errors import DataError
from workbench.experiment.labels import (
    Label,
    answers_to_label,
    blinded,
    read_labels,
    sheet_labels,
    with_labels,
    write_sheet,
)

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", '=HYPERLINK("http://x")', "\uff1d1", "\n=1"]


def table(n: int = 4, responses: list[str] | None = None) -> pd.DataFrame:
    rows = [
        {
            "prompt_id": f"p{number}",
            "arm": arm,
            "prompt": f"Question {number}?",
            "response": (responses or [f"{number} by one", f"{number} by another"])[place],
            "repeat": 0,
        }
        for number in range(n)
        for place, arm in enumerate(("small", "large"))
    ]
    return outcomes.validate(pd.DataFrame(rows))


def filled(path: Path, *labels: str, labeller: str = "ann") -> None:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, label in zip(rows, labels, strict=False):
        row["label"], row["labeller"] = label, labeller
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_a_sheet_has_whole_prompts_in_random_order_and_no_word_of_the_arm(tmp_path: Path) -> None:
    answers = answers_to_label(table(30), n=11, seed=1)
    assert len(answers) == 12
    assert len({answer.prompt_id for answer in answers}) == 6
    assert [a.prompt_id for a in answers] != sorted(a.prompt_id for a in answers)
    write_sheet(tmp_path / "sheet.csv", answers)
    text = (tmp_path / "sheet.csv").read_text()
    assert "small" not in text
    assert "large" not in text
    assert answers == answers_to_label(table(30), n=11, seed=1)


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_is_a_formula(formula: str, tmp_path: Path) -> None:
    write_sheet(tmp_path / "sheet.csv", answers_to_label(table(1, [formula, formula]), n=2))
    with (tmp_path / "sheet.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not any(cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d")) for cell in cells)


def test_what_steers_a_terminal_or_reorders_a_line_is_left_out(tmp_path: Path) -> None:
    write_sheet(tmp_path / "sheet.csv", answers_to_label(table(1, ["\x1b[31mred\0\u202e", "b"]), n=2))
    assert not set("\x1b\0\u202e") & set((tmp_path / "sheet.csv").read_text())


def test_labels_are_read_back_and_averaged_over_labellers(tmp_path: Path) -> None:
    answers = answers_to_label(table(), n=8)
    for name, label in (("ann", "right"), ("bob", "0.5")):
        write_sheet(tmp_path / f"{name}.csv", answers)
        filled(tmp_path / f"{name}.csv", label, labeller=name)
    read = pd.concat([read_labels(tmp_path / f"{name}.csv", table()) for name in ("ann", "bob")])
    assert list(read["label"]) == [1.0, 0.5]
    labelled = with_labels(table(), read)
    assert labelled["human_quality"].notna().sum() == 1
    [row] = labelled[labelled["human_quality"].notna()].to_dict("records")
    assert row["human_quality"] == 0.75
    assert blinded((row["prompt_id"], row["arm"], 0)) == answers[0].label_id


def test_a_file_of_ones_own_names_the_prompt_and_the_arm(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("\ufeffprompt_id,arm,label\np1,small,1\np1,large,wrong\np2,large,\n", encoding="utf-8")
    labelled = with_labels(table(), read_labels(path, table()))
    assert labelled.set_index(["prompt_id", "arm"])["human_quality"].dropna().to_dict() == {
        ("p1", "small"): 1.0,
        ("p1", "large"): 0.0,
    }


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("prompt_id,arm,label\np9,small,1\n", "line 2: the answer 'p9 of small' is not one of this run"),
        ("label_id,label\nabc,1\n", "line 2: the answer 'abc' is not one"),
        ("prompt_id,arm,label\np1,small,1.5\n", "line 2: '1.5' is no label"),
        ("prompt_id,arm,label\np1,small,nan\n", "'nan' is no label"),
        ("prompt_id,arm,label\np1,small,good\n", "'good' is no label"),
        ("prompt_id,arm,label\np1,small,1\np1,small,0\n", "line 3, is a second label without a labeller"),
        ("prompt_id,label\np1,1\n", "needs the columns label"),
        ('prompt_id,arm,label\np1,small,"1\n', "could not be read as CSV"),
    ],
)
def test_a_file_that_is_wrong_is_told_by_line(content: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(content)
    with pytest.raises(DataError, match=told):
        read_labels(tmp_path / "labels.csv", table())


def test_a_sheet_keeps_the_labels_that_it_is_written_with(tmp_path: Path) -> None:
    answers = answers_to_label(table(), n=8)
    labels = [Label(answers[2].label_id, 0.5, "=ann"), Label(answers[2].label_id, 1.0, "bob")]
    assert sheet_labels(tmp_path / "sheet.csv", answers) == []
    write_sheet(tmp_path / "sheet.csv", answers, labels)
    assert sheet_labels(tmp_path / "sheet.csv", answers) == labels
