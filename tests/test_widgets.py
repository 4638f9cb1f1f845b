"""The live panel: what it shows, that hostile names stay text, and what stays of it in a saved notebook."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from workbench.experiment.progress import Progress, RunningComparison
from workbench.stats.estimate import Estimate

widgets = pytest.importorskip("workbench.widgets", reason="the extra 'notebooks' is not installed")
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"


def progress(n_done: int = 50, **changes: object) -> Progress:
    comparison = RunningComparison("large", "small", 25, Estimate(0.1, 0.02, 0.18))
    fields = {
        "n_done": n_done, "n_total": 100, "n_resumed": 10, "n_errors": 1, "spent_usd": 0.5,
        "budget_usd": 2.0, "elapsed_s": 20.0, "comparisons": (comparison,),
    }  # fmt: skip
    return Progress(**(fields | changes))  # type: ignore[arg-type]


class _Tags(HTMLParser):
    """Every element with its attributes, and whether all are closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_panel_tells_calls_money_rate_and_interval() -> None:
    html = widgets.static_html("Is B better?", progress())
    assert "50 of 100 calls (10 from before) · 1 error" in html
    assert "20.0 s so far, 2.0 calls/s, about 25.0 s to go" in html
    assert "spent 0.5000 of 2.00 USD" in html
    assert "points against small" in html
    assert "+10.0 [+2.0, +18.0]" in html
    assert f"{'█' * 20}{'░' * 20}</code> 50%" in html


def test_the_panel_says_which_experiment_is_running() -> None:
    """A router's experiment may have to record another one first."""
    html = widgets.static_html("Is B better?", progress(experiment="record-fleet"))
    assert "record-fleet: 50 of 100 calls" in html


def test_dollar_signs_do_not_share_an_element() -> None:
    """JupyterLab takes the text between two of them for a formula."""
    html = widgets.static_html("Is B worth $1 more, or $2?", progress())
    assert html.count("$") == html.count("<span>$</span>") == 2


def test_the_interval_is_drawn_to_scale() -> None:
    """15 columns from -35 to 35 points, so that a column is 5 points and no difference is column 7."""
    bar = widgets.interval_bar(Estimate(0.2, 0.05, 0.3), scale=35)
    assert (len(bar), bar.index("¦"), bar.index("●")) == (15, 7, 11)
    assert (bar.index("━"), bar.rindex("━")) == (8, 13)
    assert widgets.interval_bar(Estimate(0.0, -9.0, 9.0), scale=100) == "━" * 7 + "●" + "━" * 7


def test_the_scale_follows_the_widest_interval() -> None:
    narrow = RunningComparison("large", "small", 25, Estimate(0.01, -0.01, 0.04))
    wide = RunningComparison("medium", "small", 25, Estimate(0.1, -0.15, 0.3))
    assert "-5 to 5" in widgets.static_html("t", progress(comparisons=(narrow,)))
    assert "-50 to 50" in widgets.static_html("t", progress(comparisons=(narrow, wide)))


def test_the_table_fits_a_narrow_notebook_whatever_the_names() -> None:
    """82 characters of 8.4 pixels are 689, which leaves room for the margins in a window of 900."""
    long = RunningComparison("some-provider/" * 9, "other" * 50, 10_000, Estimate(-0.9, -1.0, -0.8))
    html = widgets.static_html("t", progress(comparisons=(long,)))
    table = html.partition("<pre ")[2].partition(">")[2].partition("</pre>")[0]
    assert max(map(len, table.splitlines())) <= 82


def test_hostile_names_stay_text() -> None:
    hostile = RunningComparison(HOSTILE, HOSTILE, 1, None)
    tags = _Tags(widgets.static_html(HOSTILE, progress(comparisons=(hostile,))))
    assert tags.open == []
    assert not {"script", "img"} & {tag for tag, _ in tags.seen}
    assert not [name for _, attributes in tags.seen for name in attributes if name.startswith("on")]


def test_five_updates_a_second_are_drawn_and_the_last_state_is_kept() -> None:
    now_s = [0.0]
    panel = widgets.ProgressPanel("t", clock=lambda: now_s[0])
    drawn = []
    for step in range(100):
        now_s[0] = step / 100
        panel(progress(step))
        drawn.append(panel.text)
    assert len(set(drawn)) == 5
    assert "99 of 100 calls" in panel.static()
    panel.close()


def test_an_unfinished_or_empty_run_says_so() -> None:
    assert "broke off here" in widgets.static_html("t", progress(), stopped=True)
    assert "nothing was run" in widgets.static_html("t", None)
    assert "took 20.0 s" in widgets.static_html("t", progress(100))


@pytest.mark.slow
def test_a_saved_notebook_shows_the_finished_panel_without_a_kernel(tmp_path: Path) -> None:
    batch = pytest.importorskip("workbench.batch")
    nbconvert = pytest.importorskip("nbconvert")
    import nbformat

    cells = ["n = 1", _CELL]
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    node.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(node, tmp_path / "panel.ipynb")
    output = batch.execute(tmp_path / "panel.ipynb", parameters={}, output=tmp_path / "notebook.ipynb")
    outputs = nbformat.read(output, as_version=4).cells[1].outputs
    assert [list(item.data) for item in outputs] == [["text/html", "text/plain"]]
    html, _ = nbconvert.HTMLExporter(sanitize_html=True).from_filename(str(output))
    assert "100 of 100 calls" in html
    kept, made = (re.sub(r' style="[^"]*"', "", text) for text in (html, outputs[0].data["text/html"]))
    assert made in kept  # nothing of it was escaped or taken out


_CELL = """
from workbench.experiment.progress import Progress
from workbench.stats.estimate import Estimate
from workbench.experiment.progress import RunningComparison
from workbench.widgets import ProgressPanel
comparison = RunningComparison("a", "b", 9, Estimate(0.1, 0.02, 0.18))
with ProgressPanel("Is B better?") as panel:
    for done in (0, 50, 100):
        panel(Progress(done, 100, 0, 0, 0.1, None, 3.0, (comparison,)))
"""
