"""Figures: what they show, that names do not cover each other, and that a notebook shows them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.transforms import Bbox

from workbench import plots
from workbench.errors import InsufficientDataError
from workbench.experiment.analysis import Analysis, ArmSummary, Comparison
from workbench.experiment.verdict import Finding
from workbench.routing.curves import reliability
from workbench.routing.evaluate import cross_validate
from workbench.routing.leaderboard import Leaderboard
from workbench.routing.out_of_fold import Contender
from workbench.stats.estimate import Estimate

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def arm(name: str, quality: float, usd: float | None) -> ArmSummary:
    estimate = Estimate(quality, quality - 0.03, quality + 0.03)
    return ArmSummary(name, 100, 100, 0, estimate, usd, usd, None, None)


def comparison(name: str, difference: float, finding: Finding) -> Comparison:
    estimate = Estimate(difference, difference - 0.02, difference + 0.02)
    return Comparison(name, "a", 100, estimate, 0.01, 0.01, None, None, finding, "")


def analysis(*arms: ArmSummary, comparisons: tuple[Comparison, ...] = ()) -> Analysis:
    return Analysis("?", "quality", 0.05, "a", arms, comparisons)


@pytest.fixture
def found() -> Analysis:
    arms = (arm("a", 0.8, 2.5), arm("b", 0.79, 2.6), arm("c", 0.7, 0.1), arm("free of price", 0.5, None))
    pairs = (comparison("b", -0.01, "undecided"), comparison("c", -0.1, "worse"))
    return analysis(*arms, comparisons=pairs)


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def test_forest_shows_each_difference_in_points_with_its_finding(found):
    figure = plots.forest(found)
    assert texts(figure) == ["−1.0 [−3.0, 1.0]  undecided", "−10.0 [−12.0, −8.0]  worse"]  # noqa: RUF001
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["b", "c"]
    assert "percentage points (95 % interval)" in figure.axes[0].get_xlabel()


def test_cost_axis_is_logarithmic_only_where_costs_differ_much(found):
    near = analysis(arm("a", 0.8, 2.0), arm("b", 0.7, 4.0))
    free = analysis(arm("a", 0.8, 2.0), arm("b", 0.7, 0.0))
    scales = [plots.quality_cost(one).axes[0].get_xscale() for one in (found, near, free)]
    assert scales == ["log", "linear", "linear"]


def test_an_arm_without_a_price_is_named_under_the_plot(found):
    figure = plots.quality_cost(found)
    assert texts(figure) == ["a", "b", "c"]
    assert "without a known cost: free of price" in figure.axes[0].get_xlabel()


def test_names_cover_neither_each_other_nor_leave_the_plot():
    random = np.random.default_rng(1)
    arms = [arm(f"some-provider/model-{i}", *random.uniform([0.7, 1.0], [0.8, 3.0])) for i in range(8)]
    figure = plots.quality_cost(analysis(*arms))
    figure.canvas.draw()
    boxes = [Bbox(text.get_tightbbox()) for text in figure.axes[0].texts if text.get_text()]
    covered = [Bbox.intersection(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    assert not [box for box in covered if box is not None and box.width * box.height > 1.0]
    assert all(figure.bbox.containsx(box.x0) and figure.bbox.containsx(box.x1) for box in boxes)


@pytest.mark.parametrize(
    "name",
    ["$\\frac{1}{", "<b>x</b>", "a" * 300, "\x1b[31m\u202ered", "%s_{^", "模型-大", "rocket 🚀", "العربية"],
)
def test_any_name_can_be_drawn(name):
    drawn = analysis(arm(name, 0.8, 1.0), comparisons=(comparison(name, 0.1, "better"),))
    assert plots.png(plots.forest(drawn)).startswith(_SIGNATURE)
    assert plots.png(plots.quality_cost(drawn)).startswith(_SIGNATURE)
    assert len(texts(plots.quality_cost(drawn))[0]) <= 34


def test_the_control_is_seen_where_another_arm_is_at_the_same_place():
    figure = plots.quality_cost(analysis(arm("a", 0.8, 1.0), arm("b", 0.8, 1.0)))
    marks = {line.get_marker(): line.get_zorder() for line in figure.axes[0].get_lines()}
    assert marks["D"] > marks["o"]


def test_curves_show_the_baseline_dashed_and_models_by_name():
    x = np.linspace(0.0, 1.0, 20)
    curves = {
        "random": plots.Curve(x, 0.5 + 0.3 * x),
        "kNN": plots.Curve(x, 0.5 + 0.3 * np.sqrt(x), x, x + 1),
    }
    figure = plots.quality_cost_curves(curves, {"weak": (0.0, 0.5)}, baseline="random", x_label="share")
    styles = {line.get_label(): line.get_linestyle() for line in figure.axes[0].get_lines()}
    assert (styles["random"], styles["kNN"]) == ("--", "-")
    assert texts(figure) == ["weak"]


def test_a_notebook_shows_a_figure_without_pyplot(found):
    assert plots.forest(found)._repr_png_().startswith(_SIGNATURE)
    assert plots.png_uri(plots.forest(found)).startswith("data:image/png;base64,iVBOR")


def test_same_analysis_same_picture(found):
    assert plots.png(plots.quality_cost(found)) == plots.png(plots.quality_cost(found))


def test_nothing_to_draw_is_said():
    with pytest.raises(InsufficientDataError, match="besides the control"):
        plots.forest(analysis(arm("a", 0.5, 1.0)))
    with pytest.raises(InsufficientDataError, match="no arm has a known cost"):
        plots.quality_cost(analysis(arm("a", 0.5, None)))


@pytest.fixture(scope="module")
def board() -> Leaderboard:
    rows = [
        (f"p{number}", f"prompt {number}", model, float(number % skill != 0), usd)
        for number in range(40)
        for model, skill, usd in (("acme/dear", 7, 0.02), ("acme/cheap", 2, 0.001))
    ]
    table = pd.DataFrame(rows, columns=["prompt_id", "prompt", "arm", "quality", "cost_usd"])
    contenders = (Contender("best_single"), Contender("knn"))
    return cross_validate(table, folds=4, contenders=contenders, n_resamples=20)


def test_routers_are_curves_and_models_points(board: Leaderboard) -> None:
    figure = plots.routers(board, shown=("knn",))
    assert sorted(texts(figure)) == ["cheap", "dear"]
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["knn", "no information"]
    assert figure.axes[0].get_xscale() == "log"


def test_without_costs_routers_are_bars_of_quality(board: Leaderboard) -> None:
    free = replace(board, scored=replace(board.scored, cost_usd=None))
    axes = plots.routers(free).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["best_single", "knn", "no_information", "oracle"]
    assert axes.get_xlabel() == "quality (%, 95 % interval); dashed: acme/dear alone"


def test_calibration_has_an_interval_for_each_bin(board: Leaderboard) -> None:
    axes = plots.calibration(board, "knn").axes[0]
    found = reliability(board, "knn")
    _, points = axes.get_lines()
    assert points.get_ydata() == pytest.approx([100 * one.value for one in found.happened])
    assert len(axes.collections[0].get_segments()) == len(found.happened)
