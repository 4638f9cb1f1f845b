"""From a table to a verdict: numbers against scipy, and every decision about messy rows."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from workbench.errors import ConfigError, DataError, InsufficientDataError
from workbench.experiment.analyse import Analysis, analyse, by_task, from_json, to_json
from workbench.stats.paired_proportions import tango
from workbench.stats.proportions import wilson


def table_of(scores: dict[str, list[float]], **columns: object) -> pd.DataFrame:
    """One row a prompt and arm; `columns` are added as they are."""
    parts = [
        pd.DataFrame({"prompt_id": [f"p{i}" for i in range(len(values))], "arm": arm, "quality": values})
        for arm, values in scores.items()
    ]
    return pd.concat(parts, ignore_index=True).assign(**columns)


def verdicts(analysis: Analysis) -> dict[str, str]:
    return {comparison.arm: comparison.verdict for comparison in analysis.comparisons}


@pytest.fixture
def graded() -> pd.DataFrame:
    """Two arms of 200 prompts with scores between 0 and 1; `b` is better by about 0.1."""
    random = np.random.default_rng(4)
    a = random.beta(3, 3, size=200)
    return table_of({"a": list(a), "b": list(np.clip(a + random.normal(0.1, 0.1, size=200), 0, 1))})


def test_difference_is_the_paired_t_interval_of_scipy(graded):
    (comparison,) = analyse(graded, question="?", control="a").comparisons
    wide = graded.pivot(index="prompt_id", columns="arm", values="quality")
    reference = stats.ttest_rel(wide["b"], wide["a"])
    interval = reference.confidence_interval(0.95)
    assert comparison.p_value == pytest.approx(reference.pvalue)
    assert (comparison.difference.low, comparison.difference.high) == pytest.approx(tuple(interval))
    assert (comparison.finding, comparison.test, comparison.mcnemar_p) == ("better", "paired t", None)


def test_order_of_rows_does_not_matter(graded):
    shuffled = graded.sample(frac=1.0, random_state=1)
    first = analyse(graded, question="?", control="a", arms=["a", "b"])
    second = analyse(shuffled, question="?", control="a", arms=["a", "b"])
    assert second.comparisons[0].difference.low == pytest.approx(first.comparisons[0].difference.low)
    assert [arm.arm for arm in second.arms] == ["a", "b"]


def test_arms_come_in_the_order_asked_for_or_of_first_appearance():
    table = table_of({"z": [0, 1], "a": [1, 1], "m": [1, 0]})
    assert [arm.arm for arm in analyse(table, question="?", control="a").arms] == ["z", "a", "m"]
    chosen = analyse(table, question="?", control="a", arms=["m", "a"])
    assert [arm.arm for arm in chosen.arms] == ["m", "a"]
    assert [comparison.arm for comparison in chosen.comparisons] == ["m"]


def test_binary_scores_get_wilson_tango_and_mcnemar():
    table = table_of({"a": [0] * 40 + [1] * 60, "b": [1] * 40 + [1] * 50 + [0] * 10})
    analysis = analyse(table, question="?", control="a")
    (comparison,) = analysis.comparisons
    exact = stats.binomtest(10, 50).pvalue
    assert analysis.arms[0].quality == wilson(60, 100)
    assert comparison.difference == tango(40, 10, 100).interval()
    assert comparison.mcnemar_p == pytest.approx(exact)
    assert comparison.p_value == pytest.approx(exact - stats.binom.pmf(10, 50, 0.5))
    assert (comparison.n_better, comparison.n_worse, comparison.test) == (40, 10, "mid-p McNemar")


def test_few_discordant_pairs_are_judged_by_the_exact_test_and_the_verdict_says_so():
    table = table_of({"a": [0] * 5 + [1] * 95, "b": [1] * 100})
    (comparison,) = analyse(table, question="?", control="a").comparisons
    assert comparison.difference.low > 0.0
    assert comparison.p_value == pytest.approx(0.0625)
    assert comparison.finding == "undecided"
    assert "by the exact test" in comparison.verdict


def test_equal_answers_leave_the_question_open_with_a_wide_interval():
    (comparison,) = analyse(table_of({"a": [1] * 10, "b": [1] * 10}), question="?", control="a").comparisons
    assert comparison.finding == "undecided"
    assert comparison.p_adjusted == 1.0
    z2 = stats.norm.isf(0.025) ** 2
    bound = z2 / (10 + z2)  # Tango's limit without a discordant pair, in closed form
    assert (comparison.difference.low, comparison.difference.high) == pytest.approx((-bound, bound))


def test_equal_graded_answers_have_the_interval_that_other_prompts_could_make():
    table = table_of({"a": [0.5] * 10, "b": [0.5] * 10})
    (comparison,) = analyse(table, question="?", control="a").comparisons
    bound = stats.binomtest(0, 10).proportion_ci(0.95, method="exact").high
    assert (comparison.difference.low, comparison.difference.high) == pytest.approx((-bound, bound))
    assert comparison.test == "exact sign test"


def test_an_error_counts_as_zero_even_where_a_quality_was_kept():
    table = table_of({"a": [1.0, 1.0, 1.0, 1.0], "b": [1.0, 1.0, 1.0, 1.0]}, error=None)
    table.loc[[4, 5], "error"] = "RateLimitError"
    table.loc[4, "quality"] = None
    analysis = analyse(table, question="?", control="a")
    assert analysis.arms[1].quality.value == 0.5
    assert analysis.arms[1].n_errors == 2
    assert analysis.warnings == ("counted as quality 0 because of an error: 2 calls of b",)


def test_answers_without_a_score_are_left_out_and_named():
    analysis = analyse(table_of({"a": [1, 0, 1], "b": [1, None, 0]}), question="?", control="a")
    assert analysis.comparisons[0].n_prompts == 2
    assert "left out because the answer was not scored: 1 call of b" in analysis.warnings


def test_only_shared_prompts_are_compared():
    table = table_of({"a": [0.2, 0.4, 0.6, 0.9], "b": [0.3, 0.4, 0.8]})
    analysis = analyse(table, question="?", control="a")
    assert analysis.comparisons[0].n_prompts == 3
    assert analysis.comparisons[0].difference.value == pytest.approx(0.1)
    assert "of 4: a 4, b 3" in analysis.warnings[0]


def test_repeats_are_averaged_within_the_prompt(graded):
    again = graded.assign(repeat=1, quality=1.0 - graded["quality"])
    both = analyse(pd.concat([graded.assign(repeat=0), again]), question="?", control="a")
    assert both.comparisons[0].n_prompts == 200
    assert both.arms[0].n_calls == 400
    assert both.comparisons[0].difference.value == pytest.approx(0.0)


def test_clusters_widen_the_interval_to_that_of_their_means():
    random = np.random.default_rng(8)
    a, b = random.random(30), random.random(30)
    table = table_of({"a": list(np.repeat(a, 5)), "b": list(np.repeat(b, 5))})
    table["cluster"] = table["prompt_id"].str[1:].astype(int).floordiv(5).astype(str)
    (comparison,) = analyse(table, question="?", control="a").comparisons
    reference = stats.ttest_rel(b, a).confidence_interval(0.95)
    assert (comparison.difference.low, comparison.difference.high) == pytest.approx(tuple(reference))
    assert (comparison.n_clusters, comparison.test) == (30, "cluster-robust t")
    assert "150 prompts in 30 clusters" in comparison.verdict


def test_a_cluster_a_prompt_is_no_cluster(graded):
    lonely = graded.assign(cluster=graded["prompt_id"])
    assert analyse(lonely, question="?", control="a") == analyse(graded, question="?", control="a")


def test_prompts_without_a_cluster_stand_alone():
    table = table_of({"a": [0.1, 0.2, 0.3, 0.9], "b": [0.2, 0.4, 0.3, 0.4]})
    table["cluster"] = ["x", "x", None, None] * 2
    assert analyse(table, question="?", control="a").comparisons[0].n_clusters == 3


def test_three_comparisons_are_corrected_and_the_verdict_explains_a_conflict():
    z = stats.zscore(np.random.default_rng(0).normal(size=100), ddof=1)
    better = list(0.5 + 0.1 * z / 5 + 2.3 * 0.1 / 5 / 10)  # t = 2.3, p = .024, three times that = .071
    table = table_of({"a": [0.5] * 100, "b": better, "c": better, "d": better})
    analysis = analyse(table, question="?", control="a")
    conflicted = [c for c in analysis.comparisons if c.p_value <= 0.05 < c.p_adjusted]
    assert len(conflicted) == 3
    assert conflicted[0].finding == "undecided"
    assert "after correcting for 3 comparisons" in conflicted[0].verdict
    assert "no difference shown" in conflicted[0].verdict


def test_verdict_of_a_worse_and_cheaper_arm_gives_sizes_without_signs():
    table = table_of({"large": [1] * 70 + [0] * 30, "small": [1] * 40 + [0] * 60})
    table["cost_usd"] = [0.01] * 100 + [0.0025] * 100
    verdict = verdicts(analyse(table, question="?", control="large"))["small"]
    assert verdict == (
        "small is worse than large by 30.0 points [21.9, 39.6] at 0.25x the cost [0.25, 0.25] "
        "(100 prompts, p < 0.001)."
    )


def test_cost_and_latency_are_summed_up():
    table = table_of({"a": [1, 1, 0, 1], "b": [1, 1, 1, 0]}, cost_usd=0.002, latency_s=[1, 2, 3, 4] * 2)
    summary = analyse(table, question="?", control="a").arms[0]
    assert summary.usd_per_1k_prompts == pytest.approx(2.0)
    assert summary.total_cost_usd == pytest.approx(0.008)
    assert (summary.latency_p50_s, summary.latency_p95_s) == pytest.approx((2.5, 3.85))


def test_a_cost_that_is_partly_unknown_is_not_given():
    table = table_of({"a": [1, 1, 0], "b": [1, 1, 1]}, cost_usd=[0.1, 0.1, 0.1, 0.1, None, 0.1])
    analysis = analyse(table, question="?", control="a")
    assert analysis.arms[0].total_cost_usd == pytest.approx(0.3)
    assert analysis.arms[1].total_cost_usd is None
    assert analysis.comparisons[0].cost_ratio is None
    assert "the cost of 1 of 3 calls of b is unknown" in analysis.warnings[0]


@pytest.mark.parametrize("cost_usd", [[0.0] * 3 + [0.1] * 3, [0.1] * 3 + [0.0] * 3], ids=["control", "arm"])
def test_a_free_arm_has_no_cost_ratio(cost_usd):
    table = table_of({"a": [1, 1, 0], "b": [1, 1, 1]}, cost_usd=cost_usd)
    assert analyse(table, question="?", control="a").comparisons[0].cost_ratio is None


def test_a_spent_call_without_a_score_still_counts_in_the_total_cost():
    table = table_of({"a": [1, 1, 0], "b": [1, None, 1]}, cost_usd=0.1)
    assert analyse(table, question="?", control="a").arms[1].total_cost_usd == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"control": "c"}, "the arms are a, b"),
        ({"control": "a", "arms": ["a", "x"]}, "'x'.*a, b"),
        ({"control": "a", "arms": ["b"]}, "'a' is not an arm"),
        ({"control": "a", "metric": "taste"}, "no column 'taste'"),
        ({"control": "a", "alpha": 0.0}, "alpha"),
    ],
    ids=["control", "arm", "control left out", "metric", "alpha"],
)
def test_what_cannot_be_asked_is_refused_by_name(arguments, message):
    with pytest.raises(ConfigError, match=message):
        analyse(table_of({"a": [1, 0], "b": [1, 1]}), question="?", **arguments)


def test_too_little_data_is_said_so():
    empty = table_of({"a": [1, 0], "b": [1, 1]}).head(0)
    with pytest.raises(InsufficientDataError, match="no rows"):
        analyse(empty, question="?", control="a")
    with pytest.raises(InsufficientDataError, match="b and a cannot be compared"):
        analyse(table_of({"a": [1, 0], "b": [1]}), question="?", control="a")
    with pytest.raises(InsufficientDataError, match="no answer of arm b has a score"):
        analyse(table_of({"a": [1, 0], "b": [None, None]}), question="?", control="a")


def test_scores_out_of_range_are_refused():
    with pytest.raises(DataError, match="quality"):
        analyse(table_of({"a": [1, 0], "b": [1, 7]}), question="?", control="a")


def test_another_metric_can_be_compared(graded):
    renamed = graded.rename(columns={"quality": "judge"})
    other = analyse(renamed, question="?", control="a", metric="judge")
    assert other.comparisons == analyse(graded, question="?", control="a").comparisons


def test_json_is_strict_and_comes_back_unchanged(graded):
    analysis = analyse(graded.assign(cost_usd=0.1), question="är \u2028 it?", control="a")
    assert from_json(to_json(analysis)) == analysis
    json.loads(to_json(analysis), parse_constant=lambda name: pytest.fail(name))


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"question": 1}'])
def test_other_json_is_refused(text):
    with pytest.raises(DataError, match="not an analysis"):
        from_json(text)


def test_names_cannot_steer_a_terminal():
    analysis = analyse(table_of({"a": [1, 0, 1], "\x1b[31mb\u202e": [1, 1, 0]}), question="?", control="a")
    assert analysis.comparisons[0].verdict.startswith("no difference shown between [31mb and a")


def test_quality_by_task_is_wilsons_per_task():
    table = table_of({"a": [1, 0, 1, 1], "b": [1, 1, 0, 0]}, task=["x", "x", "y", None] * 2)
    tasks = by_task(table).set_index(["task", "arm"])
    assert list(tasks.index) == [("x", "a"), ("x", "b"), ("y", "a"), ("y", "b")]
    assert tuple(tasks.loc[("x", "a"), ["quality", "low", "high"]]) == pytest.approx(
        (0.5, wilson(1, 2).low, wilson(1, 2).high)
    )


def test_a_task_whose_answers_were_not_scored_has_no_row():
    table = table_of({"a": [1, None], "b": [1, 1]}, task=["x", "y"] * 2)
    assert list(by_task(table)["arm"]) == ["a", "b", "b"]


def test_without_tasks_the_table_by_task_has_no_rows(graded):
    assert by_task(graded).empty
