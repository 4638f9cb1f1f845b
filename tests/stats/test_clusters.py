"""CR2 and its degrees of freedom against the matrices of clubSandwich's paper, closed forms and CR1."""

import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.clusters import codes_of, difference_error, mean_error, ratio_error

Floats = NDArray[np.float64]


def sandwich(design: Floats, outcome: Floats, clusters: np.ndarray, contrast: Floats) -> tuple[float, float]:
    """CR2 variance and Satterthwaite degrees of freedom of contrast' beta, by the full matrices.

    Pustejovsky & Tipton (2018), JBES 36, equations 4 to 8, with independent rows as the working model:
    what clubSandwich's vcovCR(type = "CR2") and coef_test compute for lm().
    """
    bread = np.linalg.inv(design.T @ design)
    residual_maker = np.eye(len(outcome)) - design @ bread @ design.T
    pulls = []
    for label in np.unique(clusters):
        rows = np.flatnonzero(clusters == label)
        values, vectors = np.linalg.eigh(residual_maker[np.ix_(rows, rows)])
        powers = np.where(values > 1e-10, np.maximum(values, 1e-300) ** -0.5, 0.0)
        adjustment = vectors @ np.diag(powers) @ vectors.T
        pulls.append(residual_maker[rows].T @ adjustment @ design[rows] @ bread @ contrast)
    products = np.array([[one @ other for other in pulls] for one in pulls])
    variance = sum(float(pull @ outcome) ** 2 for pull in pulls)
    return variance, float(np.trace(products) ** 2 / np.sum(products**2))


@pytest.mark.parametrize("sizes", [[4, 4, 4], [1, 2, 9], [30, 10, 10, 5, 5, 3], [1] * 12], ids=str)
def test_mean_is_the_sandwich_of_a_regression_on_a_constant(sizes):
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    values = np.random.default_rng(1).normal(size=len(clusters)) + clusters
    variance, df = sandwich(np.ones((len(values), 1)), values, clusters, np.ones(1))
    ours = mean_error(values, clusters)
    assert (ours.variance, ours.df) == pytest.approx((variance, df))


@pytest.mark.parametrize("is_nested", [True, False], ids=["own clusters", "shared clusters"])
def test_difference_is_the_sandwich_of_a_regression_on_the_arm(is_nested):
    random = np.random.default_rng(2)
    first, second = random.integers(5, size=40), random.integers(7, size=25)
    second = second + 5 if is_nested else second
    treatment, control = random.normal(size=40) + first, random.normal(size=25) - second
    outcome, clusters = np.concatenate([treatment, control]), np.concatenate([first, second])
    design = np.column_stack([np.ones(65), np.repeat([1.0, 0.0], [40, 25])])
    expected = sandwich(design, outcome, clusters, np.array([0.0, 1.0]))
    ours = difference_error(treatment, control, first, second)
    assert (ours.variance, ours.df) == pytest.approx(expected)


def test_ratio_is_the_sandwich_of_a_weighted_regression_through_the_origin():
    random = np.random.default_rng(6)
    clusters, denominator = np.repeat(np.arange(5), [9, 4, 4, 2, 1]), random.gamma(1.0, 1.0, size=20)
    numerator = denominator * random.gamma(2.0, 0.5, size=20)
    root = np.sqrt(denominator)  # rows scaled by the root of the weight 1 / denominator
    expected = sandwich(root[:, None], numerator / root, clusters, np.ones(1))
    ours = ratio_error(numerator, denominator, clusters)
    assert (ours.variance, ours.df) == pytest.approx(expected)
    counts = ratio_error(numerator, np.ones(20), clusters)
    assert counts.variance == pytest.approx(mean_error(numerator, clusters).variance)


@pytest.mark.parametrize(("n_clusters", "size"), [(2, 1), (6, 5), (30, 4)])
def test_clusters_of_one_size_have_g_minus_1_degrees_and_the_variance_of_their_means(n_clusters, size):
    values = np.random.default_rng(3).normal(size=n_clusters * size)
    codes = np.repeat(np.arange(n_clusters), size)
    means = values.reshape(n_clusters, size).mean(axis=1)
    for correction in ("CR1", "CR2"):
        ours = mean_error(values, codes, correction=correction)
        assert ours.df == pytest.approx(n_clusters - 1)
        assert ours.variance == pytest.approx(means.var(ddof=1) / n_clusters)


def test_variance_is_unbiased_for_independent_rows_whatever_the_sizes():
    codes = np.repeat(np.arange(4), [20, 5, 3, 2])
    draws = np.random.default_rng(4).normal(size=(4000, 30))
    variances = [mean_error(row, codes).variance for row in draws]
    error = np.std(variances) / np.sqrt(4000)
    assert np.mean(variances) == pytest.approx(1 / 30, abs=4 * error)


def test_names_of_clusters_become_codes():
    assert codes_of(np.array(["b", "a", "b"]), 3).tolist() == [1, 0, 1]
    assert codes_of(None, 3).tolist() == [0, 1, 2]


def test_one_cluster_or_a_missing_one_is_refused():
    with pytest.raises(InsufficientDataError, match="there is 1"):
        mean_error(np.ones(3), np.zeros(3, dtype=np.int64))
    with pytest.raises(DataError, match="2 clusters for 3"):
        codes_of(np.array([1, 2]), 3)
