"""Non-inferiority and equivalence: what is tested, and how the verdict says it."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from workbench.experiment.analyse import analyse, from_json, to_json
from workbench.experiment.analysis import Comparison
from workbench.experiment.analysis_plan import AnalysisPlan


def graded(gain: float, *, n: int = 400, arms: tuple[str, ...] = ("b",)) -> pd.DataFrame:
    """Arm `a`, and arms that are better by exactly `gain` in the mean with a spread of 0.1."""
    random = np.random.default_rng(7)
    base = random.uniform(0.3, 0.7, n)
    scores = {"a": base} | {
        arm: base + gain + 0.1 * stats.zscore(random.uniform(-1, 1, n), ddof=1) for arm in arms
    }
    parts = [
        pd.DataFrame({"prompt_id": [f"p{i}" for i in range(n)], "arm": arm, "quality": values})
        for arm, values in scores.items()
    ]
    return pd.concat(parts, ignore_index=True)


def comparison(gain: float, plan: AnalysisPlan) -> Comparison:
    return analyse(graded(gain), question="?", control="a", plan=plan).comparisons[0]


def test_non_inferiority_is_a_one_sided_t_test_against_the_margin():
    found = comparison(-0.01, AnalysisPlan(non_inferiority_margin=0.025)).margin
    assert found is not None
    t = (-0.01 + 0.025) / (0.1 / np.sqrt(400))
    assert found.p_value == pytest.approx(stats.t.sf(t, 399))
    assert found.is_shown
    assert found.interval.low > -0.025


def test_a_lower_limit_below_the_margin_shows_nothing():
    found = comparison(-0.01, AnalysisPlan(non_inferiority_margin=0.015))
    assert found.difference.low < -0.015
    assert found.margin is not None
    assert not found.margin.is_shown
    assert "; that it loses less than 1.5 points is not shown (400 prompts, p = 0.046, margin p = 0.159)" in (
        found.verdict
    )


def test_equivalence_is_the_larger_of_two_one_sided_tests():
    found = comparison(0.004, AnalysisPlan(equivalence_margin=0.02)).margin
    assert found is not None
    error = 0.1 / np.sqrt(400)
    assert found.p_value == pytest.approx(stats.t.cdf((0.004 - 0.02) / error, 399))
    assert found.is_shown


@pytest.mark.parametrize(
    ("gain", "plan", "said"),
    [
        (
            -0.004,
            AnalysisPlan(non_inferiority_margin=0.02),
            "b is not worse than a by 2 points or more: -0.4",
        ),
        (0.002, AnalysisPlan(equivalence_margin=0.02), "b is equal to a within 2 points: +0.2 points"),
        (-0.012, AnalysisPlan(non_inferiority_margin=0.04), "but by less than the margin of 4 points (400"),
        (
            0.012,
            AnalysisPlan(equivalence_margin=0.04),
            "b is better than a by 1.2 points [0.2, 2.2], but by l",
        ),
    ],
    ids=["non-inferior", "equivalent", "worse but within", "better but within"],
)
def test_the_verdict_leads_with_what_was_shown(gain, plan, said):
    assert said in comparison(gain, plan).verdict


def test_a_better_arm_needs_no_word_on_how_much_worse_it_is():
    verdict = comparison(0.03, AnalysisPlan(non_inferiority_margin=0.02)).verdict
    assert verdict.startswith("b is better than a by 3.0 points")
    assert "by less than the margin" not in verdict


def test_margins_of_several_arms_are_corrected_together():
    plan = AnalysisPlan(non_inferiority_margin=0.02)
    found = analyse(graded(-0.006, arms=("b", "c", "d")), question="?", control="a", plan=plan).comparisons
    single, adjusted = found[0].margin.p_value, found[0].margin.p_adjusted
    assert adjusted == pytest.approx(3 * single)


def test_margins_survive_a_file():
    plan = AnalysisPlan(equivalence_margin=0.02)
    analysis = analyse(graded(0.0), question="?", control="a", plan=plan)
    assert from_json(to_json(analysis)) == analysis
