"""Effects by subgroup against statsmodels and scipy, the eight schools, and how often intervals cover."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.oneway import anova_oneway

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.paired import paired_mean
from workbench.stats.subgroups import subgroup_effects

SCHOOLS = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]
SCHOOL_ERRORS = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]
"""Rubin (1981), Estimation in parallel randomized experiments, J. Educ. Statist. 6: effects and errors."""


@pytest.fixture
def differences() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    subgroups = np.repeat(["code", "law", "maths", "prose"], [20, 35, 60, 25])
    effect = {"code": 0.25, "law": 0.0, "maths": 0.1, "prose": -0.05}
    return np.array([effect[name] for name in subgroups]) + 0.3 * random.normal(size=140), subgroups


def of_schools() -> tuple[np.ndarray, np.ndarray]:
    """Forty prompts a school with exactly the published effect and standard error."""
    noise = stats.zscore(np.random.default_rng(1).normal(size=40), ddof=1)
    rows = [
        effect + error * np.sqrt(40) * noise for effect, error in zip(SCHOOLS, SCHOOL_ERRORS, strict=True)
    ]
    return np.concatenate(rows), np.repeat(np.arange(8), 40)


def test_each_effect_is_the_paired_mean_of_its_prompts(differences):
    values, names = differences
    for effect in subgroup_effects(values, names, bounds=(-9, 9)).effects:
        alone = paired_mean(values[names == effect.subgroup], bounds=(-9, 9))
        assert effect.effect == alone.interval()
        assert effect.p_value == alone.p_value
        level = 1.0 - 0.95 ** (1 / 4)
        assert effect.simultaneous == alone.interval(level)


@pytest.mark.parametrize(("correction", "method"), [("holm", "holm"), ("benjamini_hochberg", "fdr_bh")])
def test_p_values_are_corrected_as_in_statsmodels(differences, correction, method):
    result = subgroup_effects(*differences, correction=correction, bounds=(-9, 9))
    reference = multipletests([effect.p_value for effect in result.effects], method=method)[1]
    assert [effect.p_adjusted for effect in result.effects] == pytest.approx(reference)


def test_heterogeneity_is_welchs_test(differences):
    values, names = differences
    result = subgroup_effects(values, names, bounds=(-9, 9))
    groups = [values[names == name] for name in np.unique(names)]
    reference = anova_oneway(groups, use_var="unequal", welch_correction=True)
    assert (result.welch_f, result.df2) == pytest.approx((reference.statistic, reference.df[1]))
    assert result.heterogeneity_p_value == pytest.approx(reference.pvalue)


def test_eight_schools_have_the_q_and_tau_of_statsmodels():
    result = subgroup_effects(*of_schools(), bounds=(-999, 999))
    reference = combine_effects(np.array(SCHOOLS), np.square(SCHOOL_ERRORS), method_re="iterated")
    assert result.cochran_q == pytest.approx(reference.q)
    assert result.cochran_q == pytest.approx(4.7, abs=0.05)
    assert result.tau_squared == pytest.approx(reference.tau2, abs=1e-6)
    assert result.i_squared == 0.0


def test_paule_mandels_tau_is_that_of_statsmodels(differences):
    values, names = differences
    result = subgroup_effects(values, names, bounds=(-9, 9))
    errors = np.array([effect.standard_error for effect in result.effects])
    means = np.array([effect.effect.value for effect in result.effects])
    reference = combine_effects(means, errors**2, method_re="iterated", atol=1e-10)
    assert result.tau_squared == pytest.approx(reference.tau2, rel=1e-4)
    assert result.i_squared == pytest.approx(reference.i2)


def test_schools_that_do_not_differ_shrink_to_one_mean():
    result = subgroup_effects(*of_schools(), bounds=(-999, 999))
    weights = 1.0 / np.square(SCHOOL_ERRORS)
    pooled = weights @ np.array(SCHOOLS) / weights.sum()
    assert pooled == pytest.approx(7.69, abs=0.005)  # Gelman et al. (2013), Bayesian Data Analysis, sec. 5.5
    assert [effect.shrunken.value for effect in result.effects] == pytest.approx([pooled] * 8)


def test_shrunken_effects_lie_between_their_own_and_the_mean(differences):
    result = subgroup_effects(*differences, bounds=(-9, 9))
    errors = np.array([effect.standard_error for effect in result.effects])
    means = np.array([effect.effect.value for effect in result.effects])
    weights = 1.0 / (errors**2 + result.tau_squared)
    centre = weights @ means / weights.sum()
    kept = result.tau_squared / (errors**2 + result.tau_squared)
    expected = centre + kept * (means - centre)
    assert [effect.shrunken.value for effect in result.effects] == pytest.approx(expected)


@pytest.mark.parametrize("tau", [0.0, 0.15])
def test_shrunken_intervals_cover_on_average(tau):
    random, n_covered = np.random.default_rng(5), 0
    subgroups = np.repeat(np.arange(8), 25)
    for _ in range(60):
        truth = 0.2 + tau * random.normal(size=8)
        values = truth[subgroups] + 0.5 * random.normal(size=200)
        effects = subgroup_effects(values, subgroups, bounds=(-9, 9)).effects
        n_covered += sum(e.shrunken.low <= t <= e.shrunken.high for e, t in zip(effects, truth, strict=True))
    assert n_covered / 480 > 0.91


def test_simultaneous_intervals_hold_together_as_often_as_they_say():
    random, n_missed = np.random.default_rng(6), 0
    subgroups = np.repeat(np.arange(6), 20)
    for _ in range(300):
        effects = subgroup_effects(random.normal(size=120), subgroups, bounds=(-99, 99)).effects
        n_missed += not all(e.simultaneous.low <= 0.0 <= e.simultaneous.high for e in effects)
    assert stats.binomtest(n_missed, 300, 0.05).pvalue > 1e-3


def test_clusters_count_in_each_subgroup(differences):
    values, names = differences
    clusters = np.arange(140) // 5
    effects = subgroup_effects(values, names, clusters, bounds=(-9, 9)).effects
    assert [effect.n_clusters for effect in effects] == [4, 7, 12, 5]
    alone = paired_mean(values[:20], clusters[:20], bounds=(-9, 9))
    assert effects[0].standard_error == pytest.approx(alone.standard_error)


def test_lists_are_as_good_as_arrays(differences):
    values, names = differences
    clusters = np.arange(140) // 5
    arrays = subgroup_effects(values, names, clusters, bounds=(-9, 9))
    assert subgroup_effects(values.tolist(), names.tolist(), clusters.tolist(), bounds=(-9, 9)) == arrays


def test_a_subgroup_without_variance_has_no_shrunken_effect():
    values, names = np.concatenate([np.zeros(10), np.tile([0.0, 1.0], 10)]), np.repeat([0, 1], [10, 20])
    result = subgroup_effects(values, names)
    assert result.heterogeneity_p_value is None
    assert result.effects[0].shrunken is None
    assert result.effects[0].effect.high > 0.2


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["a", "a", "b"], InsufficientDataError, "subgroup b"),
        (["a", "a", "a"], InsufficientDataError, "2 subgroups"),
        (["a", "b"], DataError, "do not pair"),
    ],
    ids=["one prompt", "one subgroup", "lengths"],
)
def test_too_little_is_refused(names, error, message):
    with pytest.raises(error, match=message):
        subgroup_effects(np.array([0.1, 0.2, 0.3]), np.array(names))
