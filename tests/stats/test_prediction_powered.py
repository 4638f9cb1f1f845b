"""Prediction-powered means against ppi-python's values, closed forms, and how often they cover."""

import numpy as np
import pytest
from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.paired import paired_mean
from workbench.stats.prediction_powered import ppi_mean, ppi_paired_difference


def judged(
    random: np.random.Generator, *, n: int, n_others: int, quality: float, accuracy: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """0/1 labels of n prompts, and a judge's verdicts of these and of others, right with `accuracy`."""
    truth = (random.random(n + n_others) < quality).astype(float)
    verdict = np.where(random.random(n + n_others) < accuracy, truth, 1.0 - truth)
    return truth[:n], verdict[:n], verdict[n:]


@pytest.fixture
def scores() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    truth = random.normal(size=3200)
    predicted = truth + 0.5 * random.normal(size=3200) + 0.3
    return truth[:200], predicted[:200], predicted[200:]


@pytest.mark.parametrize(
    ("power", "value", "low", "high"),
    [(1.0, -0.04746381, -0.12893353, 0.03400591), (None, -0.05690552, -0.12829271, 0.01448167)],
    ids=["original", "tuned"],
)
def test_value_and_interval_are_those_of_ppi_python(scores, power, value, low, high):
    # ppi-python 0.2.3, ppi_mean_ci(Y, Yhat, Yhat_unlabeled, alpha=0.05); it divides by n and takes z for t.
    ours = ppi_mean(*scores, power=power)
    assert ours.estimate.value == pytest.approx(value, abs=2e-4)
    assert (ours.estimate.low, ours.estimate.high) == pytest.approx((low, high), abs=1e-3)


def test_full_trust_is_the_judge_plus_what_it_misses(scores):
    labels, predictions, others = scores
    result = ppi_mean(labels, predictions, others, power=1.0)
    assert result.estimate.value == pytest.approx(others.mean() + (labels - predictions).mean())
    variance = others.var(ddof=1) / 3000 + (labels - predictions).var(ddof=1) / 200
    assert result.standard_error == pytest.approx(np.sqrt(variance))
    assert result.rectifier == pytest.approx((labels - predictions).mean())


def test_no_trust_is_the_classical_mean(scores):
    labels, predictions, others = scores
    result = ppi_mean(labels, predictions, others, power=0.0)
    reference = stats.ttest_1samp(labels, 0.0)
    interval = reference.confidence_interval(0.95)
    assert (result.estimate.low, result.estimate.high) == pytest.approx((interval.low, interval.high))
    assert result.estimate == result.classical
    assert result.p_value == pytest.approx(reference.pvalue)
    assert result.effective_labels == 200


def test_tuned_power_makes_the_error_least(scores):
    tuned = ppi_mean(*scores)
    assert 0.0 < tuned.power < 1.0
    for power in (0.0, 0.4, 0.9, 1.0):
        assert tuned.standard_error < 1.01 * ppi_mean(*scores, power=power).standard_error


def test_a_useless_judge_is_not_trusted_and_costs_nothing(scores):
    labels, predictions, others = scores
    noise = np.random.default_rng(0).permutation(predictions)
    result = ppi_mean(labels, noise, others)
    assert result.power < 0.15
    assert result.standard_error == pytest.approx(result.classical_standard_error, rel=0.03)
    blind = ppi_mean(labels, np.ones(200), np.ones(50))
    assert blind.estimate == result.classical
    assert (blind.df, blind.standard_error) == pytest.approx((199, result.classical_standard_error))


def test_a_good_judge_multiplies_the_labels():
    result = ppi_mean(*judged(np.random.default_rng(2), n=200, n_others=20_000, quality=0.5, accuracy=0.95))
    # The residual variance of a 95 % judge at 1/2: 0.25 (1 - 0.9^2), against 0.25.
    assert result.effective_labels == pytest.approx(200 / (1.0 - 0.9**2), rel=0.4)
    width, classical = (e.high - e.low for e in (result.estimate, result.classical))
    assert width < 0.6 * classical


def test_a_judge_that_agrees_on_ten_prompts_is_not_proven_right():
    labels = np.tile([0.0, 1.0], 5)
    result = ppi_mean(labels, labels, np.tile([0.0, 1.0], 5000), power=1.0)
    assert result.standard_error < 0.01
    assert result.estimate.high - result.estimate.low > 0.3


def test_labels_that_are_all_alike_get_the_exact_interval():
    predictions = np.tile([0.0, 1.0, 1.0], 10)
    result = ppi_mean(np.ones(30), predictions, np.ones(100))
    assert result.power == 0.0
    assert result.estimate.low == pytest.approx(stats.binomtest(30, 30).proportion_ci(0.95).low)


@pytest.mark.parametrize("n", [20, 100])
def test_interval_covers_at_least_as_often_as_it_says(n):
    random = np.random.default_rng(n)
    n_covered = 0
    for _ in range(400):
        interval = ppi_mean(*judged(random, n=n, n_others=500, quality=0.6, accuracy=0.85)).estimate
        n_covered += interval.low <= 0.6 <= interval.high
    assert stats.binomtest(n_covered, 400, 0.95, alternative="less").pvalue > 1e-3
    assert n_covered < 400


@pytest.mark.parametrize("n", [20, 100])
def test_interval_of_a_difference_covers_at_least_as_often_as_it_says(n):
    random = np.random.default_rng(n)
    n_covered = 0
    for _ in range(300):
        arms = [judged(random, n=n, n_others=500, quality=q, accuracy=0.85) for q in (0.7, 0.6)]
        result = ppi_paired_difference(*(np.stack(part, axis=1) for part in zip(*arms, strict=True)))
        n_covered += result.estimate.low <= 0.1 <= result.estimate.high
    assert stats.binomtest(n_covered, 300, 0.95, alternative="less").pvalue > 1e-3


def test_interval_of_clustered_prompts_covers_where_the_plain_one_does_not():
    random = np.random.default_rng(3)
    n_covered, n_plain = 0, 0
    for _ in range(200):
        level = np.repeat(random.normal(size=230), 5)
        truth = level + random.normal(size=1150)
        predicted = truth + np.repeat(random.normal(size=230), 5)
        group = np.arange(1150) // 5
        columns = truth[:150], predicted[:150], predicted[150:]
        robust = ppi_mean(*columns, clusters=group[:150], unlabelled_clusters=group[150:]).estimate
        plain = ppi_mean(*columns).estimate
        n_covered += robust.low <= 0.0 <= robust.high
        n_plain += plain.low <= 0.0 <= plain.high
    assert stats.binomtest(n_covered, 200, 0.95, alternative="less").pvalue > 1e-3
    assert n_plain < 170


def test_one_prompt_a_cluster_is_no_clusters(scores):
    plain = ppi_mean(*scores)
    single = ppi_mean(*scores, clusters=np.arange(200), unlabelled_clusters=np.arange(200, 3200))
    assert single.standard_error == pytest.approx(plain.standard_error, rel=0.01)
    assert single.df == 198


def test_difference_is_the_mean_of_the_differences(scores):
    labels, predictions, others = scores
    both = [np.stack([part, 0.5 * part], axis=1) for part in (labels, predictions, others)]
    result = ppi_paired_difference(*both)
    assert result.estimate == ppi_mean(0.5 * labels, 0.5 * predictions, 0.5 * others).estimate
    assert result.classical.value == pytest.approx(paired_mean(0.5 * labels, bounds=(-9, 9)).estimate)


@pytest.mark.parametrize(
    ("n", "extra", "error", "message"),
    [
        (9, {}, InsufficientDataError, "label 10 or more"),
        (20, {"clusters": np.arange(20)}, DataError, "both"),
        (
            20,
            {"clusters": np.arange(20) // 5, "unlabelled_clusters": np.arange(30)},
            InsufficientDataError,
            "4 clusters",
        ),
        (20, {"bounds": (0.0, 0.5)}, DataError, "outside"),
    ],
    ids=["few labels", "clusters of one part", "few clusters", "bounds"],
)
def test_too_little_is_refused(n, extra, error, message):
    labels = np.arange(n) / n
    with pytest.raises(error, match=message):
        ppi_mean(labels, labels, np.zeros(30), **extra)


@pytest.mark.parametrize(
    ("labels", "predictions", "others", "error"),
    [
        (np.zeros(20), np.zeros(19), np.zeros(30), DataError),
        (np.full(20, np.nan), np.zeros(20), np.zeros(30), DataError),
        (np.zeros(20), np.zeros(20), np.zeros(1), InsufficientDataError),
        (np.full(20, 3.0), np.zeros(20), np.zeros(30), DataError),
    ],
    ids=["lengths", "nan", "nobody else", "constant without bounds"],
)
def test_bad_columns_are_refused(labels, predictions, others, error):
    with pytest.raises(error):
        ppi_mean(labels, predictions, others)
