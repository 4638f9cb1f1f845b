"""CUPED against its definition, a regression's prediction, and how often the interval covers."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.cuped import paired_cuped, two_sample_cuped
from workbench.stats.two_sample import two_sample_mean


@pytest.fixture
def experiment() -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(12)
    covariates = random.normal(size=200), random.normal(size=150)
    noise = random.normal(scale=0.5, size=200), random.normal(scale=0.5, size=150)
    return covariates[0] + noise[0] + 0.2, covariates[1] + noise[1], *covariates


def test_theta_and_difference_are_those_of_the_paper(experiment):
    treatment, control, first, second = experiment
    pooled = np.cov(np.concatenate([treatment, control]), np.concatenate([first, second]))
    theta = pooled[0, 1] / pooled[1, 1]
    ours = two_sample_cuped(treatment, control, first, second)
    plain = treatment.mean() - control.mean()
    assert ours.theta == pytest.approx(theta)
    assert ours.estimate == pytest.approx(plain - theta * (first.mean() - second.mean()))
    assert ours.unadjusted == pytest.approx(plain)


def test_error_is_welchs_of_the_adjusted_scores(experiment):
    treatment, control, first, second = experiment
    ours = two_sample_cuped(*experiment, theta=0.9)
    reference = stats.ttest_ind(treatment - 0.9 * first, control - 0.9 * second, equal_var=False)
    interval = reference.confidence_interval(0.95)
    assert ours.p_value == pytest.approx(reference.pvalue)
    assert (ours.interval().low, ours.interval().high) == pytest.approx((interval.low, interval.high))


def test_variance_falls_by_the_squared_correlation(experiment):
    ours = two_sample_cuped(*experiment)
    correlation = np.corrcoef(np.concatenate(experiment[:2]), np.concatenate(experiment[2:]))[0, 1]
    assert ours.variance_reduction == pytest.approx(correlation**2, abs=0.02)
    useless = np.random.default_rng(0).normal(size=(2, 200))
    assert abs(two_sample_cuped(*experiment[:2], useless[0], useless[1, :150]).variance_reduction) < 0.05


def test_clusters_widen_what_they_share(experiment):
    first, second = np.arange(200) // 10, 100 + np.arange(150) // 10
    ours = two_sample_cuped(*experiment, treatment_clusters=first, control_clusters=second, theta=0.0)
    plain = two_sample_mean(*experiment[:2], first, second)
    assert (ours.standard_error, ours.df) == pytest.approx((plain.standard_error, plain.df))


def test_paired_estimate_is_a_regressions_prediction_at_the_pools_mean():
    random = np.random.default_rng(2)
    covariate = random.normal(size=40)
    differences = 0.5 * covariate + random.normal(size=40)
    ours = paired_cuped(differences, covariate, covariate_mean=0.3)
    fit = sm.OLS(differences, sm.add_constant(covariate)).fit()
    predicted = fit.get_prediction([[1.0, 0.3]])
    assert ours.estimate == pytest.approx(predicted.predicted[0])
    assert ours.standard_error == pytest.approx(predicted.se[0], rel=0.15)
    assert ours.theta == pytest.approx(fit.params[1])


def test_paired_adjustment_to_the_samples_own_mean_changes_nothing():
    random = np.random.default_rng(2)
    covariate, differences = random.normal(size=(2, 40))
    ours = paired_cuped(differences, covariate, covariate_mean=float(covariate.mean()))
    assert ours.estimate == pytest.approx(differences.mean())


@pytest.mark.parametrize("is_clustered", [False, True], ids=["prompts", "clusters"])
def test_paired_interval_covers_the_pools_difference_and_is_narrower(is_clustered):
    random, n_covered, widths = np.random.default_rng(7), 0, []
    clusters = np.arange(60) // 3 if is_clustered else None
    for _ in range(600):
        shared = 0.4 * random.normal(size=20)[np.arange(60) // 3] if is_clustered else 0.0
        covariate = random.normal(size=60)
        differences = covariate + shared + 0.5 * random.normal(size=60)
        result = paired_cuped(differences, covariate, clusters, covariate_mean=0.0)
        n_covered += result.interval().low <= 0.0 <= result.interval().high
        widths.append(result.standard_error / result.unadjusted_standard_error)
    assert stats.binomtest(n_covered, 600, 0.95).pvalue > 1e-3
    assert np.mean(widths) < 0.75


def test_what_explains_nothing_is_refused(experiment):
    with pytest.raises(InsufficientDataError, match="same in all rows"):
        two_sample_cuped(*experiment[:2], np.ones(200), np.ones(150))
    with pytest.raises(DataError, match="3 covariates for 200"):
        two_sample_cuped(*experiment[:2], np.arange(3.0), experiment[3])
    with pytest.raises(DataError, match="2 covariates for 3"):
        paired_cuped(np.arange(3.0), np.arange(2.0), covariate_mean=0.0)
