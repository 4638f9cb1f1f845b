"""The front against plain loops, paired t-tests, and worlds whose front is known."""

import time

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.paired import paired_mean
from workbench.stats.pareto import pareto_front


@pytest.fixture
def arms() -> list[np.ndarray]:
    """Quality, cost and latency of 80 prompts and five arms that share the prompts' difficulty."""
    random = np.random.default_rng(0)
    difficulty = random.normal(size=(80, 1))
    shift = np.array([[0.0, 0.3, 0.6, 0.1, 0.5], [1.0, 2.0, 3.0, 2.5, 2.9], [1.0, 3.0, 2.0, 3.2, 2.0]])
    return [part + difficulty + 0.5 * random.normal(size=(80, 5)) for part in shift]


def on_front(quality, cost, latency) -> list[bool]:
    def beats(i, j):
        pairs = [(-quality[i], -quality[j]), (cost[i], cost[j]), (latency[i], latency[j])]
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    return [not any(beats(i, j) for i in range(len(quality))) for j in range(len(quality))]


def test_front_is_that_of_the_definition():
    random = np.random.default_rng(1)
    for _ in range(20):
        means = random.integers(4, size=(3, 7)).astype(float)
        tables = [np.stack([row, row]) for row in means]
        assert pareto_front(*tables, n_resamples=1).is_on_front.tolist() == on_front(*means)


def test_probability_is_the_share_of_resamples_of_whole_clusters(arms):
    clusters = np.repeat(np.arange(20), 4)
    result = pareto_front(*arms, clusters=clusters, n_resamples=60, seed=3)
    random, counts = np.random.default_rng(3), np.zeros(5)
    for drawn in random.integers(20, size=(60, 20)):
        rows = np.concatenate([np.flatnonzero(clusters == cluster) for cluster in drawn])
        counts += on_front(*(table[rows].mean(axis=0) for table in arms))
    assert result.front_probability == pytest.approx(counts / 60)


def test_differences_have_paired_t_intervals(arms):
    clusters = np.repeat(np.arange(20), 4)
    for groups in (None, clusters):
        result = pareto_front(*arms, clusters=groups, n_resamples=1)
        for k in range(3):
            interval = paired_mean(arms[k][:, 1] - arms[k][:, 2], groups, bounds=(-9, 9)).interval()
            assert result.difference[k, 1, 2] == pytest.approx(interval.value)
            assert result.difference_low[k, 1, 2] == pytest.approx(interval.low)
            assert result.difference_high[k, 1, 2] == pytest.approx(interval.high)


def test_dominance_needs_every_difference_to_be_settled(arms):
    result = pareto_front(*arms, n_resamples=1)
    better = [
        stats.ttest_rel(arms[k][:, 2], arms[k][:, 3], alternative="greater" if k == 0 else "less").pvalue
        for k in range(3)
    ]
    assert result.p_value[2, 3] == pytest.approx(max(better))
    assert not result.dominates[2, 3]
    off_diagonal = ~np.eye(5, dtype=bool)
    expected = multipletests(result.p_value[off_diagonal], method="holm")[0]
    assert result.dominates[off_diagonal].tolist() == expected.tolist()
    assert result.dominates[0, 3] == (result.p_value[0, 3] < 0.05 / 20)


def test_an_arm_that_is_clearly_worse_in_all_is_dominated_and_off_the_front():
    random = np.random.default_rng(2)
    quality = random.random((200, 2)) + np.array([0.3, 0.0])
    cost = random.random((200, 2)) + np.array([0.0, 0.3])
    result = pareto_front(quality, cost, n_resamples=300)
    assert result.dominates.tolist() == [[False, True], [False, False]]
    assert result.front_probability.tolist() == [1.0, 0.0]
    assert result.latency is None


def test_a_higher_price_for_less_is_settled_by_the_sign_test_alone():
    quality = np.random.default_rng(3).random((30, 2)) + np.array([0.5, 0.0])
    result = pareto_front(quality, np.tile([1.0, 1.5], (30, 1)), n_resamples=10)
    assert result.difference_low[1, 0, 1] == result.difference_high[1, 0, 1] == -0.5
    assert result.dominates[0, 1]
    few = pareto_front(quality[:3], np.tile([1.0, 1.5], (3, 1)), n_resamples=10)
    assert few.p_value[0, 1] >= 0.5**3


def test_equal_prices_settle_nothing():
    quality = np.random.default_rng(4).random((50, 2)) + np.array([0.5, 0.0])
    result = pareto_front(quality, np.ones((50, 2)), n_resamples=10)
    assert result.is_on_front.tolist() == [True, False]
    assert not result.dominates.any()


def test_false_claims_of_dominance_are_as_rare_as_promised():
    random, n_false = np.random.default_rng(5), 0
    for _ in range(300):
        quality, cost = random.normal(size=(2, 40, 4))
        n_false += pareto_front(quality - [0, 5, 10, 15], cost, n_resamples=1).dominates.any()
    assert stats.binomtest(n_false, 300, 0.05, alternative="greater").pvalue > 1e-3


def test_groups_of_many_prompts_keep_the_probabilities():
    random = np.random.default_rng(6)
    quality, cost = random.normal(size=(2, 9000, 2))
    result = pareto_front(quality, cost, n_resamples=4000)
    better = [
        stats.norm.cdf(sign * result.difference[k, 0, 1] / np.sqrt(2.0 / 9000))
        for k, sign in ((0, 1), (1, -1))
    ]
    assert result.n_clusters == 9000
    assert result.dominance_probability[0, 1] == pytest.approx(better[0] * better[1], abs=0.05)


def test_forty_arms_take_a_few_seconds():
    tables = np.random.default_rng(7).random((3, 2000, 40))
    start_s = time.process_time()
    pareto_front(*tables)
    assert time.process_time() - start_s < 10.0


@pytest.mark.parametrize(
    ("quality", "cost", "error"),
    [
        (np.ones((3, 2)), np.ones((3, 3)), DataError),
        (np.ones(3), np.ones(3), DataError),
        (np.ones((3, 2)), np.full((3, 2), np.nan), DataError),
        (np.ones((1, 2)), np.ones((1, 2)), InsufficientDataError),
        (np.ones((3, 1)), np.ones((3, 1)), InsufficientDataError),
    ],
    ids=["shapes", "no table", "nan", "one prompt", "one arm"],
)
def test_bad_tables_are_refused(quality, cost, error):
    with pytest.raises(error):
        pareto_front(quality, cost)
