"""The report: what it says, that it stands alone, and that hostile text stays text."""

from html.parser import HTMLParser

import pandas as pd
import pytest

from workbench import report
from workbench.experiment.analyse import analyse
from workbench.experiment.result_table import HEADER, rows

_HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)><a href='javascript:alert(1)'>x</a>"
    "</pre></style><svg onload=alert(1)><iframe srcdoc=x>{{ 7*7 }}{% raw %}&lt;b\x1b[31m\u202egnp\x00"
)


class Nodes(HTMLParser):
    """Every element and attribute of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def table_with(text: str) -> pd.DataFrame:
    """Two arms on 30 prompts, with `text` in every place where text can come from outside."""
    table = pd.DataFrame(
        {"prompt_id": [f"{text}{i}" for i in range(30)] * 2, "arm": [f"a{text}"] * 30 + [f"b{text}"] * 30}
    )
    table["quality"] = [1.0, 0.0, 0.0] * 10 + [1.0, 1.0, 0.0] * 10
    table = table.assign(prompt=text, response=text, task=text, cost_usd=0.01, latency_s=0.5, error=None)
    table.loc[3, "error"] = text
    return table


def page_with(text: str) -> str:
    table = table_with(text)
    analysis = analyse(table, question=f"Q {text}", control=f"a{text}")
    return report.html(
        analysis, table, spec_yaml=text, how_to_reproduce=text, provenance={f"n{text}": f"v{text}"}
    )


@pytest.fixture(scope="module")
def plain() -> Nodes:
    return Nodes(page_with("plain "))


def test_it_answers_the_question_first(plain):
    assert plain.tags.index("h1") < plain.tags.index("ul") < plain.tags.index("table")
    assert "bplain is better than aplain by 36.7 points" in " ".join(plain.text.split())


@pytest.mark.parametrize(
    "part",
    [
        "Results",
        "By task",
        "Failures",
        "Where the arms differ most",
        "How this was computed",
        "Holm",
        "Where the money went",
    ],
)
def test_it_has_every_part_that_applies(plain, part):
    assert (part in plain.text) is (part != "Holm")  # one comparison needs no correction


def test_it_adds_up_what_the_arms_cost(plain):
    assert "all arms 60 $0.60" in " ".join(plain.text.split())


def test_it_stands_alone(plain):
    loaded = [value for name, value in plain.attributes if name in ("src", "href", "srcset", "data")]
    assert len(loaded) == 2
    assert all(value is not None and value.startswith("data:image/png;base64,") for value in loaded)
    assert not {"script", "link", "iframe", "object", "a"} & set(plain.tags)


def test_hostile_text_makes_no_node_and_no_attribute(plain):
    hostile = Nodes(page_with(_HOSTILE))
    assert hostile.tags == plain.tags
    assert sorted(name for name, _ in hostile.attributes) == sorted(name for name, _ in plain.attributes)
    assert not [name for name, _ in hostile.attributes if name.startswith("on")]
    assert not [value for _, value in hostile.attributes if "javascript:" in (value or "")]


def test_hostile_text_is_shown_as_it_was_but_for_control_characters():
    text = Nodes(page_with(_HOSTILE)).text
    assert "<script>alert(1)</script>" in text
    assert "{{ 7*7 }}" in text
    assert not {"\x1b", "\x00", "\u202e"} & set(text)


def test_long_answers_are_shortened_and_the_spec_is_not():
    table = table_with("x").assign(response="y" * 5000)
    analysis = analyse(table, question="?", control="ax")
    page = report.html(analysis, table, spec_yaml="z" * 5000, how_to_reproduce="run")
    assert "(4,100 more characters)" in page
    assert "z" * 5000 in page


def test_samples_are_prompts_on_which_the_arms_differ():
    table = table_with("x")
    table["response"] = [f"answer {i}" for i in range(60)]
    page = report.html(analyse(table, question="?", control="ax"), table, spec_yaml="", how_to_reproduce="")
    assert "answer 1<" in page
    assert "answer 31<" in page
    assert "answer 2<" not in page


@pytest.mark.parametrize(
    "dropped", [["response"], ["cost_usd"], ["task"], ["error"], ["prompt", "latency_s"]]
)
def test_it_can_do_without_what_is_absent(dropped):
    table = table_with("x").drop(columns=dropped)
    page = report.html(analyse(table, question="?", control="ax"), table, spec_yaml="", how_to_reproduce="")
    assert "nan" not in Nodes(page).text.lower().replace("provenance", "")


def test_three_arms_are_corrected_in_the_methods():
    table = pd.concat([table_with("x"), table_with("x").head(30).assign(arm="c")])
    page = report.html(analyse(table, question="?", control="ax"), table, spec_yaml="", how_to_reproduce="")
    assert "Holm's correction" in Nodes(page).text
    assert "2 comparisons" in Nodes(page).text


def test_each_part_can_be_shown_in_a_notebook_by_itself():
    table = table_with(_HOSTILE)
    analysis = analyse(table, question="?", control=f"a{_HOSTILE}")
    shown = {part.name: part for part in report.parts(analysis, table)}
    assert list(shown)[:3] == ["verdict", "differences", "comparisons"]
    assert shown["differences"]._repr_png_().startswith(b"\x89PNG")
    section = Nodes(shown["results"]._repr_html_())
    assert "a<script>alert(1)</script>" in section.text
    assert set(section.tags) == {
        "style",
        "div",
        "h2",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "span",
        "p",
    }


def test_methods_say_what_was_done_and_cite_that_alone():
    text = Nodes(page_with("x")).text
    assert "Wilson's interval (Wilson 1927)" in text
    assert "Wilson, E. B. (1927)" in text
    assert "prompts of one cluster" not in text


def test_one_arm_alone_is_reported_without_a_comparison():
    table = table_with("x").head(30)
    page = report.html(analyse(table, question="?", control="ax"), table, spec_yaml="", how_to_reproduce="")
    assert "nothing is compared" in page


def test_rows_are_worded_once_and_printable():
    first, second = rows(analyse(table_with("\x1b[1m"), question="?", control="a\x1b[1m"))
    assert len(first) == len(HEADER)
    assert first == ("a[1m (control)", "30", "30.0 % [16.7, 47.9]", "$10.00", "0.50 s / 0.50 s", "1 of 30")
    assert second[2] == "66.7 % [48.8, 80.8]"
