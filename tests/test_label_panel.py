"""The panel of labels: blinded, each label kept at once, hostile answers shown as text."""

from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from workbench import outcomes
from workbench.experiment.labels import Answer, answers_to_label, read_labels

label_panel = pytest.importorskip("workbench.label_panel", reason="the extra 'notebooks' is not installed")
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)> $x$ \x1b[31m"


def table() -> pd.DataFrame:
    rows = [
        {"prompt_id": f"p{n}", "arm": arm, "prompt": f"Question {n}?", "response": f"{HOSTILE} {n}"}
        for n in range(3)
        for arm in ("small", "large")
    ]
    return outcomes.validate(pd.DataFrame(rows))


@pytest.fixture
def answers() -> list[Answer]:
    return answers_to_label(table(), n=6)


def buttons(panel) -> list:
    return [button for column in panel._row.children for button in column.children[1].children]


def html(panel) -> str:
    return panel._text.value + "".join(column.children[0].value for column in panel._row.children)


def test_answers_to_one_prompt_stand_side_by_side_without_their_arms(answers, tmp_path: Path) -> None:
    panel = label_panel.LabelPanel(answers, tmp_path / "labels.csv")
    assert len(panel.page) == 2
    assert len({answer.prompt_id for answer in panel.page}) == 1
    assert [button.description for button in buttons(panel)] == ["wrong", "partly", "right"] * 2
    assert "small" not in html(panel)
    assert "large" not in html(panel)


def test_a_label_is_in_the_sheet_when_its_button_was_pressed(answers, tmp_path: Path) -> None:
    panel = label_panel.LabelPanel(answers, tmp_path / "labels.csv", labeller="ann")
    first = panel.page[0]
    buttons(panel)[1].click()
    assert panel.labels == {first.label_id: 0.5}
    read = read_labels(tmp_path / "labels.csv", table())
    assert list(read["label"]) == [0.5]
    assert list(read["labeller"]) == ["ann"]


def test_the_next_prompt_comes_when_all_answers_have_a_label_and_back_leads_back(answers, tmp_path) -> None:
    panel = label_panel.LabelPanel(answers, tmp_path / "labels.csv")
    shown = panel.page
    buttons(panel)[2].click()
    assert panel.page == shown
    buttons(panel)[3].click()
    assert panel.page != shown
    panel._back.click()
    assert panel.page == shown
    assert [button.button_style for button in buttons(panel)] == ["", "", "primary", "primary", "", ""]


def test_a_sheet_is_gone_on_with_and_the_labels_of_others_stay(answers, tmp_path: Path) -> None:
    sheet = tmp_path / "labels.csv"
    for labeller in ("ann", "bob"):
        panel = label_panel.LabelPanel(answers, sheet, labeller=labeller)
        for answer in panel.page:
            panel.label(answer, "right")
    again = label_panel.LabelPanel(answers, sheet, labeller="ann")
    assert len(again.labels) == 2
    assert not set(again.labels) & {answer.label_id for answer in again.page}
    assert len(read_labels(sheet, table())) == 4


def test_hostile_answers_are_text(answers, tmp_path: Path) -> None:
    seen: set[str] = set()

    class Elements(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.add(tag)

    panel = label_panel.LabelPanel(answers, tmp_path / "labels.csv")
    Elements().feed(html(panel))
    assert seen <= {"div", "pre", "span"}
    assert "\x1b" not in html(panel)
