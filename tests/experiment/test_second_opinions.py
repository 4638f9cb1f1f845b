"""What is said beside the verdict: two samples, looks, factors, fronts, tasks, covariates, missing scores."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from workbench.errors import ConfigError, DataError
from workbench.experiment.analyse import analyse, from_json, to_json
from workbench.experiment.analysis_plan import AnalysisPlan
from workbench.stats.always_valid import always_valid


def table_of(scores: dict[str, object], **columns: object) -> pd.DataFrame:
    """One row a prompt and arm, prompts p0, p1, ... of each arm; `columns` are added as they are."""
    parts = [
        pd.DataFrame({"prompt_id": [f"p{i}" for i in range(len(values))], "arm": arm, "quality": values})
        for arm, values in scores.items()
    ]
    return pd.concat(parts, ignore_index=True).assign(**columns)


@pytest.fixture
def graded() -> pd.DataFrame:
    random = np.random.default_rng(4)
    a = random.beta(3, 3, size=200)
    return table_of({"a": a, "b": np.clip(a + random.normal(0.05, 0.1, size=200), 0, 1)})


@pytest.fixture
def apart(graded) -> pd.DataFrame:
    """The same scores as if each prompt had been asked of one arm."""
    return graded.assign(prompt_id=[f"q{i}" for i in range(len(graded))])


def test_randomised_arms_are_compared_by_welch(apart):
    (found,) = analyse(apart, question="?", control="a", plan=AnalysisPlan(is_randomised=True)).comparisons
    a, b = (apart.loc[apart["arm"] == arm, "quality"] for arm in "ab")
    reference = stats.ttest_ind(b, a, equal_var=False)
    assert found.p_value == pytest.approx(reference.pvalue)
    assert (found.difference.low, found.difference.high) == pytest.approx(
        tuple(reference.confidence_interval())
    )
    assert (found.test, found.n_prompts, found.missing) == ("Welch's t", 400, None)


def test_randomised_arms_in_which_nothing_varies_are_counted():
    table = table_of({"a": [0.0] * 8}).assign(prompt_id=[f"x{i}" for i in range(8)])
    table = pd.concat([table, table_of({"b": [1.0] * 8})])
    (found,) = analyse(table, question="?", control="a", plan=AnalysisPlan(is_randomised=True)).comparisons
    assert found.p_value == pytest.approx(stats.fisher_exact([[8, 0], [0, 8]]).pvalue)
    assert found.interval == "Newcombe"


def test_a_wrong_ratio_of_prompts_is_a_warning(apart):
    plan = AnalysisPlan(is_randomised=True, shares={"a": 0.3, "b": 0.7})
    analysis = analyse(apart, question="?", control="a", plan=plan)
    assert analysis.sample_ratio is not None
    reference = stats.chisquare([200, 200], [120, 280]).pvalue
    assert analysis.sample_ratio.p_value == pytest.approx(reference)
    assert any("did not fall to the arms as meant (200 for 120, 200 for 280)" in w for w in analysis.warnings)


def test_a_run_that_looked_has_always_valid_numbers_in_the_order_of_the_run(graded):
    order = [f"p{i}" for i in reversed(range(200))]
    (found,) = analyse(graded, question="?", control="a", plan=AnalysisPlan(order=order)).comparisons
    wide = graded.pivot(index="prompt_id", columns="arm", values="quality").loc[order]
    reference = always_valid((wide["b"] - wide["a"]).to_numpy())
    assert found.p_value == pytest.approx(reference.p_value)
    assert (found.difference.low, found.difference.high) == pytest.approx((reference.low, reference.high))
    assert found.looks is not None
    assert found.looks.decided_at == reference.decided_at
    assert found.looks.path.n[-1] == 200
    assert found.looks.path.high[-1] == pytest.approx(reference.high)


def test_clusters_of_a_run_that_looked_are_single_looks(graded):
    table = graded.assign(cluster=graded["prompt_id"].str[1:].astype(int).floordiv(5).astype(str))
    plan = AnalysisPlan(order=[f"p{i}" for i in range(200)])
    (found,) = analyse(table, question="?", control="a", plan=plan).comparisons
    wide = graded.pivot(index="prompt_id", columns="arm", values="quality").loc[[f"p{i}" for i in range(200)]]
    means = (wide["b"] - wide["a"]).to_numpy().reshape(40, 5).mean(axis=1)
    assert found.p_value == pytest.approx(always_valid(means).p_value)
    assert found.n_clusters == 40


def test_a_margin_of_a_run_that_looked_needs_more_than_one_of_a_run_that_did_not(graded):
    once = AnalysisPlan(non_inferiority_margin=0.02)
    looked = AnalysisPlan(non_inferiority_margin=0.02, order=[f"p{i}" for i in range(200)])
    p_once, p_looked = (
        analyse(graded, question="?", control="a", plan=plan).comparisons[0].margin.p_value
        for plan in (once, looked)
    )
    assert p_once < p_looked < 0.01


def test_tasks_are_tested_with_holm_and_for_being_alike(graded):
    table = graded.assign(task=["x", "y", "y", "y"] * 100)
    (found,) = analyse(table, question="?", control="a").comparisons
    wide = graded.pivot(index="prompt_id", columns="arm", values="quality")
    task = table.drop_duplicates("prompt_id").set_index("prompt_id")["task"].reindex(wide.index)
    difference = wide["b"] - wide["a"]
    x, y = difference[task == "x"], difference[task == "y"]
    p = [stats.ttest_1samp(part, 0).pvalue for part in (x, y)]
    assert [effect.p_value for effect in found.tasks] == pytest.approx(p)
    assert [effect.p_adjusted for effect in found.tasks] == pytest.approx(
        [max(2 * min(p), one) if one > min(p) else 2 * one for one in p]
    )
    assert found.heterogeneity is not None
    assert found.heterogeneity.p_value == pytest.approx(stats.ttest_ind(x, y, equal_var=False).pvalue)


def test_main_effects_and_interaction_are_contrasts_of_the_arms():
    random = np.random.default_rng(2)
    cells = {"s,plain": 0.3, "s,steps": 0.5, "l,plain": 0.5, "l,steps": 0.55}
    table = table_of({arm: np.clip(mean + random.normal(0, 0.1, 80), 0, 1) for arm, mean in cells.items()})
    table["factor.model"] = table["arm"].str[0]
    table["factor.prompt"] = table["arm"].str[2:]
    effects = {one.name: one for one in analyse(table, question="?", control="s,plain").factors}
    q = table.pivot(index="prompt_id", columns="arm", values="quality")
    model = (q["l,plain"] + q["l,steps"] - q["s,plain"] - q["s,steps"]) / 2
    both = (q["l,steps"] - q["l,plain"]) - (q["s,steps"] - q["s,plain"])
    assert list(effects) == ["model: l - s", "prompt: steps - plain", "model l x prompt steps"]
    assert effects["model: l - s"].difference.value == pytest.approx(model.mean())
    assert effects["model l x prompt steps"].p_value == pytest.approx(stats.ttest_1samp(both, 0).pvalue)
    assert effects["model l x prompt steps"].p_adjusted >= effects["model l x prompt steps"].p_value


def test_an_arm_that_another_beats_in_both_is_off_the_front():
    random = np.random.default_rng(3)
    quality = {"good": random.binomial(1, 0.9, 300), "poor": random.binomial(1, 0.5, 300)}
    table = table_of(quality, cost_usd=[0.001] * 300 + [0.002] * 300)
    good, poor = analyse(table, question="?", control="good").arms
    assert (good.on_front, good.p_on_front) == (True, 1.0)
    assert (poor.on_front, poor.p_on_front) == (False, 0.0)


def test_a_right_answer_costs_the_sum_of_costs_over_the_sum_of_right_answers():
    table = table_of({"a": [1, 0, 1, 1] * 10, "b": [1, 1, 1, 0] * 10}, cost_usd=0.003)
    found = analyse(table, question="?", control="a").arms[0].usd_per_correct
    assert found is not None
    assert found.value == pytest.approx(0.003 / 0.75)
    assert found.low < found.value < found.high


def test_without_a_right_answer_its_cost_has_no_bound_and_is_not_given():
    table = table_of({"a": [1, 0, 1, 1], "b": [0, 0, 0, 0]}, cost_usd=0.003)
    assert analyse(table, question="?", control="a").arms[1].usd_per_correct is None


def test_latencies_are_compared_on_the_prompts_that_both_answered(graded):
    random = np.random.default_rng(5)
    table = graded.assign(latency_s=random.gamma(2, 1, 400), error=None)
    table.loc[:9, "error"] = "ProviderTimeout"
    analysis = analyse(table, question="?", control="a")
    answered = table.pivot(index="prompt_id", columns="arm", values="latency_s").drop(
        [f"p{i}" for i in range(10)]
    )
    reference = stats.ttest_rel(answered["b"], answered["a"]).confidence_interval()
    found = analysis.comparisons[0].latency_difference_s
    assert found is not None
    assert (found.low, found.high) == pytest.approx(tuple(reference))
    assert analysis.arms[0].latency_p50_s == pytest.approx(answered["a"].median())


def test_missing_scores_are_bounded_by_the_worst_and_the_best_they_could_be():
    table = table_of({"a": [1.0] * 10 + [0.0] * 10, "b": [1.0] * 15 + [None] * 5})
    (found,) = analyse(table, question="?", control="a").comparisons
    missing = found.missing
    assert missing is not None
    assert (missing.n_arm, missing.n_control, missing.n_prompts) == (5, 0, 20)
    assert (missing.lower, missing.upper) == pytest.approx((0.25, 0.5))
    assert missing.interval.low <= missing.lower


def test_arms_that_do_not_fail_alike_are_named():
    table = table_of({"a": [1.0] * 40, "b": [1.0] * 40}, error=None)
    table.loc[list(range(40, 50)), "error"] = "RateLimitError"
    analysis = analyse(table, question="?", control="a")
    assert analysis.comparisons[0].errors_p == pytest.approx(stats.binomtest(0, 10).pvalue)
    assert any("b and a do not fail alike (p = 0.002)" in warning for warning in analysis.warnings)


def test_a_covariate_helps_two_samples_as_regression_does(apart):
    random = np.random.default_rng(6)
    table = apart.assign(length=apart["quality"] + random.normal(0, 0.1, len(apart)))
    plan = AnalysisPlan(is_randomised=True, covariate="length")
    (found,) = analyse(table, question="?", control="a", plan=plan).comparisons
    assert found.adjusted is not None
    assert found.adjusted.variance_reduction > 0.5
    x, y = table["length"], table["quality"]
    theta = np.cov(x, y)[0, 1] / np.var(x, ddof=1)
    left = y - theta * x
    is_b = table["arm"] == "b"
    assert found.adjusted.difference.value == pytest.approx(left[is_b].mean() - left[~is_b].mean())


def test_a_covariate_over_the_same_prompts_is_said_to_change_nothing(graded):
    table = graded.assign(length=np.arange(400.0) % 200)
    analysis = analyse(table, question="?", control="a", plan=AnalysisPlan(covariate="length"))
    assert analysis.comparisons[0].adjusted is None
    assert "the covariate length makes nothing more exact" in analysis.warnings[-1]
    known = AnalysisPlan(covariate="length", covariate_mean=90.0)
    assert analyse(table, question="?", control="a", plan=known).comparisons[0].adjusted is not None


def test_a_covariate_that_is_not_there_is_an_error(graded):
    with pytest.raises(ConfigError, match="no column 'wit' to explain scores by"):
        analyse(graded, question="?", control="a", plan=AnalysisPlan(covariate="wit"))


def test_a_bayesian_and_a_permutation_answer_stand_beside_the_verdict(graded):
    binary = graded.assign(quality=(graded["quality"] > 0.5).astype(float))
    wide = binary.pivot(index="prompt_id", columns="arm", values="quality")
    n_better, n_worse = int((wide["b"] > wide["a"]).sum()), int((wide["b"] < wide["a"]).sum())
    posterior = analyse(binary, question="?", control="a").comparisons[0].posterior
    assert posterior is not None
    assert posterior.probability_better == pytest.approx(stats.beta.sf(0.5, n_better + 1, n_worse + 1))
    (found,) = analyse(graded, question="?", control="a").comparisons
    assert found.permutation_p == pytest.approx(found.p_value, abs=0.01)


def test_everything_survives_a_file(graded):
    table = graded.assign(task=["x", "y"] * 200, cost_usd=0.01, latency_s=np.arange(1.0, 401.0), error=None)
    table.loc[0, "error"] = "RateLimitError"
    table.loc[5, "quality"] = None
    plan = AnalysisPlan(equivalence_margin=0.05, order=[f"p{i}" for i in range(200)], n_planned=500)
    analysis = analyse(table, question="?", control="a", plan=plan)
    assert from_json(to_json(analysis)) == analysis


def test_an_analysis_of_an_earlier_version_can_be_read(graded):
    analysis = analyse(graded, question="?", control="a")
    old = json.loads(to_json(analysis))
    first = ["arm", "control", "n_prompts", "difference", "p_value", "p_adjusted", "mcnemar_p", "cost_ratio",
             "finding", "verdict"]  # fmt: skip
    old["comparisons"] = [{key: one[key] for key in first} for one in old["comparisons"]]
    old = {key: old[key] for key in ("question", "metric", "alpha", "control", "arms", "comparisons")}
    read = from_json(json.dumps(old))
    assert read.comparisons[0].difference == analysis.comparisons[0].difference
    assert read.comparisons[0].looks is None
    with pytest.raises(DataError, match="this is not an analysis"):
        from_json("{}")
